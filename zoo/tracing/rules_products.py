"""Operations that multiply and add up: matrix products, attention, convolutions, triangular systems."""

from collections.abc import Mapping, Sequence
from typing import Any

from zoo.tracing.axes import Node
from zoo.tracing.ledger import Spot, Value
from zoo.tracing.rules_pointwise import place_in, spread
from zoo.tracing.rules_views import keep
from zoo.tracing.trace import AttentionCall, Rule, Trace

__all__ = ["PRODUCT_RULES"]

MOST_SHARED = 2
"""Matrices that keys and values may have in common; what weighs more roads than that is a sum of streams."""


def _product(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    """Matrix products, some with a term that is added."""
    bias, first, second = args[:3] if name in ("addmm", "baddbmm", "addmv", "addbmm") else (None, *args[:2])
    left, right = trace.value(first), trace.value(second)
    lead = max(first.ndim - 2, 0)
    inner_left, inner_right = first.ndim - 1, lead if second.ndim > 1 else 0
    trace.axes.unify(left.dims[inner_left], right.dims[inner_right])
    trace.ledger.equate((1, Spot(left, inner_left)), (1, Spot(right, inner_right)))
    for dim in range(lead):
        trace.axes.unify(left.dims[dim], right.dims[dim])
    dims = [*left.dims[:-1], *([right.dims[-1]] if second.ndim > lead + 1 else [])]
    facts = _tell_product(trace, left, right, dims)
    after = trace.put(out, dims, **facts)
    for dim in range(lead):
        trace.ledger.equate((1, Spot(after, dim)), (-1, Spot(left, dim)), (-1, Spot(right, dim)))
    if first.ndim > 1:
        trace.ledger.same(Spot(left, first.ndim - 2), Spot(after, first.ndim - 2))
    if second.ndim > lead + 1:
        trace.ledger.same(Spot(right, second.ndim - 1), Spot(after, len(dims) - 1))
    if bias is not None:
        term = trace.value(bias)
        for dim, node in enumerate(dims):
            place = place_in(trace, term, after, dim)
            if place is not None:
                trace.axes.unify(term.dims[place], node)
        spread(trace, term, after)
        if term.parameter:
            trace.use(term.parameter, "added")


def _tell_product(trace: Trace, left: Value, right: Value, dims: Sequence[Node]) -> dict[str, Any]:
    """Note uses of parameters and steps of an attention; return what the product is."""
    parameters = [value for value in (left, right) if value.parameter is not None]
    if parameters:
        weight = parameters[-1]
        other = left if weight is right else right
        trace.use(weight.parameter or "", "product", reads_input=other.is_constant)
        trace.contracted[weight.parameter or ""] = left.dims[-1]
        if other.note[:1] == ("context",):
            trace.attentions[other.note[1]].output |= {weight.parameter or ""}
        return {"sources": frozenset({weight.parameter or ""})}
    for weights, other, inner in ((left, right, left.dims[-1]), (right, left, right.dims[max(-2, -len(right.dims))])):
        if weights.note[:1] == ("weights",):
            call = trace.attentions[weights.note[1]]
            if other.sources == call.key and len(call.key) > MOST_SHARED:
                call.clear()
                return {"sources": other.sources}
            call.value |= other.sources
            call.within |= {node for node in other.dims[-2:] if trace.axes.find(node) != trace.axes.find(inner)}
            return {"note": ("context", weights.note[1])}
    if left.is_constant or right.is_constant:
        return keep(right if left.is_constant else left)
    return {"note": ("scores", left.sources, right.sources, left.dims[-1], tuple(dims[:-2]))}


def _softmax(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    value = trace.value(args[0])
    note: tuple[Any, ...] = ()
    if value.note[:1] == ("scores",):
        _, query, key, within, heads = value.note
        call = AttentionCall(query, key, within={within}, heads=set(heads))
        trace.attentions.append(call)
        note = ("weights", len(trace.attentions) - 1)
    trace.mix(value, [args[1] if isinstance(args[1], int) else -1])
    after = trace.put(out, value.dims, note=note, sources=value.sources)
    trace.ledger.nothing(value)
    trace.ledger.nothing(after)


def _convolution(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    image, kernel = trace.value(args[0]), trace.value(args[1])
    is_transposed, groups = args[6], args[8]
    axes = trace.axes
    for value in (image, kernel):
        trace.hold(value, range(2, len(value.dims)))
    channels = image.dims[1]
    if groups == 1:
        into, outer = (kernel.dims[0], kernel.dims[1]) if is_transposed else (kernel.dims[1], kernel.dims[0])
        axes.unify(channels, into)
        place = 0 if is_transposed else 1
        trace.ledger.equate((1, Spot(image, 1)), (1, Spot(kernel, place)))
        dims = [image.dims[0], outer]
    else:
        dims = [image.dims[0], _grouped(trace, image, kernel, groups, is_transposed)]
    dims += [axes.atom(size, fixed=True) for size in out.shape[2:]]
    after = trace.put(out, dims, sources=frozenset({kernel.parameter}) if kernel.parameter else kernel.sources)
    trace.ledger.nothing(after, range(2, len(dims)))
    trace.ledger.same(Spot(image, 0), Spot(after, 0))
    if groups == 1:
        trace.ledger.same(Spot(kernel, 1 if is_transposed else 0), Spot(after, 1))
    elif kernel.dims and axes.size(kernel.dims[1]) == 1 and axes.size(channels) == groups == out.shape[1]:
        trace.ledger.equate((1, Spot(after, 1)), (-1, Spot(image, 1)), (-1, Spot(kernel, 0)))
    else:
        for value, dim in ((after, 1), (image, 1), (kernel, 0), (kernel, 1)):
            trace.ledger.nothing(value, [dim])
    if kernel.parameter:
        is_patch = list(args[3]) == list(args[1].shape[2:]) and max(args[3]) > 1
        trace.use(kernel.parameter, "convolution", reads_input=image.is_constant and is_patch)
    if args[2] is not None:
        bias = trace.value(args[2])
        axes.unify(bias.dims[0], dims[1])
        trace.ledger.same(Spot(bias, 0), Spot(after, 1))
        trace.ledger.nothing(after, [0])
        if bias.parameter:
            trace.use(bias.parameter, "added")


def _grouped(trace: Trace, image: Value, kernel: Value, groups: int, is_transposed: bool) -> Node:
    """Channels of a grouped convolution: groups times channels of a group, on both sides. Returns those that leave."""
    axes = trace.axes
    group, inner = axes.split(image.dims[1], groups)
    kernel_group, kernel_inner = axes.split(kernel.dims[0], groups)
    axes.unify(group, kernel_group)
    if is_transposed:
        axes.unify(inner, kernel_inner)
        return axes.product([kernel_group, kernel.dims[1]])
    axes.unify(inner, kernel.dims[1])
    return kernel.dims[0]


def _triangular(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    """Solves `a x = b`: steps follow from one another, so that their order is real; columns of `b` are those of `x`."""
    matrix, right = trace.value(args[0]), trace.value(args[1])
    rank = out.ndim
    is_left = kwargs.get("left", True)
    steps = rank - 2 if is_left else rank - 1
    for node in (*matrix.dims[-2:], right.dims[steps]):
        trace.axes.fix(node)
    for dim in range(rank - 2):
        if trace.axes.size(matrix.dims[dim]) == trace.axes.size(right.dims[dim]):
            trace.axes.unify(matrix.dims[dim], right.dims[dim])
    after = trace.carry(right, out, {dim: dim for dim in range(rank)}, sources=right.sources)
    trace.ledger.nothing(matrix)
    for value in (right, after):
        trace.ledger.nothing(value, [steps])


PRODUCT_RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("mm", "bmm", "mv", "dot", "addmm", "baddbmm", "addmv"), _product),
    **dict.fromkeys(("_softmax", "_log_softmax", "_safe_softmax", "softmax"), _softmax),
    **dict.fromkeys(("convolution", "_convolution"), _convolution),
    "linalg_solve_triangular": _triangular,
}
