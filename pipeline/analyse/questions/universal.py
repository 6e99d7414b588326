"""Statistics that lie on the same side of their null in all lineages.

Each statistic of the model as a whole is above or below its null in every lineage. Two tests are made: that lineages
agree in sign more often than fair coins (a sign test), and that their values are not draws of their nulls (Fisher's
combination of their p-values in that direction). The larger of the two p-values is the statistic's, so that neither one
extreme model nor an asymmetric null can make a statistic universal.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtrc, chdtrc

from patterndb.multiplicity import q_values
from patterndb.records import Statistic
from pipeline.analyse.evidence import smallest_p
from pipeline.analyse.questions.records import Finding

__all__ = ["Universal", "find_universal", "least_universal_p", "lineages_for_a_sign"]

MANY = 9
"""Tensors of a model with which its recombined nulls reach the smallest p there is, whatever they are drawn from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Universal:
    """The statistics that the lineages have in common."""

    tested: int
    """Statistics with a null that every lineage has."""
    found: tuple[Finding, ...]
    """Those with all lineages on one side of their nulls and q <= `alpha`; the largest median abs(z) first."""
    p: float
    """Of the hypothesis that none is universal (Simes 1986)."""


def find_universal(lineages: Sequence[Mapping[str, Statistic]], *, alpha: float) -> Universal:
    """Test the statistics, by name, of one model of each lineage; p is 1 where no statistic is common to all."""
    names = [name for name in lineages[0] if all(_is_tested(each.get(name)) for each in lineages)]
    findings = [_judge(name, [each[name] for each in lineages]) for name in names]
    adjusted = q_values([finding.p for finding in findings])
    # Clopper and Pearson 1934, where all agree: lower end of the 95 % interval of the share of all lineages.
    share_low = 0.025 ** (1 / len(lineages))
    universal = [
        Finding(name=each.name, effect=each.effect, p=each.p, q=q, values={**each.values, "share_low": share_low})
        for each, q in zip(findings, adjusted, strict=True)
        if each.effect == 1 and q is not None and q <= alpha
    ]
    return Universal(
        tested=len(names),
        found=tuple(sorted(universal, key=lambda each: -abs(each.values["z"] or 0))),
        p=min((q for q in adjusted if q is not None), default=1.0),
    )


def least_universal_p(lineages: Sequence[Mapping[str, Statistic]]) -> float:
    """The smallest possible p with so many lineages and nulls."""
    return max(_sign_p(len(lineages), len(lineages)), _combined_p([_least_p(each.values()) for each in lineages]))


def _least_p(statistics: Iterable[Statistic]) -> float:
    """The smallest p that a statistic of this model could have: below that of one tensor where tensors are pooled."""
    tested = [(each.num_nulls, each.p) for each in statistics if each.p is not None]
    num_nulls = max((count for count, _ in tested), default=0)
    is_pooled = min((p for _, p in tested), default=1.0) < smallest_p(num_nulls)
    return smallest_p(num_nulls, MANY if is_pooled else 1)


def lineages_for_a_sign(enough: float) -> int:
    """How many lineages must agree for the sign test to reach `enough`."""
    return math.ceil(math.log2(2 / enough))


def _is_tested(statistic: Statistic | None) -> bool:
    return statistic is not None and statistic.p is not None and statistic.null_mean is not None


def _judge(name: str, statistics: Sequence[Statistic]) -> Finding:
    """Test one statistic; `effect` is the share of lineages on the side of the majority."""
    rises = np.array([each.value - (each.null_mean or 0.0) for each in statistics])
    side = 1.0 if (rises > 0).sum() >= (rises < 0).sum() else -1.0
    agree = int((side * rises > 0).sum())
    p_values = [(each.p or 1.0) if side * rise > 0 else 1.0 for each, rise in zip(statistics, rises, strict=True)]
    z = [each.z for each in statistics if each.z is not None and math.isfinite(each.z)]
    return Finding(
        name=name,
        effect=agree / len(statistics),
        p=max(_sign_p(agree, len(statistics)), _combined_p(p_values)),
        values={
            "value": float(np.median([each.value for each in statistics])),
            "null_mean": float(np.median([each.null_mean or 0.0 for each in statistics])),
            "z": float(np.median(z)) if z else None,
        },
    )


def _sign_p(agree: int, count: int) -> float:
    """Two-sided: how often at least `agree` of `count` fair coins fall on the same side."""
    return min(1.0, 2 * float(bdtrc(agree - 1, count, 0.5))) if agree else 1.0


def _combined_p(p_values: Sequence[float]) -> float:
    """Fisher's combination, doubled because the direction was chosen after the fact: -2 sum(ln p) against chi-square.

    Each p is the two-sided one where a lineage lies in that direction and 1 where it does not, which is conservative.
    """
    return min(1.0, 2 * float(chdtrc(2 * len(p_values), -2 * math.fsum(map(math.log, p_values)))))
