"""Signatures as small integers, which say of each model how near to another it can be at most, or nearer.

A byte for each number of the fingerprint and two for each statistic: a tenth of what is kept of a model, and enough to
leave out nearly all models without reading them. What the rounding may have changed is counted against the bound, so no
model that is nearer is ever left out (Cauchy-Schwarz for cosines, the triangle inequality for differences).

The two bytes of a statistic are kept apart: the first alone gives a bound too, which is read of all models, and the
second is read of the few that are near.

N = rows, D = dimensions; rows of one layout.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from patterndb.neighbours.row_distances import Layout
from patterndb.similarity import Criterion, beyond_chance

__all__ = ["PARTS", "Coded", "Part", "Query", "Rows", "dimensions_of", "encode"]

Numbers = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float64]
Part = Literal["roles", "names", "coarse", "fine"]
PARTS: tuple[Part, ...] = ("roles", "names", "coarse", "fine")
"""What is kept of a row: a byte for each number of the two parts of the fingerprint, and for the first and the second
byte of each statistic."""
MEASURED = ("roles", "names", "coarse", "statistics")
"""What a bound is computed from: `statistics` are both bytes."""
LARGEST = {"roles": 127, "names": 127, "statistics": 127 * 256 + 127}
"""The largest code."""
ROW = np.dtype(
    [("id", "<i8"), ("stamp", "<i8"), ("mask", "<i4")]
    + [(f"{part}_{name}", "<f8") for part in MEASURED for name in ("scale", "error", "square")]
)
LEAST_SCALE = 1e-30
SUMMED, ROUNDED = 1e-3, 2.0**-22
"""What float32 may change, relatively: a sum of thousands of squares, and a number that was divided."""
Rows = npt.NDArray[Any]
"""One record a row, of type `ROW`: pattern, when it was confirmed, which mask, and of each part the scale of its codes,
the length of what rounding took away, and the squared length of what it left."""
Codes = Mapping[Part, npt.NDArray[np.int8]]
"""Part -> (N, dimensions of the part)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coded:
    """Rows in codes."""

    rows: Rows
    masks: npt.NDArray[np.bool_]
    """(masks, D): which dimensions are there; a row names one of these."""
    keys: Vector
    """(N, keys), as they are: they are asked for equality."""
    codes: Codes

    def pieces(self, size: int) -> "Iterator[Coded]":
        """The same, so many rows at a time."""
        for start in range(0, len(self.rows), size):
            some = slice(start, start + size)
            codes = {part: numbers[some] for part, numbers in self.codes.items()}
            yield Coded(rows=self.rows[some], masks=self.masks, keys=self.keys[some], codes=codes)


def dimensions_of(layout: Layout, part: str) -> npt.NDArray[np.intp]:
    """Where the dimensions of a part are in the layout."""
    return layout.parts["statistics" if part in ("coarse", "fine") else part]


def encode(layout: Layout, ids: npt.NDArray[np.int64], stamps: npt.NDArray[np.int64], values: Vector) -> Coded:
    """The signatures (N, D) in codes; NaN and infinities count as missing, and what no float32 holds."""
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    present = np.isfinite(single)
    single[~present] = 0
    rows = np.zeros(len(values), dtype=ROW)
    rows["id"], rows["stamp"] = ids, stamps
    # As bytes in a dictionary: numpy would sort rows of thousands of booleans.
    numbers: dict[bytes, int] = {}
    rows["mask"] = [numbers.setdefault(mask.tobytes(), len(numbers)) for mask in np.packbits(present, axis=1)]
    packed = np.frombuffer(b"".join(numbers), dtype=np.uint8).reshape(len(numbers), -1)
    masks = np.unpackbits(packed, axis=1, count=len(layout.names)).astype(bool)
    codes: dict[Part, npt.NDArray[np.int8]] = {}
    for part in ("roles", "names"):
        units, scale = _scaled(single[:, layout.run(part)], LARGEST[part])
        found = np.rint(units)
        _note(rows, part, units, found, scale)
        codes[part] = found.astype(np.int8)
    units, scale = _scaled(single[:, layout.run("statistics")], LARGEST["statistics"])
    found = np.rint(units)
    _note(rows, "statistics", units, found, scale)
    both = found.astype(np.int16)
    coarse = (both + np.int16(128)) >> 8
    _note(rows, "coarse", units / np.float32(256), coarse.astype(np.float32), 256 * scale)
    codes |= {"coarse": coarse.astype(np.int8), "fine": (both - (coarse << 8)).astype(np.int8)}
    # A copy: who keeps the keys must not keep all values with them.
    return Coded(rows=rows, masks=masks, keys=values[:, layout.run("keys")].copy(), codes=codes)


def _scaled(own: Numbers, largest: int) -> tuple[Numbers, Vector]:
    """The values in units of a scale for each row, with which the largest is as large as a code may be."""
    scale = np.maximum(own.max(axis=1, initial=0.0), -own.min(axis=1, initial=0.0)).astype(np.float64) / largest
    # So small, numbers lose their digits: they count as what rounding took away.
    scale[scale < LEAST_SCALE] = 1.0
    single = scale.astype(np.float32)
    return own / single[:, None], single.astype(np.float64)


