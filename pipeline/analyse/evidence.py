"""Evidence: how rarely the null gives a figure as extreme as the one that was measured.

**One tensor.** Where the null holds, the value and its n draws are exchangeable: each of the n + 1 is equally likely to
be the value. So the rank of the value among all n + 1 is uniform, and

    p = min(1, 2 min(r_above, r_below) / (n + 1)),

r_above the number of the n + 1 that are at least the value, r_below the number that are at most the value, itself
counted in both (Davison & Hinkley 1997, section 4.2; Phipson & Smyth 2010). Nothing is estimated, so P(p <= a) <= a for
every a, with equality at the multiples of 2 / (n + 1). No p is below 2 / (n + 1).

**Several tensors.** A pooled figure is a weighted sum of one item of each tensor. Where the null holds in every tensor,
and the nulls of different tensors were drawn independently, any choice of one of the n + 1 items in each tensor was as
likely as the one that was observed: (n + 1)^T recombinations of T tensors. p is the rank of the observed sum among
them, or among `NUM_RECOMBINATIONS` drawn ones with the observed one counted in. It is exact in the same sense, and with
8 draws and 3 tensors it can fall below 0.01. It assumes that the values of different tensors are independent under the
null; a null that shuffles or turns each tensor by itself makes them so.
"""

import functools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from patterndb.records import Statistic
from pipeline.arrays import Float64

__all__ = [
    "NUM_RECOMBINATIONS",
    "compare_with_null",
    "draws_for",
    "pooled_statistic",
    "rank_p",
    "recombination_p",
    "smallest_p",
]

NUM_RECOMBINATIONS = 9_999
"""Where there are more, so many are drawn; then no p is below 2 / (this + 1)."""
ROUNDING = 1e-7
"""Figures tie that differ by less than this, or this share of the largest where that is above 1: they are of float32
matrices, and where a null changes nothing (orthogonal rows stay so when they are turned) only rounding tells it apart.
What chance does to a statistic is far above, also in matrices of millions of weights."""


def rank_p(value: float, draws: Sequence[float]) -> float | None:
    """Two-sided p of a value among the finite draws of its null; None without any, or if the value is not finite."""
    finite = [draw for draw in draws if math.isfinite(draw)]
    if not finite or not math.isfinite(value):
        return None
    slack = _slack((value, *finite))
    above = 1 + sum(draw >= value - slack for draw in finite)
    below = 1 + sum(draw <= value + slack for draw in finite)
    return min(1.0, 2 * min(above, below) / (len(finite) + 1))


def recombination_p(weights: Sequence[float], items: Sequence[Sequence[float]]) -> float | None:
    """Two-sided p of the sum of `weights[t] * items[t][0]` over the tensors t.

    - `items[t]`: the value of tensor t, then the draws of its null, all finite; measured about a centre, if any, that
      does not tell the value from the draws.

    None where no tensor has a draw.
    """
    sizes = tuple(len(each) for each in items)
    if max(sizes, default=1) == 1:
        return None
    arrays = [weight * np.asarray(each, dtype=np.float64) for weight, each in zip(weights, items, strict=True)]
    sums = _every_sum(arrays) if math.prod(sizes) <= NUM_RECOMBINATIONS + 1 else _drawn_sums(arrays, sizes)
    slack = _slack(sums)
    above, below = int(np.sum(sums >= sums[0] - slack)), int(np.sum(sums <= sums[0] + slack))
    return min(1.0, 2 * min(above, below) / len(sums))


def _slack(figures: Sequence[float] | Float64) -> float:
    """By how much two of them may differ and still be ties."""
    return ROUNDING * max(1.0, float(np.abs(figures).max()))


def smallest_p(num_draws: int, num_tensors: int = 1) -> float:
    """The smallest p that a figure of so many tensors can have, each with so many draws; 1 without draws."""
    return min(1.0, 2 / float(min((num_draws + 1) ** num_tensors, NUM_RECOMBINATIONS + 1)))


def draws_for(p: float) -> int:
    """The fewest draws with which a figure of one tensor can have so small a p."""
    return math.ceil(2 / p) - 1


