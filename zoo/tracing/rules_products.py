"""Operations that compute: products, convolutions, element-wise functions, reductions, norms."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from zoo.tracing.axes import Node
from zoo.tracing.ledger import Field, Spot, Value
from zoo.tracing.rules_views import VIEW_RULES, keep
from zoo.tracing.trace import AttentionCall, Rule, Trace

__all__ = ["RULES"]

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
            _spread(trace, operand, after)
        return
    if name in ("mul", "div"):
        for dim in range(rank):
            terms = [(1, Spot(after, dim))]
            for place, value in enumerate(values):
                back = _place(trace, value, after, dim)
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


def _place(trace: Trace, value: Value, after: Value, dim: int) -> int | None:
    """The axis of an operand behind axis `dim` of the result; None where it is broadcast."""
    place = len(value.dims) - len(after.dims) + dim
    if place < 0 or trace.axes.size(value.dims[place]) != trace.axes.size(after.dims[dim]):
        return None
    return place


def _spread(trace: Trace, value: Value, after: Value) -> None:
    """The result changes as this term of a sum does."""
    if value.is_zero:
        return
    for dim in range(len(after.dims)):
        place = _place(trace, value, after, dim)
        if place is None or value.is_constant:
            trace.ledger.nothing(after, [dim])
        else:
            trace.ledger.same(Spot(value, place), Spot(after, dim))


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
            place = _place(trace, term, after, dim)
            if place is not None:
                trace.axes.unify(term.dims[place], node)
        _spread(trace, term, after)
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
    for node in (*image.dims[2:], *kernel.dims[2:]):
        axes.fix(node)
    trace.ledger.nothing(kernel, range(2, len(kernel.dims)))
    trace.ledger.nothing(image, range(2, len(image.dims)))
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


def _reduce(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    value = trace.value(args[0])
    outs = [out] if isinstance(out, Tensor) else list(out)
    rank = args[0].ndim
    reduced = _reduced(name, args, kwargs, rank)
    kept = [d for d in range(rank) if d not in reduced]
    for place, tensor in enumerate(outs):
        is_kept = tensor.ndim == rank and rank > 0
        moved = [(d, d if is_kept else kept.index(d)) for d in kept]
        nodes = [trace.axes.atom(1) for _ in range(tensor.ndim)]
        for old, new in moved:
            nodes[new] = value.dims[old]
        index_of = None
        if len(reduced) == 1 and (place == 1 or name in ("argmax", "argmin")) and name not in ("var_mean", "std_mean"):
            index_of = value.dims[reduced[0]]
        after = trace.put(tensor, nodes, sources=value.sources, index_of=index_of)
        _reduced_exponents(
            trace, name if name not in ("var_mean", "std_mean") or place == 0 else "mean", value, after, reduced, moved
        )


def _reduced(name: str, args: Sequence[Any], kwargs: Mapping[str, Any], rank: int) -> list[int]:
    """The axes that disappear, or become one long."""
    place = 2 if name == "linalg_vector_norm" else 1
    dims = args[place] if len(args) > place else kwargs.get("dim")
    if isinstance(dims, bool):
        dims = None
    if dims is None or dims == []:
        return list(range(rank))
    return [d % rank for d in ([dims] if isinstance(dims, int) else dims)] if rank else []


def _reduced_exponents(
    trace: Trace, name: str, value: Value, after: Value, reduced: Sequence[int], moved: Iterable[tuple[int, int]]
) -> None:
    ledger = trace.ledger
    if name not in ("sum", "mean", "var", "std", "linalg_vector_norm"):
        ledger.nothing(value)
        ledger.nothing(after)
        return
    ledger.nothing(value, reduced, Field.SCALE)
    if name != "linalg_vector_norm":
        ledger.nothing(value, reduced, Field.SIGN)
    for old, new in moved:
        power = 2 if name == "var" else 1
        ledger.equate((power, Spot(value, old)), (-1, Spot(after, new)), field=Field.SCALE)
        if name in ("sum", "mean"):
            ledger.same(Spot(value, old), Spot(after, new), Field.SIGN)
        else:
            ledger.nothing(after, [new], Field.SIGN)


def _ordered(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    """Sorting and the like: the result's own order is real, that of what is sorted is not."""
    value = trace.value(args[0])
    place = {"sort": 1, "argsort": 1, "topk": 2}[name]
    dim = (args[place] if len(args) > place and not isinstance(args[place], bool) else -1) % args[0].ndim
    outs = [out] if isinstance(out, Tensor) else list(out)
    trace.mix(value, [dim])
    if value.index_of is not None:
        trace.axes.fix(value.index_of)  # Which index is the larger one is seen.
    trace.ledger.nothing(value)
    for number, tensor in enumerate(outs):
        dims = list(value.dims)
        dims[dim] = trace.axes.atom(tensor.shape[dim], fixed=True)
        is_index = number == 1 or name == "argsort"
        after = trace.put(tensor, dims, index_of=value.dims[dim] if is_index else None, sources=value.sources)
        trace.ledger.nothing(after)


