"""Where finished stages are kept: a folder a stage and key, with `result.json` written last.

A key is a hash of everything the result depends on: what came before, the settings, the seed, the version of the stage.
A folder without `result.json` is work in progress, which the stage may go on with.
"""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dna_zoo.files import whole_file
from pipeline.memory import measured_peak

__all__ = ["COST", "Finished", "StageStore", "content_key", "read_checked", "write_checked", "write_json"]

log = logging.getLogger(__name__)
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
        """The finished stage of that key, if there is one whose result is as it was written."""
        directory = self.directory(stage, key)
        data = read_checked(_path(directory)) or {}
        if not {"result", "seconds"} <= data.keys():  # Absent, or damaged: then it is done again.
            return None
        result, seconds = data["result"], data["seconds"]
        return Finished(key=key, directory=directory, result=result, seconds=seconds, is_reused=True)

    def run(
        self,
        stage: str,
        key: str,
        compute: Callable[[Path], Any],
        *,
        force: bool = False,
        keeps: Sequence[str] = (),
    ) -> Finished:
        """The finished stage, computed now unless it is there; `force` throws away what is there first.

        - `keeps`: files of the folder that later stages read. A stage one of whose files is not as it was written is
          done again.
        """
        directory = self.directory(stage, key)
        if force:
            shutil.rmtree(directory, ignore_errors=True)
        finished = self.find(stage, key)
        if finished is not None and _are_whole(directory):
            return finished
        if finished is not None:
            log.warning("A file of the stage %r was damaged: it is done again (%s).", stage, key)
            shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        with measured_peak() as peak:
            result = compute(directory)
        seconds = time.perf_counter() - started
        # Beside the result, which may be large: whoever estimates reads the costs of many stages.
        cost = {"seconds": seconds, "memory_bytes": peak.memory_bytes, "gpu_bytes": peak.gpu_bytes}
        write_json(directory / COST, cost)
        digests = {name: _digest_of(directory / name) for name in keeps if (directory / name).exists()}
        write_checked(_path(directory), {"files": digests, "seconds": seconds, "result": result})
        return Finished(key=key, directory=directory, result=result, seconds=seconds, is_reused=False)


def _path(directory: Path) -> Path:
    return directory / "result.json"


def write_checked(path: Path, found: Mapping[str, Any]) -> None:
    """JSON of two lines, the digest of the second in the first, so that it is checked as it stands; whole or not there.

    `found` is not empty and has no `sha256`.
    """
    rest = json.dumps(found)[1:]
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as made:
        made.write_text(f'{{"sha256": "{hashlib.sha256(rest.encode()).hexdigest()}",\n{rest}\n')


def read_checked(path: Path) -> dict[str, Any] | None:
    """What `write_checked` kept; None where nothing is there or it is damaged. Of older versions, as it is."""
    try:
        data = path.read_bytes()
        found = json.loads(data)
        rest = data.partition(b"\n")[2].rstrip(b"\n")
        if rest and found["sha256"] != hashlib.sha256(rest).hexdigest():
            return None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, dict) else None


def _are_whole(directory: Path) -> bool:
    """Whether the files that later stages read are as they were written; of older versions nobody knows."""
    try:
        known = (read_checked(_path(directory)) or {}).get("files", {})
        return all(_digest_of(directory / name) == digest for name, digest in known.items())
    except OSError:
        return False


def _digest_of(path: Path) -> str:
    """The sha256 of a file, read a piece at a time."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
