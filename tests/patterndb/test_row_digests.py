"""Rows of runs, tags and notes: each column of each is held against a digest, by what reads it and by `db check`."""

import datetime as dt
from typing import Any

import pytest
from sqlalchemy import JSON, Boolean, Double, Integer, Table, select, update

from dna_zoo.errors import DamagedRowsError
from patterndb.checking import damages
from patterndb.records import Activity, Invocation, RunModelRecord, StageRecord
from patterndb.row_digests import TABLES
from patterndb.store import PatternDatabase
from patterndb.tables import UtcDateTime
from tests.support.patterns import make_pattern, save_patterns


@pytest.fixture
def filled_url(database_url: str) -> str:
    """A database in which each of the tables has a row, each column of which holds something."""
    with PatternDatabase.open(database_url) as database:
        save_patterns(database, make_pattern("one"))
        invocation = Invocation(
            host="h", user="u", machine="m", process_start="1", command="mine", pid=1, versions={"torch": "2"}
        )
        database.start_run("run-1", {"models": []}, request_key="asked", invocation=invocation)
        stage = StageRecord(stage="fit", key="k", status="failed", is_reused=False, seconds=0.5, error="It ended.")
        database.record_stage("run-1", "one", stage)
        database.beat("run-1", [Activity(model="one", stage="fit")])
        database.finish_model("run-1", RunModelRecord(key="one", status="failed", error="It ended.", hint="Repeat it."))
        database.finish_run("run-1", "failed", 1, seconds=1.0, stopped_by="SIGTERM", error="It ended.")
        database.tag_model("one", ["small"])
        database.note_model("one", "A note.")
    return database_url


def other(column: Any, value: Any) -> Any:
    """Another value of the column."""
    if isinstance(column.type, UtcDateTime):
        return (value or dt.datetime(2026, 1, 1, tzinfo=dt.UTC)) + dt.timedelta(seconds=1)
    if isinstance(column.type, JSON):
        return {"other": 1}
    if isinstance(column.type, Boolean):
        return not value
    if isinstance(column.type, Integer | Double):
        return (value or 0) + 1
    return {"failed": "done", "done": "failed"}.get(value, f"{value}x")


def read_all(database: PatternDatabase) -> None:
    """What the commands read."""
    database.runs()
    database.models()


@pytest.mark.slow
@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_column_that_is_changed_is_told_by_what_reads_it_and_by_the_check(table: Table, filled_url: str) -> None:
    changed = []
    with PatternDatabase.open(filled_url) as database:
        read_all(database)
        assert list(damages(filled_url)) == []
        for column in (each for each in table.columns if each.name != "id" and not each.foreign_keys):
            with database._writing() as connection:
                row = connection.execute(select(table).order_by(table.c.id.desc())).mappings().first()
                assert row is not None
                if column.name == "status" and table.name != "stages":
                    continue  # The schema holds it to other columns.
                own, value = table.c.id == row["id"], row[column.name]
                connection.execute(update(table).where(own).values({column: other(column, value)}))
            if column.name != "key" or table.name == "run_models" or table.name == "stages":
                with pytest.raises(DamagedRowsError, match="is not as it was written"):
                    read_all(database)  # A tag of a model that is not there is read by nobody.
            assert any(f"table {table.name}" in line for line in damages(filled_url))
            with database._writing() as connection:
                connection.execute(update(table).where(own).values({column: value}))
            read_all(database)
            changed.append(column.name)
    assert len(changed) >= 3 and "digest" in changed


def test_a_row_that_goes_on_changing_stays_as_it_was_written(filled_url: str) -> None:
    with PatternDatabase.open(filled_url) as database:
        database.start_run("run-2", {})
        database.set_run_models("run-2", ["one", "two"])
        database.set_run_models("run-2", ["two", "one"])
        database.beat("run-2", [Activity(model="two", stage="fit")])
        database.record_stage("run-2", "two", StageRecord(stage="fit", key="k", status="done", seconds=1.0))
        database.record_stage("run-2", "two", StageRecord(stage="fit", key="k", status="done", seconds=2.0))
        database.rename_model("one", "uno")
        database.tag_model("uno", ["large"])
        database.note_model("uno", "Another.")
        read_all(database)
        database.remove_model("uno")
        database.finish_run("run-2", "done", 0, seconds=2.0)
        read_all(database)
    assert list(damages(filled_url)) == []
