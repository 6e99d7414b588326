"""Operations that move entries and compute nothing: reshapes, slices, concatenations, look-ups."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from zoo.tracing.axes import Node
from zoo.tracing.ledger import Spot, Value, Window
from zoo.tracing.trace import Rule, Trace

__all__ = ["VIEW_RULES", "keep"]


def keep(value: Value) -> dict[str, Any]:
    """What a moved value still is."""
    return {"sources": value.sources, "note": value.note, "index_of": value.index_of}


def _view(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    value = trace.value(args[0])
    if list(out.shape) == list(args[0].shape):
        _copy(trace, name, args, kwargs, out)
        return
    dims = trace.axes.view(value.dims, list(out.shape))
    after = trace.put(out, dims, parameter=value.parameter, **keep(value))
    trace.ledger.views.append((value, after))


def _copy(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    value = trace.value(args[0])
    after = trace.put(out, value.dims, parameter=value.parameter, **keep(value))
    for dim in range(out.ndim):
        trace.ledger.same(Spot(value, dim), Spot(after, dim))


def _permute(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    value = trace.value(args[0])
    rank = args[0].ndim
    if name == "permute":
        order = [dim % rank for dim in args[1]]
    else:
        first, second = (0, rank - 1) if name == "t" else (args[1] % rank, args[2] % rank)
        order = list(range(rank))
        order[first], order[second] = order[second], order[first]
    after = trace.put(out, [value.dims[dim] for dim in order], parameter=value.parameter, **keep(value))
    for new, dim in enumerate(order):
        trace.ledger.same(Spot(value, dim), Spot(after, new))


def _expand(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    value = trace.value(args[0])
    lead = out.ndim - args[0].ndim
    kept = [d >= lead and args[0].shape[d - lead] == out.shape[d] for d in range(out.ndim)]
    dims = [value.dims[d - lead] if kept[d] else trace.axes.atom(out.shape[d]) for d in range(out.ndim)]
    after = trace.put(out, dims, **keep(value))
    for dim in range(out.ndim):
        if kept[dim]:
            trace.ledger.same(Spot(value, dim - lead), Spot(after, dim))
        else:
            trace.ledger.nothing(after, [dim])


def _slice(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    given = dict(enumerate(args))
    dim = given.get(1, 0)
    start, stop, step = slice(given.get(2), given.get(3), given.get(4, 1)).indices(args[0].shape[dim])
    _pieces(trace, args[0], dim, [out], [list(range(start, max(stop, start), step))])


def _pieces(trace: Trace, whole: Tensor, dim: int, outs: Sequence[Tensor], indices: Sequence[Sequence[int]]) -> None:
    """Each of `outs` holds these indices of an axis; runs are cut out, other choices fix the order."""
    value = trace.value(whole)
    dim %= whole.ndim
    for out, chosen in zip(outs, indices, strict=True):
        start, length = (chosen[0] if chosen else 0), len(chosen)
        is_run = list(chosen) == list(range(start, start + length))
        if is_run:
            piece = trace.axes.slice(value.dims[dim], start, start + length)
        else:
            trace.axes.fix(value.dims[dim])
            piece = trace.axes.atom(length, fixed=True)
        dims = [*value.dims[:dim], piece, *value.dims[dim + 1 :]]
        after = trace.put(out, dims, parameter=value.parameter, **keep(value))
        for other in range(whole.ndim):
            if other != dim:
                trace.ledger.same(Spot(value, other), Spot(after, other))
        if is_run:
            trace.ledger.windows.append((Window(Spot(value, dim), start, length), Window(Spot(after, dim), 0, length)))
        else:
            trace.ledger.nothing(value, [dim])
            trace.ledger.nothing(after, [dim])


def _split(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    dim = args[2] if len(args) > 2 else kwargs.get("dim", 0)
    indices, start = [], 0
    for piece in out:
        indices.append(range(start, start + piece.shape[dim]))
        start += piece.shape[dim]
    _pieces(trace, args[0], dim, out, indices)


def _select(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    dim = args[1] if name == "select" else (args[1] if len(args) > 1 else kwargs.get("dim", 0))
    dim %= args[0].ndim
    outs, chosen = ([out], [args[2] % args[0].shape[dim]]) if name == "select" else (out, range(len(out)))
    value = trace.value(args[0])
    for piece, index in zip(outs, chosen, strict=True):
        trace.axes.slice(value.dims[dim], index, index + 1)
        others = [d for d in range(args[0].ndim) if d != dim]
        after = trace.put(piece, [value.dims[d] for d in others], parameter=value.parameter, **keep(value))
        for new, old in enumerate(others):
            trace.ledger.same(Spot(value, old), Spot(after, new))


def _squeeze(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    """Axes of size 1 come and go; the others stay in order."""
    value = trace.value(args[0])
    # In place, the tensor itself has its new shape already.
    old = [d for d, node in enumerate(value.dims) if trace.axes.size(node) != 1]
    new = [d for d in range(out.ndim) if out.shape[d] != 1]
    moved = dict(zip(new, old, strict=True))
    dims = [value.dims[moved[d]] if d in moved else trace.axes.atom(1) for d in range(out.ndim)]
    after = trace.put(out, dims, parameter=value.parameter, **keep(value))
    for d, o in moved.items():
        trace.ledger.same(Spot(value, o), Spot(after, d))


def _cat(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    tensors = [tensor for tensor in args[0] if tensor.numel() or tensor.ndim == out.ndim]
    dim = (args[1] if len(args) > 1 else kwargs.get("dim", 0)) % out.ndim
    values = [trace.value(tensor) for tensor in tensors]
    dims = [values[0].dims[d] if d != dim else trace.axes.sum([v.dims[d] for v in values]) for d in range(out.ndim)]
    sources = frozenset[str]().union(*(value.sources for value in values))
    note = next((v.note for v in values if v.note), ())
    after = trace.put(out, dims, sources=sources, note=note, index_of=_common_index(trace, values))
    start = 0
    for value in values:
        for d in range(out.ndim):
            if d != dim:
                trace.axes.unify(value.dims[d], dims[d])
                trace.ledger.same(Spot(value, d), Spot(after, d))
        length = trace.axes.size(value.dims[dim])
        window = Window(Spot(value, dim), 0, length), Window(Spot(after, dim), start, length)
        if not value.is_zero:
            trace.ledger.windows.append(window)
        start += length


def _common_index(trace: Trace, values: Sequence[Value]) -> Node | None:
    """The axis whose indices all these hold; where they are not all of one, the order of each is real."""
    found = {trace.axes.find(value.index_of) for value in values if value.index_of is not None}
    if len(found) == 1 and all(value.index_of is not None for value in values):
        return found.pop()
    for node in sorted(found):
        trace.axes.fix(node)
    return None


def _stack(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    dim = (args[1] if len(args) > 1 else kwargs.get("dim", 0)) % out.ndim
    values = [trace.value(tensor) for tensor in args[0]]
    new = trace.axes.sum([trace.axes.atom(1) for _ in values])
    dims = [*values[0].dims[:dim], new, *values[0].dims[dim:]]
    sources = frozenset[str]().union(*(value.sources for value in values))
    after = trace.put(out, dims, sources=sources, index_of=_common_index(trace, values))
    for value in values:
        for d, node in enumerate(value.dims):
            trace.axes.unify(node, dims[d + (d >= dim)])
            trace.ledger.same(Spot(value, d), Spot(after, d + (d >= dim)))


def _reorder(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    """Indices of some axes in another order, or with others between them: their order is real."""
    value = trace.value(args[0])
    if name == "roll":
        moved = [d % out.ndim for d in (args[2] if len(args) > 2 else range(out.ndim))]
    elif name == "flip":
        moved = [d % out.ndim for d in args[1]]
    elif name == "constant_pad_nd":
        pads = args[1]
        moved = [out.ndim - 1 - i for i in range(len(pads) // 2) if pads[2 * i] or pads[2 * i + 1]]
    else:
        moved = [out.ndim - 2, out.ndim - 1]
    _fixing(trace, args[0], value, moved, out)


def _fixing(trace: Trace, tensor: Tensor, value: Value, fixed: Sequence[int], out: Tensor) -> None:
    """Axes `fixed` lose their order and signs, all others stay what they are."""
    trace.mix(value, fixed)
    dims: list[Node] = []
    for dim in range(out.ndim):
        if dim in fixed:
            trace.axes.fix(value.dims[dim])
            dims.append(trace.axes.atom(out.shape[dim], fixed=True))
        else:
            dims.append(value.dims[dim])
    after = trace.put(out, dims, **keep(value))
    for dim in range(out.ndim):
        if dim in fixed:
            trace.ledger.nothing(value, [dim])
            trace.ledger.nothing(after, [dim])
        else:
            trace.ledger.same(Spot(value, dim), Spot(after, dim))


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
        _pieces(trace, args[0], dim, [out], [chosen])
        return
    _look_up(trace, table, dim, index)
    node = trace.axes.atom(out.shape[dim], fixed=True)
    for each in index.dims:
        trace.axes.fix(each)
    after = trace.put(out, [*table.dims[:dim], node, *table.dims[dim + 1 :]], **keep(table))
    for d in range(out.ndim):
        trace.ledger.same(Spot(table, d), Spot(after, d)) if d != dim else trace.ledger.nothing(after, [d])


def _index(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    """`table[i, :, j]`: axes that are chosen from, and those that come out of it, have a real order."""
    table = trace.value(args[0])
    indexed = [d for d, index in enumerate(args[1]) if index is not None]
    values = [trace.value(args[1][d]) for d in indexed]
    is_mask = any(args[1][d].dtype == torch.bool for d in indexed)
    for value in values:
        for node in value.dims:
            trace.axes.fix(node)
    lead = 0
    if is_mask:
        covered = sum(args[1][d].ndim if args[1][d].dtype == torch.bool else 1 for d in indexed)
        chosen = list(range(indexed[0], indexed[0] + covered))
    else:
        chosen = indexed
    for d in chosen:
        if is_mask or len(chosen) > 1:
            trace.axes.fix(table.dims[d])
            trace.ledger.nothing(table, [d])
        else:
            _look_up(trace, table, d, values[0])
    others = [d for d in range(args[0].ndim) if d not in chosen]
    width = out.ndim - len(others)
    lead = chosen[0] if chosen == list(range(chosen[0], chosen[0] + len(chosen))) else 0
    fresh = [trace.axes.atom(size, fixed=True) for size in out.shape[lead : lead + width]]
    kept = [table.dims[d] for d in others]
    after = trace.put(out, [*kept[:lead], *fresh, *kept[lead:]], **keep(table))
    trace.ledger.nothing(after, range(lead, lead + width))
    for place, d in enumerate(others):
        trace.ledger.same(Spot(table, d), Spot(after, place if place < lead else place + width))


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
    for dim in base.dims[before:covered]:
        trace.axes.fix(dim)
    after = trace.put(out, base.dims)
    trace.ledger.nothing(base, range(before, covered))
    trace.ledger.nothing(after, range(before, covered))
    lead = len(source.dims) - (out.ndim - covered)
    trace.ledger.nothing(source, range(before, max(before, lead)))
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
    for dim in source.dims[before : max(before, lead)]:
        trace.axes.fix(dim)


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
        trace.axes.fix(base.dims[d])
        trace.ledger.nothing(base, [d])
        trace.ledger.nothing(after, [d])
        if len(source.dims) >= back:
            trace.axes.fix(source.dims[-back])
            trace.ledger.nothing(source, [len(source.dims) - back])


def _varies_along(mask: Tensor, dim: int) -> bool:
    return bool((mask != mask.narrow(dim, 0, 1)).any())


def _complex(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    """Real and imaginary parts are a last axis of two, or are one number."""
    value = trace.value(args[0])
    pair = trace.axes.atom(2, fixed=True)
    if name == "view_as_complex":
        trace.axes.fix(value.dims[-1])
        trace.ledger.nothing(value, [len(value.dims) - 1])
    dims = [*value.dims, pair] if name == "view_as_real" else value.dims[:-1]
    after = trace.put(out, dims, **keep(value))
    for d in range(min(len(value.dims), out.ndim)):
        trace.ledger.same(Spot(value, d), Spot(after, d))
    if name == "view_as_real":
        trace.ledger.nothing(after, [len(dims) - 1])


def _restride(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    """Other strides along axes of one place, as pooling leaves them, change nothing."""
    value = trace.value(args[0])
    kept = [(size, stride) for size, stride in zip(out.shape, out.stride(), strict=True) if size > 1]
    steps = [size * stride for size, stride in kept[1:]]
    if [trace.axes.size(node) for node in value.dims] != list(out.shape) or steps != [s for _, s in kept[:-1]]:
        raise NotImplementedError("strides of another shape")
    _copy(trace, name, args, kwargs, out)


def _unfold(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    value = trace.value(args[0])
    dim = args[1] % args[0].ndim
    trace.axes.fix(value.dims[dim])
    trace.ledger.nothing(value, [dim])
    dims = list(value.dims)
    dims[dim] = trace.axes.atom(out.shape[dim], fixed=True)
    after = trace.put(out, [*dims, trace.axes.atom(out.shape[-1], fixed=True)], **keep(value))
    for d in range(len(dims)):
        trace.ledger.same(Spot(value, d), Spot(after, d)) if d != dim else trace.ledger.nothing(after, [d])
    trace.ledger.nothing(after, [len(dims)])


def _repeat(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    """Copies behind each other along every axis."""
    value = trace.value(args[0])
    lead = out.ndim - args[0].ndim
    dims = []
    for d in range(out.ndim):
        size = args[0].shape[d - lead] if d >= lead else 1
        own = value.dims[d - lead] if d >= lead else trace.axes.atom(1)
        dims.append(own if out.shape[d] == size else trace.axes.product([trace.axes.atom(out.shape[d] // size), own]))
    after = trace.put(out, dims, **keep(value))
    for d in range(lead, out.ndim):
        if out.shape[d] == args[0].shape[d - lead]:
            trace.ledger.same(Spot(value, d - lead), Spot(after, d))
        else:
            trace.ledger.nothing(after, [d])
            trace.ledger.nothing(value, [d - lead])


def _copy_into(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    before = trace.value(args[0])
    source = trace.value(args[1])
    after = trace.put(out, before.dims, **keep(source))
    lead = out.ndim - args[1].ndim
    for d in range(out.ndim):
        if d >= lead and args[1].shape[d - lead] == out.shape[d]:
            trace.axes.unify(before.dims[d], source.dims[d - lead])
            trace.ledger.same(Spot(source, d - lead), Spot(after, d))
        elif not source.is_zero:
            trace.ledger.nothing(after, [d])


def _diagonal(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    value = trace.value(args[0])
    for node in value.dims:
        trace.axes.fix(node)
    trace.ledger.nothing(value)
    trace.ledger.nothing(trace.put(out, [trace.axes.atom(size, fixed=True) for size in out.shape]))


def _fill(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    trace.put(out, [trace.axes.atom(size) for size in out.shape], is_constant=True, is_zero=not bool(out.any()))


VIEW_RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("view", "_unsafe_view", "reshape"), _view),
    **dict.fromkeys(
        ("clone", "detach", "alias", "_to_copy", "contiguous", "lift_fresh", "resolve_conj", "_conj"), _copy
    ),
    **dict.fromkeys(("permute", "transpose", "t"), _permute),
    **dict.fromkeys(("squeeze", "unsqueeze"), _squeeze),
    **dict.fromkeys(("split", "split_with_sizes", "unsafe_split", "unsafe_split_with_sizes", "chunk"), _split),
    **dict.fromkeys(("select", "unbind"), _select),
    **dict.fromkeys(
        ("roll", "flip", "constant_pad_nd", "tril", "triu", "reflection_pad2d", "replication_pad2d"), _reorder
    ),
    **dict.fromkeys(("scatter", "scatter_add", "scatter_reduce"), _scatter),
    **dict.fromkeys(
        (
            "zero",
            "fill",
            "zeros_like",
            "ones_like",
            "full_like",
            "empty_like",
            "new_zeros",
            "new_ones",
            "new_full",
            "new_empty",
            "rand_like",
            "randn_like",
        ),
        _fill,
    ),
    "expand": _expand,
    "slice": _slice,
    "cat": _cat,
    "stack": _stack,
    "embedding": _embedding,
    "index_select": _index_select,
    "index": _index,
    "gather": _gather,
    "index_add": _index_add,
    "index_put": _index_put,
    "_index_put_impl": _index_put,
    "unfold": _unfold,
    "repeat": _repeat,
    "copy": _copy_into,
    "diagonal": _diagonal,
    "masked_scatter": _masked_scatter,
    **dict.fromkeys(("view_as_real", "view_as_complex"), _complex),
    "as_strided": _restride,
}
