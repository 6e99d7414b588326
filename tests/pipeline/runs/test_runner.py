"""The runner: every stage once, one model's failure its own, the exit code, what a second run finds done."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from dna_zoo.errors import SettingsError, StoreError
from patterndb.records import RunRecord
from pipeline import chain as chain_module
from pipeline.dna.dna import Dna
from pipeline.events import Event
from pipeline.fetch.request import ModelRequest
from pipeline.fit.stage import clear_networks
from pipeline.kept.sealed import save_tensors
from pipeline.runs.runner import mine, request_key
from pipeline.settings import MineSettings
from tests.support.mining import (
    FAST,
    STAGES,
    database_of,
    endings,
    mine_into,
    request,
    run_files,
    stamps,
    tables,
)
from tests.support.tiny_models import make_tiny_checkpoint

pytestmark = pytest.mark.slow


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model.safetensors").write_bytes(b"\x01")
    return tmp_path / "broken"


def stage_folder(home: Path, stage: str) -> Path:
    (result,) = (home / "stages" / stage).rglob("result.json")
    return result.parent


def error_of(run: RunRecord, key: str = "tiny") -> tuple[str, str]:
    model = next(model for model in run.models if model.key == key)
    assert model.status == "failed" and model.error and model.hint
    return model.error, model.hint


# A run that goes well.


def test_a_run_that_goes_well_ends_with_0_and_knows_its_stages(tiny_home: Path, checkpoint: Path) -> None:
    with database_of(tiny_home) as database:
        run = database.run(request_key([request(checkpoint)], FAST))
    assert (run.status, run.exit_code) == ("done", 0)
    assert [stage.stage for stage in run.models[0].stages] == list(STAGES)
    assert run.models[0].pattern_key == run.models[0].stages[-1].key
    assert run.finished is not None and run.finished >= run.started


def test_the_pattern_is_complete(tiny_home: Path) -> None:
    with database_of(tiny_home) as database:
        pattern = database.load_pattern("tiny")
    assert pattern.fit is not None and pattern.fit.num_weights == sum(
        tensor.num_weights for tensor in pattern.tensors if tensor.fit
    )
    assert pattern.settings["seed"] == 0 and pattern.provenance["torch"] == torch.__version__
    assert {tensor.role for tensor in pattern.tensors} == {role.role for role in pattern.roles}


def test_the_runs_folder_holds_summary_history_checkpoint_and_log(tiny_home: Path, checkpoint: Path) -> None:
    with database_of(tiny_home) as database:
        pattern = database.load_pattern("tiny")
    folder = tiny_home / "runs" / request_key([request(checkpoint)], FAST)
    summary = json.loads((folder / "tiny" / "summary.json").read_text())
    history = json.loads((folder / "tiny" / "training_history.json").read_text())
    dna = Dna.load(folder / "tiny" / "checkpoints" / "dna.safetensors")
    assert summary["pattern_key"] == pattern.pattern_key
    assert (dna.model, dna.digest) == ("tiny", pattern.model.sha256)
    assert len(history) == len(dna.contents.networks) > 1 and history[0]["points"][-1]["step"] == FAST.fit.epochs
    assert "tiny: fit done" in (folder / "run.log").read_text()
    assert (tiny_home / pattern.artifacts[0].path).is_file()


def test_a_request_has_one_key_however_often_it_is_made(checkpoint: Path) -> None:
    asked = [request(checkpoint)]
    assert request_key(asked, FAST) == request_key([request(checkpoint)], FAST)
    others = [
        request_key([request(checkpoint, "other")], FAST),
        request_key(asked, replace(FAST, seed=1)),
        request_key([*asked, *asked], FAST),
        request_key([replace(asked[0], weights=checkpoint / "model.safetensors")], FAST),
    ]
    assert len({request_key(asked, FAST), *others}) == 5


def test_the_log_is_closed_and_the_logger_left_as_it_was(home: Path, checkpoint: Path) -> None:
    import logging

    logger = logging.getLogger("pipeline")
    before = (list(logger.handlers), logger.level)
    mine_into(home, [request(checkpoint)])
    assert (list(logger.handlers), logger.level) == before


# A second run.


def test_a_second_run_does_nothing_again(home: Path, checkpoint: Path) -> None:
    before, written, rows = run_files(home), stamps(home / "stages") | stamps(home / "runs"), tables(home)
    events: list[Event] = []
    assert mine_into(home, [request(checkpoint)], on_event=events.append).exit_code == 0
    assert endings(events) == dict.fromkeys(STAGES, "reused")
    after = stamps(home / "stages") | stamps(home / "runs")
    assert {path for path in after if after[path] != written.get(path)} == {str(next((home / "runs").rglob("run.log")))}
    assert run_files(home) == before and tables(home) == rows


def test_where_all_is_done_no_file_of_weights_is_opened(
    home: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.weights.reader._open", raises(AssertionError("A file was opened.")))
    assert mine_into(home, [request(checkpoint, "twin")]).exit_code == 0


def test_force_does_every_stage_again_and_finds_the_same(home: Path, checkpoint: Path) -> None:
    rows, written = tables(home), stamps(home / "stages")
    events: list[Event] = []
    mine_into(home, [request(checkpoint)], on_event=events.append, force=True)
    assert endings(events) == {**dict.fromkeys(STAGES, "done"), "fetch": "reused"}
    assert all(stamp != written[path] for path, stamp in stamps(home / "stages").items())
    assert tables(home) == rows


@pytest.mark.parametrize(
    ("changes", "again"),
    [
        ({"fit": replace(FAST.fit, epochs=3)}, {"fit"}),
        ({"analysis": replace(FAST.analysis, num_nulls=3)}, {"analyse"}),
        ({"seed": 1}, {"fit", "analyse"}),
        ({"preset": "thorough"}, set()),
    ],
)
def test_other_settings_do_again_what_depends_on_them(
    home: Path, checkpoint: Path, changes: dict[str, Any], again: set[str]
) -> None:
    events: list[Event] = []
    mine_into(home, [request(checkpoint)], replace(FAST, **changes), on_event=events.append)
    assert {stage for stage, kind in endings(events).items() if kind == "done"} == {*again, "persist"}


def test_other_weights_under_the_same_name_are_another_model(home: Path, tmp_path: Path) -> None:
    other = make_tiny_checkpoint("minilm-l6", tmp_path / "other", 1).parent
    events: list[Event] = []
    mine_into(home, [request(other)], on_event=events.append)
    assert set(endings(events).values()) == {"done", "reused"} and endings(events)["extract"] == "done"
    assert len(tables(home)["models"]) == 2


def test_the_same_weights_under_another_name_cost_nothing(home: Path, checkpoint: Path) -> None:
    events: list[Event] = []
    mine_into(home, [request(checkpoint, "twin")], on_event=events.append)
    assert endings(events) == {**dict.fromkeys(STAGES, "reused"), "persist": "done"}
    with database_of(home) as database:
        twin, tiny = database.load_pattern("twin"), database.load_pattern("tiny")
    assert twin.signature == tiny.signature and twin.model.sha256 == tiny.model.sha256


@pytest.mark.parametrize("name", ["summary.json", "training_history.json", "dna.safetensors"])
def test_a_lost_file_of_the_run_is_written_again(home: Path, checkpoint: Path, name: str) -> None:
    before = run_files(home)
    next((home / "runs").rglob(name)).unlink()
    mine_into(home, [request(checkpoint)])
    assert run_files(home) == before


def test_the_dna_of_an_older_version_becomes_a_file_of_todays(checkpoint: Path, tmp_path: Path) -> None:
    networks: list[Any] = []

    def keep(directory: Path) -> None:
        networks.extend(torch.load(path, weights_only=True) for path in sorted(directory.glob("stack-*.pt")))
        clear_networks(directory)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chain_module, "clear_networks", keep)
        mine_into(tmp_path, [request(checkpoint)])
    before, folder = run_files(tmp_path), stage_folder(tmp_path, "fit")
    save_tensors({"format": 2, "settings": asdict(FAST.fit), "networks": networks}, folder / "dna.pt")
    for name in ("dna.safetensors", "digests.json"):  # Older versions had neither.
        (folder / name).unlink()
    next((tmp_path / "runs").rglob("dna.safetensors")).unlink()
    events: list[Event] = []
    mine_into(tmp_path, [request(checkpoint)], on_event=events.append)
    assert endings(events)["fit"] == "reused" and run_files(tmp_path) == before


def test_a_lost_database_is_filled_again_from_the_stages(home: Path, checkpoint: Path) -> None:
    rows = tables(home)
    (home / "dna-zoo.db").unlink()
    events: list[Event] = []
    mine_into(home, [request(checkpoint)], on_event=events.append)
    assert endings(events) == {**dict.fromkeys(STAGES, "reused"), "persist": "done"}
    assert tables(home) == rows


def test_raw_order_is_fitted_in_file_order(home: Path, checkpoint: Path) -> None:
    mine_into(home, [request(checkpoint)], replace(FAST, fit=replace(FAST.fit, order="raw")))
    with database_of(home) as database:
        fit = database.load_pattern("tiny").fit
    assert fit is not None and (fit.order, fit.order_bits_per_weight) == ("raw", 0)


def test_a_model_without_matrices_is_mined_without_a_fit(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    values = np.random.default_rng(0).normal(size=300).astype(np.float32)
    save_file({"encoder.norm.weight": values, "encoder.norm.bias": values}, tmp_path / "m" / "model.safetensors")
    assert mine_into(tmp_path / "home", [request(tmp_path / "m")]).exit_code == 0
    with database_of(tmp_path / "home") as database:
        pattern = database.load_pattern("tiny")
    assert pattern.fit is None and [artifact.kind for artifact in pattern.artifacts] == ["summary"]


# Models that fail.


def test_one_failing_model_among_good_ones_ends_with_3(home: Path, checkpoint: Path, broken: Path) -> None:
    run = mine_into(home, [request(broken, "broken"), request(checkpoint)])
    assert (run.status, run.exit_code) == ("partial", 3)
    assert [(model.key, model.status) for model in run.models] == [("broken", "failed"), ("tiny", "done")]
    assert "safetensors" in error_of(run, "broken")[0]


def test_when_all_fail_the_run_ends_with_1(tmp_path: Path, broken: Path) -> None:
    missing = ModelRequest(name="nosuch")
    run = mine_into(tmp_path / "home", [request(broken, "broken"), missing])
    assert (run.status, run.exit_code) == ("failed", 1)
    assert error_of(run, "nosuch")[0] == "Unknown model 'nosuch'."


def test_a_failure_is_told_as_an_event(tmp_path: Path, broken: Path) -> None:
    events: list[Event] = []
    run = mine_into(tmp_path / "home", [request(broken, "broken")], on_event=events.append)
    assert (events[-1].kind, events[-1].model, events[-1].message) == ("failed", "broken", error_of(run, "broken")[0])


def test_a_model_that_failed_may_be_done_the_next_time(home: Path, checkpoint: Path, tmp_path: Path) -> None:
    late = tmp_path / "late"
    first = mine_into(home, [request(late, "late"), request(checkpoint)])
    late.symlink_to(checkpoint)
    second = mine_into(home, [request(late, "late"), request(checkpoint)])
    assert (first.request_key, first.exit_code, second.exit_code) == (second.request_key, 3, 0)
    assert first.run != second.run
    with database_of(home) as database:
        assert database.run(first.run) == first
    assert second.models[0].error is None and second.models[0].hint is None


def test_a_fit_that_diverges_fails_its_model(home: Path, checkpoint: Path) -> None:
    wild = replace(FAST, fit=replace(FAST.fit, learning_rate=float("1e300"), schedule="constant"))
    message, hint = error_of(mine_into(home, [request(checkpoint)], wild))
    assert "of tiny became non-finite at step 1" in message and "--learning-rate" in hint


def raises(error: BaseException) -> Callable[..., Any]:
    def fail(*arguments: Any, **options: Any) -> Any:
        raise error

    return fail


def test_a_bug_in_one_model_does_not_cost_the_others(
    home: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_tiny_checkpoint("minilm-l6", tmp_path / "other", 1).parent
    monkeypatch.setattr(chain_module, "seriate_tensor", raises(ZeroDivisionError("division by zero")))
    run = mine_into(home, [request(other, "other"), request(checkpoint)])
    message, hint = error_of(run, "other")
    assert run.exit_code == 3 and run.models[1].status == "done"
    assert message == "ZeroDivisionError: division by zero" and "bug" in hint
    log = home / "runs" / run.request_key / "run.log"
    assert str(log) in hint and "Traceback" in log.read_text()


def interrupt(stage: str) -> Callable[[Event], None]:
    def on_event(event: Event) -> None:
        if (event.kind, event.stage) == ("start", stage):
            raise KeyboardInterrupt

    return on_event


def test_ctrl_c_marks_the_run_and_the_next_one_ends_it(tmp_path: Path, checkpoint: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        mine_into(tmp_path, [request(checkpoint)], on_event=interrupt("fit"))
    with database_of(tmp_path) as database:
        (stopped,) = database.runs()
    assert (stopped.status, stopped.exit_code, stopped.models[0].status) == ("interrupted", 130, "pending")
    assert stopped.stopped_by == "SIGINT" and stopped.seconds is not None
    events: list[Event] = []
    run = mine_into(tmp_path, [request(checkpoint)], on_event=events.append)
    assert (run.request_key, run.status) == (stopped.request_key, "done") and run.run != stopped.run
    with database_of(tmp_path) as database:
        assert [each.status for each in database.runs()] == ["done", "interrupted"]
    assert endings(events)["order"] == "reused" and endings(events)["fit"] == "done"


def test_a_database_that_fails_ends_the_run(home: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with database_of(home) as database, pytest.raises(StoreError):
        monkeypatch.setattr(chain_module, "persist", raises(StoreError("The database is gone.", hint="Find it.")))
        mine([request(checkpoint, "other")], FAST, database=database, home=home)


def test_a_device_that_is_not_there_is_refused_before_the_run(tmp_path: Path, checkpoint: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("There is a CUDA device.")
    with pytest.raises(SettingsError, match="there is no CUDA device"):
        mine_into(tmp_path, [request(checkpoint)], replace(FAST, device="cuda"))
    assert not (tmp_path / "runs").exists()


# A full disk.


FULL = {
    "extract": f".result.{os.getpid()}.json",
    "order": f".order.{os.getpid()}.safetensors",
    "fit": f".stack-000.train.{os.getpid()}.pt",
    "analyse": f".result.{os.getpid()}.json",
}
"""Stage -> the first file of some size that it writes."""


@pytest.fixture
def filled(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Makes a stage unfinished, and its disk full when it writes, and gives its folder."""
    # It would take the trap away with what killed processes leave.
    monkeypatch.setattr(chain_module, "remove_unfinished", lambda folder: None)

    def fill(stage: str) -> Path:
        folder = stage_folder(home, stage)
        for path in folder.iterdir():
            path.unlink()
        (folder / FULL[stage]).symlink_to("/dev/full")
        return folder

    return fill


