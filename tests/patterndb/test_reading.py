"""Reading past SQLAlchemy gives what reading through it gives."""

import datetime as dt
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import JSON, Boolean, insert, make_url

from dna_zoo.errors import StoreError
from patterndb.engine import make_engine, masked, parse_url
from patterndb.postgres import plain_server
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


PLAIN_URLS = (
    "postgresql://host/zoo",
    "postgres://user@host:5432/zoo",
    "postgresql:///zoo",
    "postgresql://user:@/zoo?host=/tmp/socket",
    "postgresql://us%40er:p%2Fw!$&'()*+,;=~@host.example.org/zoo-1",
    "postgresql://user:secret@host/zoo?sslmode=require&connect_timeout=3&options=-csearch_path%3Dmine",
    "postgresql://user@host/zoo?password=secret",
)


@pytest.mark.parametrize("url", PLAIN_URLS)
def test_a_plain_url_means_to_the_driver_what_it_means_to_sqlalchemy(url: str) -> None:
    assert plain_server(url) is not None
    parsed = parse_url(url)
    names = {"username": "user", "database": "dbname"}
    given = {names.get(name, name): str(value) for name, value in parsed.translate_connect_args().items()}
    assert conninfo_to_dict(url) == {name: value for name, value in {**given, **parsed.query}.items() if value}


@pytest.mark.parametrize("url", PLAIN_URLS)
def test_the_password_of_a_server_is_not_shown(url: str) -> None:
    server = plain_server(url)
    assert server is not None and "secret" not in server.url and "p%2Fw" not in server.url
    assert make_url(server.url) == make_url(masked(parse_url(url))).set(drivername=make_url(url).drivername)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///zoo.db",
        "mysql://host/zoo",
        "postgresql+psycopg://host/zoo",
        "POSTGRESQL://host/zoo",
        "postgresql://host",
        "postgresql://user:a@b@host/zoo",
        "postgresql://user:100%@host/zoo",
        "postgresql://one,two/zoo",
        "postgresql://[::1]/zoo",
        "postgresql://host/z%6Fo",
        "postgresql://host/zoo?options=-c+search_path",
        "postgresql://host/zoo?host=/tmp&host=/var",
        "postgresql://host/zoo?",
        "postgresql://host/zoo\n",
    ],
)
def test_what_the_two_might_read_otherwise_goes_through_the_engine(url: str) -> None:
    assert plain_server(url) is None


@pytest.mark.parametrize("name", ["zoo.db", "a zoo #1 at 100%.db"])
def test_a_file_and_an_engine_on_it_say_the_same(name: str, tmp_path: Path) -> None:
    plain = f"sqlite:///{tmp_path / name}"
    with PatternDatabase.open(plain) as database:
        fill(database)
    assert_the_same(plain, f"{plain}?timeout=5")


def test_a_server_and_an_engine_on_it_say_the_same(postgres_url: str) -> None:
    with PatternDatabase.open(postgres_url) as database:
        fill(database)
    assert_the_same(postgres_url, postgres_url.replace("postgresql:", "postgresql+psycopg:"))


def fill(database: PatternDatabase) -> None:
    """Two patterns, and a model that failed."""
    save_patterns(database, make_pattern("a"), make_pattern("b", seed=1))
    stage = StageRecord(stage="fetch", key="1", status="done", seconds=0.5)
    failed = RunModelRecord(key="c", status="failed", error="Oh.", hint="Well.", stages=(stage,))
    database.finish_model("run-1", failed)
    database.finish_run("run-1", "partial", 3)


def assert_the_same(plain: str, other: str) -> None:
    """What is read past the engine and through it."""
    with (
        PatternDatabase.open(plain, create=False) as past,
        PatternDatabase.open(other, create=False) as engine,
    ):
        assert "_engine" not in vars(past) and "_engine" in vars(engine)
        assert past.load_pattern("b") == engine.load_pattern("b")
        assert past.load_pattern("b", run="run-1") == engine.load_pattern("b", run="run-1")
        for method in ("patterns", "signatures", "tensors", "model_statistics", "runs"):
            found = getattr(past, method)()
            assert found and found == getattr(engine, method)()


def test_a_table_elsewhere_on_the_server_is_none_of_ours(create_postgres: Callable[[], str]) -> None:
    ours, other = create_postgres(), create_postgres()
    with psycopg.connect(other, autocommit=True) as connection:
        connection.execute("CREATE TABLE cats (name text)")
    for url, is_there in ((ours, False), (other, True)):
        server = plain_server(url)
        assert server is not None
        with server.reading() as reader:
            assert reader.has_table("cats") is is_there
        server.close()


def test_a_connection_is_kept_for_the_next_transaction_and_never_shared(postgres_url: str) -> None:
    server = plain_server(postgres_url)
    assert server is not None
    process = "SELECT pg_backend_pid()"

    def pid() -> int:
        with server.reading() as reader:
            ((found,),) = reader.cells(process)
            return int(found)

    with server.reading() as reader:
        ((outer,),) = reader.cells(process)
        inner = pid()
    assert inner != outer and {pid(), pid()} == {outer}
    server.close()


def test_a_connection_that_broke_is_told_and_not_used_again(postgres_url: str) -> None:
    server = plain_server(postgres_url)
    assert server is not None
    with pytest.raises(StoreError, match="No connection to") as caught, server.reading() as reader:
        list(reader.cells("SELECT pg_terminate_backend(pg_backend_pid())"))
    assert "--db" in caught.value.hint
    with server.reading() as reader:
        assert list(reader.cells("SELECT 1")) == [(1,)]
    server.close()


def test_a_missing_driver_is_told_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match="psycopg is not installed") as caught:
        PatternDatabase.open("postgresql://host/zoo", create=False)
    assert "pip install" in caught.value.hint


def test_nothing_is_written_by_a_transaction_that_reads(postgres_url: str) -> None:
    server = plain_server(postgres_url)
    assert server is not None
    with pytest.raises(StoreError, match=r"refused the operation.*read-only"), server.reading() as reader:
        reader.cells("DELETE FROM runs")


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
