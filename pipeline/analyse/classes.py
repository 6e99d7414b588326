"""Classes: one word for what the weights of a model are beyond chance.

Five scores share 1 between them. Effects are pooled over matrices (weighted by size), divided by the size `full` from
which they count in full, and clipped to [0, 1]; each of the steps below takes its share of what the steps before left:

- **noisy**: 1 - evidence. Evidence is that the spectrum is more concentrated, or low frequencies are stronger in
  canonical order, than in a shuffled copy under its own order: by at least `CERTAIN_Z` of the null's standard
  deviations *and* by an effect that matters. A random or shuffled model is noisy whatever its distribution of values.
- **sparse**: the share of weights near zero, beyond that of a normal distribution.
- **structured**: how well rows separate into clusters (simplified silhouette), beyond matrices of the same spectrum.
- **smooth**: the share of the variance in the lowest 1/22 of the frequencies, beyond the null: similar rows and columns
  are next to each other.
- **structured** again: how many fewer directions hold the weights than hold the null (participation ratio): low rank.
- **dense**: the rest: not noise, but spread over most weights, frequencies and directions.

The class has the largest score; its margin is the distance to the second largest. Pooling comes before testing, so a
model of forty matrices is tested twice (for two kinds of evidence), not eighty times; with two tests and 8 nulls,
`CERTAIN_Z` is beyond the 1 % point of Student's t with 7 degrees of freedom.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from pipeline.analyse.aggregation import Effect, TensorAnalysis, excess_share, pool, reduction

__all__ = [
    "CERTAIN_Z",
    "EVIDENCE",
    "STEPS",
    "UNCALIBRATED",
    "Classification",
    "Criterion",
    "PatternClass",
    "classify",
]

PatternClass = Literal["smooth", "structured", "noisy", "sparse", "dense"]
UNCALIBRATED = "uncalibrated"
"""In place of a class where there are no nulls or no matrices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """An effect on one statistic, and the size from which it counts in full (1)."""

    effect: tuple[str, Effect]
    """Name of the statistic, and which effect of it."""
    full: float


CONCENTRATION = ("dimension.participation", reduction)
LOW_FREQUENCIES = ("spectra.low_share", excess_share)
NEAR_ZERO = ("distribution.near_zero", excess_share)
CLUSTERS = ("clusters.separation", excess_share)

EVIDENCE: tuple[Criterion, ...] = (
    Criterion(effect=CONCENTRATION, full=0.10),
    Criterion(effect=LOW_FREQUENCIES, full=0.05),
)
"""Against noise: each is multiplied by its certainty, and the larger one counts."""
STEPS: tuple[tuple[PatternClass, Criterion], ...] = (
    ("sparse", Criterion(effect=NEAR_ZERO, full=0.5)),
    ("structured", Criterion(effect=CLUSTERS, full=0.3)),
    ("smooth", Criterion(effect=LOW_FREQUENCIES, full=0.5)),
    ("structured", Criterion(effect=CONCENTRATION, full=0.5)),
)
"""In this order; the rest is dense."""
POSSIBLE_Z = 3.0
"""Below this z an effect is no evidence."""
CERTAIN_Z = 6.0
"""From this z on only the size of the effect counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """The five scores in [0, 1], summing to 1; all 0 and a margin of 0 if `pattern_class` is `UNCALIBRATED`."""

    pattern_class: str
    scores: Mapping[str, float]
    margin: float


def classify(analyses: Iterable[TensorAnalysis]) -> Classification:
    """The class of the matrices among `analyses`, pooled by their numbers of weights."""
    matrices = [item for item in analyses if item.spec.is_matrix]
    if not any(len(item.measured[0].draws) >= 2 for item in matrices):
        return Classification(pattern_class=UNCALIBRATED, scores=dict.fromkeys(get_args(PatternClass), 0.0), margin=0.0)
    left = max(_strength(matrices, criterion) * _certainty(matrices, criterion) for criterion in EVIDENCE)
    scores = dict.fromkeys(get_args(PatternClass), 0.0) | {"noisy": 1 - left}
    for name, criterion in STEPS:
        share = _strength(matrices, criterion)
        scores[name] += left * share
        left *= 1 - share
    scores["dense"] = left
    ranked = sorted(scores, key=lambda name: -scores[name])
    return Classification(pattern_class=ranked[0], scores=scores, margin=scores[ranked[0]] - scores[ranked[1]])


def _strength(matrices: list[TensorAnalysis], criterion: Criterion) -> float:
    """The pooled effect divided by its full size, clipped to [0, 1]."""
    pooled = pool(matrices, *criterion.effect)
    return 0.0 if pooled is None else min(max(pooled.value / criterion.full, 0.0), 1.0)


def _certainty(matrices: list[TensorAnalysis], criterion: Criterion) -> float:
    """0 up to `POSSIBLE_Z`, 1 from `CERTAIN_Z`, linear between; 1 where the null has no spread."""
    pooled = pool(matrices, *criterion.effect)
    if pooled is None or pooled.num_nulls < 2:
        return 0.0
    found = pooled.statistic
    z = found.z
    if z is None:
        return 0.0 if math.isclose(found.value, found.null_mean or 0.0, abs_tol=1e-12) else 1.0
    return min(max((z - POSSIBLE_Z) / (CERTAIN_Z - POSSIBLE_Z), 0.0), 1.0)
