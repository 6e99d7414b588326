"""Ranks and tails beside those of `scipy.stats`."""

import numpy as np
import pytest
from scipy.stats import binom, combine_pvalues, rankdata

from pipeline.analyse.questions.tails import coin_tail, column_ranks, fisher_tail


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (2, 5), (15, 300), (40, 7)])
def test_ranks_are_scipys_to_the_last_bit(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for values in (rng.normal(size=shape), rng.integers(0, 4, shape).astype(float), np.zeros(shape)):
        assert np.array_equal(column_ranks(values), rankdata(values, axis=0))


def test_infinite_values_have_ranks() -> None:
    values = np.array([[np.inf, 0.0], [-np.inf, -0.0], [3.0, np.inf], [np.inf, -1.0]])
    assert np.array_equal(column_ranks(values), rankdata(values, axis=0))


@pytest.mark.parametrize("coins", [1, 2, 5, 12, 1000])
def test_coins_are_scipys(coins: int) -> None:
    for heads in range(0, coins + 1, 1 + coins // 100):
        assert coin_tail(heads, coins) == pytest.approx(binom.sf(heads - 1, coins, 0.5), rel=1e-12)


@pytest.mark.parametrize("count", [1, 2, 12, 1000])
def test_fishers_combination_is_scipys(count: int) -> None:
    rng = np.random.default_rng(count)
    for p_values in (np.ones(count), rng.uniform(1e-3, 1, count), np.full(count, 0.1), rng.uniform(0.3, 0.5, count)):
        expected = combine_pvalues(p_values, method="fisher").pvalue
        assert fisher_tail(p_values.tolist()) == pytest.approx(expected, rel=1e-9, abs=1e-300)
