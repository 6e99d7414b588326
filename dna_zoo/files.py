"""Files that are there whole or not at all, and what a folder's disk can do."""

import errno
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dna_zoo.errors import DnaZooError, OutputError

__all__ = [
    "NO_ROOM",
    "file_sha256",
    "has_room",
    "keeps_locks",
    "may_be_written",
    "remove_unfinished",
    "whole_file",
    "whole_output",
]

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What the system says of a disk, a quota or a limit that is used up."""
UNFINISHED = re.compile(r"\..+\.[0-9]+(\.[^.]*)?")
"""What `whole_file` calls a file until it is complete."""
PROBE = 1 << 17
"""Bytes that a disk with room takes."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A place beside `path` to write a file to, which becomes `path` at the end of the block; if that fails nothing is
    left of it, and what was at `path` stays.

    The bytes are on the disk before the name is, so that a power cut leaves the
    old file or the new one. Raises `OSError` where it cannot be written.
    """
    # In the folder of the target, since only within a file system can a file be put in place in one step; with its
    # suffix, by which some writers know what to write.
    made = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield made
        with made.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(made, path)
    finally:
        made.unlink(missing_ok=True)


def file_sha256(path: Path) -> str:
    """The sha256 of the file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def whole_output(path: Path, kind: type[DnaZooError] = OutputError) -> Iterator[Path]:
    """`whole_file` for a file that a person asked for. Raises an error of that kind where it cannot be written."""
    try:
        with whole_file(path) as made:
            yield made
    except OSError as error:
        raise kind(
            f"Cannot write {str(path)!r}: {error.strerror or error}.",
            hint="Check that the folder exists, that you may write there, and that the disk has room.",
        ) from error


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes left of `whole_file` in the folder. Nobody may be writing there."""
    for each in folder.glob(".*"):
        if UNFINISHED.fullmatch(each.name):
            each.unlink(missing_ok=True)


def may_be_written(folder: Path) -> bool:
    """Whether files can be made in the folder: its mode allows it, and its disk is no read-only one."""
    return os.access(folder, os.W_OK | os.X_OK)


def has_room(folder: Path) -> bool:
    """Whether a little more fits on the folder's disk and into its quota; tried by writing it. True where it cannot be
    tried."""
    try:
        with _probe(folder) as probe:
            os.write(probe, bytes(PROBE))
            os.fsync(probe)
    except OSError as error:
        return error.errno not in NO_ROOM
    return True


def keeps_locks(folder: Path) -> bool:
    """Whether files in the folder can be locked, as some network disks do not allow; true where it cannot be tried."""
    try:
        import fcntl
    except ImportError:  # Another system, with locks of another kind.
        return True
    with suppress(OSError), _probe(folder) as probe:
        try:
            # Both kinds: SQLite takes the one, locks of models are the other.
            fcntl.lockf(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # Nobody else has a lock on it: it is new.
            return False
    return True


@contextmanager
def _probe(folder: Path) -> Iterator[int]:
    """A new file that is gone at the end, opened to be written."""
    path = folder / f".probe.{os.getpid()}.{os.urandom(4).hex()}"
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    try:
        yield file
    finally:
        os.close(file)
        with suppress(OSError):
            path.unlink()
