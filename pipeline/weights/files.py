"""Files of weights on this disk: which files of a folder count, and what fetching gives."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from dna_zoo.errors import DamagedFileError, NoWeightsError
from zoo.cards import ModelCard

__all__ = [
    "CONFIG_NAME",
    "INDEX_SUFFIX",
    "WEIGHT_NAMES",
    "WEIGHT_SUFFIXES",
    "Origin",
    "WeightFiles",
    "find_weights",
    "read_config",
    "refuse_stand_ins",
    "shard_names",
]

Origin = Literal["package", "cache", "hub", "local"]

CONFIG_NAME = "config.json"
INDEX_SUFFIX = ".index.json"
# In the order they are preferred: safetensors holds nothing but tensors, a `.bin` is a pickle.
WEIGHT_NAMES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
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
    """The file's sha256, or the sha256 of the shards' hexadecimal digests written one after the other."""
    num_bytes: int
    origin: Origin
    config: Mapping[str, Any] = field(default_factory=dict)
    """`config.json`, empty where the model has none."""
    card: ModelCard | None = None


def find_weights(path: Path) -> tuple[Path, ...]:
    """The files of weights at `path`: the file itself, or the preferred ones of a directory (shards sorted).

    Raises `NoWeightsError`, and `DamagedFileError` where an index names a shard that is not there.
    """
    if path.is_dir():
        path = _choose(path)
    if not path.is_file():
        raise NoWeightsError(f"There is no file or directory {str(path)!r}.", hint="Check the path.")
    if path.name.endswith(INDEX_SUFFIX):
        return _shards(path)
    if path.suffix not in WEIGHT_SUFFIXES:
        raise NoWeightsError(
            f"{str(path)!r} is no file of weights that dna-zoo reads.",
            hint="Give a .safetensors file, a PyTorch .bin, .pt or .pth file, an index of shards, or their directory.",
        )
    return (path,)


def _choose(directory: Path) -> Path:
    for name in WEIGHT_NAMES:
        if (directory / name).is_file():
            return directory / name
    for suffix in WEIGHT_SUFFIXES:
        found = sorted(directory.glob(f"*{suffix}"))
        if len(found) == 1:
            return found[0]
        if found:
            raise NoWeightsError(
                f"The directory {str(directory)!r} holds {len(found)} {suffix} files and no index that joins them.",
                hint="Name the one to take, or save the model with `save_pretrained`.",
            )
    raise NoWeightsError(
        f"The directory {str(directory)!r} holds no weights.",
        hint="It must hold model.safetensors or pytorch_model.bin (or their shards with an index).",
    )


def _shards(index: Path) -> tuple[Path, ...]:
    paths = tuple(index.parent / name for name in shard_names(index))
    for path in paths:
        if not path.is_file():
            raise DamagedFileError(
                f"{str(index)!r} names the shard {path.name!r}, which is not there.",
                hint="Copy or download the missing shard.",
            )
    return paths


def shard_names(index: Path) -> tuple[str, ...]:
    """The files that a `*.index.json` spreads its tensors over, sorted."""
    try:
        weight_map = json.loads(index.read_bytes())["weight_map"]
        names = sorted({str(name) for name in weight_map.values()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _bad_index(index) from error
    # The names come from the file: one with a folder in it could point anywhere on this disk.
    if not names or any(not name or PurePosixPath(name).name != name or "\\" in name for name in names):
        raise _bad_index(index)
    return tuple(names)


def _bad_index(index: Path) -> DamagedFileError:
    return DamagedFileError(
        f"{str(index)!r} is not an index of shards.", hint="Download it again, or save the model anew."
    )


def read_config(path: Path | None) -> dict[str, Any]:
    """The `config.json` at `path`, empty if `path` is None or no file."""
    if path is None or not path.is_file():
        return {}
    try:
        config = json.loads(path.read_bytes())
    except ValueError as error:
        raise _bad_config(path) from error
    if not isinstance(config, dict):
        raise _bad_config(path)
    return config


def _bad_config(path: Path) -> DamagedFileError:
    return DamagedFileError(f"{str(path)!r} is not a JSON object.", hint="Download it again, or repair it by hand.")


def refuse_stand_ins(paths: Iterable[Path]) -> None:
    """Raise `DamagedFileError` for an empty file and for a Git LFS pointer: what stands there instead of weights."""
    for path in paths:
        with path.open("rb") as file:
            start = file.read(len(_LFS_POINTER))
        if not start:
            raise DamagedFileError(f"{str(path)!r} is empty.", hint="Delete it and fetch the model again.")
        if start == _LFS_POINTER:
            raise DamagedFileError(
                f"{str(path)!r} is a Git LFS pointer, not the weights it points to.",
                hint="Run `git lfs pull` in its folder, or download the file itself.",
            )
