"""What a page that stays open asks: whether anything has changed, and a little of every model."""

from dataclasses import replace

from patterndb.records import RunModelRecord, StageRecord
from patterndb.store import PatternDatabase
from tests.support.patterns import make_pattern, save_patterns


def test_the_state_changes_with_patterns_and_runs_alone(database: PatternDatabase) -> None:
    save_patterns(database, make_pattern("alpha"))
    before = database.state()
    assert database.state() == before
    database.start_run("run-2", {})
    database.set_run_models("run-2", ["beta"])
    started = database.state()
    assert started.patterns == before.patterns and started.runs != before.runs
    database.record_stage("run-2", "beta", StageRecord(stage="fetch", key="k", status="done"))
    staged = database.state()
    database.finish_model("run-2", RunModelRecord(key="beta", status="failed", error="It broke."))
    assert len({started.runs, staged.runs, database.state().runs}) == 3
    database.save_pattern(make_pattern("beta", 1, run="run-2"))
    assert database.state().patterns != before.patterns


def test_settings_and_roles_are_those_of_the_current_patterns(database: PatternDatabase) -> None:
    old, new = make_pattern("alpha"), make_pattern("alpha", 1)
    save_patterns(database, old)
    save_patterns(database, new, make_pattern("beta", 2))
    assert database.settings() == {"alpha": new.settings, "beta": make_pattern("beta", 2).settings}
    assert database.roles()["alpha"] == tuple(replace(role, statistics=()) for role in new.roles)
