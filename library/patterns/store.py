"""Shared patterns on the disk: one safetensors file each, with everything that is not a number in its metadata."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dna_zoo.errors import DamagedFileError, LibraryError, OutputError, SettingsError, did_you_mean
from dna_zoo.files import whole_file
from dna_zoo.text import shell_word
from library.patterns.records import DEPTHS, Evidence, Key, Lineage, Part, SharedPattern

__all__ = ["FORMAT", "Library", "export_pattern", "read_pattern", "write_pattern"]

FORMAT = "dna-zoo shared pattern 1"
NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
SUFFIX = ".safetensors"
ENTRY = "dna-zoo"


class Library:
    """The folder `library` of the home: NAME.safetensors for each pattern."""

    def __init__(self, home: Path) -> None:
        self._root = home / "library"

    def path(self, name: str) -> Path:
        """Where the pattern of that name is or would be. Raises `SettingsError` for a name that is no file's."""
        if not NAME.fullmatch(name):
            raise SettingsError(
                f"{name!r} cannot be the name of a pattern.",
                hint="Use letters, digits, dots, hyphens and underscores, beginning with a letter or a digit.",
            )
        return self._root / f"{name}{SUFFIX}"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted(path.stem for path in self._root.glob(f"*{SUFFIX}") if not path.name.startswith(".")))

    def load(self, name: str) -> SharedPattern:
        """Raises `LibraryError` if there is none of that name, and `DamagedFileError` for a damaged file."""
        path = self.path(name)
        if not path.is_file():
            near = did_you_mean(name, self.names)
            raise LibraryError(
                f"There is no pattern {name!r} in the library.",
                hint=near
                or f"Build it with `dna-zoo library build {shell_word(name)}`, or see `dna-zoo library list`.",
            )
        return read_pattern(path)

    def save(self, pattern: SharedPattern, *, replace: bool) -> Path:
        """Raises `LibraryError` if there is one of that name, unless `replace`."""
        self.require_free(pattern.name, replace=replace)
        write_pattern(pattern, self.path(pattern.name))
        return self.path(pattern.name)

    def require_free(self, name: str, *, replace: bool) -> None:
        """Raises as `save` does, before the work is done."""
        if self.path(name).exists() and not replace:
            raise LibraryError(
                f"The library has a pattern {name!r} already.",
                hint="Choose another name, or replace it with `--force`.",
            )


def export_pattern(pattern: SharedPattern, path: Path, *, replace: bool = False) -> None:
    """Write a file to hand to others. Raises `OutputError` if there is one at `path`, unless `replace` and it is a
    pattern, or it cannot be written."""
    if path.exists() or path.is_symlink():
        if not replace:
            raise OutputError(
                f"{str(path)!r} is there already.", hint="Name another file, or replace it with `--force`."
            )
        if not _is_pattern(path):
            raise OutputError(f"{str(path)!r} holds no shared pattern, and is not replaced.", hint="Name another file.")
    write_pattern(pattern, path)


def _is_pattern(path: Path) -> bool:
    try:
        read_pattern(path)
    except (DamagedFileError, OSError):
        return False
    return True


def write_pattern(pattern: SharedPattern, path: Path) -> None:
    """The file is there whole or not at all. Raises `OutputError` where it cannot be written."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    tensors = {f"{key.subject} {key.term}": np.ascontiguousarray(part.values) for key, part in pattern.parts.items()}
    about = json.dumps(_document(pattern), sort_keys=True, allow_nan=False)
    # One entry: safetensors writes several in an order that changes from run to run.
    metadata = {ENTRY: json.dumps({"format": FORMAT, "sha256": _digest(tensors, about), "pattern": about})}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as made:
            # A file without tensors could not be told from a damaged one by other readers.
            save_file(tensors or {" ": np.zeros(1, dtype=np.float32)}, made, metadata=metadata)
    except (OSError, SafetensorError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise OutputError(
            f"{str(path)!r} cannot be written ({reason.rstrip('.')}).",
            hint="Check the permissions and the space of that disk, or name another place.",
        ) from error


def read_pattern(path: Path) -> SharedPattern:
    """Raises `DamagedFileError` unless the file is a whole shared pattern; an `OSError` if it cannot be opened."""
    from safetensors import SafetensorError, safe_open

    with open(path, "rb"):
        pass
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = json.loads((file.metadata() or {}).get(ENTRY, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys() if name != " "}
    except (SafetensorError, ValueError, TypeError) as error:
        raise _damaged(path, "no safetensors file") from error
    if metadata.get("format") != FORMAT:
        raise _damaged(path, f"not of the format {FORMAT!r}")
    if metadata.get("sha256") != _digest(tensors, metadata.get("pattern", "")):
        raise _damaged(path, "its values do not agree with its checksum")
    try:
        return _pattern(json.loads(metadata["pattern"]), tensors)
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, f"it says {error!r}") from error


def _damaged(path: Path, reason: str) -> DamagedFileError:
    return DamagedFileError(
        f"{str(path)!r} is not a whole shared pattern ({reason}).",
        hint="Export it again with `dna-zoo library export`, or build it again with `dna-zoo library build`.",
    )


def _digest(tensors: Mapping[str, npt.NDArray[Any]], about: str) -> str:
    digest = hashlib.sha256(about.encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tensors[name].shape}".encode())
        digest.update(tensors[name].tobytes())
    return digest.hexdigest()


def _document(pattern: SharedPattern) -> dict[str, Any]:
    return {
        "name": pattern.name,
        "selection": pattern.selection,
        "lineages": [asdict(lineage) for lineage in pattern.lineages],
        "left_out": dict(pattern.left_out),
        "combined": dict(pattern.combined),
        "num_draws": pattern.num_draws,
        "seed": pattern.seed,
        "depths": [float(depth) for depth in DEPTHS],
        "parts": [
            {"lineages": part.lineages, "evidence": asdict(part.evidence) if part.evidence else None, **key._asdict()}
            for key, part in pattern.parts.items()
        ],
    }


def _pattern(about: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> SharedPattern:
    parts = {}
    for entry in about["parts"]:
        key = Key(entry["subject"], entry["term"])
        values = np.asarray(tensors[f"{key.subject} {key.term}"], dtype=np.float32)
        if values.ndim != 2 or len(values) != len(DEPTHS) or not np.isfinite(values).all():
            raise ValueError(f"{key.subject} {key.term} is not finite at {len(DEPTHS)} depths")
        evidence = Evidence(**entry["evidence"]) if entry["evidence"] else None
        parts[key] = Part(values=values, lineages=int(entry["lineages"]), evidence=evidence)
    return SharedPattern(
        name=str(about["name"]),
        parts=parts,
        lineages=tuple(Lineage(name=each["name"], models=tuple(each["models"])) for each in about["lineages"]),
        selection=str(about["selection"]),
        left_out=dict(about["left_out"]),
        combined={name: float(weight) for name, weight in about["combined"].items()},
        num_draws=int(about["num_draws"]),
        seed=int(about["seed"]),
    )
