"""Moments of a tensor: what is stored beside its DNA."""

import numpy as np
import pytest

from pipeline.posing import moments_of


def test_moments_agree_with_float64() -> None:
    matrix = np.random.default_rng(0).normal(3.0, 0.02, (1030, 1025)).astype(np.float32)
    wide, moments = matrix.astype(np.float64), moments_of(matrix)
    assert moments.mean == pytest.approx(wide.mean(), rel=1e-12)
    assert moments.std == pytest.approx(wide.std(), rel=1e-9)
    assert (moments.low, moments.high) == (wide.min(), wide.max())


@pytest.mark.parametrize("value", [0.0, 0.1, -3e38])
def test_a_constant_has_no_spread(value: float) -> None:
    moments = moments_of(np.full((7, 3), value, np.float32))
    assert moments.std == 0.0
    assert moments.mean == moments.low == np.float32(value)
