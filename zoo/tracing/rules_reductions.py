"""Operations along an axis: sums and extremes, sorting, running sums, pooling, Fourier transforms."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from zoo.tracing.ledger import Field, Spot, Value
from zoo.tracing.trace import Rule, Trace

__all__ = ["REDUCTION_RULES"]


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
        index_of = value.dims[dim] if number == 1 or name == "argsort" else None
        moved = {d: d for d in range(tensor.ndim) if d != dim}
        trace.ledger.nothing(trace.carry(value, tensor, moved, fixed=True, index_of=index_of, sources=value.sources))


def _cumulative(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    value = trace.value(args[0])
    dim = args[1] % args[0].ndim
    trace.mix(value, [dim])
    trace.axes.fix(value.dims[dim])
    after = trace.carry(value, out, {d: d for d in range(out.ndim)})
    for each in (value, after):
        trace.ledger.nothing(each, [dim] if name == "cumsum" else None)


def _spatial(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    """Pooling and resizing of the last axes of an image."""
    value = trace.value(args[0])
    outs = [out] if isinstance(out, Tensor) else list(out)
    count = 1 if "1d" in name or "linear1d" in name else 2
    for tensor in outs:
        kept = range(tensor.ndim - count)
        trace.hold(value, range(len(kept), tensor.ndim))
        after = trace.carry(value, tensor, {d: d for d in kept}, fixed=True, sources=value.sources)
        for each in (value, after) if "max" in name else ():
            trace.ledger.nothing(each, kept, Field.SIGN)


def _ignored(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    """Numbers of places, and numbers that Python reads: what comes out is no axis."""
    value = trace.value(args[0])
    trace.ledger.nothing(value)
    if name in ("nonzero", "repeat_interleave"):
        trace.mix(value, range(len(value.dims)))
        trace.hold(value)
    if isinstance(out, Tensor):
        trace.put_fixed(out)


def _fourier(trace: Trace, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
    value = trace.value(args[0])
    moved = [d % args[0].ndim for d in args[1]]
    trace.hold(value, moved)
    trace.ledger.nothing(value)
    trace.ledger.nothing(trace.carry(value, out, {d: d for d in range(out.ndim) if d not in moved}, fixed=True))


REDUCTION_RULES: Mapping[str, Rule] = {
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
