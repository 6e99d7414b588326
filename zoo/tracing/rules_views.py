"""Operations that move entries and compute nothing: reshapes, slices, copies, other orders."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from zoo.tracing.ledger import Spot, Value, Window
from zoo.tracing.trace import Rule, Trace

__all__ = ["VIEW_RULES", "keep", "pieces"]


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
    trace.carry(value, out, {dim: dim for dim in range(out.ndim)}, parameter=value.parameter, **keep(value))


def _permute(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    value = trace.value(args[0])
    rank = args[0].ndim
    if name == "permute":
        order = [dim % rank for dim in args[1]]
    else:
        first, second = (0, rank - 1) if name == "t" else (args[1] % rank, args[2] % rank)
        order = list(range(rank))
        order[first], order[second] = order[second], order[first]
    trace.carry(value, out, dict(enumerate(order)), parameter=value.parameter, **keep(value))


def _expand(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    value = trace.value(args[0])
    lead = out.ndim - args[0].ndim
    kept = {d: d - lead for d in range(lead, out.ndim) if args[0].shape[d - lead] == out.shape[d]}
    trace.carry(value, out, kept, **keep(value))


def _slice(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    given = dict(enumerate(args))
    dim = given.get(1, 0)
    start, stop, step = slice(given.get(2), given.get(3), given.get(4, 1)).indices(args[0].shape[dim])
    pieces(trace, args[0], dim, [out], [list(range(start, max(stop, start), step))])


def pieces(trace: Trace, whole: Tensor, dim: int, outs: Sequence[Tensor], indices: Sequence[Sequence[int]]) -> None:
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
    pieces(trace, args[0], dim, out, indices)


def _select(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    dim = args[1] if name == "select" else (args[1] if len(args) > 1 else kwargs.get("dim", 0))
    dim %= args[0].ndim
    outs, chosen = ([out], [args[2] % args[0].shape[dim]]) if name == "select" else (out, range(len(out)))
    value = trace.value(args[0])
    for piece, index in zip(outs, chosen, strict=True):
        trace.axes.slice(value.dims[dim], index, index + 1)
        others = [d for d in range(args[0].ndim) if d != dim]
        trace.carry(value, piece, dict(enumerate(others)), parameter=value.parameter, **keep(value))


def _squeeze(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    """Axes of size 1 come and go; the others stay in order."""
    value = trace.value(args[0])
    # In place, the tensor itself has its new shape already.
    old = [d for d, node in enumerate(value.dims) if trace.axes.size(node) != 1]
    new = [d for d in range(out.ndim) if out.shape[d] != 1]
    trace.carry(value, out, dict(zip(new, old, strict=True)), parameter=value.parameter, **keep(value))


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
    trace.mix(value, moved)
    trace.hold(value, moved)
    trace.carry(value, out, {d: d for d in range(out.ndim) if d not in moved}, fixed=True, **keep(value))


def _complex(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    """Real and imaginary parts are a last axis of two, or are one number."""
    value = trace.value(args[0])
    if name == "view_as_complex":
        trace.hold(value, [len(value.dims) - 1])
    trace.carry(value, out, {d: d for d in range(min(len(value.dims), out.ndim))}, fixed=True, **keep(value))


def _restride(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    """Other strides: axes that keep theirs are the same, and those that windows run along have a real order."""
    value, old = trace.value(args[0]), args[0]
    if out.storage_offset() != old.storage_offset() or [trace.axes.size(node) for node in value.dims] != [*old.shape]:
        raise NotImplementedError("strides of another shape")
    same = {(old.shape[d], old.stride(d)): d for d in range(old.ndim) if old.shape[d] > 1}
    moved = {d: same[out.shape[d], out.stride(d)] for d in range(out.ndim) if (out.shape[d], out.stride(d)) in same}
    loose = [d for d in range(out.ndim) if out.shape[d] > 1 and d not in moved]
    moved = {new: d for new, d in moved.items() if not any(_crosses(out, each, old, d) for each in loose)}
    trace.hold(value, [d for d in range(old.ndim) if d not in moved.values()])
    trace.carry(value, out, moved, fixed=True, parameter=None if loose else value.parameter, **keep(value))


def _crosses(out: Tensor, window: int, old: Tensor, dim: int) -> bool:
    """Whether steps along an axis of windows change the index along an axis of what they are taken from."""
    stride, extent = old.stride(dim), old.stride(dim) * old.shape[dim]
    reach = sum((out.shape[d] - 1) * out.stride(d) for d in range(out.ndim) if out.stride(d) < stride)
    is_inside = out.stride(window) < stride and reach < stride
    return not (is_inside or out.stride(window) % extent == 0)


def _unfold(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    value = trace.value(args[0])
    dim = args[1] % args[0].ndim
    trace.hold(value, [dim])
    trace.carry(value, out, {d: d for d in range(len(value.dims)) if d != dim}, fixed=True, **keep(value))


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


def _diagonal(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    trace.hold(trace.value(args[0]))
    trace.ledger.nothing(trace.put_fixed(out))


def _fill(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    """One number everywhere, or numbers that are yet to be written."""
    trace.put(out, [trace.axes.atom(size) for size in out.shape], is_constant=True, is_zero=not bool(out.any()))


def _random(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    """Random numbers are other ones at each place, so that the order is real."""
    trace.put_fixed(out, is_constant=True)


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
        ),
        _fill,
    ),
    **dict.fromkeys(("rand_like", "randn_like"), _random),
    "expand": _expand,
    "slice": _slice,
    "unfold": _unfold,
    "repeat": _repeat,
    "diagonal": _diagonal,
    **dict.fromkeys(("view_as_real", "view_as_complex"), _complex),
    "as_strided": _restride,
}
