"""Bytes that a stack holds at its peak, worked out before it is trained, so that a device is not asked for too much.

A model of what is allocated, not a measurement: sums of the arrays that `prepare`, a step and the last evaluation have
at the same time. What PyTorch keeps for later and CUDA's own memory come on top; `SHARE_OF_FREE` leaves room for them.
"""

from collections.abc import Sequence
from dataclasses import asdict

from pipeline.fit.networks import pointwise_parameters, pointwise_shapes, separable_parameters
from pipeline.fit.pointwise import POINTS_PER_CHUNK as POINTWISE_CHUNK
from pipeline.fit.separable import (
    DIRECTIONS_PER_RANK,
    INDICES_PER_STEP,
    LEADING_DIRECTIONS,
    POINTS_PER_CHUNK,
    most_directions,
)
from pipeline.fit.sizing import NetworkSize
from pipeline.settings import FitSettings
from zoo.tensors import TensorSpec

__all__ = ["slot_bytes", "stack_bytes"]

COPIES_OF_PARAMETERS = 6
"""Parameters, gradients, two averages of Adam, the best state, and the one before a step."""
COPIES_OF_UNITS = 4
"""Of each sine layer: its product, its argument and its sine, kept for the way back, and a gradient."""
COPIES_OF_POINTS = 8
"""Values, predictions and errors of a chunk in the last evaluation."""


def stack_bytes(specs: Sequence[TensorSpec], settings: FitSettings, size: NetworkSize, num_slots: int) -> int:
    """Of `num_slots` slots, each of which stands for the tensors `specs`; networks of that size."""
    is_separable = settings.dna_type == "separable"
    points = min(
        POINTS_PER_CHUNK if is_separable else POINTWISE_CHUNK, num_slots * sum(spec.num_weights for spec in specs)
    )
    units = 0 if is_separable else COPIES_OF_UNITS * size.hidden_dim
    return num_slots * slot_bytes(specs, settings, size) + 4 * points * (COPIES_OF_POINTS + units)


def slot_bytes(specs: Sequence[TensorSpec], settings: FitSettings, size: NetworkSize) -> int:
    """Of one slot."""
    if settings.dna_type == "separable":
        return _separable(specs, settings, size)
    in_dim = 4 if settings.scope == "model" else 2
    parameters = pointwise_parameters(settings.dna_type, in_dim, size.hidden_dim, size.num_layers)
    weights = sum(spec.num_weights for spec in specs)
    batch = min(settings.batch_size, weights)
    shapes = pointwise_shapes(settings.dna_type, size.hidden_dim, size.num_layers)
    units = sum(width * layers for width, layers in shapes)
    return 4 * (weights + COPIES_OF_PARAMETERS * parameters + COPIES_OF_UNITS * units * batch)


def _separable(specs: Sequence[TensorSpec], settings: FitSettings, size: NetworkSize) -> int:
    in_dim = 3 if settings.scope == "model" else 1
    side = separable_parameters(in_dim, **asdict(size))
    held = sum(_matrix_numbers(spec.rows, spec.cols, size) for spec in specs)
    seen = sum(_seen(spec.rows, spec.cols) + _seen(spec.cols, spec.rows) for spec in specs)
    places = sum(spec.rows + spec.cols for spec in specs)
    units = size.hidden_dim * size.num_layers * size.num_branches
    step = COPIES_OF_UNITS * units * seen + 4 * size.rank * seen
    evaluation = (COPIES_OF_UNITS * size.hidden_dim + 2 * size.rank) * places
    return 4 * (held + COPIES_OF_PARAMETERS * 2 * side + max(step, evaluation))


def _seen(length: int, other: int) -> int:
    """Indices of an axis that a step sees; at most one axis of a matrix is sampled."""
    return INDICES_PER_STEP if length >= 2 * INDICES_PER_STEP and length >= other else length


def _matrix_numbers(rows: int, cols: int, size: NetworkSize) -> int:
    """A matrix, its leading directions, and what the loss needs of it, twice: the other is transposed."""
    known = min(rows, cols) * most_directions(rows, cols)
    count = max(LEADING_DIRECTIONS, DIRECTIONS_PER_RANK * size.rank)
    target = 2 * count * (rows + cols)
    if count * (rows + cols) >= rows * cols:
        target = 2 * rows * cols
    return rows * cols + known + target + rows + cols
