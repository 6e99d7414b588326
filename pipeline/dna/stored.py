"""Matrices back into the tensors of the model's files: parts of fused projections, experts and copies in place."""

from collections.abc import Iterable
from math import prod

import torch
from torch import Tensor

from zoo.layout import Layout

__all__ = ["DTYPES", "is_covered", "place"]

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}


def place(matrix: Tensor, layout: Layout, whole: Tensor) -> None:
    """Write a matrix (R, C) where it lies in its stored tensor, rounded to the dtype of that."""
    part = _part_of(whole, layout)
    part.copy_(matrix.reshape(part.shape))


def _part_of(whole: Tensor, layout: Layout) -> Tensor:
    """The part of a stored tensor, contiguous, that is a matrix, as a view of it: of any shape with the values of the
    matrix in their order, or (runs, rows of a run, columns) where its rows alternate with others."""
    stack: Tensor = whole.unflatten(0, (layout.entries, -1)) if layout.entries else whole  # type: ignore[no-untyped-call]
    part = whole if layout.entry is None else stack[layout.entry]
    if layout.transposed or layout.row_slice:
        part = part if part.ndim == 2 else part.squeeze()
    if layout.transposed:
        part = part.permute(*reversed(range(part.ndim)))
    if not layout.row_slice:
        return part
    start, stop = layout.row_slice
    if layout.row_period is None:
        return part[start:stop]
    runs: Tensor = part.unflatten(0, (-1, layout.row_period))  # type: ignore[no-untyped-call]
    return runs[:, start:stop]


def is_covered(parts: Iterable[tuple[Layout, int]], shape: tuple[int, ...]) -> bool:
    """Whether these parts, given with their numbers of weights, are all of a stored tensor; parts never overlap."""
    return sum(count for _, count in parts) == prod(shape)