@pytest.mark.parametrize("stage", FULL)
def test_a_full_disk_fails_the_model_and_says_so(
    stage: str, home: Path, checkpoint: Path, filled: Callable[[str], Path]
) -> None:
    folder = filled(stage)
    message, hint = error_of(mine_into(home, [request(checkpoint)]))
    assert "disk" in message and "full" in message and "download" not in message
    assert "space" in hint and "bug" not in hint
    assert not (folder / "result.json").exists()


def test_with_room_again_the_same_command_ends_the_run(
    home: Path, checkpoint: Path, filled: Callable[[str], Path]
) -> None:
    rows = tables(home)
    filled("order")
    assert mine_into(home, [request(checkpoint)]).exit_code == 1
    (stage_folder(home, "extract").parents[2] / "order").rename(home / "full")
    assert mine_into(home, [request(checkpoint)]).exit_code == 0
    assert tables(home) == rows


def test_any_stage_may_meet_a_full_disk(home: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_module, "persist", raises(OSError(errno.ENOSPC, "No space left on device")))
    message, hint = error_of(mine_into(home, [request(checkpoint, "other")]), "other")
    assert "full" in message and str(home) in message and "run the same command again" in hint


# What the order stage keeps.


def test_the_orders_on_disk_are_permutations_of_every_matrix(tiny_home: Path) -> None:
    arrays = load_file(stage_folder(tiny_home, "order") / "order.safetensors")
    with database_of(tiny_home) as database:
        fitted = {tensor.name: tensor for tensor in database.load_pattern("tiny").tensors if tensor.fit}
    assert {name.rsplit("/", 1)[0] for name in arrays} == set(fitted)
    for name, tensor in fitted.items():
        assert sorted(arrays[f"{name}/rows"]) == list(range(tensor.rows))
        assert sorted(arrays[f"{name}/cols"]) == list(range(tensor.cols))


