"""Where finished stages are kept: a folder a stage and key, with `result.json` written last.

A key is a hash of everything the result depends on: what came before, the settings, the seed, the version of the stage.
A folder without `result.json` is work in progress, which the stage may go on with. `digests.json` holds the sha256 of
the result and of the files that belong to it: a stage that is not as it was written is done again.
"""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dna_zoo.files import file_sha256, whole_file
from pipeline.machine.memory import measured_peak

__all__ = ["COST", "DIGESTS", "RESULT", "Finished", "StageStore", "content_key", "write_json"]

log = logging.getLogger(__name__)
KEY_LENGTH = 32
COST = "cost.json"
RESULT = "result.json"
DIGESTS = "digests.json"
"""Of the result and the files of a stage; stages of older versions have none, and are taken as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A stage that is done."""

    key: str
    directory: Path
    result: Any
    """Plain JSON."""
    seconds: float
    """Of the attempt that finished it."""
    is_reused: bool


def content_key(*parts: Any) -> str:
    """A hash of plain JSON values: 32 hex digits of the sha256 of their canonical form."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def write_json(path: Path, value: Any, *, indent: int | None = None) -> None:
    """The file is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as made:
        made.write_bytes(_as_json(value, indent=indent))


def _as_json(value: Any, *, indent: int | None = None) -> bytes:
    return (json.dumps(value, indent=indent) + "\n").encode()


def _is_as_written(directory: Path, result: bytes) -> bool:
    """Whether result and files are those of `digests.json`. Raises `ValueError` or `TypeError` if that is damaged."""
    try:
        kept = json.loads((directory / DIGESTS).read_bytes())
    except FileNotFoundError:
        return True
    files = {name: digest for name, digest in dict(kept).items() if name != RESULT}
    return kept.get(RESULT) == hashlib.sha256(result).hexdigest() and all(
        (directory / name).is_file() and file_sha256(directory / name) == digest for name, digest in files.items()
    )


class StageStore:
    """The folder `stages` of the home."""

    def __init__(self, home: Path) -> None:
        self._root = home / "stages"

    def directory(self, stage: str, key: str) -> Path:
        return self._root / stage / key[:2] / key

    def find(self, stage: str, key: str) -> Finished | None:
        """The finished stage of that key, if there is one, and if it is as it was written."""
        directory = self.directory(stage, key)
        try:
            content = (directory / RESULT).read_bytes()
            if not _is_as_written(directory, content):
                log.warning("%s is not as it was written: it is done again.", directory)
                return None
            data = json.loads(content)
            result, seconds = data["result"], data["seconds"]
        except (FileNotFoundError, ValueError, KeyError, TypeError):  # Absent, or damaged: then it is done again.
            return None
        return Finished(key=key, directory=directory, result=result, seconds=seconds, is_reused=True)

    def run(
        self,
        stage: str,
        key: str,
        compute: Callable[[Path], Any],
        *,
        files: Sequence[str] = (),
        force: bool = False,
    ) -> Finished:
        """The finished stage, computed now unless it is there; `force` throws away what is there first.

        - `files`: what `compute` may leave in the folder that belongs to the result.
        """
        directory = self.directory(stage, key)
        if force:
            shutil.rmtree(directory, ignore_errors=True)
        finished = self.find(stage, key)
        if finished is not None:
            return finished
        directory.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        with measured_peak() as peak:
            result = compute(directory)
        seconds = time.perf_counter() - started
        # Beside the result, which may be large: whoever estimates reads the costs of many stages.
        cost = {"seconds": seconds, "memory_bytes": peak.memory_bytes, "gpu_bytes": peak.gpu_bytes}
        write_json(directory / COST, cost)
        content = _as_json({"seconds": seconds, "result": result})
        left = {name: file_sha256(directory / name) for name in files if (directory / name).is_file()}
        write_json(directory / DIGESTS, {**left, RESULT: hashlib.sha256(content).hexdigest()})
        with whole_file(directory / RESULT) as made:
            made.write_bytes(content)
        return Finished(key=key, directory=directory, result=result, seconds=seconds, is_reused=False)
