"""Operations that choose entries by number or mask: tables, gathers, scatters."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from zoo.tracing.axes import Node
from zoo.tracing.ledger import Spot, Value
from zoo.tracing.rules_views import keep, pieces
from zoo.tracing.trace import Rule, Trace

__all__ = ["LOOKUP_RULES"]

LARGEST = 2
"""How `embedding_bag` calls the largest of its rows, where others are added."""


def _embedding(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    table, index = trace.value(args[0]), trace.value(args[1])
    _look_up(trace, table, 0, index)
    dims = [*index.dims, *table.dims[1:]]
    for dim in index.dims:
        trace.axes.fix(dim)
    after = trace.put(out, dims, sources=table.sources)
    trace.ledger.nothing(after, range(len(index.dims)))
    trace.ledger.same(Spot(table, 1), Spot(after, len(index.dims)))
    if table.parameter:
        is_kind = index.index_of is not None or len(args[1].unique()) == 1
        trace.use(table.parameter, "tokens" if is_kind else "positions")


def _embedding_bag(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    """Weighted sums of rows of a table: their order is real."""
    table = trace.value(args[0])
    for tensor in args[1:3]:
        for node in trace.value(tensor).dims:
            trace.axes.fix(node)
    trace.hold(table, [0])
    after = trace.carry(table, out[0], {1: 1}, fixed=True, sources=table.sources)
    if len(args) > 4 and args[4] == LARGEST:
        trace.ledger.nothing(after)
        trace.ledger.nothing(table)
    for other in out[1:]:
        trace.put_fixed(other)
    if table.parameter:
        trace.use(table.parameter, "positions")


def _look_up(trace: Trace, table: Value, dim: int, index: Value) -> None:
    """Entries of `index` choose along an axis of `table`: they are its indices, or the order there is real."""
    trace.ledger.nothing(table, [dim])
    size = trace.axes.size(table.dims[dim])
    if index.index_of is None or trace.axes.size(index.index_of) != size:
        trace.axes.fix(table.dims[dim])
        if index.index_of is not None:
            trace.axes.fix(index.index_of)
    else:
        trace.axes.unify(table.dims[dim], index.index_of)


def _index_select(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    table, index = trace.value(args[0]), trace.value(args[2])
    dim = args[1] % args[0].ndim
    chosen = args[2].reshape(-1).tolist()
    if index.is_constant and index.index_of is None and chosen == list(range(chosen[0], chosen[0] + len(chosen))):
        pieces(trace, args[0], dim, [out], [chosen])
        return
    _look_up(trace, table, dim, index)
    for each in index.dims:
        trace.axes.fix(each)
    trace.carry(table, out, {d: d for d in range(out.ndim) if d != dim}, fixed=True, **keep(table))


def _index(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    """`table[i, :, j]`: axes that are chosen from, and those that come out of it, have a real order."""
    table = trace.value(args[0])
    indexed = [d for d, index in enumerate(args[1]) if index is not None]
    values = [trace.value(args[1][d]) for d in indexed]
    is_mask = any(args[1][d].dtype == torch.bool for d in indexed)
    for value in values:
        for node in value.dims:
            trace.axes.fix(node)
    if is_mask:
        covered = sum(args[1][d].ndim if args[1][d].dtype == torch.bool else 1 for d in indexed)
        chosen = list(range(indexed[0], indexed[0] + covered))
    else:
        chosen = indexed
    for d in chosen:
        if is_mask or len(chosen) > 1:
            trace.hold(table, [d])
        else:
            _look_up(trace, table, d, values[0])
    others = [d for d in range(args[0].ndim) if d not in chosen]
    width = out.ndim - len(others)
    lead = chosen[0] if chosen == list(range(chosen[0], chosen[0] + len(chosen))) else 0
    moved = {place if place < lead else place + width: d for place, d in enumerate(others)}
    trace.carry(table, out, moved, fixed=True, **keep(table))


def _gather(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    table, index = trace.value(args[0]), trace.value(args[2])
    dim = args[1] % args[0].ndim
    _look_up(trace, table, dim, index)
    dims = list(index.dims)
    for d in range(out.ndim):
        if d == dim:
            continue
        if args[0].shape[d] == out.shape[d]:
            trace.axes.unify(table.dims[d], dims[d])
        else:
            trace.axes.fix(table.dims[d])
    after = trace.put(out, dims, **keep(table))
    trace.ledger.nothing(after)
    trace.ledger.nothing(table)


def _scatter(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    """`scatter(base, dim, index, source)`: rows of one axis are chosen; nothing changes sign."""
    base, index = trace.value(args[0]), trace.value(args[2])
    dim = args[1] % args[0].ndim
    _look_up(trace, base, dim, index)
    operands = [index, *([trace.value(args[3])] if len(args) > 3 and isinstance(args[3], Tensor) else [])]
    for operand in operands:
        for d in range(out.ndim):
            if d != dim:
                _unify_or_fix(trace, base.dims[d], operand.dims[d])
        if operand is not index:
            _unify_or_fix(trace, index.dims[dim], operand.dims[dim])
        trace.ledger.nothing(operand)
    trace.ledger.nothing(base)
    trace.ledger.nothing(trace.put(out, base.dims))


def _unify_or_fix(trace: Trace, first: Node, second: Node) -> None:
    if trace.axes.size(first) == trace.axes.size(second):
        trace.axes.unify(first, second)
    else:
        trace.axes.fix(first)
        trace.axes.fix(second)


def _index_add(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    """`base[index] += source` along one axis, of which the order is real then."""
    base, source = trace.value(args[0]), trace.value(args[3])
    dim = args[1] % args[0].ndim
    trace.axes.fix(base.dims[dim])
    trace.axes.fix(source.dims[dim])
    for each in trace.value(args[2]).dims:
        trace.axes.fix(each)
    after = trace.put(out, base.dims)
    trace.ledger.nothing(after, [dim])
    for d in range(out.ndim):
        if d != dim:
            trace.axes.unify(base.dims[d], source.dims[d])
            trace.ledger.same(Spot(base, d), Spot(after, d))
            trace.ledger.same(Spot(source, d), Spot(after, d))


def _index_put(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    """`base[:, indices] = source`: chosen axes keep their order, those before and behind them are the source's."""
    base, source = trace.value(args[0]), trace.value(args[2])
    before = next(d for d, index in enumerate(args[1]) if index is not None)
    indices = [index for index in args[1][before:] if index is not None]
    if before + len(indices) != len(args[1]):
        raise NotImplementedError("index_put around a free axis")
    covered = before + sum(index.ndim if index.dtype == torch.bool else 1 for index in indices)
    trace.hold(base, range(before, covered))
    after = trace.put(out, base.dims)
    trace.ledger.nothing(after, range(before, covered))
    lead = len(source.dims) - (out.ndim - covered)
    trace.hold(source, range(before, max(before, lead)))
    for d in range(out.ndim):
        if before <= d < covered:
            continue
        place = d if d < before else d - out.ndim + len(source.dims)
        if d < before and lead < before:
            place = -1
        trace.ledger.same(Spot(base, d), Spot(after, d))
        if 0 <= place and trace.axes.size(source.dims[place]) == out.shape[d]:
            trace.axes.unify(base.dims[d], source.dims[place])
            trace.ledger.same(Spot(source, place), Spot(after, d))
        elif not source.is_zero:
            trace.ledger.nothing(after, [d])


