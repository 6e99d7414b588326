"""What mining will take: which stages are done, what the others take, and that nothing is written."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dna_zoo.errors import UnknownModelError
from patterndb.records import StageCost
from pipeline.fetch.request import ModelRequest
from pipeline.machine.memory import measured_peak
from pipeline.runs.estimate import (
    STAGES,
    CostTable,
    ModelEstimate,
    _estimate,
    _predict,
    _Record,
    estimate_model,
    scratch_home,
)
from pipeline.settings import MineSettings
from tests.support.mining import FAST, database_of, mine_into, request
from tests.support.tiny_models import make_tiny_checkpoint

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def mined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which two models were mined, and a third that was not."""
    folder = tmp_path_factory.mktemp("mined")
    for seed, key in enumerate(("one", "two", "three")):
        make_tiny_checkpoint("tinybert", folder / key, seed)
    mine_into(folder / "home", [request(folder / key, key) for key in ("one", "two")])
    return folder


def estimated(mined: Path, key: str, settings: MineSettings = FAST, home: str = "home") -> ModelEstimate:
    with database_of(mined / "home") as database:
        return estimate_model(request(mined / key, key), settings, database=database, home=mined / home)


def actions(estimate: ModelEstimate) -> list[str]:
    assert [stage.stage for stage in estimate.stages] == list(STAGES)
    return [stage.action for stage in estimate.stages]


def files_of(folder: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()
    }  # fmt: skip


def test_of_a_mined_model_everything_is_reused_and_takes_nothing(mined: Path) -> None:
    found = estimated(mined, "one")
    assert actions(found) == ["reuse"] * 4
    assert (found.seconds, found.memory_bytes, found.disk_bytes, found.download_bytes) == (0, 0, 0, 0)
    assert found.from_this_machine and found.is_counted and found.num_weights


def test_other_settings_compute_what_depends_on_them_and_reuse_the_rest(mined: Path) -> None:
    fit = replace(FAST, fit=replace(FAST.fit, epochs=12))
    assert actions(estimated(mined, "one", fit)) == ["reuse", "reuse", "compute", "reuse"]
    assert actions(estimated(mined, "one", replace(FAST, seed=1))) == ["reuse", "reuse", "compute", "compute"]


def test_what_is_forced_is_computed_again(mined: Path) -> None:
    with database_of(mined / "home") as database:
        found = estimate_model(request(mined / "one", "one"), FAST, database=database, home=mined / "home", force=True)
    assert actions(found) == ["compute"] * 4 and found.seconds


def test_a_new_model_is_estimated_from_the_recorded_stages(mined: Path) -> None:
    found = estimated(mined, "three")
    assert actions(found) == ["compute"] * 4
    assert [stage.num_records for stage in found.stages] == [2, 2, 2, 2]
    assert not any(stage.is_guess for stage in found.stages)
    with database_of(mined / "home") as database:
        costs = [each for each in database.stage_costs() if each.stage == "fit"]
    fit = found.stages[2]
    assert fit.seconds is not None and min(c.seconds for c in costs) <= fit.seconds <= max(c.seconds for c in costs)
    assert found.disk_bytes and fit.disk_bytes and fit.gpu_bytes == 0


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells the peak of a part of a process")
def test_memory_is_that_of_the_recorded_stages(mined: Path) -> None:
    found = estimated(mined, "three")
    assert found.memory_bytes is not None and 50_000_000 < found.memory_bytes < 8_000_000_000


def test_twice_the_passes_take_twice_the_time_of_one_recorded_size(mined: Path) -> None:
    twice = replace(FAST, fit=replace(FAST.fit, epochs=2 * FAST.fit.epochs))
    once, double = (estimated(mined, "three", each).stages[2].seconds for each in (FAST, twice))
    assert once and double == pytest.approx(2 * once)


