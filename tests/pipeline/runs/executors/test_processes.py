"""Several processes of one machine: the same rows as one, and nothing lost with a worker or at an interrupt."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dna_zoo.errors import SettingsError
from patterndb.records import RunRecord
from pipeline.events import Event, ignore
from pipeline.fetch.request import ModelRequest
from pipeline.runs.executors.processes import Processes, _Worker
from pipeline.runs.executors.shares import Share
from pipeline.runs.executors.work import PlannedModel, Work
from pipeline.runs.runner import mine
from tests.support.mining import FAST, database_of, mine_into, request
from tests.support.tiny_models import make_tiny_checkpoint
from tests.support.workers import command_of, processes_below, rows_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> list[ModelRequest]:
    """Two tiny models, and a broken one."""
    root = tmp_path_factory.mktemp("models")
    for seed, (name, make) in enumerate({"bert": "minilm-l6", "gpt": "distilgpt2"}.items()):
        make_tiny_checkpoint(make, root / name, seed)
    (root / "broken").mkdir()
    (root / "broken" / "model.safetensors").write_bytes(b"\x01")
    return [request(root / name, name) for name in ("broken", "bert", "gpt")]


@pytest.fixture(scope="module")
def one_process(asked: list[ModelRequest], tmp_path_factory: pytest.TempPathFactory) -> str:
    """URL of the database that one process leaves."""
    home = tmp_path_factory.mktemp("one")
    assert mine_into(home, asked).exit_code == 3
    return url_of(home)


def url_of(home: Path) -> str:
    return f"sqlite:///{home / 'dna-zoo.db'}"


def mine_in_two(home: Path, asked: list[ModelRequest], on_event: Callable[[Event], None] = ignore) -> RunRecord:
    executor = Processes(jobs=2, database_url=url_of(home))
    with database_of(home) as database:
        return mine(asked, FAST, database=database, home=home, on_event=on_event, executor=executor)


def workers() -> list[int]:
    return [each for each in processes_below(os.getpid()) if "executors.worker" in command_of(each)]


def test_interrupted_and_then_with_a_killed_worker_two_processes_find_what_one_finds(
    asked: list[ModelRequest], one_process: str, tmp_path: Path
) -> None:
    def interrupt(event: Event) -> None:
        if (event.kind, event.stage) == ("start", "fit"):
            assert len(workers()) == 2
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mine_in_two(tmp_path, asked, interrupt)
    with database_of(tmp_path) as database:
        (run,) = database.runs()
    assert (run.status, run.exit_code, workers()) == ("interrupted", 130, [])

    events: list[Event] = []

    def kill(event: Event) -> None:
        events.append(event)
        if (event.kind, event.stage) == ("start", "fit") and sum(each.stage == "fit" for each in events) == 1:
            for pid in workers():
                os.kill(pid, signal.SIGKILL)

    run = mine_in_two(tmp_path, asked, kill)
    lost = [event.message for event in events if "was lost" in event.message]
    assert lost and all("killed by signal 9" in message and "last finished stage" in message for message in lost)
    assert (run.status, run.exit_code) == ("partial", 3)
    assert rows_of(url_of(tmp_path)) == rows_of(one_process)
    log = next((tmp_path / "runs").rglob("run.log")).read_text()
    done = {key: log.count(f"{key}: extract done") for key in ("bert", "gpt")}
    assert max(done.values()) == 1, done  # The first call may have ended while the second model was being read.


def test_a_worker_that_is_told_to_end_as_it_ends_says_nothing() -> None:
    """What it says would stand in the log of the run."""
    code = (
        "import atexit, os, signal, socket\n"
        "from pipeline.runs.executors.worker import serve\n"
        "atexit.register(lambda: os.kill(os.getpid(), signal.SIGTERM))\n"
        "ours, theirs = socket.socketpair()\n"
        "ours.close()\n"
        "serve(theirs.detach())\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout + ended.stderr) == (0, "")


def test_a_model_that_kills_every_worker_is_given_up_and_the_others_are_not(
    asked: list[ModelRequest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "pipeline.runs.executors.processes.CODE",
        "import os, sys; from multiprocessing.connection import Connection; c = Connection(int(sys.argv[2]));"
        "work, model = c.recv(), c.recv(); os._exit(7)",
    )
    events: list[Event] = []
    run = mine_in_two(tmp_path, asked[1:], events.append)
    assert [model.status for model in run.models] == ["failed", "failed"] and run.exit_code == 1
    assert run.models[0].error == "Its worker was lost 3 times, the last time because it ended with exit code 7."
    assert sum(event.kind == "note" for event in events) == 4


def test_workers_share_no_artifacts_in_memory(asked: list[ModelRequest], tmp_path: Path) -> None:
    executor = Processes(jobs=2, database_url=url_of(tmp_path))
    with database_of(tmp_path) as database, pytest.raises(SettingsError, match="memory of a process"):
        mine(asked, FAST, database=database, home=tmp_path, executor=executor, artifacts="memory://x")


def test_a_worker_ends_when_what_started_it_is_gone(asked: list[ModelRequest], tmp_path: Path) -> None:
    slow = replace(FAST, fit=replace(FAST.fit, epochs=100_000))
    with database_of(tmp_path) as database:
        database.start_run("run", {})
    work = Work(run="run", request_key="asked", settings=slow, home=tmp_path, database_url=url_of(tmp_path))
    work.folder.mkdir(parents=True)
    worker = _Worker(Share(cores=1), work)
    worker.mine(PlannedModel(key="bert", request=asked[1]))
    assert worker.connection.recv().kind == "start"
    worker.connection.close()
    assert worker._process is not None and worker._process.wait(timeout=100) == 128 + signal.SIGTERM