def _every_sum(arrays: Sequence[Float64]) -> Float64:
    """The sums of all choices of one item of each array, the choice of all first items first."""
    sums = np.zeros(1)
    for array in arrays:
        sums = (sums[:, None] + array).ravel()
    return sums


def _drawn_sums(arrays: Sequence[Float64], sizes: tuple[int, ...]) -> Float64:
    """The sum of all first items, then those of `NUM_RECOMBINATIONS` choices."""
    sums = np.zeros(NUM_RECOMBINATIONS + 1)
    for array, choices in zip(arrays, _choices(sizes), strict=True):
        sums += array[choices]
    return sums


@functools.lru_cache(maxsize=64)
def _choices(sizes: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Which item of each tensor is taken, (tensors, recombinations), none but first items first.

    A fixed table: the same tensors with the same draws have the same p, whatever else was asked before.
    """
    rng = np.random.default_rng([NUM_RECOMBINATIONS, *sizes])
    dtype = np.uint8 if max(sizes) <= 256 else np.uint16
    table = np.stack([rng.integers(0, size, NUM_RECOMBINATIONS + 1, dtype=dtype) for size in sizes])
    table[:, 0] = 0
    return np.asarray(table)


def compare_with_null(name: str, value: float, draws: Sequence[float], kind: str | None) -> Statistic:
    """A value of one tensor and the draws of its null.

    `z` is in standard deviations of the draws (n - 1 in the denominator), None with fewer than two draws or a null
    without spread beyond rounding. `p` is `rank_p`. Draws that are not finite are left out.
    """
    finite = [draw for draw in draws if math.isfinite(draw)]
    if kind is None or not finite or not math.isfinite(value):
        return Statistic(name=name, value=value, null=kind, num_nulls=len(finite))
    return _tested(name, value, kind, len(finite), _moments(finite), rank_p(value, finite))


def pooled_statistic(
    name: str,
    kind: str | None,
    weights: Sequence[float],
    items: Sequence[Sequence[float]],
    centred: Sequence[Sequence[float]],
) -> Statistic:
    """A weighted mean over tensors and its null.

    - `weights`: of the tensors, any positive scale.
    - `items[t]`: the value of tensor t, then the draws of its null, all finite: of these the value, null mean and null
      standard deviation are reported (the tensors' variances add up).
    - `centred[t]`: the same about a centre of all of them, for `recombination_p`.
    """
    shares = [weight / math.fsum(weights) for weight in weights]
    value = math.fsum(share * each[0] for share, each in zip(shares, items, strict=True))
    num_nulls = min(len(each) for each in items) - 1
    if kind is None or num_nulls == 0:
        return Statistic(name=name, value=value, null=kind, num_nulls=0)
    moments = [_moments(each[1:]) for each in items]
    mean = math.fsum(share * moment[0] for share, moment in zip(shares, moments, strict=True))
    variances = [None if std is None else (share * std) ** 2 for share, (_, std) in zip(shares, moments, strict=True)]
    known = [variance for variance in variances if variance is not None]
    std = math.sqrt(math.fsum(known)) if len(known) == len(variances) else None
    return _tested(name, value, kind, num_nulls, (mean, std), recombination_p(shares, centred))


def _tested(
    name: str, value: float, kind: str, num_nulls: int, moments: tuple[float, float | None], p: float | None
) -> Statistic:
    """A value beside the mean and standard deviation of its null."""
    mean, std = moments
    z = (value - mean) / std if std and std > _slack((value, mean)) else None
    return Statistic(name=name, value=value, null=kind, num_nulls=num_nulls, null_mean=mean, null_std=std, z=z, p=p)


def _moments(draws: Sequence[float]) -> tuple[float, float | None]:
    """Mean, and standard deviation where there are two draws or more."""
    mean = math.fsum(draws) / len(draws)
    if len(draws) < 2:
        return mean, None
    return mean, math.sqrt(math.fsum((draw - mean) ** 2 for draw in draws) / (len(draws) - 1))
