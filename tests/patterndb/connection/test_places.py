"""SQLite files that may only be read, or whose disk is full or keeps no locks; `tests/test_faults.py` has real ones."""

import os
import resource
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from dna_zoo.errors import StoreError
from patterndb.connection import places
from patterndb.store import PatternDatabase
from tests.support.patterns import make_pattern, save_patterns


@pytest.fixture
def path(tmp_path: Path, migrated_sqlite: Path) -> Path:
    """A database with a pattern, which nobody has open."""
    shutil.copy(migrated_sqlite, tmp_path / "zoo.db")
    with PatternDatabase.open(f"sqlite:///{tmp_path / 'zoo.db'}") as database:
        save_patterns(database, make_pattern())
    return tmp_path / "zoo.db"


@pytest.fixture
def closed(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same in a folder that may only be read, root or not."""
    monkeypatch.setattr(places, "may_be_written", lambda folder: False)
    return path


@pytest.fixture
def database(closed: Path) -> Iterator[PatternDatabase]:
    with PatternDatabase.open(f"sqlite:///{closed}", create=False) as opened:
        yield opened


def test_what_may_only_be_read_is_read_without_a_file_beside_it(database: PatternDatabase, closed: Path) -> None:
    with database._reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM patterns").scalar() == 1
        assert [each.name for each in closed.parent.iterdir()] == ["zoo.db"]
    assert database.load_pattern("alpha") == make_pattern()


def test_what_may_only_be_read_is_said_to_be_so_when_it_is_written(database: PatternDatabase) -> None:
    with pytest.raises(StoreError, match="cannot be written") as caught:
        database.start_run("run-2", {})
    assert "write access" in caught.value.hint


def test_what_is_written_while_it_is_read_as_unchanging_is_told(database: PatternDatabase, closed: Path) -> None:
    with pytest.raises(StoreError, match="written while it was read"), database._reading():
        other = sqlite3.connect(closed)
        other.execute("DELETE FROM patterns")
        other.commit()
        other.close()


def test_a_log_that_cannot_be_read_is_named_and_not_passed_over(closed: Path) -> None:
    writer = sqlite3.connect(closed, isolation_level=None)
    writer.execute("INSERT INTO model_tags (key, tag) VALUES ('alpha', 'new')")
    copy = closed.with_name("copy.db")
    for end in ("", "-wal"):
        Path(f"{copy}{end}").write_bytes(Path(f"{closed}{end}").read_bytes())
    writer.close()
    with pytest.raises(StoreError, match=r"still in 'copy\.db-wal'") as caught:
        PatternDatabase.open(f"sqlite:///{copy}", create=False)
    assert "Copy both files" in caught.value.hint


def test_a_full_disk_is_read_and_not_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "INDEX", 1 << 62)
    monkeypatch.setattr(places, "has_room", lambda folder: False)
    with PatternDatabase.open(f"sqlite:///{path}", create=False) as database:
        assert database.load_pattern("alpha") == make_pattern()
        with pytest.raises(StoreError, match="its disk is full"):
            database.start_run("run-2", {})
    with pytest.raises(StoreError, match="its disk is full"):
        PatternDatabase.open(f"sqlite:///{path.with_name('new.db')}")
    assert not path.with_name("new.db").exists()


def test_what_does_not_tell_its_size_is_not_full() -> None:
    folder = Path("/proc")
    if not folder.is_dir() or os.statvfs(folder).f_blocks:
        pytest.skip("There is no file system without a size here.")
    assert not places._is_full(folder)


def test_a_disk_without_locks_is_told_before_anything_is_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_keeps_locks", lambda folder: False)
    for name in ("zoo.db", "new.db"):
        with pytest.raises(StoreError, match="keeps no locks") as caught:
            PatternDatabase.open(f"sqlite:///{path.with_name(name)}")
        assert "local disk" in caught.value.hint
    assert not path.with_name("new.db").exists()


def test_a_limit_on_the_size_of_files_is_told_with_what_raises_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1 << 20, 1 << 20))
    assert places.explain(path) == places.LIMITED
