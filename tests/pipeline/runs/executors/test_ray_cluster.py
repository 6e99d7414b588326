"""A Ray cluster of two workers on this machine with a real PostgreSQL: the same rows as one process, a killed worker
costs one stage, Ctrl-C leaves all that can be taken up again."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from dna_zoo.errors import SettingsError
from patterndb.store import PatternDatabase
from pipeline.fetch.request import ModelRequest
from pipeline.runs.executors.ray_start import import_ray, joined
from pipeline.runs.executors.resources import GIB, Resources, resources_of
from pipeline.runs.executors.work import PlannedModel
from pipeline.settings import MineSettings, make_settings
from tests.support.mining import mine_into
from tests.support.tiny_models import make_tiny_checkpoint
from tests.support.workers import command_of, ended, processes_below, rows_of, stages_of, start_mining, wait_for

EPOCHS, ENDLESS = 60, 1_000_000
SETTINGS = ["--hidden-dim", "4", "--rank", "2", "--nulls", "1", "--device", "cpu"]
"""Of a fit that is small."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two tiny models and a broken one."""
    root = tmp_path_factory.mktemp("models")
    for seed, (name, make) in enumerate({"bert": "minilm-l6", "gpt": "distilgpt2"}.items()):
        make_tiny_checkpoint(make, root / name, seed)
    (root / "broken").mkdir()
    (root / "broken" / "model.safetensors").write_bytes(b"\x01")
    return [root / name for name in ("bert", "gpt", "broken")]


def task_of(process: subprocess.Popen[str], key: str) -> int:
    """The process of the task that mines the model."""

    def find() -> int:
        return next((each for each in processes_below(process.pid) if f"mine {key}" in command_of(each)), 0)

    return int(wait_for(find, process=process))


@pytest.mark.slow
@pytest.mark.postgres
def test_interrupted_and_then_with_a_killed_worker_a_cluster_finds_what_one_process_finds(
    folders: list[Path], postgres_url: str, tmp_path: Path
) -> None:
    on_ray, home, url = (*SETTINGS, "--on", "ray"), tmp_path / "home", postgres_url
    process = start_mining(folders, home, url, *on_ray, "--epochs", str(ENDLESS))
    wait_for(lambda: "order" in stages_of(url, "bert"), process=process)
    os.killpg(process.pid, signal.SIGINT)
    code, out, err = ended(process)
    with PatternDatabase.open(url) as database:
        assert (code, out, [run.status for run in database.runs()]) == (130, "", ["interrupted"])
    assert len(err.splitlines()) <= 2 and "Traceback" not in err

    process = start_mining(folders, home, url, *on_ray, "--epochs", str(EPOCHS))
    worker = task_of(process, "bert")
    os.kill(worker, signal.SIGKILL)
    code, out, err = ended(process)
    log = "".join(path.read_text() for path in (home / "runs").rglob("run.log"))
    assert code == 3 and set(out.split()) == {"bert", "gpt"}
    told = err.splitlines()  # What befell the worker, how all fared, and the broken model: nothing of Ray's.
    assert len(told) == 4 and "bert note: its worker was lost because its process was killed" in told[0]
    assert any("2 done, 1 failed" in line for line in told)
    assert [log.count(f"bert: {what}") for what in ("order done", "fit done")] == [1, 1]
    assert log.count("bert: order reused") >= 1

    alone = tmp_path / "alone"
    asked = [ModelRequest(name=str(folder), weights=folder, key=folder.name) for folder in folders]
    same = make_settings("quick", nulls=1, device="cpu", seed=0, hidden_dim=4, rank=2, epochs=EPOCHS)
    assert mine_into(alone, asked, same).exit_code == 3
    assert rows_of(url) == rows_of(f"sqlite:///{alone / 'dna-zoo.db'}")


def test_resources_follow_the_size_of_the_weights(folders: list[Path]) -> None:
    small = resources_of(
        PlannedModel(key="bert", request=ModelRequest(name="bert", weights=folders[0])), MineSettings()
    )
    size = (folders[0] / "model.safetensors").stat().st_size
    assert small == Resources(cpus=1, gpus=0, memory=GIB + size)
    card = PlannedModel(key="bert-base", request=ModelRequest(name="bert-base"))
    on_gpu = resources_of(card, MineSettings(device="cuda"))
    assert on_gpu.gpus == 1 and 1.3 * GIB < on_gpu.memory < 2 * GIB
    unknown = resources_of(PlannedModel(key="x/y", request=ModelRequest(name="x/y")), MineSettings())
    assert unknown.memory > small.memory


def test_a_task_asks_for_no_more_than_the_largest_machine_has() -> None:
    asked = Resources(cpus=8, gpus=1, memory=64 * GIB)
    assert asked.within(cpus=2, memory=4 * GIB) == Resources(cpus=2, gpus=1, memory=4 * GIB)
    assert asked.within(cpus=0.5, memory=4 * GIB).cpus == 1


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:99999"])
def test_a_cluster_that_is_not_there_is_told_at_once(address: str) -> None:
    with pytest.raises(SettingsError, match="No Ray cluster can be used") as found, joined(address):
        pass
    assert "ray status" in found.value.hint


def test_without_ray_the_command_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(SettingsError, match="not installed") as found:
        import_ray()
    assert "dna-zoo[ray]" in found.value.hint
