"""Runs as invocations: each stays, in an order that needs no clock, and one whose process is gone is lost."""

import datetime as dt
import subprocess
import sys
from types import SimpleNamespace

import pytest

from dna_zoo.errors import NotMinedError
from patterndb.patterns import writing
from patterndb.records import Activity, Invocation, RunModelRecord, StageRecord
from patterndb.runs import store as runs
from patterndb.runs.processes import LOST_AFTER, this_process
from patterndb.store import PatternDatabase
from tests.support.patterns import make_pattern, save_patterns

ELSEWHERE = Invocation(host="elsewhere", machine="another start of another machine", pid=1, process_start="1")


def names(database: PatternDatabase, **asked: object) -> list[str]:
    return [run.run for run in database.runs(**asked)]  # type: ignore[arg-type]


def fail(database: PatternDatabase, run: str, request_key: str) -> None:
    database.start_run(run, {"a": 1}, request_key=request_key)
    database.finish_model(run, RunModelRecord(key="alpha", status="failed", error="It diverged."))
    database.finish_run(run, "failed", 1, seconds=2.5, error="All failed.")


def test_each_run_of_a_request_stays_with_its_error_and_its_duration(database: PatternDatabase) -> None:
    fail(database, "monday", "nightly")
    database.start_run("tuesday", {"a": 1}, request_key="nightly")
    database.finish_run("tuesday", "done", 0, seconds=9.0)
    assert names(database) == ["tuesday", "monday"]
    monday = database.run("monday")
    assert (monday.seconds, monday.error, monday.models[0].error) == (2.5, "All failed.", "It diverged.")


def test_a_request_is_answered_with_its_latest_run(database: PatternDatabase) -> None:
    fail(database, "monday", "nightly")
    fail(database, "tuesday", "nightly")
    assert database.run("nightly").run == "tuesday"
    with pytest.raises(NotMinedError, match="no run 'weekly'"):
        database.run("weekly")


def test_a_pattern_can_be_asked_for_by_the_request(database: PatternDatabase) -> None:
    pattern = make_pattern(run="monday")
    database.start_run("monday", {}, request_key="nightly")
    database.save_pattern(pattern)
    assert database.load_pattern("alpha", run="nightly") == database.load_pattern("alpha", run="monday") == pattern


def test_a_run_that_is_called_as_its_request_has_its_own_pattern(database: PatternDatabase) -> None:
    """As runs of older versions are."""
    old, new = make_pattern(seed=1, run="nightly"), make_pattern(seed=2, run="tuesday")
    database.start_run("nightly", {}, request_key="nightly")
    database.save_pattern(old)
    database.start_run("tuesday", {}, request_key="nightly")
    database.save_pattern(new)
    assert database.load_pattern("alpha", run="nightly") == old


def test_who_called_comes_back(database: PatternDatabase) -> None:
    about = this_process(command="dna-zoo mine x", versions={"torch": "2"})
    database.start_run("r", {}, invocation=about)
    assert database.run("r").invocation == about
    assert about.pid and about.host


def test_the_signal_that_ended_a_run_is_kept(database: PatternDatabase) -> None:
    database.start_run("r", {})
    database.finish_run("r", "interrupted", 130, stopped_by="SIGTERM")
    assert database.run("r").stopped_by == "SIGTERM"


def test_what_was_reused_is_told_by_stage_and_by_model(database: PatternDatabase) -> None:
    database.start_run("r", {})
    for key, reused in (("new", False), ("old", True)):
        for stage in ("order", "fit"):
            database.record_stage("r", key, StageRecord(stage=stage, key="k", status="done", is_reused=reused))
        database.record_stage("r", key, StageRecord(stage="persist", key="k", status="done", is_reused=False))
        database.finish_model("r", RunModelRecord(key=key, status="done"))
    database.set_run_models("r", ["new", "old", "later"])
    run = database.run("r")
    assert [model.is_reused for model in run.models] == [False, True, False]
    assert run.counts == {"done": 1, "reused": 1, "failed": 0, "pending": 1}


def test_runs_are_in_the_order_in_which_they_were_last_heard_of(database: PatternDatabase) -> None:
    here = this_process()
    for run in ("a", "b", "c"):
        database.start_run(run, {}, invocation=here)
    database.beat("a", [])
    assert names(database) == ["a", "c", "b"]
    database.finish_run("b", "done", 0)
    assert names(database) == ["b", "a", "c"]
    assert database.run_names(2) == ("b", "a")


