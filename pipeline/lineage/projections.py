"""Tests inside the blocks of a transformer, its residual stream aligned.

Feed-forward pairs: inner units are aligned by the weights they read with, and tested on the weights they write with.
Attention: dimensions inside the heads may be rotated without changing the function, so where they are not in file order
the products `W_q^T W_k` and `W_o W_v` are tested, which no rotation, sign or order of heads changes. These need no
alignment but that of the residual stream.

U = units of the residual stream, H = inner units of one model.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.lineage.alignment import FILE_ORDER_Z, align, balanced, centred, file_order_z, sample, without_identity
from pipeline.lineage.context import Context
from pipeline.lineage.evidence import HeldOut
from pipeline.lineage.pairing import Pair
from pipeline.lineage.records import Matrix, ModelWeights
from zoo.config import HEADS, number_in
from zoo.tensors import Role

__all__ = ["MAX_INNER_UNITS", "attention_tests", "feed_forward_tests"]

MAX_INNER_UNITS = 512
"""Inner units of the first model that are matched in the second, in each feed-forward pair."""


def feed_forward_tests(pairs: Sequence[Pair], context: Context) -> Iterator[HeldOut]:
    """Tests of the feed-forward pairs of a block."""
    readers, writers = _of(pairs, Role.FFN_IN), _of(pairs, Role.FFN_OUT)
    if not writers or len(readers) % len(writers):
        return
    each = len(readers) // len(writers)  # Two readers for each writer where units are gated.
    for index, writer in enumerate(writers):
        test = _feed_forward(readers[each * index : each * (index + 1)], writer, context)
        if test is not None:
            yield test


def _feed_forward(readers: Sequence[Pair], writer: Pair, context: Context) -> HeldOut | None:
    read = [context.load(reader, "col") for reader in readers]
    written = context.load(writer, "row")
    if written is None or not read or any(part is None for part in read):
        return None
    sides = (
        np.concatenate([_by_unit(p.a, len(written.a)) for p in read if p is not None], axis=1),
        np.concatenate([_by_unit(p.b, len(written.b)) for p in read if p is not None], axis=1),
    )
    if len(sides[0]) != len(written.a) or len(sides[1]) != len(written.b):
        return None
    rows = sample(len(sides[0]), MAX_INNER_UNITS, context.seed)
    units = align(centred(sides[0]), centred(sides[1]), rows=rows)
    # All units get equal weight: under a ReLU they may be scaled.
    left, right = (balanced(side) for side in units.rows(written.a, written.b))
    return context.nulls.held_out(
        left.T @ right,
        _norm(left) * _norm(right),
        axis=written.axis,
        role=Role.FFN_OUT,
        weights=left.size,
        in_file_order=units.in_file_order and written.alignment.in_file_order,
    )


def _by_unit(matrix: Matrix, num_units: int) -> Matrix:
    """The reading weights of each inner unit, `(H, F)`; gate and input of a fused projection concatenated."""
    if len(matrix) == 2 * num_units:
        return np.concatenate([matrix[:num_units], matrix[num_units:]], axis=1)
    return matrix


def attention_tests(pairs: Sequence[Pair], context: Context) -> Iterator[HeldOut]:
    """Tests of the attention modules of a block: queries with keys, values with outputs."""
    queries, keys = _of(pairs, Role.ATTENTION_QUERY), _of(pairs, Role.ATTENTION_KEY)
    values, outputs = _of(pairs, Role.ATTENTION_VALUE), _of(pairs, Role.ATTENTION_OUTPUT)
    found: list[HeldOut | None] = []
    if len(queries) == len(keys):
        # Heads that attend by position are alike in all models with the same positions. Where the order of the residual
        # stream had to be searched for, by positions among others, their products say little of lineage.
        found += [_product(*pair, "col", context, counts=False) for pair in zip(queries, keys, strict=True)]
    if len(values) == len(outputs):
        found += [_product(*pair, "row", context, counts=True) for pair in zip(values, outputs, strict=True)]
    return (test for test in found if test is not None)


def _product(first: Pair, second: Pair, axis: str, context: Context, *, counts: bool) -> HeldOut | None:
    """Tests the second matrix where the first is in file order, else the product of both, which counts if `counts`.

    - `axis`: the residual axis of the second; the first reads along its columns.
    """
    one, two = context.load(first, "col"), context.load(second, axis)
    if one is None or two is None:
        return None
    in_file_order = False
    if one.a.shape == one.b.shape and two.a.shape == two.b.shape:
        in_file_order = file_order_z(centred(one.a), centred(one.b)) >= FILE_ORDER_Z
    if in_file_order:
        left, right = without_identity(balanced(two.a)), without_identity(balanced(two.b))
        weights = left.size
    else:
        left, right = _multiplied(one.a, two.a, context.a), _multiplied(one.b, two.b, context.b)
        weights = one.a.size + two.a.size
    return context.nulls.held_out(
        left.T @ right,
        _norm(left) * _norm(right),
        axis=two.axis,
        role=second.a.role,
        weights=weights,
        in_file_order=in_file_order and two.alignment.in_file_order,
        counts=counts or in_file_order,
    )


def _multiplied(one: Matrix, two: Matrix, model: ModelWeights) -> Matrix:
    """The product `X^T Y` of two matrices that share their rows, centred, `(U, U)`."""
    left, right = _matched(centred(one), centred(two), model)
    return without_identity(left.T @ right)


def _matched(one: Matrix, two: Matrix, model: ModelWeights) -> tuple[Matrix, Matrix]:
    """Both with as many rows: where several query heads share a key head, it is repeated for each."""
    if len(one) == len(two):
        return one, two
    heads = number_in(model.config, *HEADS) or 0
    small, large = sorted((one, two), key=len)
    repeats, rest = divmod(len(large), len(small))
    dim = len(large) // heads if heads else 0
    if rest or not dim or len(small) % dim:
        return one[:0], two[:0]
    small = np.repeat(small.reshape(-1, dim, small.shape[1]), repeats, axis=0).reshape(len(large), -1)
    return (small, large) if len(one) < len(two) else (large, small)


def _norm(matrix: Matrix) -> float:
    return float(np.linalg.norm(matrix))


def _of(pairs: Sequence[Pair], role: Role) -> list[Pair]:
    """The matrices of a role, by the first model's names."""
    return sorted((p for p in pairs if p.a.role is role and p.a.is_matrix and p.b.is_matrix), key=lambda p: p.a.name)
