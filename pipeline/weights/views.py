"""The matrix view of a tensor, both ways: taken of its values, and put back among them."""

from typing import Any

import numpy as np
import numpy.typing as npt

from zoo.tensors import TensorSpec

__all__ = ["put_view", "take_view"]

Array = npt.NDArray[Any]


def take_view(values: Array, spec: TensorSpec) -> Array:
    """The matrix view that `spec` describes of a tensor's values: shape `(spec.rows, spec.cols)`, C-contiguous.

    It may share their memory.
    """
    return np.ascontiguousarray(_part(values, spec)).reshape(spec.rows, spec.cols)


def put_view(values: Array, spec: TensorSpec, matrix: Array) -> None:
    """Write a matrix `(spec.rows, spec.cols)` where `take_view` would take it from; `values` is changed in place."""
    part = _part(values, spec)
    assert np.shares_memory(part, values)
    part[...] = matrix.reshape(part.shape)


def _part(values: Array, spec: TensorSpec) -> Array:
    """The numbers of the view in another shape, as a view of the array."""
    if spec.transposed or spec.row_slice:
        values = values if values.ndim == 2 else values.squeeze()
    if spec.transposed:
        values = values.T
    if spec.row_slice:
        every = spec.row_period or len(values)
        shape = (len(values) // every, every, values.shape[-1])
        # A transposed array has no reshape without a copy where parts alternate; strides say it for both.
        first, last = values.strides
        values = np.lib.stride_tricks.as_strided(values, shape, (first * every, first, last))
        values = values[:, slice(*spec.row_slice)]
    return values
