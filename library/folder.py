"""A folder that is there when it is complete, and not before: it is made beside its place and renamed."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dna_zoo.errors import OutputError

__all__ = ["new_folder"]

MODEL_FILE = "config.json"
"""A folder is replaced only if it holds a model: `--force` on the wrong path must not delete a home."""
REPLACED = ".replaced"
"""How the name of a folder ends that is out of the way of the one in its place."""


@contextmanager
def new_folder(path: Path, *, force: bool = False, marker: str = MODEL_FILE) -> Iterator[Path]:
    """A folder to write into, which becomes `path` at the end of the block; of a block that fails nothing is left.

    Raises `OutputError` if there is something at `path`, unless `force` and it is an empty folder or one of its kind,
    which has the file `marker`: a model's by default.
    """
    path = path.absolute()
    made = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        _put_back(path)
        _require_free(path, force=force, marker=marker)
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        yield made
        _require_free(path, force=force, marker=marker)
        _put_in_place(made, path)
    except OSError as error:
        raise OutputError(
            f"{str(path)!r} cannot be written ({error.strerror or error}).",
            hint="Check the permissions and the space of that disk, or name another folder.",
        ) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _require_free(path: Path, *, force: bool, marker: str) -> None:
    if not path.exists() and not path.is_symlink():
        return
    if not force:
        raise OutputError(f"{str(path)!r} is there already.", hint="Name another folder, or replace it with `--force`.")
    if not path.is_dir() or (any(path.iterdir()) and not (path / marker).is_file()):
        kind = "a model's folder" if marker == MODEL_FILE else f"a folder with a {marker!r}"
        raise OutputError(f"{str(path)!r} is not {kind}, and is not replaced.", hint="Name another folder.")


def _put_in_place(made: Path, path: Path) -> None:
    """Rename; what was there is out of the way first, and put back if that fails or is interrupted."""
    if not path.exists():
        made.rename(path)
        return
    try:
        path.rename(made.with_name(f"{made.name}{REPLACED}"))
        made.rename(path)
    finally:
        _put_back(path)


def _put_back(path: Path) -> None:
    """Give its place back to what was out of the way of a new folder when that failed, or the process was ended; remove
    it where the new one is there."""
    name = re.compile(rf"\.{re.escape(path.name)}\.[0-9]+{re.escape(REPLACED)}")
    for old in [each for each in path.parent.glob(".*") if name.fullmatch(each.name)]:
        if not path.exists():
            old.rename(path)
        elif old.is_symlink():
            old.unlink()
        else:
            shutil.rmtree(old, ignore_errors=True)
