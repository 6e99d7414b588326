"""Read tensors a piece at a time from a `.safetensors` file.

The library checks the file when it is opened (sizes, offsets, no gap, no overlap; https://huggingface.co/docs/safetensors).
Values are read from their offsets, not mapped as the library would: pages of a map count as memory of the process until
it ends, and a file that is cut short under a map kills the process with a signal.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from dna_zoo.errors import DamagedFileError
from pipeline.arrays import Array, Float32
from zoo.tensors import FLOATING, TensorHeader

__all__ = ["SafetensorsFile"]

_STORED = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "F8_E4M3": "u1", "F8_E5M2": "u1",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip
_LARGEST = 1 << 59
"""Values of a float64 array that numpy can count the bytes of."""


class SafetensorsFile:
    """An open file; its header is checked when it is opened, values are read when asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shared: dict[str, str] = {}
        """Empty: the format knows no shared storage."""
        self.schemes: dict[str, str] = {}
        """Empty: how tensors are quantised is not in this format."""
        self.notes: tuple[str, ...] = ()
        """Empty: there is nothing to choose."""
        self._file = path.open("rb", buffering=0)
        try:
            entries, self._start = self._read_header()
            self._offsets = {name: entry["data_offsets"][0] for name, entry in entries.items()}
            self.headers = tuple(
                self._header(name, entries[name]) for name in sorted(entries, key=self._offsets.__getitem__)
            )
        except BaseException:
            self.close()
            raise

    def _read_header(self) -> tuple[dict[str, Any], int]:
        """The checked JSON header without its metadata, and where the values begin."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path, framework="np"):
                pass
            length = int.from_bytes(self._file.read(8), "little")
            entries = json.loads(self._file.read(length))
        except (SafetensorError, ValueError) as error:
            raise self._damaged(str(error).removeprefix("Error while deserializing header: ")) from error
        entries.pop("__metadata__", None)
        return entries, 8 + length

    def _header(self, name: str, entry: Any) -> TensorHeader:
        shape = tuple(entry["shape"])
        # A shape such as (0, 2^60) has no values and passes every other check, but numpy cannot count so far.
        if prod(length or 1 for length in shape) >= _LARGEST:
            raise self._damaged(f"{name!r} has the shape {list(shape)}")
        return TensorHeader(name=name, shape=shape, dtype=entry["dtype"])

    def array(self, header: TensorHeader, *, exact: bool = False) -> Array:
        """All values in the header's shape: integers as they are stored, all else as float32.

        - `exact`: float64 stays as it is stored, too.
        """
        if header.dtype in FLOATING and not (exact and header.dtype == "F64"):
            parts = [*self.chunks(header, max(prod(header.shape), 1))]
            return np.concatenate([np.empty(0, np.float32), *parts]).reshape(header.shape)
        size, dtype = prod(header.shape), np.dtype(_STORED[header.dtype])
        (stored,) = self._stored(header, size) if size else (np.empty(0, dtype),)
        return stored.reshape(header.shape)

    def entry(self, header: TensorHeader, index: int) -> Array:
        """One entry along the first axis of the header's shape, as `array` gives them."""
        shape = header.shape[1:]
        (stored,) = self._stored(replace(header, shape=shape), max(prod(shape), 1), skip=index * prod(shape))
        return (_as_float32(stored, header.dtype) if header.dtype in FLOATING else stored).reshape(shape)

    def chunks(self, header: TensorHeader, size: int) -> Iterator[Float32]:
        """The values of a floating tensor as float32, flat and in order, `size` at a time.

        Narrower formats widen exactly; float64 is rounded, and becomes infinite beyond float32's range.
        """
        return (_as_float32(stored, header.dtype) for stored in self._stored(header, size))

    def _stored(self, header: TensorHeader, size: int, skip: int = 0) -> Iterator[Array]:
        """The numbers in the file, flat and in order, `size` at a time, without the first `skip`."""
        dtype, total = np.dtype(_STORED[header.dtype]), prod(header.shape)
        for start in range(0, total, size):
            stored = np.empty(min(size, total - start), dtype=dtype)
            # Other tensors may be read between two pieces.
            self._file.seek(self._start + self._offsets[header.name] + (skip + start) * dtype.itemsize)
            if not self._fill(stored):
                raise self._damaged(f"it ends within {header.name!r}")
            yield stored

    def _fill(self, values: Array) -> bool:
        """Read the array from where the file is; whether it was all there.

        `np.fromfile` opens the file anew, which for small tensors would be most of the time.
        """
        left = values.view(np.uint8).data
        while len(left):
            count = self._file.readinto(left)  # Not all at once where it is gigabytes.
            if not count:
                return False
            left = left[count:]
        return True

    def close(self) -> None:
        self._file.close()

    def _damaged(self, reason: str) -> DamagedFileError:
        return DamagedFileError(
            f"{str(self.path)!r} ({self.path.stat().st_size:,} bytes) is not as a safetensors file must be: {reason}.",
            hint="Compare its size with the original's: it may have been cut short, or be of another format.",
        )


def _as_float32(stored: Array, dtype: str) -> Float32:
    if dtype == "BF16":
        # bfloat16 is the upper half of a float32; numpy has no such type.
        return (stored.astype(np.uint32) << 16).view(np.float32)
    if dtype.startswith("F8"):
        import torch

        kind = torch.float8_e4m3fn if dtype == "F8_E4M3" else torch.float8_e5m2
        return np.asarray(torch.from_numpy(stored).view(kind).float().numpy())
    if dtype != "F64":
        return stored.astype(np.float32, copy=False)
    with np.errstate(over="ignore"):
        return stored.astype(np.float32)
