"""Where the files of a run are, whether they are all there, and when and from what it found a model."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cli.repeating import mine_command
from patterndb.records import PatternRecord, RunRecord

if TYPE_CHECKING:
    from patterndb.store import PatternDatabase

__all__ = ["FileState", "Whereabouts", "find_pattern", "run_folder"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileState:
    """A file that the run left behind."""

    kind: str
    path: str
    num_bytes: int
    """As it was written."""
    state: Literal["intact", "missing", "changed"]
    """By its size."""
    url: str | None = None
    """Where other machines find it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """Of one mined model."""

    found: dt.datetime
    """When the run that found it ended; when it began, if it was killed."""
    command: str | None
    """How to mine it again with the same settings; None where no command says it."""
    source: str | None
    """What that run was asked for: a path, a key or a Hub id."""
    folder: str | None
    """None where the run left no files."""
    files: tuple[FileState, ...]
    same_files: tuple[str, ...] = ()
    """Other models whose files have the same digest."""
    versions: int = 1
    """Different weights that are kept under its key."""


def run_folder(home: Path, run: RunRecord) -> Path:
    """Where the files of all runs of the same request are, if they are there."""
    return home / "runs" / run.folder


def find_pattern(pattern: PatternRecord, database: "PatternDatabase", home: Path) -> Whereabouts:
    """Where the pattern's files are in this home folder, and what the run that found it was asked for."""
    run = database.run(pattern.run)
    asked = _asked_for(run, pattern)
    files = tuple(
        FileState(
            kind=each.kind,
            path=str(home / each.path),
            num_bytes=each.num_bytes,
            state=_state_of(home / each.path, each.num_bytes),
            url=each.url,
        )
        for each in pattern.artifacts
    )
    origins = database.origins([pattern.model.key]).get(pattern.model.key, ())
    return Whereabouts(
        found=run.finished or run.started,
        command=None if asked is None else mine_command(asked, pattern.settings),
        source=pattern.provenance.get("source") or (asked or {}).get("weights") or (asked or {}).get("name"),
        same_files=database.same_files(pattern.model.key, pattern.model.sha256),
        versions=len({sha256 for _, sha256 in origins}),
        folder=str(Path(files[0].path).parent) if files else None,
        files=files,
    )


def _state_of(path: Path, num_bytes: int) -> Literal["intact", "missing", "changed"]:
    try:
        return "intact" if path.stat().st_size == num_bytes else "changed"
    except OSError:
        return "missing"


def _asked_for(run: RunRecord, pattern: PatternRecord) -> Mapping[str, Any] | None:
    """What the run was asked for when it found the pattern."""
    for model, asked in zip(run.models, run.request.get("models", ()), strict=False):
        if pattern.pattern_key == model.pattern_key or pattern.model.key == model.key:
            found: Mapping[str, Any] = asked
            return found
    return None
