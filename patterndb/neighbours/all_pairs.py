"""Sums over the dimensions that two rows share, for all pairs of rows at once, by products of matrices.

A product loses digits where two rows are much alike, since what is left is a small difference of large sums. Such pairs
are summed directly: copies come out exactly 0 apart, all others within 1e-10 of the direct sum, relatively.

N = rows, D = dimensions; NaN where a row lacks one.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

__all__ = ["cosine_distances", "mean_squares"]

Vector = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
ALIKE = 1e-4
"""A sum that is a smaller share of the numbers it is the difference of is computed directly."""
ROWS_AT_A_TIME = 256
PAIRS_AT_A_TIME = 512
"""These two bound the memory needed besides the result."""


def mean_squares(values: Vector) -> Vector:
    """Mean square of the differences over shared dimensions: (N, D) to (N, N), symmetric; NaN where none is shared."""
    present = np.isfinite(values)
    mask, filled = present.astype(np.float64), np.where(present, values, 0.0)
    # About the mean of each dimension: differences stay, and sums of squares are no larger than they must be.
    centred = np.where(present, filled - filled.sum(axis=0) / np.maximum(mask.sum(axis=0), 1), 0.0)
    squares = centred**2

    def difference(a: Places, b: Places) -> Vector:
        return np.asarray((((filled[a] - filled[b]) * (mask[a] * mask[b])) ** 2).sum(axis=1))

    found = np.empty((len(values), len(values)))
    for start in range(0, len(values), ROWS_AT_A_TIME):
        rows, others = slice(start, start + ROWS_AT_A_TIME), slice(start, None)
        counts = mask[rows] @ mask[others].T
        sizes = squares[rows] @ mask[others].T + mask[rows] @ squares[others].T
        sums = sizes - 2 * (centred[rows] @ centred[others].T)
        _sum_directly(sums, sums <= ALIKE * sizes, start, difference)
        _put(found, start, np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0))
    return found


def cosine_distances(values: Vector) -> tuple[Vector, Vector]:
    """1 - cosine over shared dimensions, and how many are shared: (N, D) to (N, N) each, symmetric.

    NaN where none is shared or one of the two rows is 0 there.
    """
    present = np.isfinite(values)
    mask, filled = present.astype(np.float64), np.where(present, values, 0.0)
    squares = filled**2

    def difference(a: Places, b: Places) -> Vector:
        units = [each / np.linalg.norm(each, axis=1)[:, None] for each in (filled[a] * mask[b], filled[b] * mask[a])]
        # Half the squared distance of unit vectors.
        return np.asarray(((units[0] - units[1]) ** 2).sum(axis=1) / 2)

    found, shared = np.empty((2, len(values), len(values)))
    for start in range(0, len(values), ROWS_AT_A_TIME):
        rows, others = slice(start, start + ROWS_AT_A_TIME), slice(start, None)
        norms = np.sqrt(squares[rows] @ mask[others].T) * np.sqrt(mask[rows] @ squares[others].T)
        products = filled[rows] @ filled[others].T
        unlike = 1 - np.divide(products, norms, out=np.full_like(products, np.nan), where=norms > 0)
        _sum_directly(unlike, unlike <= ALIKE, start, difference)
        _put(found, start, unlike)
        _put(shared, start, mask[rows] @ mask[others].T)
    return found, shared


def _sum_directly(
    sums: Vector, which: npt.NDArray[np.bool_], start: int, difference: Callable[[Places, Places], Vector]
) -> None:
    """Replace the sums that are marked by direct ones, above the diagonal of the whole.

    - `sums`, `which`: (rows, others), both from row `start` of the whole on.
    """
    above = np.nonzero(np.triu(which))
    for first in range(0, len(above[0]), PAIRS_AT_A_TIME):
        a, b = (places[first : first + PAIRS_AT_A_TIME] for places in above)
        sums[a, b] = difference(start + a, start + b)


def _put(found: Vector, start: int, part: Vector) -> None:
    """Put rows from `start` on into their place, and what is above the diagonal below it as well."""
    rows = slice(start, start + len(part))
    square = part[:, : len(part)]
    part[:, : len(part)] = np.triu(square) + np.triu(square, 1).T
    found[rows, start:] = part
    found[start:, rows] = part.T
