"""The matrix view of a tensor is put back where it was taken from."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.weights.views import put_view, take_view
from tests.support.small_models import matrix_spec

VIEWS: dict[str, tuple[tuple[int, ...], tuple[int, int], dict[str, Any]]] = {
    "as it is": ((6, 4), (6, 4), {}),
    "a convolution": ((6, 2, 3, 3), (6, 18), {}),
    "transposed": ((4, 6), (6, 4), {"transposed": True}),
    "a part": ((6, 4), (3, 4), {"row_slice": (2, 5)}),
    "parts that alternate": ((12, 4), (6, 4), {"row_slice": (1, 3), "row_period": 4}),
    "a transposed part": ((4, 12), (4, 4), {"transposed": True, "row_slice": (4, 8)}),
    "transposed parts that alternate": ((4, 12), (6, 4), {"transposed": True, "row_slice": (1, 3), "row_period": 4}),
    "with an axis of one": ((6, 4, 1), (4, 6), {"transposed": True}),
}


@pytest.mark.parametrize("name", VIEWS)
def test_what_is_put_back_is_what_is_taken(name: str) -> None:
    shape, (rows, cols), view = VIEWS[name]
    values = np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(shape)
    spec, before = replace(matrix_spec("any", rows, cols), **view), values.copy()
    taken = take_view(values, spec).copy()
    put_view(values, spec, -taken)
    assert np.array_equal(take_view(values, spec), -taken)
    assert np.array_equal(np.abs(values), before)
    assert (values < 0).sum() == rows * cols


def test_parts_that_alternate_are_rows_of_every_period() -> None:
    values = np.arange(24, dtype=np.float32).reshape(12, 2)
    spec = replace(matrix_spec("any", 6, 2), row_slice=(1, 3), row_period=4)
    assert np.array_equal(take_view(values, spec), values[[1, 2, 5, 6, 9, 10]])
