"""Persist: write a pattern into the folder of its request and into the database.

What is written depends on the stages' results alone, so a run that was killed and resumed leaves the same rows and
files as one that was not.
"""

import math
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from dna_zoo.files import file_sha256, remove_unfinished
from patterndb.records import ArtifactRecord, PatternRecord
from patterndb.store import PatternDatabase
from pipeline.kept.artifacts import ArtifactStore
from pipeline.kept.stages import content_key, write_json

__all__ = ["PERSIST_VERSION", "RUN_LOG", "are_intact", "persist", "summary_of", "write_run_folder"]

PERSIST_VERSION = "3"
RUN_LOG = "run.log"
"""The file beside the models' folders in which a run says what it does."""
TIMES = {"seconds"}
"""Keys left out of the run's files, which are to be the same whenever and however often they are written."""


def persist(
    pattern: PatternRecord,
    history: Sequence[Mapping[str, Any]],
    dna: Path | None,
    *,
    request_key: str,
    home: Path,
    database: PatternDatabase,
    store: ArtifactStore | None = None,
    on_step: Callable[[str], None] = lambda step: None,
) -> None:
    """Write the pattern into the folder of its request in `home`, and keep it in the database, whole or not at all.

    - `history`, `dna`: of the fit; none and None for a model without one.
    - `store`: is given the files, too, before the database tells of them.
    """
    folder = home / "runs" / request_key / _as_folder(pattern.model.key)
    # Another version of the model, or one that was renamed since, keeps its files.
    if database.patterns_in(folder.relative_to(home).as_posix()) - {pattern.pattern_key}:
        folder = folder.with_name(f"{folder.name}-{pattern.pattern_key[:8]}")
    written = write_run_folder(folder, home, pattern, history, dna)
    artifacts = _stored(written, home, store) if store else _found_again(written, pattern, database)
    database.save_pattern(replace(pattern, artifacts=artifacts), on_step)


def _stored(artifacts: Sequence[ArtifactRecord], home: Path, store: ArtifactStore) -> tuple[ArtifactRecord, ...]:
    """With their URLs, where they are now."""
    return tuple(replace(each, url=store.put(home / each.path, each)) for each in artifacts)


def _found_again(
    artifacts: Sequence[ArtifactRecord], pattern: PatternRecord, database: PatternDatabase
) -> tuple[ArtifactRecord, ...]:
    """With the URLs that the model's current pattern has for the same bytes: they are still there."""
    _, known = database.current_key(pattern.model.key) or ("", ())
    urls = {each.sha256: each.url for each in known}
    return tuple(replace(each, url=urls.get(each.sha256)) for each in artifacts)


def _as_folder(key: str) -> str:
    """A model's key as the name of one folder. A Hub id's slash becomes `--`; what else a folder cannot be called
    is replaced, with a hash so that two keys never share a folder, and that the run's log keeps its name."""
    name = key.replace("/", "--")
    safe = re.sub(r"[^A-Za-z0-9._-]", "-", name).lstrip(".")
    return name if safe == name != RUN_LOG else f"{safe}-{content_key(key)[:8]}"


def write_run_folder(
    folder: Path, home: Path, pattern: PatternRecord, history: Sequence[Mapping[str, Any]], dna: Path | None
) -> tuple[ArtifactRecord, ...]:
    """`summary.json`, `training_history.json` and the DNA in `checkpoints` under the run's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for each in (folder, folder / "checkpoints"):
        remove_unfinished(each)
    write_json(folder / "summary.json", _plain(summary_of(pattern)), indent=1)
    paths = {"summary": folder / "summary.json"}
    if dna is not None:
        write_json(folder / "training_history.json", _plain(list(history)), indent=1)
        paths["training_history"] = folder / "training_history.json"
        paths["checkpoint"] = folder / "checkpoints" / dna.name
        _copy(dna, paths["checkpoint"])
    return tuple(_artifact(kind, path, home) for kind, path in paths.items())


def are_intact(artifacts: Sequence[ArtifactRecord], home: Path) -> bool:
    """Whether every file is there as it was written."""
    return all(
        (home / each.path).is_file() and _artifact(each.kind, home / each.path, home) == replace(each, url=None)
        for each in artifacts
    )


def summary_of(pattern: PatternRecord) -> dict[str, Any]:
    """The findings without the single tensors' statistics, which the database has, and without who found them when."""
    data = asdict(pattern)
    for tensor in data["tensors"]:
        del tensor["statistics"]
    for name in ("artifacts", "clusters", "run"):
        del data[name]
    return data


def _plain(value: Any) -> Any:
    """JSON without times, and without NaN and infinity, which become null."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items() if key not in TIMES}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _copy(source: Path, target: Path) -> None:
    """A link where the file system has them, else a copy; there whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copyfile(source, temporary)
    os.replace(temporary, target)
    temporary.unlink(missing_ok=True)  # Replacing a file by a link to itself leaves both names.


def _artifact(kind: str, path: Path, home: Path) -> ArtifactRecord:
    place, size = path.relative_to(home).as_posix(), path.stat().st_size
    return ArtifactRecord(kind=kind, path=place, sha256=file_sha256(path), num_bytes=size)