def _masked_scatter(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    """Rows of `source`, in their order, where the mask is true. Axes along which the mask is the same are the rows'."""
    base, mask, source = (trace.value(arg) for arg in args[:3])
    after = trace.put(out, base.dims, sources=base.sources | source.sources)
    is_row = True
    for back in range(1, out.ndim + 1):
        d = out.ndim - back
        free = len(mask.dims) < back or args[1].shape[-back] == 1 or not _varies_along(args[1], -back)
        wide = len(source.dims) >= back and trace.axes.size(source.dims[-back]) == out.shape[d]
        is_row = is_row and free and wide
        if is_row:
            trace.axes.unify(base.dims[d], source.dims[-back])
            trace.ledger.same(Spot(base, d), Spot(after, d))
            trace.ledger.same(Spot(source, len(source.dims) - back), Spot(after, d))
            continue
        trace.hold(base, [d])
        trace.ledger.nothing(after, [d])
        if len(source.dims) >= back:
            trace.hold(source, [len(source.dims) - back])


def _varies_along(mask: Tensor, dim: int) -> bool:
    return bool((mask != mask.narrow(dim, 0, 1)).any())


LOOKUP_RULES: Mapping[str, Rule] = {
    "embedding": _embedding,
    **dict.fromkeys(("_embedding_bag", "_embedding_bag_forward_only"), _embedding_bag),
    "index_select": _index_select,
    "index": _index,
    "gather": _gather,
    **dict.fromkeys(("scatter", "scatter_add", "scatter_reduce"), _scatter),
    "index_add": _index_add,
    "index_put": _index_put,
    "_index_put_impl": _index_put,
    "masked_scatter": _masked_scatter,
}
