"""Ranks and tails as `scipy.stats` has them: loading that takes longer than answering all questions."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["coin_tail", "column_ranks", "fisher_tail"]

Float64 = npt.NDArray[np.float64]


def column_ranks(values: Float64) -> Float64:
    """Ranks from 1 within each column of (units, D), none of them NaN; those that tie share the mean of theirs."""
    num_units, num_columns = values.shape
    columns = np.arange(num_columns)
    # Places among all values, column after column, so that one search serves all columns.
    keys = np.unique(values, return_inverse=True)[1].reshape(values.shape) + columns * values.size
    ordered = np.sort(keys, axis=None)
    places = np.searchsorted(ordered, keys) + np.searchsorted(ordered, keys, side="right")
    return np.asarray((places + 1) / 2 - columns * num_units)


def coin_tail(heads: int, coins: int) -> float:
    """How often at least so many of fair coins show heads."""
    return sum(math.comb(coins, number) for number in range(heads, coins + 1)) / (1 << coins)


def fisher_tail(p_values: Sequence[float]) -> float:
    """How often independent p-values have a product as small as this one, or smaller (Fisher 1932).

    Minus twice the logarithm of the product is chi-squared with two degrees of freedom for each: of so many, all even,
    the tail is that of a Poisson variable. In logarithms, since a thousand of them would underflow.
    """
    rate = -math.fsum(map(math.log, p_values))
    if rate == 0:
        return 1.0
    terms = (math.exp(number * math.log(rate) - rate - math.lgamma(number + 1)) for number in range(len(p_values)))
    return min(1.0, math.fsum(terms))
