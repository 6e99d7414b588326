"""Mining of tiny checkpoints for tests: settings that cost little, and what a run left in its home and database."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from patterndb.records import RunRecord
from patterndb.store import PatternDatabase
from pipeline.events import Event, OnEvent, ignore
from pipeline.fetch.request import ModelRequest
from pipeline.runs.runner import mine
from pipeline.settings import AnalysisSettings, FitSettings, MineSettings

FAST = MineSettings(
    fit=FitSettings(epochs=6, checkpoint_every=2, hidden_dim=4, rank=2, num_nulls=1),
    analysis=AnalysisSettings(num_nulls=2),
)
STAGES = ("fetch", "extract", "order", "fit", "analyse", "persist")
TIMES = {"seconds", "confirmed_at", "run_id", "digests"}
"""Columns that tell when something was done, in which run, and how long it took, or hold a digest of that too."""
HISTORY = ("runs", "run_models", "stages")
"""Tables of what was done, of which every run adds to."""


def database_of(home: Path) -> PatternDatabase:
    home.mkdir(parents=True, exist_ok=True)
    return PatternDatabase.open(f"sqlite:///{home / 'dna-zoo.db'}")


def request(directory: Path, key: str = "tiny") -> ModelRequest:
    """A local directory under a name of our own."""
    return ModelRequest(name=key, weights=directory, key=key)


def mine_into(
    home: Path,
    requests: Sequence[ModelRequest],
    settings: MineSettings = FAST,
    *,
    on_event: OnEvent = ignore,
    force: bool = False,
) -> RunRecord:
    """Mine with the database beside everything else in `home`."""
    with database_of(home) as database:
        return mine(requests, settings, database=database, home=home, on_event=on_event, force=force)


def endings(events: Sequence[Event]) -> dict[str, str]:
    """Stage -> `done` or `reused`."""
    return {event.stage: event.kind for event in events if event.kind in ("done", "reused") and event.stage != "mine"}


def tables(home: Path) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table but those of the history, without times; and where each model got to in the last run."""
    with sqlite3.connect(home / "dna-zoo.db") as connection:
        connection.row_factory = sqlite3.Row
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        kept = sorted(set(names) - set(HISTORY))
        rows = {name: [dict(row) for row in connection.execute(f"SELECT * FROM {name}")] for name in kept}
    connection.close()
    found = {
        name: [{key: value for key, value in row.items() if key not in TIMES} for row in found]
        for name, found in rows.items()
    }
    return found | {"last run": _last_run(home)}


def _last_run(home: Path) -> list[dict[str, Any]]:
    """Its models and stages, without times and without what of them was there before."""
    with database_of(home) as database:
        (run,) = database.runs(limit=1)
    return [
        {
            "status": run.status,
            "request": run.request,
            "model": (model.key, model.status, model.pattern_key, model.error),
            "stages": [(stage.stage, stage.key, stage.status, stage.error) for stage in model.stages],
        }
        for model in run.models
    ]


def run_files(home: Path) -> dict[str, bytes]:
    """The files of all runs, by their path; the log, which tells the time, left out."""
    return {
        path.relative_to(home).as_posix(): path.read_bytes()
        for path in sorted((home / "runs").rglob("*"))
        if path.is_file() and path.name != "run.log"
    }


def stamps(folder: Path) -> dict[str, int]:
    """When each file below was last written."""
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
