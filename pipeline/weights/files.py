"""Files of weights on this disk: what fetching gives, and what is beside them."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dna_zoo.errors import DamagedFileError
from pipeline.settings import AdapterUse
from zoo.cards import ModelCard

__all__ = [
    "ADAPTER_CONFIG",
    "CONFIG_NAME",
    "DIFFUSION_NAMES",
    "INDEX_SUFFIX",
    "LARGEST_CONFIG",
    "WEIGHT_NAMES",
    "WEIGHT_SUFFIXES",
    "Origin",
    "WeightFiles",
    "read_config",
    "refuse_stand_ins",
]

Origin = Literal["package", "cache", "hub", "local"]

CONFIG_NAME = "config.json"
ADAPTER_CONFIG = "adapter_config.json"
INDEX_SUFFIX = ".index.json"
# In the order they are preferred: safetensors holds nothing but tensors, a `.bin` is a pickle.
WEIGHT_NAMES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "adapter_model.safetensors",
    "adapter_model.bin",
)
DIFFUSION_NAMES = (
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.safetensors.index.json",
    "diffusion_pytorch_model.bin",
)
"""What diffusers calls the weights of a component of its own."""
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf")
LARGEST_CONFIG = 8 << 20
"""Bytes of a `config.json`; the largest known, with 21,841 labels in both directions, has 2 MB."""
DEEPEST = 100
"""Levels of mappings and lists in a config."""
SPARSE = 1 << 30, 8
"""A file of at least so many bytes of which less than this part is on the disk holds no weights."""
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFiles:
    """The weights of one model, here and verified."""

    key: str
    """Name in the database."""
    repo: str | None
    revision: str | None
    """40 hex; None for files that came from no commit we know."""
    paths: tuple[Path, ...]
    """One file, or the shards sorted by name."""
    sha256: tuple[str, ...]
    """Of each path."""
    digest: str
    """The file's sha256, or the sha256 of the shards' hexadecimal digests written one after the other, and of the key
    of the state dict, where one was asked for."""
    num_bytes: int
    origin: Origin
    config: Mapping[str, Any] = field(default_factory=dict)
    """`config.json`, empty where the model has none."""
    card: ModelCard | None = None
    state_dict: str | None = None
    """Key of the mapping to read where a file holds several; it is part of `digest`."""
    adapter: Mapping[str, Any] = field(default_factory=dict)
    """`adapter_config.json` of an adapter; empty for a model."""
    adapter_use: AdapterUse = "merged"
    """Whether updates are asked for alone; without a configuration that decides whether a LoRA is read at all."""
    base: "WeightFiles | None" = None
    """The model that the adapter's updates are added to; None for the updates alone. `digest` is of both."""
    notes: tuple[str, ...] = ()
    """What was chosen where a folder left a choice."""


def read_config(path: Path | None) -> dict[str, Any]:
    """The `config.json` at `path`, empty if `path` is None or no file; NaN and infinity, unknown to JSON, are None."""
    if path is None or not path.is_file():
        return {}
    if (size := path.stat().st_size) > LARGEST_CONFIG:
        raise DamagedFileError(
            f"{str(path)!r} has {size:,} bytes; a config has at most {LARGEST_CONFIG:,}.",
            hint="Move it away: a model is read without it too, by names and shapes alone.",
        )
    try:
        config = _plain(json.loads(path.read_bytes()), DEEPEST)
    except (ValueError, RecursionError) as error:
        raise _bad_config(path) from error
    if not isinstance(config, dict):
        raise _bad_config(path)
    return config


def _plain(value: Any, levels: int) -> Any:
    """The value without numbers that are not finite. Raises `RecursionError` if it is nested deeper than `levels`."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if not isinstance(value, dict | list):
        return value
    if levels == 0:
        raise RecursionError
    if isinstance(value, dict):
        return {name: _plain(each, levels - 1) for name, each in value.items()}
    return [_plain(each, levels - 1) for each in value]


def _bad_config(path: Path) -> DamagedFileError:
    return DamagedFileError(
        f"{str(path)!r} is not a JSON object.",
        hint="Correct it, or move it away: a model is read without it too, by names and shapes alone.",
    )


def refuse_stand_ins(paths: Iterable[Path]) -> None:
    """Raise `DamagedFileError` for what stands there instead of weights: nothing, a hole, a Git LFS pointer."""
    for path in paths:
        with path.open("rb") as file:
            start = file.read(len(_LFS_POINTER))
        if not start:
            raise DamagedFileError(
                f"{str(path)!r} is empty: 0 bytes where weights should be.",
                hint="Copy the file from where it is whole, or name the model by its Hub id.",
            )
        _refuse_sparse(path)
        if start == _LFS_POINTER:
            raise DamagedFileError(
                f"{str(path)!r} is a Git LFS pointer, not the weights it points to.",
                hint="Run `git lfs pull` in its folder, or download the file itself.",
            )


def _refuse_sparse(path: Path) -> None:
    """A file that is a hole takes no space and hours to read; where the disk does not say, it says 0 blocks."""
    state, (least, part) = path.stat(), SPARSE
    on_disk = getattr(state, "st_blocks", 0) * 512
    if state.st_size >= least and 0 < on_disk < state.st_size / part:
        raise DamagedFileError(
            f"{str(path)!r} has {state.st_size:,} bytes, of which {on_disk:,} are on the disk: the rest is a hole.",
            hint="It was copied or downloaded in part: copy it again.",
        )
