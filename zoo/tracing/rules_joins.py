"""Operations that put several tensors into one: concatenations, stacks, copies into a piece."""

from collections.abc import Mapping, Sequence
from typing import Any

from zoo.tracing.axes import Node
from zoo.tracing.ledger import Spot, Value, Window
from zoo.tracing.rules_views import keep
from zoo.tracing.trace import Rule, Trace

__all__ = ["JOIN_RULES"]


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


JOIN_RULES: Mapping[str, Rule] = {
    "cat": _cat,
    "stack": _stack,
    "copy": _copy_into,
}
