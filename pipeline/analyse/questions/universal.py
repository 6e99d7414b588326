"""Is there a pattern that all models share, beyond what their nulls show?

For each statistic of the model as a whole, every lineage says whether it is above or below its null. Two things are
asked of it: that lineages agree in sign more than coins do (a sign test), and that their values are not draws of their
nulls (Fisher's combination of their p-values in that direction). The larger of the two p-values is the statistic's, so
neither one extreme model nor an asymmetric null can make a pattern universal.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from patterndb.multiplicity import q_values
from patterndb.records import Statistic
from pipeline.analyse.questions.records import Finding

__all__ = ["Universal", "find_universal", "least_universal_p", "lineages_for_a_sign"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Universal:
    """What the lineages have in common."""

    tested: int
    """Statistics with a null that every lineage has."""
    found: tuple[Finding, ...]
    """In which all lineages lie on one side of their nulls, q <= `alpha`; the largest median abs(z) first."""
    p: float
    """Of the hypothesis that none is universal (Simes 1986)."""


def find_universal(witnesses: Sequence[Mapping[str, Statistic]], *, alpha: float) -> Universal:
    """Compare what one model of each lineage says; None for p where no statistic is common to all."""
    names = [name for name in witnesses[0] if all(_is_tested(each.get(name)) for each in witnesses)]
    findings = [_judge(name, [each[name] for each in witnesses]) for name in names]
    adjusted = q_values([finding.p for finding in findings])
    # Clopper and Pearson 1934, where all agree: of all lineages that could have been mined, at least this share (95 %).
    share_low = 0.025 ** (1 / len(witnesses))
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


def least_universal_p(witnesses: Sequence[Mapping[str, Statistic]]) -> float:
    """The smallest p that this many lineages with this many nulls allow."""
    nulls = [max((each.num_nulls for each in witness.values()), default=0) for witness in witnesses]
    return max(_sign_p(len(witnesses), len(witnesses)), _combined_p([1 / (count + 1) for count in nulls]))


def lineages_for_a_sign(enough: float) -> int:
    """How many lineages must agree for the sign test to reach `enough`."""
    return math.ceil(math.log2(2 / enough))


def _is_tested(statistic: Statistic | None) -> bool:
    return statistic is not None and statistic.p is not None and statistic.null_mean is not None


def _judge(name: str, statistics: Sequence[Statistic]) -> Finding:
    """One statistic: `effect` is the share of lineages on the side where most are."""
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
    from scipy.stats import binomtest

    return min(1.0, 2 * float(binomtest(agree, count, alternative="greater").pvalue))


def _combined_p(p_values: Sequence[float]) -> float:
    """Fisher's combination, doubled because the direction was chosen after the fact.

    Each p is the two-sided one where a lineage lies in that direction and 1 where it does not: that is never too small.
    """
    from scipy.stats import combine_pvalues

    return min(1.0, 2 * float(combine_pvalues(p_values, method="fisher").pvalue))
