"""Read tensors one at a time from a `.safetensors` file.

Format: eight bytes give the length of a JSON header, the header gives each tensor's dtype, shape and place, the values
follow, little-endian, without gap or overlap (https://huggingface.co/docs/safetensors). Values are read, not mapped:
at any time no more than one tensor is in memory, and a file cut short under us is an error and not a signal.
"""

import json
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from dna_zoo.errors import DamagedFileError, ExtractError
from zoo.tensors import TensorHeader

__all__ = ["SafetensorsFile"]

_MAX_HEADER_BYTES = 100_000_000  # The limit of the reference implementation.
_BYTES = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "I8", "U8", "BOOL"), 1),
}
_READABLE = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_CHUNK = 1 << 18  # Values read at a time, so that a tensor is never here in two precisions.


class SafetensorsFile:
    """An open file; `headers` are parsed and checked when it is opened, values when asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shared: dict[str, str] = {}
        """Empty: the format knows no shared storage."""
        self._file = path.open("rb")
        try:
            self._offsets, self.headers = _read_headers(self._file, path)
        except BaseException:
            self.close()
            raise

    def read(self, header: TensorHeader) -> npt.NDArray[np.float32]:
        """The tensor's values as float32 in the file's shape.

        Half precisions widen exactly; float64 is rounded, and becomes infinite beyond float32's range. Raises
        `ExtractError` for a dtype that holds no plain floating numbers.
        """
        values, done = np.empty(prod(header.shape), dtype=np.float32), 0
        for chunk in self.chunks(header):
            values[done : done + chunk.size] = chunk
            done += chunk.size
        return values.reshape(header.shape)

    def chunks(self, header: TensorHeader, size: int = _CHUNK) -> Iterator[npt.NDArray[np.float32]]:
        """The values of `read`, flat and in order, `size` at a time."""
        if header.dtype not in _READABLE:
            raise ExtractError(
                f"{header.name!r} in {str(self.path)!r} is stored as {header.dtype}, which dna-zoo does not read.",
                hint="Save the model in float32, float16 or bfloat16.",
            )
        dtype, total = np.dtype(_READABLE[header.dtype]), prod(header.shape)
        for start in range(0, total, size):
            count = min(size, total - start)
            # Other tensors may be read between two pieces.
            self._file.seek(self._offsets[header.name] + start * dtype.itemsize)
            stored = np.fromfile(self._file, dtype=dtype, count=count)
            if stored.size != count:
                raise _damaged(self.path, f"it ends within {header.name!r}")
            yield _as_float32(stored, header.dtype)

    def close(self) -> None:
        self._file.close()


def _as_float32(stored: npt.NDArray[Any], dtype: str) -> npt.NDArray[np.float32]:
    if dtype == "BF16":
        # bfloat16 is the upper half of a float32; numpy has no such type.
        return (stored.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):
        return stored.astype(np.float32, copy=False)


def _read_headers(file: BinaryIO, path: Path) -> tuple[dict[str, int], tuple[TensorHeader, ...]]:
    """Place of each tensor's first byte in the file, and all headers in the order of their places."""
    num_bytes = path.stat().st_size
    length = int.from_bytes(file.read(8), "little")
    if num_bytes < 8 or length > min(num_bytes - 8, _MAX_HEADER_BYTES):
        raise _damaged(path, f"its header should take {length:,} bytes and the file has {num_bytes:,}")
    entries = _parse(file.read(length), path)
    entries.pop("__metadata__", None)
    parsed = sorted((_entry(name, entry, path) for name, entry in entries.items()), key=lambda item: item[0])
    start = 8 + length
    _require_tiling([(span, header.name) for span, header in parsed], num_bytes - start, path)
    return {header.name: start + begin for (begin, _), header in parsed}, tuple(header for _, header in parsed)


def _parse(text: bytes, path: Path) -> dict[str, Any]:
    def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(pairs) != len({name for name, _ in pairs}):
            raise ValueError("a name occurs twice")
        return dict(pairs)

    try:
        entries = json.loads(text, object_pairs_hook=without_repeats)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "its header is not valid JSON, or names a tensor twice") from error
    if not isinstance(entries, dict):
        raise _damaged(path, "its header is not a JSON object")
    return entries


def _entry(name: str, entry: Any, path: Path) -> tuple[tuple[int, int], TensorHeader]:
    """The span of bytes and the header of one tensor; every number is a stranger's."""
    try:
        begin, end = (_size(value) for value in entry["data_offsets"])
        header = TensorHeader(name=name, shape=tuple(_size(n) for n in entry["shape"]), dtype=str(entry["dtype"]))
        # A shape such as (0, 2^70) has no values and passes every other check, but numpy cannot count so far.
        _size_in_reach(prod(n or 1 for n in header.shape))
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"its header does not describe {name!r}") from error
    if header.dtype in _BYTES and end - begin != prod(header.shape) * _BYTES[header.dtype]:
        shape = list(header.shape)
        raise _damaged(path, f"{name!r} has {end - begin:,} bytes, which is no {header.dtype} of shape {shape}")
    return (begin, end), header


def _size(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"not a size: {value!r}")
    return value


def _size_in_reach(count: int) -> None:
    if count >= 1 << 59:
        raise ValueError(f"not a number of values: {count}")


def _require_tiling(spans: list[tuple[tuple[int, int], str]], num_bytes: int, path: Path) -> None:
    """Raise unless the spans, sorted, cover all bytes after the header once."""
    reached = 0
    for (begin, end), name in spans:
        if begin < reached:
            raise _damaged(path, f"{name!r} overlaps the tensor before it")
        if begin > reached or end < begin:
            raise _damaged(path, f"{name!r} is not where the tensor before it ends")
        reached = end
    if reached != num_bytes:
        raise _damaged(path, f"its tensors take {reached:,} bytes and the file holds {num_bytes:,}")


def _damaged(path: Path, reason: str) -> DamagedFileError:
    return DamagedFileError(
        f"{str(path)!r} is no intact safetensors file: {reason}.", hint="Delete it and fetch the model again."
    )
