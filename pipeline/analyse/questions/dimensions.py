"""Rank tests of single dimensions: in which do labels differ?

U = units, D = dimensions, L = labellings.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from patterndb.multiplicity import q_values
from pipeline.analyse.permutation_tests import Labellings, Labels
from pipeline.analyse.questions.records import Finding
from pipeline.analyse.questions.samples import Sample
from pipeline.arrays import Float64
from pipeline.fingerprint.random_projections import rank_scores

__all__ = ["differing_dimensions", "largest_shares", "rank_test"]

FEWEST_IN_A_GROUP = 2
"""A dimension is compared between labels of which so many units have it."""
COLUMNS_AT_A_TIME = 256
"""Dimensions tested together, which bounds the memory: labellings times dimensions."""


def differing_dimensions(
    sample: Sample, dealt: Labellings, names: Sequence[str], *, most: int = 10
) -> tuple[Finding, ...]:
    """The dimensions that differ most between labels, by p, then by effect.

    Each is a rank test: Mann-Whitney's U of two labels, Kruskal-Wallis's H of more. p is over the labellings under
    which as many units of each label have the dimension; effect is epsilon squared, H / (n - 1). q is over all
    dimensions that two units of each of two labels have.
    """
    tested: list[tuple[int, float, float]] = []
    patterns, group_of = np.unique(np.isfinite(sample.values), axis=1, return_inverse=True)
    for number, units in enumerate(patterns.T):
        columns = np.flatnonzero(group_of.ravel() == number)
        if (np.bincount(sample.codes[units]) >= FEWEST_IN_A_GROUP).sum() < 2:
            continue
        for part in np.array_split(columns, -(-len(columns) // COLUMNS_AT_A_TIME)):
            effects, p_values = rank_test(sample.deviations[np.ix_(units, part)], sample.codes, units, dealt)
            tested += zip(part.tolist(), effects.tolist(), p_values.tolist(), strict=True)
    adjusted = q_values([p for _, _, p in tested])
    ranked = sorted(zip(tested, adjusted, strict=True), key=lambda item: (item[0][2], -item[0][1], item[0][0]))
    return tuple(
        Finding(name=names[column], effect=effect, p=p, q=q, values=_medians(sample, column))
        for (column, effect, p), q in ranked[:most]
    )


def rank_test(
    values: Float64, codes: Labels, units: npt.NDArray[np.bool_], dealt: Labellings
) -> tuple[Float64, Float64]:
    """Epsilon squared and p of each column of `values` (present units, D).

    - `units`: which of the units (U,) that `codes` labels are present.
    """
    counts = np.bincount(codes[units], minlength=codes.max() + 1)
    labellings = dealt.codes[:, units]
    # Only labellings with as many present units of each label: others compare groups of other sizes.
    alike = np.all([(labellings == code).sum(axis=1) == count for code, count in enumerate(counts)], axis=0)
    shares = _shares(values, labellings[alike])
    return shares[0], np.mean(shares >= shares[0] - 1e-9, axis=0)


def largest_shares(values: Float64, labellings: Labels) -> Float64:
    """The largest epsilon squared over the columns of `values` (U, D), of each labelling (L,)."""
    parts = np.array_split(values, -(-values.shape[1] // COLUMNS_AT_A_TIME), axis=1)
    return np.asarray(np.max([_shares(part, labellings).max(axis=1) for part in parts], axis=0))


def _shares(values: Float64, labellings: Labels) -> Float64:
    """Epsilon squared of each column under each labelling: (L, D)."""
    ranks = len(values) * np.apply_along_axis(rank_scores, 0, values)
    codes, counts = np.unique(labellings[0], return_counts=True)
    sums = [(labellings == code) @ ranks for code in codes[:-1]]
    # Ranks are centred: the last label has the rest.
    between = sum(each**2 / count for each, count in zip((*sums, -sum(sums)), counts, strict=True))
    total = (ranks**2).sum(axis=0)
    return np.asarray(between / np.where(total > 0, total, 1.0))


def _medians(sample: Sample, column: int) -> dict[str, float | None]:
    """Median of a dimension by label, None for a label whose units lack it."""
    values = {label: sample.values[sample.codes == code, column] for code, label in enumerate(sample.labels)}
    known = {label: each[np.isfinite(each)] for label, each in values.items()}
    return {label: float(np.median(each)) if len(each) else None for label, each in known.items()}
