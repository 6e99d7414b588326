"""Norms: what they mix, and what their gains and shifts go with."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from zoo.tracing.ledger import Spot, Value
from zoo.tracing.trace import Rule, Trace

__all__ = ["NORM_RULES"]


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
        trace.put_fixed(other)
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
    for each in (value, after):
        trace.ledger.nothing(each, [dim for dim in range(len(value.dims)) if dim != 1])
    if variance is not None:
        trace.ledger.nothing(variance)
    if mean is not None:
        trace.ledger.same(Spot(mean, 0), Spot(value, 1))
    terms = [(1, Spot(after, 1)), (-1, Spot(value, 1)), *([(-1, Spot(gain, 0))] if gain else [])]
    trace.ledger.equate(*terms)
    if shift is not None:
        trace.ledger.same(Spot(shift, 0), Spot(after, 1))


NORM_RULES: Mapping[str, Rule] = {
    "native_layer_norm": _layer_norm,
    "native_group_norm": _group_norm,
    **dict.fromkeys(
        ("native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "batch_norm"), _batch_norm
    ),
}
