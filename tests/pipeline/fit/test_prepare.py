"""What is given to a fit: moments, which are stored with a DNA, and nulls."""

from typing import get_args

import numpy as np
import pytest
import torch

from pipeline.fit.prepare import prepare
from pipeline.fit.separable import GridProblem
from pipeline.fit.versions import moments_of
from pipeline.order import seriate_tensor
from pipeline.settings import Order
from tests.support.fitting import gaussian, quick
from tests.support.small_models import matrix_spec


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


@pytest.mark.parametrize("order", get_args(Order))
def test_a_null_of_a_fit_is_as_ordered_as_the_tensor(order: Order) -> None:
    spec, settings = matrix_spec("a", 24, 17), quick(order=order, num_nulls=1)
    prepared = prepare(
        [spec], lambda _: gaussian(24, 17), settings, seed=0, ordinals={"a": 0}, device=torch.device("cpu")
    )
    assert isinstance(prepared.problem, GridProblem)
    moments = prepared.moments[0]
    found = seriate_tensor(prepared.problem.blocks[0].values[1, 0].numpy() * moments.std + moments.mean, spec)
    assert np.array_equal(found.rows, np.arange(24)) == np.array_equal(found.cols, np.arange(17)) == (order != "raw")
