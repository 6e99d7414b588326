"""Floats kept bit for bit in databases that do not keep them.

SQLite turns NaN into NULL and -0.0 into 0.0, JSON has neither NaN nor infinities. So a float column is nullable, and
one column a row, `special`, says what stands in the columns that hold no plain finite number. NULL there, as in
nearly every row, means that NULL is None and nothing else.
"""

import math
import re
import struct
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

MISSING = re.compile("0+")
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
    num_bytes = (len(values) + 7) // 8
    mask = "".join("0" if value is None else "1" for value in values).ljust(8 * num_bytes, "0")
    floats = (0.0 if value is None else value for value in values)
    return int(mask or "0", 2).to_bytes(num_bytes, "big") + struct.pack(f"<{len(values)}d", *floats)


def unpack(blob: bytes, length: int) -> tuple[float | None, ...]:
    """The inverse of `pack` for `length` values."""
    num_bytes = (length + 7) // 8
    # As text: shifting a long integer for every value would cost the square of their number.
    mask = f"{int.from_bytes(blob[:num_bytes], 'big'):0{8 * num_bytes}b}"
    floats: list[float | None] = list(struct.unpack(f"<{length}d", blob[num_bytes:]))
    # What a model lacks are whole roles: values are missing in long runs.
    for missing in MISSING.finditer(mask, 0, length):
        floats[missing.start() : missing.end()] = [None] * len(missing[0])
    return tuple(floats)


def pack_array(values: npt.NDArray[np.float64]) -> bytes:
    """`pack` of an array (N,), NaN for what is None."""
    present = ~np.isnan(values)
    return np.packbits(present).tobytes() + np.where(present, values, 0.0).astype("<f8").tobytes()


def unpack_arrays(blobs: Sequence[bytes], length: int) -> npt.NDArray[np.float64]:
    """`unpack_array` of many, (blobs, N)."""
    num_bytes = (length + 7) // 8
    rows = np.frombuffer(b"".join(blobs), dtype=np.uint8).reshape(len(blobs), num_bytes + 8 * length)
    missing = np.unpackbits(rows[:, :num_bytes], axis=1, count=length) == 0
    values = rows[:, num_bytes:].copy().view("<f8")
    values[missing] = np.nan
    return values


def unpack_array(blob: bytes, length: int) -> npt.NDArray[np.float64]:
    """`unpack` as an array (N,), NaN for None: for thousands of signatures."""
    num_bytes = (length + 7) // 8
    present = np.unpackbits(np.frombuffer(blob, dtype=np.uint8, count=num_bytes), count=length)
    return np.where(present, np.frombuffer(blob, dtype="<f8", offset=num_bytes), np.nan)