def _note(rows: Rows, part: str, units: Numbers, codes: Numbers, scale: Vector) -> None:
    """Scale, error and squared length of a part of which these are the values and the codes, in units of the scale."""
    # Both bytes together are looked at where rounding would count.
    exact = codes.astype(np.float64) if part == "statistics" else codes
    square, left = (np.einsum("ij,ij->i", each, each).astype(np.float64) for each in (exact, units - codes))
    size = np.sqrt(square) + np.sqrt(left)
    rows[f"{part}_scale"], rows[f"{part}_square"] = scale, square * scale**2
    # Rounding of the units and of the sums, in float32.
    rows[f"{part}_error"] = scale * ((1 + SUMMED) * np.sqrt(left) + ROUNDED * size)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shared:
    """What a query has in common with each of some masks, (masks,) each."""

    counts: Vector
    """How many dimensions both have."""
    own: Vector
    """Squared length of the query there."""
    more: npt.NDArray[np.bool_]
    """Whether the mask has what the query lacks."""


class Query:
    """A signature, as values (D,) of a layout, that rows in codes are held against."""

    def __init__(self, layout: Layout, values: Vector) -> None:
        self._layout = layout
        self._present = np.isfinite(values)
        self._filled = np.where(self._present, values, 0.0)
        self._keys = values[layout.parts["keys"]]
        self._shared: dict[tuple[int, str], tuple[npt.NDArray[np.bool_], _Shared]] = {}

    def bound(self, coded: Coded, by: Criterion) -> Vector:
        """`weights` or `kind`."""
        return self.weights(coded) if by == "weights" else self.kind(coded)

    def weights(self, coded: Coded) -> Vector:
        """(N,): no row's distance of weights is smaller; infinite where it cannot be compared."""
        by_role, by_name = (self._by_cosine(coded, part) for part in ("roles", "names"))
        has_common = (coded.keys == self._keys).any(axis=1)
        return np.minimum(by_role, np.where(has_common, by_name, np.inf))

    def kind(self, coded: Coded) -> Vector:
        """(N,): no row's distance of kinds is smaller; infinite where it cannot be compared.

        By both bytes of a statistic where both are there, or by the first.
        """
        part = "statistics" if "fine" in coded.codes else "coarse"
        rows, (products, squares, counts, own) = coded.rows, self._sums(coded, part)
        with np.errstate(over="ignore", invalid="ignore"):
            slack = 2 * self._rounding(part) * (squares + own)
            apart = np.sqrt(np.maximum(squares + own - 2 * products - slack, 0)) - rows[f"{part}_error"]
            bound = (1 - 1e-9) * np.maximum(apart, 0) / np.sqrt(np.maximum(counts, 1))
        return np.where(counts > 0, np.where(np.isfinite(bound), bound, 0.0), np.inf)

    def _by_cosine(self, coded: Coded, part: str) -> Vector:
        """The same of one part of the fingerprint."""
        products, squares, counts, own = self._sums(coded, part)
        size, length = np.sqrt(squares), np.sqrt(own)
        # The row's true length, and its product, are within this of what the codes say.
        off = coded.rows[f"{part}_error"] + self._rounding(part) * size
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            most = products + off * length
            cosine = most / (np.where(most > 0, size - off, size + off) * length)
            unlike = np.where(np.isfinite(cosine) & (size > off), np.clip(1 - cosine, 0, 2), 0.0)
        return np.where((counts > 0) & (own > 0), (1 - 1e-9) * beyond_chance(unlike, counts), np.inf)

    def _sums(self, coded: Coded, part: str) -> tuple[Vector, Vector, Vector, Vector]:
        """Over the dimensions that both have, (N,) each: products, squares of the rows, their number, own squares."""
        places, rows = dimensions_of(self._layout, part), coded.rows
        present = self._present[places]
        shared, scale, which = self._in_common(coded.masks, part), rows[f"{part}_scale"], rows["mask"]
        numbers = _numbers(coded.codes, part)
        with np.errstate(over="ignore", invalid="ignore"):
            products = scale * np.asarray(numbers @ self._filled[places].astype(numbers.dtype), dtype=np.float64)
        squares = rows[f"{part}_square"].copy()
        # What this signature lacks must not count.
        more = shared.more[which]
        if more.any():
            np.multiply(numbers, numbers, out=numbers)
            with np.errstate(over="ignore"):
                squares[more] = (scale**2 * (numbers @ present.astype(numbers.dtype)))[more]
        return products, squares, shared.counts[which], shared.own[which]

    def _in_common(self, masks: npt.NDArray[np.bool_], part: str) -> _Shared:
        """Computed once for the masks of a file, which thousands of rows name."""
        key = (id(masks), part)
        if key not in self._shared or self._shared[key][0] is not masks:
            places = dimensions_of(self._layout, part)
            theirs, present, own = masks[:, places], self._present[places], self._filled[places]
            found = _Shared(
                counts=(theirs & present).sum(axis=1).astype(np.float64),
                own=theirs @ own**2,
                more=np.asarray((theirs & ~present).any(axis=1)),
            )
            self._shared[key] = masks, found
        return self._shared[key][1]

    def _rounding(self, part: str) -> float:
        """Largest relative error of a sum of products."""
        kind = np.float64 if part == "statistics" else np.float32
        return float((len(dimensions_of(self._layout, part)) + 2) * np.finfo(kind).eps)


def _numbers(codes: Codes, part: str) -> Numbers | Vector:
    """The codes of a part as numbers, both bytes of a statistic so that sums of them are exact."""
    if part == "statistics":
        return codes["coarse"] * 256.0 + codes["fine"]
    return codes[part].astype(np.float32)  # type: ignore[index]
