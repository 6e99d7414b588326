"""What a matrix gives away to codes without a network: truncated SVD, at full precision and rounded, and the largest
coefficients of its cosine transform.

Each is kept as a curve of (price, energy) parts, best first, so that figures over many tensors come from buying the
best parts of all of them together.
"""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.fft import dctn

__all__ = [
    "ROUNDED_BITS",
    "Baseline",
    "Part",
    "cosine_parts",
    "explained",
    "measure_baseline",
    "price_of_rank",
    "rounded_energies",
]

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Part = tuple[float, float]
"""(price, energy): what is explained, a sum of squares, and the numbers or bits it takes."""

ROUNDED_BITS = 8
ROUNDED_RANKS = 64
"""Leading ranks whose factors are rounded; the rest, which no small budget buys, count as if rounding cost nothing."""
SCALE_BITS = 16
LARGEST_SHARE = 8
"""One coefficient of so many is kept in its place; the rest count together."""
GROUP_GROWTH = 1.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """One matrix, centred; energies are sums of squares in original units."""

    rows: int
    cols: int
    energies: tuple[float, ...]
    """Squared singular values, descending."""
    rounded: tuple[float, ...] = ()
    """What the leading ranks explain one after the other when their factors have 8 bits a number."""
    cosines: tuple[tuple[int, float], ...] = ()
    """DCT coefficients from the largest down, in groups: how many, and their energy."""

    @property
    def svd_parts(self) -> list[Part]:
        """By numbers: a rank costs rows + cols (the singular value goes into a factor)."""
        return [(self.rows + self.cols, energy) for energy in self.energies]

    @property
    def rounded_parts(self) -> list[Part]:
        """By bits."""
        price = price_of_rank(self.rows, self.cols, ROUNDED_BITS)
        return [(price, energy) for energy in (*self.rounded, *self.energies[len(self.rounded) :])]

    @property
    def cosine_parts(self) -> list[Part]:
        """By numbers: a coefficient costs two, its place and its value."""
        return [(2 * count, energy) for count, energy in self.cosines]


def measure_baseline(standardised: Float32, std: float, squares: Float64, vectors: Float64) -> Baseline:
    """The curves of a matrix (rows, cols) that was standardised by `std`, with its `singular_directions`."""
    rows, cols = standardised.shape
    scale = std**2
    rounded = rounded_energies(standardised, vectors[:, :ROUNDED_RANKS], ROUNDED_BITS)
    return Baseline(
        rows=rows,
        cols=cols,
        energies=tuple((squares * scale).tolist()),
        rounded=tuple((rounded * scale).tolist()),
        cosines=tuple((count, energy * scale) for count, energy in cosine_parts(standardised)),
    )


def price_of_rank(rows: int, cols: int, bits: int) -> int:
    """What one rank costs with factors of so many bits a number and a scale for each column of a factor, in bits."""
    return (rows + cols) * bits + 2 * SCALE_BITS


def rounded_energies(matrix: Float32, vectors: Float64, bits: int) -> Float64:
    """What truncated SVD of 1, 2, ... ranks explains beyond one rank less, its factors rounded to `bits`, float64.

    - `vectors` (L, K): leading singular vectors of the matrix (M, N) along its shorter axis, L = min(M, N).

    Every column of a factor has a scale of its own. With rounded factors A and B, the sum of squares that rank k
    explains is 2 a_k^T W b_k - sum over i, j <= k of (a_i^T a_j)(b_i^T b_j), less the same of rank k - 1.
    """
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    short = vectors.astype(np.float32)
    left, right = _rounded(tall @ short, bits), _rounded(short, bits)
    products = np.einsum("mk,mk->k", left, tall @ right, dtype=np.float64)
    grams = (left.T @ left).astype(np.float64) * (right.T @ right)
    before = np.tril(grams, -1).sum(axis=1)
    return np.asarray(2 * products - np.diag(grams) - 2 * before, dtype=np.float64)


def _rounded(columns: Float32, bits: int) -> Float32:
    """Every column at `bits` bits, symmetric about 0."""
    most = 2 ** (bits - 1) - 1
    steps = np.abs(columns).max(axis=0) / np.float32(most)
    steps[steps == 0] = 1
    return np.asarray(np.round(columns / steps) * steps, dtype=np.float32)


def cosine_parts(matrix: Float32) -> list[tuple[int, float]]:
    """Coefficients of the orthonormal two-dimensional DCT-II from the largest down, in groups that grow: (how many,
    their energy). Together they have the energy of the matrix."""
    energies = dctn(matrix, norm="ortho").ravel() ** 2
    keep = max(energies.size // LARGEST_SHARE, min(energies.size, 64))
    largest = np.sort(np.partition(energies, energies.size - keep)[energies.size - keep :])[::-1]
    total, sums = float(energies.sum(dtype=np.float64)), np.cumsum(largest, dtype=np.float64)
    ends = [0]
    while ends[-1] < keep:
        ends.append(min(max(ends[-1] + 1, int(ends[-1] * GROUP_GROWTH)), keep))
    parts = [(end - start, float(sums[end - 1] - (sums[start - 1] if start else 0))) for start, end in pairwise(ends)]
    rest = energies.size - keep
    return [*parts, (rest, max(total - float(sums[-1]), 0.0))] if rest else parts


def explained(curves: Iterable[Sequence[Part]], budget: float) -> float:
    """The most energy that `budget` buys of these curves, each bought from its first part on.

    Parts are bought where a unit of the price explains most, which is the best split between tensors; the last one is
    bought in part (linear interpolation).
    """
    lists = [curve for curve in curves if len(curve)]
    heap = [(-curve[0][1] / curve[0][0], index, 0) for index, curve in enumerate(lists)]
    heapq.heapify(heap)
    total, left = 0.0, float(budget)
    while heap and left > 0:
        _, index, position = heapq.heappop(heap)
        price, energy = lists[index][position]
        total += min(left / price, 1.0) * energy
        left -= price
        if position + 1 < len(lists[index]):
            price, energy = lists[index][position + 1]
            heapq.heappush(heap, (-energy / price, index, position + 1))
    return total
