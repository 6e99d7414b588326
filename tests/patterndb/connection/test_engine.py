"""Transactions, on SQLite and on PostgreSQL."""

import datetime as dt
import re
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import delete, func, insert, make_url, select, text

from dna_zoo.errors import RecordRefusedError, StoreError
from patterndb.connection import engine
from patterndb.connection.engine import masked, parse_url, without_password
from patterndb.models import ModelFilter
from patterndb.store import PatternDatabase
from patterndb.tables import RUNS
from tests.support.patterns import make_pattern, save_patterns

NUM_RUNS = select(func.count()).select_from(RUNS)


def test_one_transaction_sees_one_state(database: PatternDatabase) -> None:
    with database._reading() as connection:
        assert connection.scalar(NUM_RUNS) == 0
        database.start_run("run-1", {})
        assert connection.scalar(NUM_RUNS) == 0
    with database._reading() as connection:
        assert connection.scalar(NUM_RUNS) == 1


def test_what_is_no_value_of_a_row_is_not_taken_for_damage(database: PatternDatabase) -> None:
    with pytest.raises(ValueError, match="a bug"), database._reading():
        raise ValueError("a bug")


@pytest.mark.parametrize("ask", [lambda database: database.models(ModelFilter(text="\udcff")),
    lambda database: database.load_pattern("\udcff"), lambda database: database.runs(limit=10**23),
    lambda database: database.start_run("\udcff", {})])  # fmt: skip
def test_a_value_that_no_driver_takes_is_not_taken_for_damage(
    ask: Callable[[PatternDatabase], object], database: PatternDatabase
) -> None:
    with pytest.raises(RecordRefusedError, match="takes no such value"):
        ask(database)


def test_a_server_whose_url_is_no_text_is_refused() -> None:
    with pytest.raises(StoreError, match="not a database URL"):
        PatternDatabase.open("postgresql://me\udcff@localhost/zoo")


def test_times_of_any_zone_come_back_as_utc(database: PatternDatabase) -> None:
    noon = dt.datetime(2026, 3, 1, 12, tzinfo=dt.timezone(dt.timedelta(hours=5)))
    with database._writing() as connection:
        connection.execute(insert(RUNS), {"run": "run-1", "status": "running", "request": {}, "started": noon})
        found = connection.scalar(select(RUNS.c.started))
    assert found == noon and found.tzinfo is dt.UTC


@pytest.mark.postgres
def test_nothing_is_written_by_a_transaction_that_reads(postgres_url: str) -> None:
    with PatternDatabase.open(postgres_url) as database:
        with pytest.raises(StoreError, match=r"refused the operation.*read-only"), database._reading() as connection:
            connection.execute(delete(RUNS))
        database.start_run("run-1", {})


@pytest.mark.postgres
@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "POSTGRESQL"])
def test_a_server_may_be_named_in_any_spelling(scheme: str, postgres_url: str) -> None:
    with PatternDatabase.open(postgres_url.replace("postgresql:", f"{scheme}:", 1)) as database:
        save_patterns(database, make_pattern())
        assert database.load_pattern("alpha") == make_pattern()
        assert database.url.startswith("postgresql:")


@pytest.mark.postgres
def test_a_server_on_a_socket_may_be_named_as_a_host_or_as_a_parameter(postgres_url: str) -> None:
    url = make_url(postgres_url)
    folder = url.query.get("host")
    if not isinstance(folder, str):
        pytest.skip("The server has no socket.")
    as_host = url.difference_update_query(["host"]).set(host=quote(folder, safe=""))
    for each in (url, as_host, url.set(username=None).update_query_dict({"user": url.username or "postgres"})):
        with PatternDatabase.open(each.render_as_string(hide_password=False), create=False) as database:
            assert database.runs() == ()


@pytest.mark.postgres
def test_a_connection_that_broke_is_told_and_not_used_again(postgres_url: str) -> None:
    with PatternDatabase.open(postgres_url) as database:
        with pytest.raises(StoreError, match="No connection to") as caught, database._reading() as connection:
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        assert "--db" in caught.value.hint
        assert database.runs() == ()


