"""What may be said of the statistics of one model, in sentences: only what differs from its null, with q and n."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from patterndb.multiplicity import q_values
from patterndb.records import PatternRecord, Statistic
from pipeline.analyse.aggregation import BEYOND_MEANS

__all__ = ["ALPHA", "FLATTER", "MEANINGS", "Judged", "Sentence", "flatter_than_chance", "judge", "sentences_of"]

ALPHA = 0.05
"""From this q down a figure is called a finding."""
FLATTER = "Singular values are flatter than chance, nearer to an orthogonal matrix"
MEANINGS: Mapping[str, tuple[str, str]] = {
    "spectra.low_share": (
        "In canonical order low frequencies are stronger than in {null}: similar rows and columns stand together",
        "In canonical order low frequencies are weaker than in {null}",
    ),
    "dimension.participation": (
        "Singular values are flatter than those of {null}, nearer to an orthogonal matrix",
        "Fewer directions hold the weights than those of {null}: singular values are more concentrated",
    ),
    "clusters.separation": ("Rows fall into clusters more than those of {null}", ""),
    "sizes.rows": ("Rows differ more in length than in {null}", "Rows differ less in length than in {null}"),
    "sizes.cols": ("Columns differ more in length than in {null}", "Columns differ less in length than in {null}"),
    "heavy_tail.alpha": (
        "The tail of the spectrum is lighter than in {null}",
        "The tail of the spectrum is heavier than in {null}",
    ),
    "distribution.near_zero": (
        "More weights lie near zero than of {null}",
        "Fewer weights lie near zero than of {null}",
    ),
    "distribution.kurtosis": (
        "Large weights are more frequent than among {null}",
        "Large weights are rarer than among {null}",
    ),
    "distribution.skewness": (
        "Weights lean to one side, with a longer tail above, unlike {null}",
        "Weights lean to one side, with a longer tail below, unlike {null}",
    ),
}
"""Statistic -> what it means above its null, and below, in the order in which they are told; nothing where a simpler
explanation gives it as well: heavy tails or rows of different sizes have fewer clusters than a turned matrix."""
NULL_NAMES: Mapping[str, str] = {
    "shuffle": "shuffled copies",
    "means": "copies that keep row and column means",
    "rotate": "rotated copies of the same spectrum",
    "gaussian": "normal random numbers",
    "reorder": "reordered copies",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A statistic and its q among all of its pattern; None where it was not tested."""

    statistic: Statistic
    q: float | None

    @property
    def is_found(self) -> bool:
        return self.q is not None and self.q <= ALPHA

    @property
    def rises(self) -> bool:
        """Whether it is above its null."""
        return self.statistic.value > (self.statistic.null_mean or 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """One finding in words, and the numbers that it rests on."""

    text: str
    q: float
    n: int
    """Matrices of one model; lineages where models are compared."""
    claim: str = ""
    """The text without its numbers: the same in every model of which it is said."""


def judge(statistics: Sequence[Statistic]) -> dict[str, Judged]:
    """Name -> the statistic with its q: they are one family of tests."""
    q = q_values([each.p for each in statistics])
    return {each.name: Judged(statistic=each, q=value) for each, value in zip(statistics, q, strict=True)}


def flatter_than_chance(judged: Mapping[str, Judged]) -> Judged | None:
    """The participation ratio where it is a finding and above its null: what no class says, since a random orthogonal
    matrix has it too."""
    found = judged.get("dimension.participation")
    return found if found is not None and found.is_found and (found.statistic.z or 0.0) > 0 else None


def sentences_of(pattern: PatternRecord) -> tuple[Sentence, ...]:
    """A sentence for each statistic of `MEANINGS` that differs from its null, of all matrices together.

    - `pattern`: with its tensors, which are counted.
    """
    judged = judge(pattern.statistics)
    told = (name for name in MEANINGS if name in judged and judged[name].is_found and _meaning(name, judged[name]))
    return tuple(_sentence(name, judged, pattern) for name in told)


def _meaning(name: str, found: Judged) -> str:
    above, below = MEANINGS[name]
    return above if found.rises else below


def _sentence(name: str, judged: Mapping[str, Judged], pattern: PatternRecord) -> Sentence:
    found, n = judged[name], _count(name, pattern)
    assert found.q is not None, "What is a finding has a q."
    statistic = found.statistic
    null = NULL_NAMES.get(statistic.null or "", statistic.null or "its null")
    beyond = judged.get(name + BEYOND_MEANS)
    also = ""
    if beyond is not None and beyond.is_found and beyond.rises == found.rises:
        also = f", also without the means of rows and columns (q {_q(beyond.q)})"
    claim = _meaning(name, found).format(null=null)
    text = (
        f"{claim}. {name} is {statistic.value:.4g}, its null {statistic.null_mean:.4g} "
        f"(q {_q(found.q)}, n = {n} {'matrix' if n == 1 else 'matrices'}, {statistic.num_nulls} draws){also}."
    )
    return Sentence(text=text, q=found.q, n=n, claim=claim)


def _count(name: str, pattern: PatternRecord) -> int:
    """Matrices that have the statistic: vectors are not pooled with them."""
    matrices = (tensor for tensor in pattern.tensors if tensor.pattern_class is not None)
    return sum(any(each.name == name and math.isfinite(each.value) for each in one.statistics) for one in matrices)


def _q(q: float | None) -> str:
    return "unknown" if q is None else "<0.001" if q < 0.001 else f"{q:.3f}"
