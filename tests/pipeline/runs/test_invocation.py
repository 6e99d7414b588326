"""A run while it lives and when it ends: each call is a row of its own, beats, and survives a server that restarts."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dna_zoo.errors import ConnectionLostError
from patterndb.connection.retry import Patience
from patterndb.records import RunRecord
from patterndb.store import PatternDatabase
from pipeline.events import Event, ignore
from pipeline.runs.invocation import LiveRun, new_run_name
from pipeline.runs.runner import mine
from tests.support.mining import FAST, STAGES, database_of, mine_into, request
from tests.support.servers import OwnServer, own_server


def event(kind: str, stage: str = "fit", **more: float) -> Event:
    return Event(kind=kind, model="tiny", stage=stage, **more)  # type: ignore[arg-type]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_no_two_runs_have_one_name() -> None:
    assert len({new_run_name() for _ in range(200)}) == 200


def test_a_stage_that_begins_is_told_at_once(database: PatternDatabase) -> None:
    database.start_run("r", {})
    with LiveRun("r", database, ignore) as live:
        live.on_event(event("start"))
        live.on_event(event("progress", done=3, total=10))
        wait_for(lambda: bool(database.run("r").at_work))
        (activity,) = database.run("r").at_work
        assert (activity.model, activity.stage, activity.total) in {("tiny", "fit", 0), ("tiny", "fit", 10)}
        live.on_event(event("done"))
        assert live.activities() == ()
        live.finish(["done"])
    assert (database.run("r").status, database.run("r").at_work) == ("done", ())


def test_events_are_handed_on_as_they_are(database: PatternDatabase) -> None:
    database.start_run("r", {})
    heard: list[Event] = []
    told = [event("start"), event("progress", done=1, total=2), event("note"), event("done"), event("done", "mine")]
    with LiveRun("r", database, heard.append) as live:
        for each in told:
            live.on_event(each)
        live.finish(["done"])
    assert heard == told


@pytest.mark.parametrize(
    ("error", "status", "code", "stopped_by", "kept"),
    [
        (KeyboardInterrupt("SIGTERM"), "interrupted", 130, "SIGTERM", None),
        (KeyboardInterrupt(), "interrupted", 130, "SIGINT", None),
        (ZeroDivisionError("division by zero"), "failed", 1, None, "division by zero"),
    ],
)
def test_whatever_ends_a_run_is_kept(
    database: PatternDatabase, error: BaseException, status: str, code: int, stopped_by: str | None, kept: str | None
) -> None:
    database.start_run("r", {})
    with pytest.raises(type(error)), LiveRun("r", database, ignore):
        raise error
    run = database.run("r")
    assert (run.status, run.exit_code, run.stopped_by, run.error) == (status, code, stopped_by, kept)
    assert run.seconds is not None and not any(each.name.startswith("heartbeat") for each in threading.enumerate())


def test_an_interrupt_after_the_end_changes_nothing(database: PatternDatabase) -> None:
    database.start_run("r", {})
    with pytest.raises(KeyboardInterrupt), LiveRun("r", database, ignore) as live:
        live.finish(["done", "failed"])
        raise KeyboardInterrupt
    assert (database.run("r").status, database.run("r").exit_code) == ("partial", 3)


def test_a_clock_that_jumps_back_makes_no_duration_negative(
    database: PatternDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.start_run("r", {})
    with LiveRun("r", database, ignore) as live:
        monkeypatch.setattr(time, "time", lambda: 0.0)
        live.finish(["done"])
    assert 0 <= (database.run("r").seconds or -1) < 60


@pytest.mark.slow
def test_the_same_request_twice_is_two_runs_and_one_computation(tmp_path: Path, checkpoint: Path) -> None:
    first, second = (mine_into(tmp_path, [request(checkpoint)]) for _ in range(2))
    with database_of(tmp_path) as database:
        assert database.runs() == (second, first)
    assert first.run != second.run and first.request_key == second.request_key
    assert reused(first) == {**dict.fromkeys(STAGES, False), "fetch": True}
    assert reused(second) == dict.fromkeys(STAGES, True)
    assert [run.models[0].is_reused for run in (first, second)] == [False, True]
    assert first.models[0].pattern_key == second.models[0].pattern_key
    assert set(first.invocation.versions) == {"dna_zoo", "python", "numpy", "torch"}


def reused(run: RunRecord) -> dict[str, bool | None]:
    return {stage.stage: stage.is_reused for stage in run.models[0].stages}


# A server that restarts.


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    """One that keeps what it has confirmed, as servers do: `forget_the_disk` would not stand a stop like this."""
    with own_server() as started:
        yield started


def at(stage: str, do: Callable[[], object]) -> Callable[[Event], None]:
    """Do something when the stage starts."""

    def on_event(seen: Event) -> None:
        if (seen.kind, seen.stage) == ("start", stage):
            do()

    return on_event


@pytest.mark.slow
@pytest.mark.postgres
def test_a_restart_of_the_server_is_survived_in_the_middle_of_a_run(
    server: OwnServer, checkpoint: Path, tmp_path: Path
) -> None:
    timers = []

    def restart() -> None:
        server.stop("immediate")
        timers.append(threading.Timer(0.5, server.start))
        timers[-1].start()

    with PatternDatabase.open(server.url) as database:
        run = mine([request(checkpoint)], FAST, database=database, home=tmp_path, on_event=at("analyse", restart))
        timers[0].join()
        assert (run.status, [stage.status for stage in run.models[0].stages]) == ("done", ["done"] * 6)
        assert database.load_pattern("tiny").pattern_key == run.models[0].pattern_key


@pytest.mark.slow
@pytest.mark.postgres
def test_where_it_stays_away_the_run_fails_and_the_same_command_ends_it(
    server: OwnServer, checkpoint: Path, tmp_path: Path
) -> None:
    with PatternDatabase.open(server.url) as database:
        database.patience = Patience(seconds=0.3)
        with pytest.raises(ConnectionLostError, match="asked"):
            mine(
                [request(checkpoint, "other")],
                FAST,
                database=database,
                home=tmp_path,
                on_event=at("analyse", lambda: server.stop("fast")),
            )
    server.start()
    with PatternDatabase.open(server.url) as database:
        run = mine([request(checkpoint, "other")], FAST, database=database, home=tmp_path)
    assert run.status == "done"
    assert reused(run) == {**dict.fromkeys(STAGES, True), "persist": False}