def test_a_missing_driver_is_told_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match="psycopg is not installed") as caught:
        PatternDatabase.open("postgresql://host/zoo", create=False)
    assert "pip install" in caught.value.hint


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a zoo #1 at 100%.db", "zoo.db?timeout=5"])
def test_a_file_may_have_any_name_and_settings(name: str, tmp_path: Path) -> None:
    for create in (True, False):
        with PatternDatabase.open(f"sqlite:///{tmp_path / name}", create=create) as database:
            save_patterns(database, make_pattern())
    assert (tmp_path / name.partition("?")[0]).exists()


def test_a_file_deleted_meanwhile_is_not_made_again(tmp_path: Path) -> None:
    path = tmp_path / "zoo.db"
    with PatternDatabase.open(f"sqlite:///{path}") as database:
        path.unlink()
        with pytest.raises(StoreError, match="There is no database at"):
            database.runs()
        with pytest.raises(StoreError, match="Cannot open"):
            database.start_run("run-1", {})
    assert not path.exists()


def test_a_locked_file_is_said_to_be_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "zoo.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("CREATE TABLE cats (name TEXT)")
    connection.execute("BEGIN EXCLUSIVE")
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0.05)
    with pytest.raises(StoreError, match="is busy") as caught:
        PatternDatabase.open(f"sqlite:///{path}")
    assert "Try again" in caught.value.hint
    connection.close()


SECRET_URLS = [
    "postgresql://me:hunter2@127.0.0.1:1/d",
    "postgres://me:hunter2@127.0.0.1:1/d",
    "postgresql+psycopg://me:hunter2@127.0.0.1:1/d",
    "POSTGRESQL://me:hunter2@127.0.0.1:1/d",
    "postgresql://me:hunter2@%2Ftmp%2Fsocket/d",
    "postgresql:///d?host=/tmp/socket&user=me&password=hunter2",
    "postgresql://me:hu@hunter2@127.0.0.1:1/d",
    "postgresql://me:hu/hunter2@127.0.0.1:1/d",
    "postgresql://me:hu#hunter2@127.0.0.1:1/d",
    "jdbc:postgresql://me:hunter2@127.0.0.1/d",
    "postgresql://127.0.0.1:1/d;password=hunter2",
    "postgresql://127.0.0.1:1/d?pwd=hunter2",
    "postgresql://127.0.0.1:1/d?password=hunter2&sslmode=require",
    "postgresql:/me:hunter2@127.0.0.1/d",
    "me:hunter2@127.0.0.1/d",
    "postgresql://me:hunter2@127.0.0.1:port/d",
    "postgresql://me:hunter2@[::1/d",
    "mysql://me:hunter2@127.0.0.1/d",
    "postgresql:///me:hunter2?x@127.0.0.1/d",
    "postgresql://127.0.0.1:1/d#pwd=hunter2",
    "postgresql://127.0.0.1:1/d?pwd=a@hunter2",
    "sqlite://127.0.0.1/d;token=hunter2",
    "sqlite:///d#pwd=a&hunter2",
]


@pytest.mark.parametrize("url", SECRET_URLS)
def test_no_secret_of_an_unusual_url_is_shown(url: str) -> None:
    assert "hunter2" not in without_password(url)
    try:
        parsed = parse_url(url)
    except StoreError as error:
        assert "hunter2" not in error.message + error.hint and error.__cause__ is None
    else:
        assert "hunter2" not in masked(parsed)


@pytest.mark.parametrize("url", ["sqlite:////tmp/a@b.db", "postgresql://me@h:5432/d?sslmode=require", "nonsense"])
def test_what_is_no_secret_is_shown(url: str) -> None:
    assert without_password(url) == url


@pytest.mark.postgres
def test_a_server_that_repeats_a_cut_password_as_a_role_is_not_quoted(postgres_url: str) -> None:
    url = re.sub("//[^@/]*@", "//me?hunter2@", postgres_url, count=1)
    with pytest.raises(StoreError) as caught, PatternDatabase.open(url):
        pass
    assert "hunter2" not in caught.value.message + caught.value.hint and "does not exist" in caught.value.message
