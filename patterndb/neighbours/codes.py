"""Signatures as small integers, which say of each model how near to another it can be at most, or nearer.

A byte for each number of the fingerprint and two for each statistic: a tenth of what is kept of a model, and enough to
leave out nearly all models without reading them. What the rounding may have changed is counted against the bound, so no
model that is nearer is ever left out (Cauchy-Schwarz for cosines, the triangle inequality for differences).

N = rows, D = dimensions; rows of one layout.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from patterndb.neighbours.row_distances import Layout
from patterndb.similarity import beyond_chance

__all__ = ["LARGEST", "PARTS", "Coded", "Query", "Rows", "encode"]

Vector = npt.NDArray[np.float64]
PARTS = ("roles", "names", "statistics")
LARGEST = {"roles": (127, np.int8), "names": (127, np.int8), "statistics": (32767, np.int16)}
"""Part -> the largest code, and the type of codes."""
ROW = np.dtype(
    [("id", "<i8"), ("stamp", "<i8"), ("mask", "<i4")]
    + [(f"{part}_{name}", "<f8") for part in PARTS for name in ("scale", "error", "square")]
)
Rows = npt.NDArray[Any]
"""One record a row, of type `ROW`: pattern, when it was confirmed, which mask, and of each part the scale of its codes,
the length of what rounding took away, and the squared length of what it left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coded:
    """Rows in codes."""

    rows: Rows
    masks: npt.NDArray[np.bool_]
    """(masks, D): which dimensions are there; a row names one of these."""
    keys: Vector
    """(N, keys), as they are: they are asked for equality."""
    codes: dict[str, npt.NDArray[Any]]
    """Part -> (N, dimensions of the part)."""


def encode(layout: Layout, ids: npt.NDArray[np.int64], stamps: npt.NDArray[np.int64], values: Vector) -> Coded:
    """The signatures (N, D) in codes; NaN and infinities count as missing."""
    present = np.isfinite(values)
    rows, codes = np.zeros(len(values), dtype=ROW), {}
    rows["id"], rows["stamp"] = ids, stamps
    # As bytes in a dictionary: numpy would sort rows of thousands of booleans.
    numbers: dict[bytes, int] = {}
    rows["mask"] = [numbers.setdefault(mask.tobytes(), len(numbers)) for mask in present]
    masks = np.frombuffer(b"".join(numbers), dtype=bool).reshape(len(numbers), len(layout.names))
    for part in PARTS:
        own = np.where(present, values, 0.0)[:, layout.parts[part]]
        largest, kind = LARGEST[part]
        scale = np.abs(own).max(axis=1, initial=0.0) / largest
        scale[scale == 0] = 1.0
        codes[part] = np.rint(own / scale[:, None]).astype(kind)
        kept = codes[part] * scale[:, None]
        rows[f"{part}_scale"], rows[f"{part}_square"] = scale, (kept**2).sum(axis=1)
        rows[f"{part}_error"] = (1 + 1e-9) * np.linalg.norm(own - kept, axis=1)
    return Coded(rows=rows, masks=masks, keys=values[:, layout.parts["keys"]], codes=codes)


class Query:
    """A signature, as values (D,) of a layout, that rows in codes are held against."""

    def __init__(self, layout: Layout, values: Vector) -> None:
        self._layout = layout
        self._present = np.isfinite(values)
        self._filled = np.where(self._present, values, 0.0)
        self._keys = values[layout.parts["keys"]]

    def weights(self, coded: Coded) -> Vector:
        """(N,): no row's distance of weights is smaller; infinite where it cannot be compared."""
        by_role, by_name = (self._by_cosine(coded, part) for part in ("roles", "names"))
        has_common = (coded.keys == self._keys).any(axis=1)
        return np.minimum(by_role, np.where(has_common, by_name, np.inf))

    def kind(self, coded: Coded) -> Vector:
        """(N,): no row's distance of kinds is smaller; infinite where it cannot be compared."""
        rows, (products, squares, counts, own) = coded.rows, self._sums(coded, "statistics")
        with np.errstate(over="ignore", invalid="ignore"):
            slack = 2 * self._rounding("statistics") * (squares + own)
            apart = np.sqrt(np.maximum(squares + own - 2 * products - slack, 0)) - rows["statistics_error"]
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
        places, codes, rows = self._layout.parts[part], coded.codes[part], coded.rows
        masks, own, present = coded.masks[:, places], self._filled[places], self._present[places]
        scale, which = rows[f"{part}_scale"], rows["mask"]
        numbers = codes.astype(np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            products = scale * np.asarray(numbers @ own.astype(np.float32), dtype=np.float64)
        squares = rows[f"{part}_square"].copy()
        # What this signature lacks must not count; most rows have nothing there.
        more = np.asarray((masks & ~present).any(axis=1))[which]
        if more.any():
            with np.errstate(over="ignore"):
                squares[more] = scale[more] ** 2 * (numbers[more] ** 2 @ present.astype(np.float32))
        return products, squares, (masks & present).sum(axis=1)[which].astype(np.float64), (masks @ own**2)[which]

    def _rounding(self, part: str) -> float:
        """Largest relative error of a sum of products in float32."""
        return float((len(self._layout.parts[part]) + 2) * np.finfo(np.float32).eps)
