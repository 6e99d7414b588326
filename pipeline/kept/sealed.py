"""Files that carry their own digest: as they were written, or as good as not there.

A power cut, a full disk or a flipped bit may leave a file that is cut short, full of zeros or slightly another. What a
killed stage goes on from is read through here, so that such a file costs the work that is in it and nothing else.
"""

import hashlib
import io
import json
import logging
from pathlib import Path
from typing import Any

import torch

from dna_zoo.files import whole_file

__all__ = ["load_json", "load_tensors", "save_json", "save_tensors"]

log = logging.getLogger(__name__)
SEAL_BYTES = 32


def save_tensors(value: Any, path: Path) -> None:
    """`torch.save` with a sha256 behind it, which `torch.load` does not mind; there whole or not at all.

    Only tensors and plain containers, so that `weights_only` loads it.
    """
    content = io.BytesIO()  # Given a path, torch writes its name into the file.
    torch.save(value, content)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as made, made.open("wb") as file:
        file.write(content.getbuffer())
        file.write(hashlib.sha256(content.getbuffer()).digest())


def load_tensors(path: Path, device: torch.device | str | None = None) -> Any:
    """What `save_tensors` wrote; None where it is not there, or not as it was written."""
    try:
        data = memoryview(path.read_bytes())
    except FileNotFoundError:
        return None
    content, seal = data[:-SEAL_BYTES], data[-SEAL_BYTES:]
    if hashlib.sha256(content).digest() != bytes(seal):
        _give_up(path)
        return None
    return torch.load(io.BytesIO(content), weights_only=True, map_location=device)


def save_json(path: Path, value: Any) -> None:
    """`{"sha256", "value"}`, the digest being that of the value's JSON; there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as made:
        made.write_text(json.dumps({"sha256": _digest(value), "value": value}) + "\n")


def load_json(path: Path) -> Any:
    """What `save_json` wrote; None where it is not there, or not as it was written."""
    try:
        data = json.loads(path.read_bytes())
        value = data["value"]
        if data["sha256"] == _digest(value):
            return value
    except FileNotFoundError:
        return None
    except (ValueError, LookupError, TypeError):
        pass
    _give_up(path)
    return None


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _give_up(path: Path) -> None:
    log.warning("%s is not as it was written: what was in it is computed again.", path)
