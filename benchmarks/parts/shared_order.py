"""One order for each axis that tensors share, so that depth is a real coordinate: an index is one channel everywhere.

A network permits one permutation of its residual stream, and in each block one of the feed-forward units, one of the
dimensions of queries and keys, and one of values. Matrices are put side by side along a shared axis and seriated
together, on standardised values; every shared permutation (and its signs) is stored once.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.order import CanonicalOrder, seriate
from zoo.tensors import Axis, Role, TensorSpec

__all__ = ["shared_orders"]

Float32 = npt.NDArray[np.float32]
Key = tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shared:
    """The order of one shared axis."""

    places: npt.NDArray[np.int32]
    signs: npt.NDArray[np.int8] | None
    bits: float
    """The share of each tensor that has it."""


def shared_orders(
    specs: Sequence[TensorSpec], matrices: Mapping[str, Float32]
) -> tuple[dict[str, CanonicalOrder], dict[str, float]]:
    """The order of every tensor, and its share of the bits of the orders, by name."""
    sides: dict[Key, list[tuple[TensorSpec, int]]] = defaultdict(list)
    for spec in specs:
        for axis in (0, 1):
            sides[key_of(spec, axis)].append((spec, axis))
    found = {key: order_together(members, matrices) for key, members in sides.items()}
    orders, bits = {}, {}
    for spec in specs:
        rows, cols = found[key_of(spec, 0)], found[key_of(spec, 1)]
        orders[spec.name] = CanonicalOrder(
            rows=rows.places, cols=cols.places, row_signs=rows.signs, col_signs=cols.signs
        )
        bits[spec.name] = rows.bits + cols.bits
    return orders, bits


def key_of(spec: TensorSpec, axis: int) -> Key:
    """What names the shared axis: the stream is one for the model, inner axes are one for each block."""
    kind = spec.row_axis if axis == 0 else spec.col_axis
    if kind is Axis.RESIDUAL:
        return kind, (spec.rows, spec.cols)[axis]
    if kind is Axis.ATTENTION:
        return kind, spec.block, spec.role in (Role.ATTENTION_QUERY, Role.ATTENTION_KEY)
    return (kind, spec.block) if kind is Axis.HIDDEN else (kind, spec.name, axis)


def order_together(members: Sequence[tuple[TensorSpec, int]], matrices: Mapping[str, Float32]) -> _Shared:
    """The order of an axis by all matrices that have it."""
    side_by_side = np.concatenate([along(matrices[spec.name], axis) for spec, axis in members], axis=1)
    spec, axis = members[0]
    kind = spec.row_axis if axis == 0 else spec.col_axis
    order = seriate(side_by_side, row_axis=kind, col_axis=Axis.POSITION)
    return _Shared(places=order.rows, signs=order.row_signs, bits=order.bits / len(members))


def along(matrix: Float32, axis: int) -> Float32:
    """Standardised, the axis first."""
    values = (matrix - matrix.mean(dtype=np.float64)) / (matrix.std(dtype=np.float64) or 1.0)
    return (values if axis == 0 else values.T).astype(np.float32)
