"""Files that are there whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["whole_file"]


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
