"""Classes: one word for what the weights of a model are beyond chance.

Five scores share 1 between them. Effects are pooled over matrices (weighted by size), divided by the size `full` from
which they count in full, and clipped to [0, 1]; each of the steps below takes its share of what the steps before left:

- **noisy**: 1 - evidence. Evidence is that the spectrum is more concentrated, or low frequencies are stronger in
  canonical order, than in a shuffled copy under its own order: by at least `CERTAIN_Z` of the null's standard
  deviations *and* by an effect that matters. It must also be there once the row and column means are taken out, beside
  a null that has the same means: noise with a common row is noise and a common row, which the fit reports. A random or
  shuffled model is noisy whatever its distribution of values.
- **sparse**: the share of weights near zero, beyond that of a normal distribution.
- **structured**: how well rows separate into clusters (simplified silhouette), beyond matrices of the same spectrum.
- **smooth**: the share of the variance in the lowest 1/22 of the frequencies, beyond the null: similar rows and columns
  are next to each other.
- **structured** again: how many fewer directions hold the weights than hold the null (participation ratio): low rank.
- **dense**: the rest: not noise, but spread over most weights, frequencies and directions.

Frequencies and concentration count as far as they go beyond both nulls, `shuffle` and `means`.

The class has the largest score; its margin is the distance to the second largest. Pooling comes before testing, so a
model of forty matrices is tested twice (for two kinds of evidence), not eighty times; with two tests and 8 nulls,
`CERTAIN_Z` is beyond the 1 % point of Student's t with 7 degrees of freedom.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from pipeline.analyse.aggregation import BEYOND_MEANS, Effect, Pooled, TensorAnalysis, excess_share, pool, reduction

__all__ = [
    "CERTAIN_Z",
    "EVIDENCE",
    "STEPS",
    "UNCALIBRATED",
    "Classification",
    "Criterion",
    "PatternClass",
    "classify",
    "classify_model",
]

PatternClass = Literal["smooth", "structured", "noisy", "sparse", "dense"]
UNCALIBRATED = "uncalibrated"
"""In place of a class where there are no nulls or no matrices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """An effect on statistics, and the size from which it counts in full (1)."""

    statistics: tuple[str, ...]
    """Each must have it: the least counts."""
    effect: Effect
    full: float


def _concentration(full: float) -> Criterion:
    names = ("dimension.participation", "dimension.participation" + BEYOND_MEANS)
    return Criterion(statistics=names, effect=reduction, full=full)


def _low_frequencies(full: float) -> Criterion:
    names = ("spectra.low_share", "spectra.low_share" + BEYOND_MEANS)
    return Criterion(statistics=names, effect=excess_share, full=full)


EVIDENCE: tuple[Criterion, ...] = (_concentration(0.10), _low_frequencies(0.05))
"""Against noise: each is multiplied by its certainty, and the larger one counts."""
STEPS: tuple[tuple[PatternClass, Criterion], ...] = (
    ("sparse", Criterion(statistics=("distribution.near_zero",), effect=excess_share, full=0.5)),
    ("structured", Criterion(statistics=("clusters.separation",), effect=excess_share, full=0.3)),
    ("smooth", _low_frequencies(0.5)),
    ("structured", _concentration(0.5)),
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
    """The class of the matrices among `analyses` together, pooled by their numbers of weights."""
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


def classify_model(analyses: Sequence[TensorAnalysis]) -> Classification:
    """The class of a whole model: of the matrices inside its blocks, or of all where it has no blocks.

    Pooled by weights, the one token table of a small model has most of the say, and would lend its class to blocks of
    noise. The blocks are what a network repeats and what makes it deep; an embedding or a head is one matrix with a
    role, and so a class, of its own. A cap on its weight would still let it decide: an effect on a fifth of the weights
    that is five times as large passes for one on all.
    """
    inside = [item for item in analyses if item.spec.is_matrix and item.spec.block is not None]
    return classify(inside or analyses)


def _strength(matrices: list[TensorAnalysis], criterion: Criterion) -> float:
    """The pooled effect divided by its full size, clipped to [0, 1]."""
    effects = [0.0 if pooled is None else pooled.value / criterion.full for pooled in _pooled(matrices, criterion)]
    return min(max(min(effects), 0.0), 1.0)


def _certainty(matrices: list[TensorAnalysis], criterion: Criterion) -> float:
    """0 up to `POSSIBLE_Z`, 1 from `CERTAIN_Z`, linear between; 1 where the null has no spread."""
    return min(_certainty_of(pooled) for pooled in _pooled(matrices, criterion))


def _pooled(matrices: list[TensorAnalysis], criterion: Criterion) -> list[Pooled | None]:
    return [pool(matrices, name, criterion.effect) for name in criterion.statistics]


def _certainty_of(pooled: Pooled | None) -> float:
    if pooled is None or pooled.num_nulls < 2:
        return 0.0
    found = pooled.statistic
    z = found.z
    if z is None:
        return 0.0 if math.isclose(found.value, found.null_mean or 0.0, abs_tol=1e-12) else 1.0
    return min(max((z - POSSIBLE_Z) / (CERTAIN_Z - POSSIBLE_Z), 0.0), 1.0)
