"""What the values of a tensor are like: not finite, all alike, out of all proportion, or too small for arithmetic."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import isfinite

import numpy as np

from pipeline.arrays import Float32
from zoo.tensors import TensorSpec

__all__ = ["ValueRange", "value_digest", "value_notes", "value_range"]

TINY = 1e-30
"""Squares of smaller values vanish in float32 (its smallest number is 1e-45)."""
FEW = 64
"""Of so few values one may be larger than all others together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueRange:
    """Of the finite values of a tensor; all 0 for one without any."""

    count: int = 0
    """Values in all."""
    nonfinite: int = 0
    low: float = 0.0
    high: float = 0.0
    total: float = 0.0
    """Sum of the absolute values."""

    @property
    def largest(self) -> float:
        """The largest absolute value."""
        return max(-self.low, self.high)

    @property
    def is_constant(self) -> bool:
        return self.low == self.high and self.nonfinite == 0


def value_range(chunks: Iterable[Float32]) -> ValueRange:
    """Of a tensor that comes in pieces; sums in float64."""
    count = nonfinite = 0
    low, high, total = np.inf, -np.inf, 0.0
    for values in chunks:
        count += values.size
        if not values.size:
            continue
        least, most = float(values.min()), float(values.max())
        if not (isfinite(least) and isfinite(most)):
            finite = values[np.isfinite(values)]
            nonfinite += values.size - finite.size
            if not finite.size:
                continue
            values, least, most = finite, float(finite.min()), float(finite.max())
        low, high = min(low, least), max(high, most)
        total += float(np.abs(values).sum(dtype=np.float64))
    if low > high:
        return ValueRange(count=count, nonfinite=nonfinite)
    return ValueRange(count=count, nonfinite=nonfinite, low=low, high=high, total=total)


def value_digest(chunks: Iterable[Float32]) -> bytes:
    """The same for tensors whose values are equal, NaN to NaN and 0 to -0, and that come in pieces of one size."""
    found = sha256()
    for values in chunks:
        values = values + np.float32(0)  # A copy, without -0.
        values[np.isnan(values)] = np.nan
        found.update(values.tobytes())
    return found.digest()


def value_notes(specs: Sequence[TensorSpec], found: Mapping[str, ValueRange]) -> tuple[str, ...]:
    """Sentences on matrices that are constant, that hold one value out of all proportion, or next to nothing."""
    known = {spec.tensor: found[spec.tensor] for spec in specs if spec.rows > 1 and spec.cols > 1}
    constant = [f"{name!r} ({each.low:g})" for name, each in known.items() if each.is_constant]
    tiny = [repr(name) for name, each in known.items() if 0 < each.largest < TINY and not each.is_constant]
    single = [
        f"One value of {name!r}, {each.largest:.3g} in size, is larger than all its others together."
        for name, each in known.items()
        if each.count > FEW and 2 * each.largest > each.total and not each.is_constant
    ]
    counted = (
        (constant, "constant, and neither ordered nor fitted"),
        (tiny, f"below {TINY:g} in every value, which arithmetic rounds to a few digits"),
    )
    return (*(_counted(names, what) for names, what in counted if names), *single)


def _counted(names: list[str], what: str) -> str:
    if len(names) == 1:
        return f"1 matrix is {what}: {names[0]}."
    return f"{len(names)} matrices are {what}; the first: {names[0]}."
