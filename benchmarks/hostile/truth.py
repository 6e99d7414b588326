"""Readings that share no code with the product's: of safetensors, of archives of PyTorch, of GGUF.

Each gives what a file holds, by tensor, as far as it can tell; None where it cannot.
"""

import io
import json
import pickle
import zipfile
from collections import OrderedDict
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.hostile.place import Truth

__all__ = ["in_archive", "in_safetensors"]

Array = npt.NDArray[Any]
MOST_VALUES = 1 << 22
"""Of a tensor, and of a file: larger ones are not read a second time."""
STORED = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U8": "u1", "BOOL": "?",
}  # fmt: skip
STORAGES = {
    "DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16",
    "LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8", "ByteStorage": "U8",
    "BoolStorage": "BOOL",
}  # fmt: skip


def _floats(stored: Array, dtype: str) -> Array:
    """As the product gives them: floats as float32, integers as they are."""
    if dtype == "BF16":
        return np.left_shift(stored.astype(np.uint32), 16).view(np.float32)
    with np.errstate(over="ignore"):
        return stored.astype(np.float32) if dtype.startswith("F") else stored


def in_safetensors(path: Path) -> Truth:
    """Of a safetensors file, by its header alone."""
    try:
        data = path.read_bytes()
        start = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:start].decode("utf-8"))
        header.pop("__metadata__", None)
        found = {}
        for name, each in header.items():
            begin, end = each["data_offsets"]
            stored = np.frombuffer(data[start:][begin:end], STORED[each["dtype"]])
            found[name] = _floats(stored.reshape(each["shape"]), each["dtype"])
        return found
    except Exception:
        return None


class _Storage:
    """What a pickle of PyTorch's refers to."""

    def __init__(self, dtype: str, data: bytes) -> None:
        self.dtype, self.values = dtype, np.frombuffer(data, STORED[dtype])


def _rebuild(storage: _Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *rest: Any) -> Array:
    """A tensor of a storage, by the numbers in the pickle."""
    if prod(size) > MOST_VALUES:
        raise MemoryError
    is_negated = len(rest) > 2 and bool(rest[2]) and rest[2].get("neg")
    if prod(size) == 0:
        return np.empty(size, np.float32)
    places = np.full(size, offset, dtype=np.int64)
    for axis, (length, step) in enumerate(zip(size, stride, strict=True)):
        steps = np.arange(length).reshape([-1 if each == axis else 1 for each in range(len(size))])
        places = places + step * steps
    if places.min() < 0:
        raise IndexError
    values = _floats(storage.values[places], storage.dtype)
    return -values if is_negated else values


class _Reader(pickle._Unpickler):
    """Follows what a pickle of tensors consists of, and nothing else.

    The reader in Python: the memo of the one in C is an array as long as any number in the file says.
    """

    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(io.BytesIO(_stored(archive, f"{folder}/data.pkl")))
        self._archive, self._folder = archive, folder

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        raise pickle.UnpicklingError(name)

    def persistent_load(self, reference: Any) -> Any:
        _, dtype, key, _, _ = reference
        return _Storage(dtype, _stored(self._archive, f"{self._folder}/data/{key}"))


def _stored(archive: zipfile.ZipFile, name: str) -> bytes:
    """The bytes of an entry, whatever its checksum says: PyTorch does not look at it either."""
    entry = archive.getinfo(name)
    entry.CRC = None  # type: ignore[assignment]
    return archive.read(entry)


def in_archive(path: Path) -> Truth:
    """Of a `.bin` in the format of today whose pickle is one mapping of tensors."""
    try:
        with zipfile.ZipFile(path) as archive:
            (folder,) = {each.partition("/")[0] for each in archive.namelist() if each.endswith("/data.pkl")}
            found = _Reader(archive, folder).load()
        if not all(isinstance(each, np.ndarray) for each in found.values()):
            return None
        if sum(each.size for each in found.values()) > MOST_VALUES:
            return None
        return {str(name): each for name, each in found.items()}
    except (Exception, MemoryError):
        return None