def test_a_clock_that_jumps_back_changes_no_order(database: PatternDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(database, "first", "x")
    now = dt.datetime.now(dt.UTC)
    monkeypatch.setattr(runs, "_now", lambda connection: now - dt.timedelta(days=400))
    fail(database, "second", "x")
    assert names(database) == ["second", "first"]
    assert database.run("x").run == "second"


def test_a_pattern_found_after_the_clock_jumped_back_is_current(
    database: PatternDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = make_pattern(seed=1), make_pattern(seed=2)
    save_patterns(database, old)

    class Yesterday(dt.datetime):
        @classmethod
        def now(cls, zone: dt.tzinfo | None = None) -> dt.datetime:  # type: ignore[override]
            return dt.datetime.now(zone) - dt.timedelta(days=1)

    clock = SimpleNamespace(datetime=Yesterday, UTC=dt.UTC, timedelta=dt.timedelta)
    monkeypatch.setattr(writing, "dt", clock)
    save_patterns(database, new)
    assert database.load_pattern("alpha") == new
    save_patterns(database, old)
    assert database.load_pattern("alpha") == old


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"limit": 1}, ["done"]),
        ({"statuses": ["failed"]}, ["failed"]),
        ({"statuses": ["done", "failed"]}, ["done", "failed"]),
        ({"statuses": ["lost"]}, ["gone"]),
        ({"statuses": ["running"]}, ["alive"]),
        ({"statuses": ["running", "done"], "limit": 1}, ["done"]),
        ({"since": dt.datetime(2020, 1, 1, tzinfo=dt.UTC)}, ["done", "failed", "alive", "gone"]),
        ({"since": dt.datetime(2120, 1, 1, tzinfo=dt.UTC)}, []),
    ],
)
def test_runs_can_be_chosen(database: PatternDatabase, asked: dict[str, object], found: list[str]) -> None:
    gone = Invocation(machine=this_process().machine, pid=2**22 + 1, process_start="1")
    database.start_run("gone", {}, invocation=gone)
    database.start_run("alive", {}, invocation=this_process())
    fail(database, "failed", "x")
    database.start_run("done", {})
    database.finish_run("done", "done", 0)
    assert names(database, **asked) == found


def test_models_and_stages_go_with_their_runs_however_many_there_are(
    database: PatternDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        fail(database, f"r{number}", "x")
        database.record_stage(f"r{number}", "alpha", StageRecord(stage="fit", key=str(number), status="done"))
    few = database.runs(limit=3)
    monkeypatch.setattr(runs, "MOST_NAMED", 1)
    assert database.runs(limit=3) == few
    assert [run.models[0].stages[0].key for run in few] == ["3", "2", "1"]


# Signs of life.


def test_a_run_whose_process_ended_is_lost(database: PatternDatabase) -> None:
    code = (
        "from patterndb.runs.processes import *; i = this_process(); print(i.machine, i.pid, i.process_start, sep='|')"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    machine, pid, start = printed.strip().split("|")
    about = Invocation(machine=machine, pid=int(pid), process_start=start)
    database.start_run("r", {}, invocation=about)
    assert database.run("r").status == "lost"
    database.finish_run("r", "done", 0)
    assert database.run("r").status == "done"


def test_a_number_that_another_process_has_now_is_not_the_run(database: PatternDatabase) -> None:
    about = this_process()
    other = Invocation(machine=about.machine, pid=about.pid, process_start="1")
    database.start_run("other", {}, invocation=other)
    database.start_run("own", {}, invocation=about)
    assert [run.status for run in database.runs()] == ["running", "lost"]


@pytest.mark.parametrize(("age", "status"), [(LOST_AFTER - 60, "running"), (LOST_AFTER + 60, "lost")])
def test_on_another_machine_the_heartbeat_decides(
    database: PatternDatabase, monkeypatch: pytest.MonkeyPatch, age: float, status: str
) -> None:
    database.start_run("r", {}, invocation=ELSEWHERE)
    database.beat("r", [])
    told = database.run("r").heartbeat
    assert told is not None
    monkeypatch.setattr(runs, "_now", lambda connection: told + dt.timedelta(seconds=age))
    assert database.run("r").status == status


def test_a_beat_keeps_what_is_at_work_until_the_run_ends(database: PatternDatabase) -> None:
    activity = Activity(model="alpha", stage="fit", done=3, total=10, unit="steps", seconds=1.5)
    database.start_run("r", {}, invocation=this_process())
    database.beat("r", [activity])
    assert database.run("r").at_work == (activity,)
    database.finish_run("r", "done", 0)
    ended = database.run("r")
    database.beat("r", [activity])
    assert database.run("r") == ended and ended.at_work == ()


def test_times_of_stages_are_those_that_were_computed(database: PatternDatabase) -> None:
    for run, seconds, reused in (("a", 10.0, False), ("b", 30.0, False), ("c", 99.0, True)):
        database.start_run(run, {})
        stage = StageRecord(stage="fit", key="k", status="done", seconds=seconds, is_reused=reused)
        database.record_stage(run, "alpha" if run != "a" else "beta", stage)
    assert database.stage_times(["alpha"]) == {"fit": {"": 20.0, "alpha": 30.0}}
