"""Where the files of a model are: a folder, or those of a mined key."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dna_zoo.errors import JoinError
from pipeline.lineage.mined import find_weights

if TYPE_CHECKING:
    from patterndb.store import PatternDatabase

__all__ = ["folder_of", "read_json"]


def folder_of(name: str, database: "PatternDatabase | None", *, home: Path) -> Path:
    """The folder of a model: `name` itself, or where the files of that mined key are.

    Raises `JoinError` where it has no `config.json`, `NotMinedError` for an unknown key, `FetchError` for weights that
    are not on this machine.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if database is None:
            raise JoinError(f"There is no folder {name!r}.", hint="Give a model's folder, or the key of a mined model.")
        patterns = {pattern.model.key: pattern for pattern in database.patterns() if pattern.is_current}
        if name not in patterns:
            database.load_pattern(name)  # Raises, naming near misses.
        folder = find_weights(patterns[name], database, home=home).paths[0].parent
    if not (folder / "config.json").is_file():
        raise JoinError(
            f"{name!r} has no config.json beside its weights, so transformers cannot build it.",
            hint="Give a folder in Hugging Face's format.",
        )
    return folder


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
