"""Reverse water-filling against a calculation by hand and against a numeric optimum."""

import numpy as np
import pytest
from scipy.optimize import minimize

from pipeline.fit.bound import gaussian_bound


def test_one_variance_is_the_rate_of_a_gaussian() -> None:
    assert gaussian_bound([0.3], [1000], 450.0) == pytest.approx(1 - 2 ** (-2 * 0.45))


def test_two_variances_by_hand() -> None:
    """One bit a weight on average for variances 4 and 1: levels below 1 cost log2(2 / level), so 2 bits give 1/2 each;
    1 bit in all buys the first weight a level of 1 and leaves the second alone."""
    assert gaussian_bound([4.0, 1.0], [1, 1], 2.0) == pytest.approx(1 - (0.5 + 0.5) / 5)
    assert gaussian_bound([4.0, 1.0], [1, 1], 1.0) == pytest.approx(1 - (1.0 + 1.0) / 5)
    assert gaussian_bound([1.0, 4.0], [1, 1], 0.5) == pytest.approx(1 - (2.0 + 1.0) / 5)


@pytest.mark.parametrize("bits", [20.0, 150.0, 900.0])
def test_no_split_of_the_bits_is_better(bits: float) -> None:
    rng = np.random.default_rng(0)
    variances, counts = np.exp(2 * rng.normal(size=6)), rng.integers(20, 200, size=6)

    def left(shares: np.ndarray) -> float:
        return float((counts * variances * 2.0 ** (-2 * bits * shares / counts)).sum())

    whole = {"type": "eq", "fun": lambda shares: shares.sum() - 1}
    found = minimize(left, np.full(6, 1 / 6), bounds=[(0, 1)] * 6, constraints=[whole], options={"maxiter": 1000})
    best = 1 - found.fun / float((counts * variances).sum())
    assert gaussian_bound(variances.tolist(), counts.tolist(), bits) == pytest.approx(best, abs=1e-4)


def test_nothing_to_code_is_coded_without_bits() -> None:
    assert gaussian_bound([0.0, 0.0], [3, 4], 0.0) == 1.0
    assert gaussian_bound([1.0, 0.0], [3, 4], 0.0) == 0.0
