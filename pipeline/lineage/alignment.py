"""Find which unit of one model is which unit of another, from features whose order means the same in both.

N, M = units of either model, F = features.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from pipeline.arrays import Float64, Indices
from pipeline.lineage.records import Matrix

__all__ = [
    "FILE_ORDER_Z",
    "Alignment",
    "Indices",
    "align",
    "assign",
    "balanced",
    "centred",
    "file_order",
    "file_order_z",
    "relations_z",
    "sample",
    "unit_rows",
    "without_identity",
]


FILE_ORDER_Z = 6.0
"""z of the agreement in the order of the files from which that order is taken (p < 1e-9)."""

MAX_UNITS = 1024
"""Units on which file order is tested."""
_NEARLY = 0.8
"""File order is taken where its cosines sum to this share of the best assignment's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """Unit `a[i]` of the first model is unit `b[i]` of the second."""

    a: Indices
    b: Indices
    signs: Matrix | None = None
    """+1 or -1, float32, one a pair, where signs are arbitrary: unit `b[i]` is multiplied with it."""
    in_file_order: bool = False
    """Whether this is the order of the files, so that nothing was searched for."""

    def __len__(self) -> int:
        return len(self.a)

    def rows(self, a: Matrix, b: Matrix) -> tuple[Matrix, Matrix]:
        """The units that have a partner, in one order: rows of `a` beside rows of `b`, signs applied."""
        right = b[self.b]
        if self.signs is not None:
            right = right * self.signs.reshape(-1, *(1,) * (right.ndim - 1))
        return a[self.a], right


def centred(matrix: Matrix) -> Matrix:
    """The matrix without the means of its rows and columns, which all models of a kind have in common."""
    matrix = matrix - matrix.mean(axis=1, keepdims=True)
    matrix -= matrix.mean(axis=0, keepdims=True)
    return matrix


def balanced(matrix: Matrix, *, rounds: int = 3) -> Matrix:
    """The matrix centred, with its rows and its columns scaled to norm 1 in turn.

    Then all units have equal weight: those that may be scaled under an activation, and outliers.
    """
    for _ in range(rounds):
        matrix = unit_rows(unit_rows(centred(matrix)).T).T
    return centred(matrix)


def without_identity(matrix: Matrix) -> Matrix:
    """A centred square matrix without the multiple of the identity that fits it best; any other as it is.

    Networks that start from the identity, or whose values and outputs pass the residual stream on, have that in common.
    """
    size = len(matrix)
    if matrix.shape != (size, size):
        return matrix
    share = np.float32(np.trace(matrix, dtype=np.float64) / max(size - 1, 1))
    # The identity, centred, is 1 - 1 / size on the diagonal and -1 / size off it.
    matrix = matrix + share / size
    matrix[np.diag_indices(size)] -= share
    return matrix


def unit_rows(matrix: Matrix) -> Matrix:
    """Each row over its norm; rows of zeros stay."""
    norms = np.linalg.norm(matrix, axis=1, keepdims=True)
    unit: Matrix = np.divide(matrix, norms, out=np.zeros_like(matrix), where=norms > 0)
    return unit


def file_order(num_a: int, num_b: int) -> Alignment:
    """Unit i is unit i, as far as both have one."""
    shared = np.arange(min(num_a, num_b))
    return Alignment(a=shared, b=shared, in_file_order=True)


def file_order_z(a: Matrix, b: Matrix) -> float:
    """z of the agreement of units in file order, among all orders; 0 where there is no spread.

    The trace of `C = A B^T` has mean `sum(C) / n` over all orders, and variance `sum(D^2) / (n - 1)` with D the
    double-centred C (Hoeffding 1951, "A combinatorial central limit theorem"). Uses at most `MAX_UNITS` units.
    """
    shared = min(len(a), len(b))
    if shared < 3:
        return 0.0
    step = -(-shared // MAX_UNITS)
    a, b = a[:shared:step], b[:shared:step]
    shared, similarity = len(a), a @ b.T
    spread = math.sqrt(float((centred(similarity).astype(np.float64) ** 2).sum()) / (shared - 1))
    excess = float(np.trace(similarity, dtype=np.float64) - similarity.sum(dtype=np.float64) / shared)
    return excess / spread if spread > 0 else 0.0


def relations_z(a: Matrix, b: Matrix) -> float:
    """z of the agreement of two matrices of similarities in file order, among all orders: Mantel's test (1967).

    - `a`, `b`: symmetric, shape `(N, N)`; their diagonals do not count.

    0 where there is no spread. The moments are Mantel's for values of mean 0.
    """
    size = len(a)
    if size < 4 or len(b) != size:
        return 0.0
    left, right = _without_diagonal(a), _without_diagonal(b)
    (rows_a, squares_a), (rows_b, squares_b) = _sums(left), _sums(right)
    pairs = size * (size - 1)
    variance = 2 * squares_a * squares_b / pairs
    variance += 4 * (rows_a - squares_a) * (rows_b - squares_b) / (pairs * (size - 2))
    apart = (2 * squares_a - 4 * rows_a) * (2 * squares_b - 4 * rows_b)
    variance += apart / (pairs * (size - 2) * (size - 3))
    return float(np.vdot(left, right)) / math.sqrt(variance) if variance > 0 else 0.0


def _without_diagonal(matrix: Matrix) -> Float64:
    """The matrix with zeros on its diagonal and mean 0 off it."""
    size = len(matrix)
    found: Float64 = matrix.astype(np.float64)
    np.fill_diagonal(found, 0)
    found -= found.sum() / (size * (size - 1))
    np.fill_diagonal(found, 0)
    return found


def _sums(matrix: Float64) -> tuple[float, float]:
    """The sum of squares of row sums, and of all entries."""
    return float((matrix.sum(axis=1) ** 2).sum()), float((matrix**2).sum())


def assign(similarity: Matrix) -> tuple[Indices, Indices]:
    """The one-to-one assignment of rows to columns with the largest sum; the smaller side is used up."""
    rows, cols = linear_sum_assignment(similarity, maximize=True)
    return np.asarray(rows), np.asarray(cols)


def sample(count: int, most: int, seed: int) -> Indices:
    """Indices below `count` in order: all of them, or `most` drawn at random where there are more."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))


def align(a: Matrix, b: Matrix, *, signed: bool = False, rows: Indices | None = None) -> Alignment:
    """Units matched by the cosine of their features; in file order where that agrees beyond chance.

    - `a`, `b`: float32, shapes `(N, F)` and `(M, F)`.
    - `signed`: whether signs of units are arbitrary; then the absolute cosine is used.
    - `rows`: units of the first model to match, where matching all would take too long.
    """
    a, b = unit_rows(a), unit_rows(b)
    chosen = np.arange(len(a)) if rows is None else rows
    if file_order_z(a, b) >= FILE_ORDER_Z:
        kept = chosen[chosen < len(b)]
        return Alignment(a=kept, b=kept, in_file_order=True)
    cosines = a[chosen] @ b.T
    scores = np.abs(cosines) if signed else cosines
    found, partners = assign(scores)
    if len(a) == len(b) and scores[np.arange(len(chosen)), chosen].sum() >= _NEARLY * scores[found, partners].sum():
        # Few units cannot prove file order, and under noise another order fits them a little better.
        found, partners = np.arange(len(chosen)), chosen
    signs = np.where(cosines[found, partners] < 0, -1, 1).astype(np.float32) if signed else None
    return Alignment(a=chosen[found], b=partners, signs=signs)
