"""Rows that stand for a tensor with too many, and how far the choice of rows moves a statistic.

A statistic of sampled rows is that of a matrix of so many rows, as its nulls are; it is not that of the whole tensor,
whose spectrum has another shape for being taller. What the choice of rows does to it is found by choosing others: the
same is measured of a few more samples, drawn at random, each put into order anew.
"""

import math
from collections.abc import Sequence

import numpy as np

from pipeline.arrays import Indices

__all__ = ["NUM_SAMPLES", "interval", "random_rows"]

NUM_SAMPLES = 4
"""Further samples of a tensor that is sampled: half the default number of nulls, and cheaper each."""
COVERAGE = 0.95


def random_rows(num_rows: int, count: int, rng: np.random.Generator) -> Indices:
    """Different rows, all equally likely: (count,), ascending."""
    return np.sort(rng.choice(num_rows, count, replace=False)).astype(np.intp)


def interval(value: float, samples: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval about `value` for what samples of as many rows give on average; None where it is not known.

    `value` is one such sample, and Student's t says how far a sample may be off whose standard deviation is known from
    few others. Statistics that a single row decides
    (a maximum, a kurtosis) are too skewed for it: there the interval is too short upwards.
    """
    if len(samples) < 2 or not all(map(math.isfinite, (value, *samples))):
        return None
    from scipy.special import stdtrit  # Here: `show` asks this package for names, and scipy is a quarter of a second.

    half = float(stdtrit(len(samples) - 1, (1 + COVERAGE) / 2)) * float(np.std(samples, ddof=1))
    return value - half, value + half