# Two at once.


def test_two_processes_may_mine_the_same_model_at_once(tmp_path: Path, checkpoint: Path, tiny_home: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.support.mining import *;"
        "print(mine_into(Path(sys.argv[1]), [request(Path(sys.argv[2]))]).exit_code)"
    )
    database_of(tmp_path).close()
    workers = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path, checkpoint], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [worker.communicate(timeout=120)[0].strip() for worker in workers] == ["0", "0"]
    assert tables(tmp_path) == tables(tiny_home)


def test_settings_of_a_run_are_in_its_request(tiny_home: Path) -> None:
    with database_of(tiny_home) as database:
        (run,) = database.runs()
    assert run.request["settings"] == json.loads(json.dumps(MineSettings.as_dict(FAST)))
    assert run.request["models"][0]["key"] == "tiny"


def test_the_stage_that_failed_is_in_the_database(tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    save_file({"a.weight": np.full((4, 4), np.nan, dtype=np.float32)}, folder / "model.safetensors")
    run = mine_into(tmp_path / "home", [request(folder, "broken")])
    (model,) = run.models
    assert [(stage.stage, stage.status) for stage in model.stages] == [("fetch", "done"), ("extract", "failed")]
    assert "a.weight" in (model.stages[1].error or "")


def test_no_key_leaves_the_folder_of_its_run(home: Path, checkpoint: Path, tmp_path: Path) -> None:
    keys = ["..", "../../outside", "a b:c"]
    run = mine_into(home, [request(checkpoint, key) for key in keys])
    assert run.exit_code == 0
    assert len(list((home / "runs" / run.request_key).glob("*/summary.json"))) == len(keys)
    assert not list(tmp_path.rglob("outside*"))


def test_a_path_is_the_same_request_however_it_is_written(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkpoint.parent)
    relative = ModelRequest(name="x", weights=Path(checkpoint.name))
    assert request_key([relative], MineSettings()) == request_key(
        [ModelRequest(name="x", weights=checkpoint)], MineSettings()
    )
    by_name = [request_key([ModelRequest(name=name)], MineSettings()) for name in (checkpoint.name, str(checkpoint))]
    assert by_name[0] == by_name[1]
