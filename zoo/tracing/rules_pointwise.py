"""Operations that compute element by element: sums, products, powers, nonlinearities."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from zoo.tracing.axes import Node
from zoo.tracing.ledger import Field, Spot, Value
from zoo.tracing.trace import Rule, Trace

__all__ = ["POINTWISE_RULES", "place_in", "spread"]

SUMS = frozenset({"add", "sub", "rsub", "where", "masked_fill", "lerp"})
ODD = frozenset({"tanh", "erf", "sin", "asin", "atan", "sign", "asinh", "sinh", "tan", "softsign", "trunc"})
LINEAR = frozenset({"neg", "dropout", "native_dropout", "conj", "real", "deg2rad"})
POSITIVE = frozenset({"relu", "leaky_relu", "prelu", "abs"})
"""What commutes with a positive scale."""
EVEN = frozenset({"abs", "cos", "cosh"})


def _pointwise(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    """Element by element, with broadcasting: axes of one place are one."""
    tensors = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]
    values = [trace.value(tensor) for tensor in tensors]
    shape = list(out.shape)
    dims: list[Node] = []
    for back in range(-len(shape), 0):
        nodes = [v.dims[back] for v in values if len(v.dims) >= -back and trace.axes.size(v.dims[back]) == shape[back]]
        for node in nodes[1:]:
            trace.axes.unify(nodes[0], node)
        dims.append(nodes[0] if nodes else trace.axes.atom(shape[back]))
    activations = [value for value in values if not value.is_constant]
    own = [value for value in activations if value.parameter is None] or activations
    note = next((value.note for value in own if value.note), ())
    sources = frozenset[str]().union(*(value.sources for value in own))
    if name in SUMS and note[:1] == ("context",) and len({value.sources for value in own}) > 1:
        note = ()  # What attention gives out has joined a stream.
    only = (
        activations[0]
        if len(activations) == 1 and (name in LINEAR | SUMS or (name == "mul" and len(values) == 1))
        else None
    )
    if not name.startswith(("where", "masked_fill")):
        for value in values:
            if value.index_of is not None and not value.is_constant:
                trace.axes.fix(value.index_of)
    after = trace.put(out, dims, sources=sources, note=note, parameter=only.parameter if only else None)
    _tell_uses(trace, name, values, activations)
    _exponents(trace, name, args, values, after)


def _tell_uses(trace: Trace, name: str, values: Sequence[Value], activations: Sequence[Value]) -> None:
    is_sum = name in SUMS
    for value in activations:
        if value.parameter is not None and len(values) > 1:
            trace.use(value.parameter, "added" if is_sum else "scales")
    # A function of x may add x and its cube; two roads that meet come from different matrices.
    if is_sum and len({v.sources for v in activations if v.parameter is None}) > 1:
        trace.streams += [dim for value in activations[:1] for dim in value.dims]


def _exponents(trace: Trace, name: str, args: Sequence[Any], values: Sequence[Value], after: Value) -> None:
    """The equations of an element-wise operation."""
    ledger = trace.ledger
    rank = len(after.dims)
    scalars = [a for a in args if isinstance(a, int | float) and not isinstance(a, bool)]
    if name in SUMS:
        operands = values[1:] if name == "where" else values[:1] if name == "masked_fill" else values
        if name == "masked_fill" and not (scalars and scalars[0] == 0) and (len(values) < 3 or not values[2].is_zero):
            ledger.nothing(after)
        if name in ("where", "masked_fill"):
            ledger.nothing(values[0 if name == "where" else 1])
        if name == "lerp":
            ledger.nothing(values[-1])
        if name in ("add", "sub", "rsub") and len(values) < 2 and scalars and scalars[0] != 0:
            ledger.nothing(after)
        for operand in operands:
            spread(trace, operand, after)
        return
    if name in ("mul", "div"):
        for dim in range(rank):
            terms = [(1, Spot(after, dim))]
            for place, value in enumerate(values):
                back = place_in(trace, value, after, dim)
                if back is not None:
                    terms.append(
                        (1 if name == "div" and place and isinstance(args[0], Tensor) else -1, Spot(value, back))
                    )
            if not any(spot.value.is_zero for _, spot in terms):
                ledger.equate(*terms)
        return
    first = values[0]
    power = {"sqrt": 0.5, "rsqrt": -0.5, "reciprocal": -1, "square": 2}.get(name)
    if name == "pow" and isinstance(args[0], Tensor) and isinstance(args[1], int | float):
        power = float(args[1])
    if power is not None:
        for dim in range(rank):
            if power in (0.5, -0.5):
                ledger.equate((2, Spot(after, dim)), (-1 if power > 0 else 1, Spot(first, dim)), field=Field.SCALE)
                ledger.nothing(first, [dim], Field.SIGN)
                ledger.nothing(after, [dim], Field.SIGN)
            elif power == int(power):
                ledger.equate((1, Spot(after, dim)), (-int(power), Spot(first, dim)))
            else:
                ledger.nothing(first, [dim])
                ledger.nothing(after, [dim])
        return
    if len(values) == 1 and name in ODD | LINEAR | POSITIVE | EVEN:
        for dim in range(rank):
            if name in ODD | LINEAR:
                ledger.same(Spot(first, dim), Spot(after, dim), Field.SIGN)
            elif name not in EVEN:
                ledger.nothing(first, [dim], Field.SIGN)
            if name in LINEAR | POSITIVE:
                ledger.same(Spot(first, dim), Spot(after, dim), Field.SCALE)
            else:
                ledger.nothing(first, [dim], Field.SCALE)
                ledger.nothing(after, [dim], Field.SCALE)
            if name not in ODD | LINEAR:
                ledger.nothing(after, [dim], Field.SIGN)
        return
    for value in (*values, after):
        ledger.nothing(value)


def place_in(trace: Trace, value: Value, after: Value, dim: int) -> int | None:
    """The axis of an operand behind axis `dim` of the result; None where it is broadcast."""
    place = len(value.dims) - len(after.dims) + dim
    if place < 0 or trace.axes.size(value.dims[place]) != trace.axes.size(after.dims[dim]):
        return None
    return place


def spread(trace: Trace, value: Value, after: Value) -> None:
    """The result changes as this term of a sum does."""
    if value.is_zero:
        return
    for dim in range(len(after.dims)):
        place = place_in(trace, value, after, dim)
        if place is None or value.is_constant:
            trace.ledger.nothing(after, [dim])
        else:
            trace.ledger.same(Spot(value, place), Spot(after, dim))


POINTWISE_RULES: Mapping[str, Rule] = {
    "pointwise": _pointwise,
    **dict.fromkeys(("dropout", "lerp", "where", "masked_fill"), _pointwise),
}
