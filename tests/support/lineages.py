"""Databases that speak of real weights without having mined them."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from patterndb.store import PatternDatabase
from tests.support.patterns import make_pattern, save_patterns

__all__ = ["SPECIMENS", "save_as_mined"]

SPECIMENS = Path(__file__).parents[2] / "data" / "specimens"


def save_as_mined(database: PatternDatabase, folders: Iterable[Path], *, run: str = "run-1") -> None:
    """Patterns that a run over these folders of weights might have found; digests and paths are true."""
    folders = list(folders)
    patterns = []
    for seed, folder in enumerate(folders):
        pattern = make_pattern(folder.name, seed, run=run)
        digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        patterns.append(replace(pattern, model=replace(pattern.model, sha256=digest, repo=None, revision=None)))
    save_patterns(database, *patterns)
    asked = [{"name": str(folder), "key": None, "weights": None, "revision": None} for folder in folders]
    database.start_run(run, {"models": asked})
    database.finish_run(run, "done", 0)
