"""What a matrix gives away to codes without a network: truncated SVD, at full precision and rounded, and the largest
coefficients of its cosine transform.

Each is kept as a curve of (price, energy) parts, best first, so that figures over many tensors come from buying the
best parts of all of them together. Every code may buy the means of rows and columns first, as a DNA may.
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.fft import dctn
from scipy.special import gammaln

from pipeline.arrays import Float32, Float64

__all__ = [
    "ROUNDED_BITS",
    "SVD_WIDTHS",
    "Baseline",
    "BeyondMeans",
    "Part",
    "best_of",
    "coefficient_groups",
    "explained",
    "measure_baseline",
    "price_of_rank",
    "rounded",
    "rounded_energies",
]

Part = tuple[float, float]
"""(price, energy): what is explained, a sum of squares, and the numbers or bits it takes."""

ROUNDED_BITS = 8
SVD_WIDTHS = (8, 6, 4, 3)
"""Bits of a number in the factors of SVD where it is given as many bits as a DNA."""
ROUNDED_RANKS = 64
"""Leading ranks whose factors are rounded; the rest, which no small budget buys, are kept in groups and count as if
rounding cost nothing."""
SCALE_BITS = 16
LARGEST_SHARE = 8
"""One coefficient of so many is kept in its place; the rest count together."""
GROUP_GROWTH = 1.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The curves of one matrix; energies are sums of squares in original units."""

    energy: float
    """Sum of squares about the mean."""
    svd: tuple[Part, ...]
    """By numbers: a rank costs rows + cols (the singular value goes into a factor), a mean one."""
    dct: tuple[Part, ...]
    """By numbers: a coefficient costs two, its place and its value."""
    svd_bits: Mapping[int, tuple[Part, ...]]
    """By bits, for each width of `SVD_WIDTHS`."""
    dct_bits: tuple[Part, ...]
    """By bits: a coefficient costs its place and its sign, a group of coefficients of like size that size."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BeyondMeans:
    """A standardised matrix without the means that pay, which its codes may buy instead."""

    means: tuple[Part, ...]
    """(numbers, energy) of the row means and of the column means that pay, the most energy for a number first."""
    pays_rows: bool
    pays_cols: bool
    matrix: Float32
    squares: Float64
    vectors: Float64
    """`singular_directions` of `matrix`."""


def measure_baseline(
    standardised: Float32, std: float, squares: Float64, vectors: Float64, beyond: BeyondMeans | None = None
) -> Baseline:
    """The curves of a matrix (rows, cols) that was standardised by `std`, with its `singular_directions`.

    - `beyond`: the same without its means, where they pay. A code is then the better of two at any price: as it is, and
      with the means bought and the rest of the matrix coded.
    """
    rows, cols = standardised.shape
    means = beyond.means if beyond else ()
    mean_bits = [(count * ROUNDED_BITS + SCALE_BITS, energy) for count, energy in means]
    forms = [(standardised, squares, vectors), *([(beyond.matrix, beyond.squares, beyond.vectors)] if beyond else [])]
    ranks = [[(rows + cols, energy) for energy in energies.tolist()] for _, energies, _ in forms]
    rounded = {
        width: [_rounded_ranks(matrix, energies, directions, width) for matrix, energies, directions in forms]
        for width in SVD_WIDTHS
    }
    coefficients = dctn(standardised, norm="ortho")
    groups = [coefficient_groups(coefficients)]
    if beyond:  # The means are the coefficients of frequency 0 along the other axis.
        coefficients[0, 1:] *= not beyond.pays_cols
        coefficients[1:, 0] *= not beyond.pays_rows
        groups.append(coefficient_groups(coefficients))

    def curve(parts: Sequence[Sequence[Part]], prices: Sequence[Part]) -> tuple[Part, ...]:
        plain, *others = parts
        best = best_of([plain, *([*prices, *other] for other in others)])
        return tuple((price, energy * std**2) for price, energy in best)

    return Baseline(
        energy=std**2 * rows * cols,
        svd=curve(ranks, means),
        dct=curve([[(2 * count, energy) for count, energy, _ in group] for group in groups], means),
        svd_bits={width: curve(parts, mean_bits) for width, parts in rounded.items()},
        dct_bits=curve([_coefficient_bits(group, rows * cols) for group in groups], mean_bits),
    )


def price_of_rank(rows: int, cols: int, bits: int) -> int:
    """What one rank costs with factors of so many bits a number and a scale for each column of a factor, in bits."""
    return (rows + cols) * bits + 2 * SCALE_BITS


def _rounded_ranks(matrix: Float32, energies: Float64, vectors: Float64, bits: int) -> list[Part]:
    """The ranks of a matrix by bits."""
    price = price_of_rank(matrix.shape[0], matrix.shape[1], bits)
    rounded = rounded_energies(matrix, vectors[:, :ROUNDED_RANKS], bits)
    rest = pairwise(_ends(len(rounded), len(energies)))
    return [
        *((price, energy) for energy in rounded.tolist()),
        *(((end - start) * price, float(energies[start:end].sum())) for start, end in rest),
    ]


def rounded_energies(matrix: Float32, vectors: Float64, bits: int) -> Float64:
    """What truncated SVD of 1, 2, ... ranks explains beyond one rank less, its factors rounded to `bits`, float64.

    - `vectors` (L, K): leading singular vectors of the matrix (M, N) along its shorter axis, L = min(M, N).

    Every column of a factor has a scale of its own. With rounded factors A and B, the sum of squares that rank k
    explains is 2 a_k^T W b_k - sum over i, j <= k of (a_i^T a_j)(b_i^T b_j), less the same of rank k - 1.
    """
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    short = vectors.astype(np.float32)
    left, right = rounded(tall @ short, bits), rounded(short, bits)
    products = np.einsum("mk,mk->k", left, tall @ right, dtype=np.float64)
    grams = (left.T @ left).astype(np.float64) * (right.T @ right)
    before = np.tril(grams, -1).sum(axis=1)
    return np.asarray(2 * products - np.diag(grams) - 2 * before, dtype=np.float64)


def rounded(columns: Float32, bits: int) -> Float32:
    """Every column at `bits` bits, symmetric about 0."""
    most = 2 ** (bits - 1) - 1
    steps = np.abs(columns).max(axis=0) / np.float32(most)
    steps[steps == 0] = 1
    return np.asarray(np.round(columns / steps) * steps, dtype=np.float32)


def coefficient_groups(coefficients: Float32) -> list[tuple[int, float, float]]:
    """Coefficients (M, N) from the largest down, in groups that grow: how many, their energy, and what of it is left if
    all of a group have its mean magnitude. Together they have the energy of the matrix if the basis is orthonormal."""
    sizes = np.abs(coefficients).ravel()
    keep = max(sizes.size // LARGEST_SHARE, min(sizes.size, 64))
    split = np.partition(sizes, sizes.size - keep)
    rest, largest = split[: sizes.size - keep], np.sort(split[sizes.size - keep :])[::-1]
    groups = [largest[start:end] for start, end in pairwise(_ends(0, keep))] + ([rest] if len(rest) else [])
    return [
        (len(g), float(np.square(g, dtype=np.float64).sum()), float(g.sum(dtype=np.float64)) ** 2 / len(g))
        for g in groups
    ]


def _ends(first: int, last: int) -> list[int]:
    """Where groups end that grow with their place, from `first` to `last`."""
    ends = [first]
    while ends[-1] < last:
        ends.append(min(max(ends[-1] + 1, int(ends[-1] * GROUP_GROWTH)), last))
    return ends


def _coefficient_bits(groups: Iterable[tuple[int, float, float]], size: int) -> list[Part]:
    """The groups by bits: which of the `size` places that are left (log2 of the choices), signs, and one magnitude."""
    parts, left = [], size
    for count, _, energy in groups:
        choices = gammaln(left + 1) - gammaln(count + 1) - gammaln(left - count + 1)
        parts.append((float(choices) / np.log(2) + count + SCALE_BITS, energy))
        left -= count
    return parts


def best_of(curves: Iterable[Iterable[Part]]) -> tuple[Part, ...]:
    """One curve, each of whose parts explains less for the price than the one before, that is at any price at least as
    good as each of these codes and their mixtures: the upper concave hull of what they explain.

    A mixture of two codes of one matrix cannot be had; that is in favour of the baseline, as parts of a rank are.
    """
    points = [(0.0, 0.0)]
    for curve in curves:
        price = energy = 0.0
        for more, gained in curve:
            price, energy = price + more, energy + gained
            points.append((price, energy))
    hull: list[Part] = []
    for price, energy in sorted(points):
        if hull and energy <= hull[-1][1]:
            continue
        while len(hull) > 1 and _slope(hull[-2], (price, energy)) >= _slope(hull[-2], hull[-1]):
            hull.pop()
        hull.append((price, energy))
    return tuple((price - before, energy - less) for (before, less), (price, energy) in pairwise(hull))


def _slope(start: Part, end: Part) -> float:
    return (end[1] - start[1]) / (end[0] - start[0])


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
