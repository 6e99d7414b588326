"""Floats kept bit for bit in databases that do not keep them.

SQLite turns NaN into NULL and -0.0 into 0.0, JSON has neither NaN nor infinities. So a float column is nullable, and
one column a row, `special`, says what stands in the columns that hold no plain finite number. NULL there, as in
nearly every row, means that NULL is None and nothing else.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "from_json",
    "join_special",
    "join_special_columns",
    "pack",
    "pack_array",
    "split_special",
    "to_json",
    "unpack",
    "unpack_array",
    "unpack_arrays",
]

NAMES = {"nan": math.nan, "+inf": math.inf, "-inf": -math.inf, "-0": -0.0}


def _special_name(value: float) -> str | None:
    """The name of a value that a float column cannot hold, None for a plain finite one."""
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "+inf" if value > 0 else "-inf"
    return "-0" if value == 0 and math.copysign(1, value) < 0 else None


def split_special(values: Mapping[str, float | None]) -> dict[str, float | str | None]:
    """Columns for the values, and `special` for the rest: `z=nan,p=+inf` and the like, or None."""
    row: dict[str, float | str | None] = {}
    special = []
    for name, value in values.items():
        kind = None if value is None else _special_name(value)
        row[name] = None if value is None or kind else float(value)
        if kind:
            special.append(f"{name}={kind}")
    row["special"] = ",".join(special) or None
    return row


def join_special(row: dict[str, Any]) -> dict[str, Any]:
    """The inverse of `split_special`: the row without `special`, its values put back where they belong."""
    for name, value in _specials(row.pop("special")):
        row[name] = value
    return row


def join_special_columns(columns: Mapping[str, list[float | None]], special: Sequence[str | None]) -> None:
    """`join_special` of many rows at once: of each column its values, of each row what was in `special`."""
    for number, each in enumerate(special):
        if each is not None:  # As in few rows.
            for name, value in _specials(each):
                columns[name][number] = value


def _specials(special: str | None) -> Iterator[tuple[str, float]]:
    """Column and value of each special value of a row."""
    for item in special.split(",") if special else ():
        name, _, kind = item.partition("=")
        yield name, NAMES[kind]


def to_json(value: Any) -> Any:
    """Numbers, nested in lists and mappings, with NaN and the infinities as their names."""
    if isinstance(value, Mapping):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    return value if math.isfinite(value) else _special_name(value)


def from_json(value: Any) -> Any:
    """The inverse of `to_json` for what a JSON parser gives; lists come back as tuples."""
    if isinstance(value, dict):
        return {key: from_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(from_json(item) for item in value)
    return NAMES[value] if isinstance(value, str) else value


def pack(values: Sequence[float | None]) -> bytes:
    """One bit a value (1 where it is there, most significant first), then all as little-endian float64."""
    present = np.array([value is not None for value in values], dtype=bool)
    return _packed(present, np.array(values, dtype=np.float64))


def unpack(blob: bytes, length: int) -> tuple[float | None, ...]:
    """The inverse of `pack` for `length` values."""
    present, floats = (each[0].tolist() for each in _unpacked([blob], length))
    return tuple(value if is_there else None for is_there, value in zip(present, floats, strict=True))


def pack_array(values: npt.NDArray[np.float64]) -> bytes:
    """`pack` of an array (N,), NaN for what is None."""
    return _packed(~np.isnan(values), values)


def _packed(present: npt.NDArray[np.bool_], values: npt.NDArray[np.float64]) -> bytes:
    return np.packbits(present).tobytes() + np.where(present, values, 0.0).astype("<f8").tobytes()


def unpack_arrays(blobs: Sequence[bytes], length: int) -> npt.NDArray[np.float64]:
    """`unpack_array` of many, (blobs, N)."""
    present, values = _unpacked(blobs, length)
    values[~present] = np.nan
    return values


def _unpacked(blobs: Sequence[bytes], length: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Which values are there, and all values, (blobs, N) each."""
    num_bytes = (length + 7) // 8
    rows = np.frombuffer(b"".join(blobs), dtype=np.uint8).reshape(len(blobs), num_bytes + 8 * length)
    present = np.unpackbits(rows[:, :num_bytes], axis=1, count=length).astype(bool)
    return present, rows[:, num_bytes:].copy().view("<f8")


def unpack_array(blob: bytes, length: int) -> npt.NDArray[np.float64]:
    """`unpack` as an array (N,), NaN for None: for thousands of signatures."""
    found: npt.NDArray[np.float64] = unpack_arrays([blob], length)[0]
    return found
