"""SQLite files in places that are less than a disk of one's own: read-only, full, or without locks."""

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dna_zoo.errors import StoreError
from dna_zoo.files import has_room, keeps_locks, may_be_written

__all__ = ["NO_ROOM", "UNWRITABLE", "explain", "require_disk", "unchanged", "way_to_open"]

Sentences = tuple[str, str]
"""What is said of the database, and what to do."""
NO_ROOM: Sentences = ("has no room: its disk is full", "Free some space on its disk and run the same command again.")
UNWRITABLE: Sentences = (
    "cannot be written: its file or its folder may only be read",
    "Give yourself write access to both, or name another database with `--db`.",
)
LIMITED: Sentences = (
    "has no room: this process may not write files of its size",
    "Raise the limit (`ulimit -f`) and run the same command again.",
)
INDEX = 1 << 16
"""Bytes that the index of a write-ahead log needs on the disk, and some more."""
SMALL_BLOCKS, MUCH = 1 << 12, 1 << 22
"""SQLite maps that index into memory, and asks for one byte of each 4 KiB of it. On a disk with smaller blocks the
others may be gone when they are needed, and the system ends the process (SIGBUS): there must be room for whole
transactions."""
IN_WAL = b"\x02\x02"
"""Bytes 18 and 19 of a SQLite file that is used with a write-ahead log."""


def way_to_open(path: Path) -> str:
    """The parameters with which SQLite is to open the file; one that is not there is not made.

    Readers of a write-ahead log make a file beside the database. Where nobody may do so, or where the disk is full, the
    database is read as a file that does not change; `unchanged` makes sure of it. Raises `StoreError` where that would
    miss what was written last, and for a disk without locks.
    """
    if _is_frozen(path):
        return "mode=ro&immutable=1"
    _require_locks(path)
    return "mode=rw"


def require_disk(path: Path) -> None:
    """Raise `StoreError` where files beside the database cannot be locked, or have no room at all."""
    if path.absolute().parent.exists() and _is_full(path.absolute().parent):
        raise StoreError(f"{str(path)!r} {NO_ROOM[0]}.", hint=NO_ROOM[1])
    _require_locks(path)


def _require_locks(path: Path) -> None:
    if not _keeps_locks(path.absolute().parent):
        raise StoreError(
            f"The disk of {str(path)!r} keeps no locks, so processes would spoil each other's work.",
            hint="Put the database on a local disk, or on PostgreSQL where several machines are to see it.",
        )


@functools.cache
def _keeps_locks(folder: Path) -> bool:
    return keeps_locks(folder)


@contextmanager
def unchanged(path: Path | None) -> Iterator[None]:
    """Raise `StoreError` at the end if a file that was read as one that does not change was written meanwhile."""
    if path is None or not _is_frozen(path):
        yield
        return
    before = _state(path)
    try:
        yield
    except StoreError as error:
        _require(before, path, error)
        raise
    _require(before, path, None)


def _require(before: Any, path: Path, cause: StoreError | None) -> None:
    if _state(path) != before:
        message = f"{str(path)!r} was written while it was read."
        raise StoreError(message, hint="Run the same command again.") from cause


def _state(path: Path) -> tuple[int, ...]:
    """What a writer changes."""
    return tuple(
        number
        for each in (path, _beside(path, "wal"))
        if each.exists()
        for number in (each.stat().st_mtime_ns, each.stat().st_size)
    )


def _is_frozen(path: Path) -> bool:
    """Whether the file has a write-ahead log that cannot be used where it is, and nothing is in that log.

    Raises `StoreError` where something is.
    """
    folder = path.absolute().parent
    if may_be_written(folder) and not _is_full(folder):
        return False
    log, index = _beside(path, "wal"), _beside(path, "shm")
    if log.exists() and index.exists():
        return False  # SQLite reads along with whoever writes, or has written.
    # Not before here: to close a file takes away all locks that this process has on it.
    if not _is_in_wal(path):
        return False
    if log.exists() and log.stat().st_size:
        where = "on a full disk" if may_be_written(folder) else "in a read-only folder"
        raise StoreError(
            f"What was written last to {str(path)!r} is still in {log.name!r}, which cannot be read {where}.",
            hint="Copy both files into a folder of your own, with room, and name that copy with `--db`.",
        )
    return True


def _is_full(folder: Path) -> bool:
    """Whether the disk has no room for the index of a write-ahead log."""
    if not hasattr(os, "statvfs"):  # Another system; SQLite says so itself.
        return False
    found = os.statvfs(folder)
    if not found.f_blocks:  # A file system that does not tell its size, as some that are no disk.
        return False
    return found.f_bavail * found.f_frsize < (INDEX if found.f_frsize >= SMALL_BLOCKS else MUCH)


def _is_in_wal(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return os.pread(file.fileno(), 2, 18) == IN_WAL
    except OSError:  # SQLite says what is wrong with it.
        return False


def _beside(path: Path, what: str) -> Path:
    """SQLite's own file beside the database."""
    return path.with_name(f"{path.name}-{what}")


def explain(path: Path) -> Sentences | None:
    """Why SQLite failed on the file, where it has only such words as "disk I/O error"; None where nothing is found.

    Only a full disk has a code of its own; a quota has none, and neither has too little room for the log's index.
    """
    folder = path.absolute().parent
    if not may_be_written(folder) or (path.exists() and not os.access(path, os.W_OK)):
        return UNWRITABLE if folder.exists() else None
    if not has_room(folder):
        return NO_ROOM
    return LIMITED if _is_limited() else None


def _is_limited() -> bool:
    """Whether files of this process may only grow to a size."""
    try:
        import resource
    except ImportError:
        return False
    return resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY
