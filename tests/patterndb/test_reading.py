"""Reading past SQLAlchemy gives what reading through it gives."""

import datetime as dt
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import JSON, Boolean, insert

from dna_zoo.errors import StoreError
from patterndb.engine import make_engine, parse_url
from patterndb.reading import DECODERS, EngineReader, as_utc, plain_file, reading_file
from patterndb.records import RunModelRecord, StageRecord
from patterndb.store import PatternDatabase
from patterndb.tables import METADATA, RUNS
from patterndb.types import FloatsJson, UtcDateTime
from tests.support.patterns import make_pattern, save_patterns


def test_every_column_that_must_be_decoded_is_and_no_other_has_its_name() -> None:
    encoded = (JSON, FloatsJson, UtcDateTime, Boolean)
    columns = [column for table in METADATA.tables.values() for column in table.columns]
    assert {column.name for column in columns if isinstance(column.type, encoded)} == set(DECODERS)
    assert {column.name for column in columns if not isinstance(column.type, encoded)} & set(DECODERS) == set()


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///zoo.db", Path("zoo.db")),
        ("sqlite:////data/my zoo#1.db", Path("/data/my zoo#1.db")),
        ("sqlite:///", None),
        ("sqlite:///:memory:", None),
        ("sqlite:///zoo.db?timeout=5", None),
        ("sqlite+pysqlite:///zoo.db", None),
        ("postgresql://host/zoo", None),
    ],
)
def test_only_a_plain_file_is_read_past_the_engine(url: str, path: Path | None) -> None:
    assert plain_file(url) == path


@pytest.mark.parametrize("name", ["zoo.db", "a zoo #1 at 100%.db"])
def test_a_file_and_an_engine_on_it_say_the_same(name: str, tmp_path: Path) -> None:
    plain = f"sqlite:///{tmp_path / name}"
    with PatternDatabase.open(plain) as database:
        save_patterns(database, make_pattern("a"), make_pattern("b", seed=1))
        stage = StageRecord(stage="fetch", key="1", status="done", seconds=0.5)
        failed = RunModelRecord(key="c", status="failed", error="Oh.", hint="Well.", stages=(stage,))
        database.finish_model("run-1", failed)
        database.finish_run("run-1", "partial", 3)
    with (
        PatternDatabase.open(plain, create=False) as file,
        PatternDatabase.open(f"{plain}?timeout=5", create=False) as engine,
    ):
        assert "_engine" not in vars(file) and "_engine" in vars(engine)
        assert file.load_pattern("b") == engine.load_pattern("b")
        assert file.load_pattern("b", run="run-1") == engine.load_pattern("b", run="run-1")
        for method in ("patterns", "signatures", "tensors", "model_statistics", "runs"):
            found = getattr(file, method)()
            assert found and found == getattr(engine, method)()


def test_one_transaction_sees_one_state(database: PatternDatabase) -> None:
    count = "SELECT count(*) FROM runs"
    with database._reading() as reader:
        assert list(reader.cells(count)) == [(0,)]
        database.start_run("run-1", {})
        assert list(reader.cells(count)) == [(0,)]
    with database._reading() as reader:
        assert list(reader.cells(count)) == [(1,)]


def test_a_file_deleted_meanwhile_is_not_made_again(tmp_path: Path) -> None:
    path = tmp_path / "zoo.db"
    with PatternDatabase.open(f"sqlite:///{path}") as database:
        path.unlink()
        with pytest.raises(StoreError, match="There is no database at"):
            database.runs()
    assert not path.exists()


def test_a_locked_file_is_said_to_be_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "zoo.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("CREATE TABLE cats (name TEXT)")
    connection.execute("BEGIN EXCLUSIVE")
    monkeypatch.setattr("patterndb.reading.BUSY_SECONDS", 0.05)
    with pytest.raises(StoreError, match="is busy") as caught, reading_file(path, "zoo") as reader:
        list(reader.cells("SELECT name FROM cats"))
    assert "Try again" in caught.value.hint
    connection.close()


def test_times_of_any_zone_come_back_as_utc(database_url: str) -> None:
    noon = dt.datetime(2026, 3, 1, 12, tzinfo=dt.timezone(dt.timedelta(hours=5)))
    engine = make_engine(parse_url(database_url))
    row = {"run": "run-1", "status": "running", "request": {}, "started": noon}
    with engine.begin() as connection:
        connection.execute(insert(RUNS), row)
        (found,) = EngineReader(connection).rows("SELECT started, finished, request FROM runs WHERE run = ?", "run-1")
    engine.dispose()
    assert found == {"started": noon, "finished": None, "request": {}} and found["started"].tzinfo is dt.UTC


def test_a_time_without_a_zone_is_utc() -> None:
    assert as_utc("2026-03-01 12:00:00.000001") == dt.datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=dt.UTC)
