"""Where finished stages are kept: a folder a stage and key, with `result.json` written last.

A key is a hash of everything the result depends on: what came before, the settings, the seed, the version of the stage.
A folder without `result.json` is work in progress, which the stage may go on with.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dna_zoo.files import whole_file
from pipeline.memory import measured_peak

__all__ = ["COST", "Finished", "StageStore", "content_key", "write_json"]

KEY_LENGTH = 32
COST = "cost.json"


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
        made.write_text(json.dumps(value, indent=indent) + "\n")


class StageStore:
    """The folder `stages` of the home."""

    def __init__(self, home: Path) -> None:
        self._root = home / "stages"

    def directory(self, stage: str, key: str) -> Path:
        return self._root / stage / key[:2] / key

    def find(self, stage: str, key: str) -> Finished | None:
        """The finished stage of that key, if there is one."""
        directory = self.directory(stage, key)
        try:
            data = json.loads((directory / "result.json").read_text())
            result, seconds = data["result"], data["seconds"]
        except (FileNotFoundError, ValueError, KeyError, TypeError):  # Absent, or damaged: then it is done again.
            return None
        return Finished(key=key, directory=directory, result=result, seconds=seconds, is_reused=True)

    def run(self, stage: str, key: str, compute: Callable[[Path], Any], *, force: bool = False) -> Finished:
        """The finished stage, computed now unless it is there; `force` throws away what is there first."""
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
        write_json(directory / "result.json", {"seconds": seconds, "result": result})
        return Finished(key=key, directory=directory, result=result, seconds=seconds, is_reused=False)
