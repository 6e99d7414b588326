"""Copies of a database: the same rows on the other side, whatever the engines, or nothing said to be done."""

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dna_zoo.errors import StoreError
from patterndb import copying
from patterndb.copying import back_up, copy_database
from patterndb.store import PatternDatabase
from tests.support.patterns import make_pattern, save_patterns

MODELS = ("alpha", "beta", "gamma")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def source(tmp_path: Path) -> str:
    """URL of a small database with all kinds of rows."""
    url = f"sqlite:///{tmp_path / 'source.db'}"
    with PatternDatabase.open(url) as database:
        save_patterns(database, *(make_pattern(key, num_blocks=2) for key in MODELS))
        database.tag_model("alpha", ["kept"])
        database.note_model("beta", "a note")
    return url


def assert_same(one: str, other: str) -> None:
    with PatternDatabase.open(one, create=False) as left, PatternDatabase.open(other, create=False) as right:
        assert [left.load_pattern(key) for key in MODELS] == [right.load_pattern(key) for key in MODELS]
        assert [run.run for run in left.runs()] == [run.run for run in right.runs()]


@pytest.mark.slow
def test_a_backup_is_whole_and_replaces_nothing(source: str, tmp_path: Path) -> None:
    path = tmp_path / "backup.db"
    told: list[str] = []
    found = back_up(source, path, on_table=lambda table, rows: told.append(table))
    assert found.new_rows == sum(found.rows.values()) > 50 and found.rows["models"] == 3 and "metrics" in told
    assert_same(source, f"sqlite:///{path}")
    with pytest.raises(StoreError, match="there already"):
        back_up(source, path)
    with pytest.raises(StoreError):
        back_up(f"sqlite:///{tmp_path / 'absent.db'}", tmp_path / "none.db")
    assert {each.name for each in tmp_path.iterdir()} == {"source.db", "backup.db"}


@pytest.mark.postgres
def test_a_copy_goes_to_a_server_and_back(source: str, create_postgres: Callable[[], str], tmp_path: Path) -> None:
    server, back = create_postgres(), f"sqlite:///{tmp_path / 'back.db'}"
    there, again = copy_database(source, server), copy_database(server, back)
    assert there.digest == again.digest and there.rows == again.rows
    assert_same(source, server)
    assert_same(source, back)
    with PatternDatabase.open(server) as database:  # Rows that come later get numbers of their own.
        save_patterns(database, make_pattern("delta"))
        assert len(database.model_keys()) == 4


@pytest.mark.slow
def test_a_copy_that_was_broken_off_goes_on(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = f"sqlite:///{tmp_path / 'target.db'}"
    monkeypatch.setattr(copying, "ROWS", 7)

    def break_off(table: str, rows: int) -> None:
        if table == "tensor_patterns":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_database(source, target, on_table=break_off)
    found = copy_database(source, target)
    assert 0 < found.new_rows < sum(found.rows.values())
    assert_same(source, target)
    assert copy_database(source, target).new_rows == 0


KILLED = """
import os, signal, sys
from patterndb import copying
copying.ROWS = 7
def kill(table, rows):
    if table == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)
copying.copy_database(sys.argv[1], sys.argv[2], on_table=kill)
"""


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_a_copy_that_is_killed_again_and_again_goes_on(
    engine: str, source: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    made = request.getfixturevalue("create_postgres")() if engine == "postgres" else ""
    target = made or f"sqlite:///{tmp_path / 'target.db'}"
    for table in ("models", "models", "patterns", "tensor_patterns", "metrics"):
        words = [sys.executable, "-c", KILLED, source, target, table]
        assert subprocess.run(words, check=False, cwd=ROOT).returncode == -signal.SIGKILL
    found = copy_database(source, target)
    assert 0 < found.new_rows < sum(found.rows.values())
    assert_same(source, target)


@pytest.mark.slow
def test_a_target_with_rows_of_its_own_is_refused_and_left(source: str, tmp_path: Path) -> None:
    target = f"sqlite:///{tmp_path / 'target.db'}"
    with PatternDatabase.open(target) as database:
        save_patterns(database, *(make_pattern(f"other-{number}") for number in range(5)))
    with pytest.raises(StoreError, match="the source does not"):
        copy_database(source, target)
    with PatternDatabase.open(target) as database:
        assert len(database.model_keys()) == 5
    with pytest.raises(StoreError, match="into itself"):
        copy_database(source, source)


@pytest.mark.slow
def test_another_value_in_one_row_is_found(source: str, tmp_path: Path) -> None:
    target = tmp_path / "target.db"
    copy_database(source, f"sqlite:///{target}")
    with sqlite3.connect(target) as connection:
        connection.execute("UPDATE metrics SET value = value + 1e-9 WHERE rowid = 3")
    connection.close()
    with pytest.raises(StoreError, match="differs"):
        copy_database(source, f"sqlite:///{target}")