def test_a_fit_of_another_kind_is_unknown(mined: Path) -> None:
    spectral = replace(FAST, fit=replace(FAST.fit, dna_type="spectral"))
    fit = estimated(mined, "three", spectral).stages[2]
    assert (fit.action, fit.seconds, fit.memory_bytes, fit.num_records, fit.is_guess) == (
        "compute",
        None,
        None,
        0,
        True,
    )


def test_a_gpu_takes_over_fit_and_analysis_and_their_costs_on_a_cpu_say_nothing(
    mined: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    on_gpu = replace(FAST, device="cuda")
    assert actions(estimated(mined, "one", on_gpu)) == ["reuse", "reuse", "compute", "compute"]
    assert [stage.num_records for stage in estimated(mined, "three", on_gpu).stages] == [2, 2, 0, 0]


def test_another_home_takes_the_times_of_the_database_and_says_so(mined: Path) -> None:
    found = estimated(mined, "three", home="nowhere")
    assert not found.from_this_machine and found.stages[2].seconds and found.stages[2].disk_bytes is None
    assert not (mined / "nowhere").exists()


def test_without_a_database_everything_is_unknown(mined: Path) -> None:
    found = estimate_model(request(mined / "three"), FAST, database=None, home=mined / "nowhere")
    assert (found.seconds, found.memory_bytes, found.disk_bytes) == (None, None, None)
    assert actions(found) == ["compute"] * 4 and found.num_weights == estimated(mined, "three").num_weights


def test_nothing_is_written(mined: Path) -> None:
    before = files_of(mined)
    estimated(mined, "three")
    with scratch_home(mined / "home") as scratch:
        (scratch / "x").write_text("x")
    assert files_of(mined) == before


def test_what_mining_would_fail_at_is_told_before(mined: Path, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0nonsense")
    found = estimate_model(request(tmp_path / "bad"), FAST, database=None, home=tmp_path / "home")
    assert found.problem and "model.safetensors" in found.problem and found.num_weights is None
    with pytest.raises(UnknownModelError):
        estimate_model(ModelRequest(name="no such model"), FAST, database=None, home=tmp_path / "home")


def test_an_overhead_and_a_rate_are_found_again() -> None:
    sizes = [1e4, 1e5, 1e6, 1e7]
    noise = np.random.default_rng(0).uniform(0.95, 1.05, 4)
    found = _predict(sizes, list((2.0 + 3e-6 * np.array(sizes)) * noise), 1e8)
    assert found == pytest.approx(302, rel=0.1)
    assert _predict(sizes, [None] * 4, 1e8) is None and _predict(sizes, [1.0] * 4, None) is None


def test_memory_of_a_model_far_larger_than_all_recorded_is_unknown() -> None:
    cost = StageCost(stage="fit", key="k", seconds=10.0, num_weights=1_000, settings=FAST.as_dict())
    table = CostTable(records={"fit": [_Record(cost=cost, memory_bytes=400_000_000)]}, from_this_machine=True)
    near, far = (_estimate("fit", False, size, FAST, table) for size in (2_000, 1_000_000))
    assert near.memory_bytes and not near.is_guess
    assert far.memory_bytes is None and far.is_guess and far.seconds == pytest.approx(10_000)


def test_no_stage_gets_cheaper_than_nothing_by_its_size() -> None:
    falling = _predict([1e4, 1e6], [5.0, 1.0], 1e9)
    assert falling is not None and falling > 0


def test_records_of_stages_that_are_gone_from_the_home_do_not_count(mined: Path, tmp_path: Path) -> None:
    with database_of(mined / "home") as database:
        assert not CostTable.of(database, tmp_path).from_this_machine
    assert CostTable.of(None, tmp_path).records["fit"] == []


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells the peak of a part of a process")
def test_the_peak_is_of_what_ran_meanwhile() -> None:
    with measured_peak() as first:
        values = np.ones(40_000_000)
        for _ in range(10):
            values.sum()
        del values
    with measured_peak() as second:
        pass
    assert first.memory_bytes and second.memory_bytes
    assert first.memory_bytes - second.memory_bytes > 200_000_000
