"""Locks of a home: models are mined side by side, each by one process; whoever deletes in it does so alone."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from dna_zoo.errors import StoreError

__all__ = ["mining", "not_mined", "nothing_mined"]

FOLDER = "locks"
HOME = "home"
"""The file that all who mine share, and that whoever deletes has alone."""
BUSY_HINT = "Run the command again when it is done: see `dna-zoo runs`."


@contextmanager
def mining(home: Path, digest: str) -> Iterator[None]:
    """Hold the model whose files have this digest, and keep the home from those who delete in it; waits for both."""
    (home / FOLDER).mkdir(parents=True, exist_ok=True)
    with _home_lock(home, alone=False), FileLock(_model(home, digest)):
        yield


@contextmanager
def nothing_mined(home: Path) -> Iterator[None]:
    """Keep everybody from mining in the home: they wait. Raises `StoreError` while a model is mined."""
    with ExitStack() as held:
        try:
            (home / FOLDER).mkdir(parents=True, exist_ok=True)
            held.enter_context(_home_lock(home, alone=True))
        except BlockingIOError as error:
            raise StoreError("A model is being mined in this home just now.", hint=BUSY_HINT) from error
        except OSError as error:
            hint = "Check that you may write there, and that the disk has room."
            raise StoreError(f"{str(home)!r} cannot be written ({error.strerror}).", hint=hint) from error
        yield


@contextmanager
def not_mined(home: Path, digests: set[str]) -> Iterator[None]:
    """Keep everybody from mining these models in the home. Raises `StoreError` while one of them is."""
    with ExitStack() as held:
        # What was never mined here has no lock; a name that leads elsewhere is none of ours.
        for path in (path for digest in sorted(digests) if (path := _model(home, digest)).parent == home / FOLDER):
            if path.is_file():
                try:
                    held.enter_context(FileLock(path, timeout=0))
                except Timeout as error:
                    raise StoreError("The model is being mined in this home just now.", hint=BUSY_HINT) from error
                except OSError:  # Who cannot lock it cannot write here: what follows says so.
                    continue
        yield


def _model(home: Path, digest: str) -> Path:
    return home / FOLDER / f"{digest}.lock"


@contextmanager
def _home_lock(home: Path, *, alone: bool) -> Iterator[None]:
    """The lock of the whole home, which many may share. Raises `BlockingIOError` where it cannot be had alone."""
    try:
        import fcntl
    except ImportError:  # Another system, whose locks cannot be shared.
        yield
        return
    file = os.open(home / FOLDER / HOME, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB if alone else fcntl.LOCK_SH)
        yield
    finally:
        os.close(file)
