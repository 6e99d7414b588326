"""What the analysis found in one tensor, and how findings of many tensors become one.

A pooled figure is the mean over tensors, weighted by their numbers of weights. Its z and p are those of the pooled
figure: pooling forty matrices is one test, not forty. The nulls of the tensors were drawn independently, so they are
recombined, tensor by tensor (`pipeline.analyse.evidence`).
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from patterndb.records import Statistic
from pipeline.analyse.evidence import compare_with_null, pooled_statistic
from pipeline.analyse.sampling import interval
from pipeline.nulls import NullKind
from zoo.tensors import Role, TensorSpec

__all__ = [
    "BEYOND_MEANS",
    "Effect",
    "Measured",
    "Pooled",
    "TensorAnalysis",
    "aggregate_measured",
    "as_is",
    "excess_share",
    "is_sign_free",
    "log_ratio",
    "pool",
    "reduction",
    "rise",
]

BEYOND_MEANS = ".beyond_means"
"""What the name of a statistic ends in where it is of a matrix less its means (`pipeline.additive`)."""
Effect = Callable[[float, float], float]
"""(value or draw, null mean) -> what is pooled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A statistic with the draws of its null kept; `kind` None and no draws for a plain description."""

    name: str
    value: float
    kind: NullKind | None = None
    draws: tuple[float, ...] = ()
    samples: tuple[float, ...] = ()
    """The same of other samples of as many rows, where a sample stands for the tensor."""

    @property
    def null_mean(self) -> float:
        """Of the finite draws; NaN without any."""
        return _mean([draw for draw in self.draws if math.isfinite(draw)])

    @property
    def statistic(self) -> Statistic:
        """The value and its null as a record."""
        return _with_interval(compare_with_null(self.name, self.value, self.draws, self.kind), self.samples)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """An effect of one statistic in several tensors, and its null."""

    name: str
    kind: NullKind | None
    weights: tuple[float, ...]
    """Of each tensor."""
    effects: tuple[tuple[float, ...], ...]
    """Of each tensor: the effect of its value, then of the draws of its null, over the mean of the draws."""
    centred: tuple[tuple[float, ...], ...]
    """The same over the mean of value and draws: under the null nothing tells the first of them from the others."""
    samples: tuple[float, ...] = ()
    """The pooled effect of other samples of as many rows."""

    @property
    def value(self) -> float:
        """The weighted mean over tensors."""
        return _weighted_mean([(weight, each[0]) for weight, each in zip(self.weights, self.effects, strict=True)])

    @property
    def num_nulls(self) -> int:
        """Draws that every tensor has."""
        return min(len(each) for each in self.effects) - 1

    @property
    def statistic(self) -> Statistic:
        """The value and its null as a record."""
        found = pooled_statistic(self.name, self.kind, self.weights, self.effects, self.centred)
        return _with_interval(found, self.samples)


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorAnalysis:
    """What was measured in one matrix or vector."""

    spec: TensorSpec
    rows_used: int
    """Fewer than `spec.rows` where a sample of canonical rows was analysed."""
    measured: tuple[Measured, ...]
    labels: tuple[int, ...] = ()
    """Cluster of each canonical row; empty for vectors and samples."""
    cluster_sizes: tuple[float, ...] = ()
    """Shares of the rows, largest first."""
    cluster_norms: tuple[float, ...] = ()
    """Length of each cluster's mean unit row, in the same order."""

    @property
    def is_sampled(self) -> bool:
        return self.rows_used < self.spec.rows

    @property
    def statistics(self) -> tuple[Statistic, ...]:
        return tuple(item.statistic for item in self.measured)

    def get(self, name: str) -> Measured | None:
        return next((item for item in self.measured if item.name == name), None)


def is_sign_free(spec: TensorSpec) -> bool:
    """Whether signs of single rows or columns are arbitrary, and odd moments with them.

    A bias takes the signs of its layer's rows, and its spec does not say whose: every bias counts as free.
    """
    by_axis = spec.row_axis.is_sign_free or spec.col_axis.is_sign_free
    return by_axis or spec.free_row_signs or spec.free_col_signs or spec.role is Role.BIAS


def as_is(value: float, null_mean: float) -> float:
    """The value itself."""
    return value


def rise(value: float, null_mean: float) -> float:
    """Value minus null mean."""
    return value - null_mean


def reduction(value: float, null_mean: float) -> float:
    """By what part the value is below its null mean: 1 - value / mean."""
    return 1 - value / null_mean if null_mean else math.nan


def excess_share(value: float, null_mean: float) -> float:
    """For shares: how much of what the null leaves over is taken, (value - mean) / (1 - mean)."""
    return (value - null_mean) / (1 - null_mean) if null_mean < 1 else math.nan


def log_ratio(value: float, null_mean: float) -> float:
    """log2 of the value over its null mean."""
    return math.log2(value / null_mean) if value > 0 and null_mean > 0 else math.nan


def pool(analyses: Iterable[TensorAnalysis], name: str, effect: Effect = as_is) -> Pooled | None:
    """Weighted mean of an effect of one statistic over tensors; None if none of them has it, finite.

    Tensors whose value is not finite are left out, and so are single draws that are not.
    """
    pairs = [(item, found) for item in analyses if (found := item.get(name)) is not None]
    return aggregate_measured([(found, item.spec.num_weights) for item, found in pairs], effect)


def aggregate_measured(items: Sequence[tuple[Measured, float]], effect: Effect = as_is) -> Pooled | None:
    """`pool`, for (measurement, weight) pairs of one statistic.

    Other samples are pooled one by one; what was not sampled is the same in each.
    """
    kept = [
        (weight, effects, [effect(sample, found.null_mean) for sample in found.samples])
        for found, weight in items
        if (effects := _effects(found, effect)) is not None
    ]
    if not kept:
        return None
    num_samples = max(len(samples) for *_, samples in kept)
    samples = [
        _weighted_mean([(weight, own[index] if own else effects[0][0]) for weight, effects, own in kept])
        for index in range(num_samples)
    ]
    return Pooled(
        name=items[0][0].name,
        kind=items[0][0].kind,
        weights=tuple(weight for weight, *_ in kept),
        effects=tuple(tuple(own for own, _ in effects) for _, effects, _ in kept),
        centred=tuple(tuple(own for _, own in effects) for _, effects, _ in kept),
        samples=tuple(samples),
    )


def _effects(found: Measured, effect: Effect) -> list[tuple[float, float]] | None:
    """The effects of the value and of each draw, over the mean of the draws and over that of all; None without any.

    Draws whose effect is not finite are left out.
    """
    mean = found.null_mean
    value = effect(found.value, mean)
    if not math.isfinite(value):
        return None
    every = [each for each in (found.value, *found.draws) if math.isfinite(each)]
    pairs = [(effect(each, mean), effect(each, _mean(every))) for each in every]
    # Over the mean of all the value may have no effect, as where all draws are 1 and the effect is a share of the rest.
    return [pair for pair in pairs if all(map(math.isfinite, pair))] if math.isfinite(pairs[0][1]) else [(value, value)]


def _with_interval(statistic: Statistic, samples: Sequence[float]) -> Statistic:
    low, high = interval(statistic.value, samples) or (None, None)
    return replace(statistic, low=low, high=high)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def _weighted_mean(pairs: Sequence[tuple[float, float]]) -> float:
    """Of (weight, value) pairs."""
    return math.fsum(weight * value for weight, value in pairs) / math.fsum(weight for weight, _ in pairs)