def _cumulative(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    value = trace.value(args[0])
    dim = args[1] % args[0].ndim
    trace.mix(value, [dim])
    trace.axes.fix(value.dims[dim])
    after = trace.put(out, value.dims)
    for d in range(out.ndim):
        if d != dim and name == "cumsum":
            trace.ledger.same(Spot(value, d), Spot(after, d))
        else:
            trace.ledger.nothing(value, [d])
            trace.ledger.nothing(after, [d])


def _layer_norm(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    value, after = _normed(trace, args[0], out)
    rank = len(args[1])
    trace.mix(value, range(-rank, 0))
    _affine(trace, args[2:4], list(range(len(value.dims) - rank, len(value.dims))), after)


def _group_norm(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    value, after = _normed(trace, args[0], out)
    trace.axes.split(value.dims[1], args[6])
    _affine(trace, args[1:3], [1], after)


def _normed(trace: Trace, tensor: Tensor, out: Any) -> tuple[Value, Value]:
    """The norm's result; nothing changes sign or scale. Mean and deviation come out too and are not used."""
    value = trace.value(tensor)
    after = trace.put(out[0], value.dims, sources=value.sources)
    trace.ledger.nothing(value)
    trace.ledger.nothing(after)
    for other in out[1:]:
        trace.put(other, [trace.axes.atom(size, fixed=True) for size in other.shape])
    return value, after


def _affine(trace: Trace, parts: Sequence[Any], dims: Sequence[int], after: Value) -> None:
    """Gain and shift of a norm."""
    for part in parts:
        if part is None:
            continue
        value = trace.value(part)
        for own, dim in enumerate(dims):
            trace.axes.unify(value.dims[own], after.dims[dim])
        trace.ledger.nothing(value)
        if value.parameter:
            trace.use(value.parameter, "scales")


def _batch_norm(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    """With running statistics: `(x - mean) / deviation * gain + shift`."""
    value = trace.value(args[0])
    gain, shift, mean, variance = (None if part is None else trace.value(part) for part in args[1:5])
    result = out if isinstance(out, Tensor) else out[0]
    after = trace.put(result, value.dims, sources=value.sources)
    for part in (gain, shift, mean, variance):
        if part is not None:
            trace.axes.unify(part.dims[0], value.dims[1])
            trace.use(part.parameter or "", "scales")
    for dim in range(len(value.dims)):
        if dim != 1:
            trace.ledger.nothing(value, [dim])
            trace.ledger.nothing(after, [dim])
    if variance is not None:
        trace.ledger.nothing(variance)
    if mean is not None:
        trace.ledger.same(Spot(mean, 0), Spot(value, 1))
    terms = [(1, Spot(after, 1)), (-1, Spot(value, 1)), *([(-1, Spot(gain, 0))] if gain else [])]
    trace.ledger.equate(*terms)
    if shift is not None:
        trace.ledger.same(Spot(shift, 0), Spot(after, 1))


def _spatial(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    """Pooling and resizing of the last axes of an image."""
    value = trace.value(args[0])
    outs = [out] if isinstance(out, Tensor) else list(out)
    count = 1 if "1d" in name or "linear1d" in name else 2
    for tensor in outs:
        moved = range(tensor.ndim - count, tensor.ndim)
        dims = [
            trace.axes.atom(tensor.shape[d], fixed=True) if d in moved else value.dims[d] for d in range(tensor.ndim)
        ]
        for d in moved:
            trace.axes.fix(value.dims[d])
        after = trace.put(tensor, dims, sources=value.sources)
        trace.ledger.nothing(value, list(moved))
        trace.ledger.nothing(after, list(moved))
        for d in range(tensor.ndim - count):
            trace.ledger.same(Spot(value, d), Spot(after, d), Field.SCALE)
            if "max" in name:
                trace.ledger.nothing(value, [d], Field.SIGN)
                trace.ledger.nothing(after, [d], Field.SIGN)
            else:
                trace.ledger.same(Spot(value, d), Spot(after, d), Field.SIGN)


def _ignored(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    """Numbers of places, and numbers that Python reads: what comes out is no axis."""
    value = trace.value(args[0])
    trace.ledger.nothing(value)
    if name in ("nonzero", "repeat_interleave"):
        trace.mix(value, range(len(value.dims)))
        for node in value.dims:
            trace.axes.fix(node)
    for tensor in [out] if isinstance(out, Tensor) else []:
        trace.put(tensor, [trace.axes.atom(size, fixed=True) for size in tensor.shape])


def _fourier(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    value = trace.value(args[0])
    moved = [d % args[0].ndim for d in args[1]]
    dims = [trace.axes.atom(out.shape[d], fixed=True) if d in moved else value.dims[d] for d in range(out.ndim)]
    for d in moved:
        trace.axes.fix(value.dims[d])
    trace.ledger.nothing(value)
    trace.ledger.nothing(trace.put(out, dims))


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
    after = trace.put(out, right.dims, sources=right.sources)
    trace.ledger.nothing(matrix)
    for dim in range(rank):
        if dim == steps:
            trace.ledger.nothing(right, [dim])
            trace.ledger.nothing(after, [dim])
        else:
            trace.ledger.same(Spot(right, dim), Spot(after, dim))


RULES: Mapping[str, Rule] = {
    **VIEW_RULES,
    "pointwise": _pointwise,
    **dict.fromkeys(("dropout", "lerp", "where", "masked_fill"), _pointwise),
    **dict.fromkeys(("mm", "bmm", "mv", "dot", "addmm", "baddbmm", "addmv"), _product),
    **dict.fromkeys(("_softmax", "_log_softmax", "_safe_softmax", "softmax"), _softmax),
    **dict.fromkeys(("convolution", "_convolution"), _convolution),
    **dict.fromkeys(
        (
            "sum",
            "mean",
            "var",
            "std",
            "var_mean",
            "std_mean",
            "amax",
            "amin",
            "max",
            "min",
            "argmax",
            "argmin",
            "any",
            "all",
            "prod",
            "logsumexp",
            "linalg_vector_norm",
        ),
        _reduce,
    ),
    **dict.fromkeys(("sort", "argsort", "topk"), _ordered),
    **dict.fromkeys(("cumsum", "cumprod", "logcumsumexp"), _cumulative),
    "linalg_solve_triangular": _triangular,
    "native_layer_norm": _layer_norm,
    "native_group_norm": _group_norm,
    **dict.fromkeys(
        ("native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "batch_norm"), _batch_norm
    ),
    **dict.fromkeys(
        (
            "max_pool2d_with_indices",
            "avg_pool2d",
            "_adaptive_avg_pool2d",
            "adaptive_max_pool2d",
            "upsample_nearest2d",
            "upsample_bilinear2d",
            "upsample_bicubic2d",
            "avg_pool1d",
            "max_pool1d",
            "_adaptive_avg_pool1d",
            "upsample_nearest1d",
            "upsample_linear1d",
            "_upsample_bilinear2d_aa",
            "_upsample_bicubic2d_aa",
        ),
        _spatial,
    ),
    **dict.fromkeys(("_fft_c2c", "_fft_r2c", "_fft_c2r"), _fourier),
    **dict.fromkeys(
        ("nonzero", "_local_scalar_dense", "equal", "is_nonzero", "repeat_interleave", "_is_all_true", "_is_any_true"),
        _ignored,
    ),
}
"""Operation -> how axes pass through it."""
