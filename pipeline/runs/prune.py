"""Prune: find the folders of a home that nothing needs any more, and delete them.

Needed is what a pattern of the database rests on, and what a run that is not done may go on with. What this database
never recorded may be another's, or of a run that was killed: it is left alone for `days`, and folders of unknown runs
for ever.
"""

import datetime as dt
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dna_zoo.errors import StoreError
from patterndb.models import Removed
from patterndb.records import ArtifactRecord
from patterndb.store import PatternDatabase
from pipeline.kept.locks import not_mined, nothing_mined
from pipeline.kept.stages import RESULT

__all__ = ["DAYS", "Unneeded", "delete_artifacts", "find_unneeded", "freed_bytes", "prune", "remove"]

STAGES = ("extract", "order", "fit", "analyse")
"""Those that are recorded; what comparisons and the library keep is small, and keyed by weights alone."""
DAYS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Unneeded:
    """A folder that nothing needs."""

    kind: Literal["stage", "run"]
    name: str
    """Of a stage, its name and key; of a run, its name."""
    path: Path
    num_bytes: int
    """That deleting it frees: a file that has another name elsewhere frees nothing."""


def find_unneeded(database: PatternDatabase, home: Path, *, days: float = DAYS) -> tuple[Unneeded, ...]:
    """The folders of stages and runs in `home` that nothing needs, the largest first. Reads names and sizes alone."""
    recent = dt.datetime.now(dt.UTC) - dt.timedelta(days=days)
    needs = database.needs(recent=recent)
    stages = (
        Unneeded(kind="stage", name=f"{stage} {path.name}", path=path, num_bytes=freed_bytes(path))
        for stage, path in _stage_folders(home)
        if (stage, path.name) not in needs.stages
        and ((stage, path.name) in needs.known_stages or _touched(path) < recent.timestamp())
    )
    runs = (
        Unneeded(kind="run", name=path.name, path=path, num_bytes=freed_bytes(path))
        for path in _folders(home / "runs")
        if path.name in needs.known_runs - needs.runs
    )
    return tuple(sorted((*stages, *runs), key=lambda each: (-each.num_bytes, each.name)))


def prune(database: PatternDatabase, home: Path, *, days: float = DAYS) -> tuple[Unneeded, ...]:
    """Delete what `find_unneeded` finds, while nobody mines in the home: a run may come to need what it did not.

    Raises `StoreError` while a model is mined in this home, or where a folder stays.
    """
    with nothing_mined(home):
        found = find_unneeded(database, home, days=days)
        for each in found:
            _delete(each)
    return found


def _delete(found: Unneeded) -> None:
    try:
        # A stage counts as done by this file: what is deleted in part must not.
        (found.path / RESULT).unlink(missing_ok=True)
        shutil.rmtree(found.path)
    except OSError as error:
        hint = "Check that you may write there, and run the command again."
        raise StoreError(f"{str(found.path)!r} cannot be deleted ({error.strerror}).", hint=hint) from error


def remove(database: PatternDatabase, key: str, home: Path) -> tuple[Removed, int]:
    """Take a model out of the database, and its files out of the folders of its runs; the bytes that this freed.

    Files at URLs stay: another database may have them too. Raises `NotMinedError` if there is no such model, and
    `StoreError` while it is mined in this home: what that has written belongs to the rows that would go.
    """
    digests = {sha256 for _, sha256 in database.origins([key]).get(key, ())}
    with not_mined(home, digests):
        removed = database.remove_model(key)
        return removed, delete_artifacts(removed.artifacts, home)


def delete_artifacts(artifacts: Sequence[ArtifactRecord], home: Path) -> int:
    """Delete the files that a pattern left in the folders of its runs, and folders that are empty then.

    Gives the bytes that this freed. A path that leads elsewhere, which no mining writes, is left alone.
    """
    freed, runs = 0, home / "runs"
    for path in (home / each.path for each in artifacts):
        if not path.is_file() or not path.resolve().is_relative_to(runs.resolve()):
            continue
        freed += _freed(path.stat())
        path.unlink()
        for folder in path.parents:
            if folder.parent in (runs, home) or any(folder.iterdir()):
                break
            folder.rmdir()
    return freed


def freed_bytes(folder: Path) -> int:
    """Bytes of the files below the folder that have no other name."""
    return sum(_freed((Path(place) / name).lstat()) for place, _, names in os.walk(folder) for name in names)


def _freed(state: os.stat_result) -> int:
    return state.st_size if state.st_nlink == 1 else 0


def _stage_folders(home: Path) -> Iterator[tuple[str, Path]]:
    for stage in STAGES:
        for part in _folders(home / "stages" / stage):
            for path in _folders(part):
                yield stage, path


def _folders(path: Path) -> list[Path]:
    return sorted(each for each in path.iterdir() if each.is_dir()) if path.is_dir() else []


def _touched(folder: Path) -> float:
    """When something in the folder was last written."""
    return max(path.lstat().st_mtime for path in (folder, *folder.rglob("*")))
