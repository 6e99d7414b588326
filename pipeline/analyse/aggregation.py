"""What the analysis found in one tensor, and how findings of many tensors become one.

A pooled figure is the mean over tensors, weighted by their numbers of weights. Its null is pooled draw by draw, so it
has as many draws as each tensor has, and its z and p are those of the pooled figure: pooling forty matrices is one
test, not forty.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from patterndb.records import Statistic
from pipeline.analyse.sampling import interval
from pipeline.nulls import NullKind, compare_with_null
from zoo.tensors import Role, TensorSpec

__all__ = [
    "Effect",
    "Measured",
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
        """NaN without draws."""
        return math.fsum(self.draws) / len(self.draws) if self.draws else math.nan

    @property
    def statistic(self) -> Statistic:
        found = compare_with_null(self.name, self.value, self.draws, self.kind)
        low, high = interval(self.value, self.samples) or (None, None)
        return replace(found, low=low, high=high)


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
    def is_sign_free(self) -> bool:
        return is_sign_free(self.spec)

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


def pool(analyses: Iterable[TensorAnalysis], name: str, effect: Effect = as_is) -> Measured | None:
    """Weighted mean of an effect of one statistic over tensors; None if none of them has it, finite.

    Tensors whose value or null is not finite are left out. The result's draws are the pooled effects of the draws.
    """
    pairs = [(item, found) for item in analyses if (found := item.get(name)) is not None]
    return aggregate_measured([(found, item.spec.num_weights) for item, found in pairs], effect)


def aggregate_measured(items: Sequence[tuple[Measured, float]], effect: Effect = as_is) -> Measured | None:
    """`pool`, for (measurement, weight) pairs of one statistic.

    Other samples are pooled like draws, one by one; what was not sampled is the same in each.
    """
    rows: list[tuple[float, list[float], list[float]]] = []
    for found, weight in items:
        mean = found.null_mean
        values = [effect(found.value, mean), *(effect(draw, mean) for draw in found.draws)]
        if all(math.isfinite(value) for value in values):
            rows.append((weight, values, [effect(sample, mean) for sample in found.samples]))
    if not rows:
        return None
    width = min(len(values) for _, values, _ in rows)
    num_samples = max(len(samples) for _, _, samples in rows)
    pooled = [_weighted_mean([(weight, values[index]) for weight, values, _ in rows]) for index in range(width)]
    samples = [
        _weighted_mean([(weight, each[index] if each else values[0]) for weight, values, each in rows])
        for index in range(num_samples)
    ]
    first = items[0][0]
    return Measured(name=first.name, value=pooled[0], kind=first.kind, draws=tuple(pooled[1:]), samples=tuple(samples))


def _weighted_mean(pairs: Sequence[tuple[float, float]]) -> float:
    """Of (weight, value) pairs."""
    return math.fsum(weight * value for weight, value in pairs) / math.fsum(weight for weight, _ in pairs)
