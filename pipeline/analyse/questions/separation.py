"""Do signatures differ between labels? A permutational analysis of variance of distances (PERMANOVA, Anderson 2001).

Dimensions have different scales and may be missing, so that only distances are used: how much smaller they are within
labels than under permuted labels. A difference in spread is detected as well as one in location.

U = units, D = dimensions, L = labellings.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from patterndb.multiplicity import q_values
from pipeline.analyse.permutation_tests import Labellings
from pipeline.analyse.questions.records import Finding
from pipeline.analyse.questions.samples import Sample
from pipeline.fingerprint.random_projections import rank_scores

__all__ = ["Separation", "differing_dimensions", "rank_test", "separate"]

Float64 = npt.NDArray[np.float64]
Labels = npt.NDArray[np.intp]
FEWEST_IN_A_GROUP = 2
"""A dimension is compared between labels of which so many units have it."""
COLUMNS_AT_A_TIME = 256
"""Dimensions tested together, which bounds the memory: labellings times dimensions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Separation:
    """A permutational analysis of variance."""

    pseudo_f: float | None
    """None where the labels explain all of the variance."""
    omega2: float
    """Share of the squared distances that lies between labels, corrected for chance: 0 is expected of random labels, 1
    is the maximum."""
    p: float


def separate(sample: Sample, dealt: Labellings) -> Separation:
    """Test whether units of `sample` are closer within labels than under the permuted labels `dealt`.

    Needs two labels and more units than labels.
    """
    squares = sample.distances**2
    counts = np.bincount(sample.codes)
    num_units, num_labels = len(sample.codes), len(counts)
    within = np.zeros(len(dealt.codes))
    for code, count in enumerate(counts):
        inside = (dealt.codes == code).astype(np.float64)
        within += ((inside @ squares) * inside).sum(axis=1) / (2 * count)
    total = float(squares.sum()) / (2 * num_units)
    between, freedom = total - float(within[0]), num_units - num_labels
    mean_within = float(within[0]) / freedom
    return Separation(
        pseudo_f=between / (num_labels - 1) / mean_within if mean_within > 0 else None,
        # Olejnik and Algina 2003, with the sums of squares of distances.
        omega2=(between - (num_labels - 1) * mean_within) / (total + mean_within) if total > 0 else 0.0,
        # All labellings have the same group sizes, so that the smallest sum within is the largest pseudo-F.
        p=dealt.p_value(-within),
    )


def differing_dimensions(
    sample: Sample, dealt: Labellings, names: Sequence[str], *, most: int = 10
) -> tuple[Finding, ...]:
    """The dimensions that differ most between labels, by p, then by effect.

    Each is a rank test: Mann-Whitney's U of two labels, Kruskal-Wallis's H of more. p is over the labellings under
    which as many units of each label have the dimension; effect is epsilon squared, H / (n - 1). q is over all
    dimensions that two units of each of two labels have.
    """
    tested: list[tuple[int, float, float]] = []
    present = np.isfinite(sample.values)
    patterns, group_of = np.unique(present, axis=1, return_inverse=True)
    for number, units in enumerate(patterns.T):
        columns = np.flatnonzero(group_of.ravel() == number)
        if (np.bincount(sample.codes[units]) >= FEWEST_IN_A_GROUP).sum() < 2:
            continue
        for part in np.array_split(columns, -(-len(columns) // COLUMNS_AT_A_TIME)):
            effects, p_values = rank_test(sample.values[np.ix_(units, part)], sample.codes, units, dealt)
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
    labellings = labellings[alike]
    ranks = len(values) * np.apply_along_axis(rank_scores, 0, values)
    between = np.zeros((len(labellings), values.shape[1]))
    for code, count in enumerate(counts):
        if count:
            between += ((labellings == code) @ ranks) ** 2 / count
    total = (ranks**2).sum(axis=0)
    shares = between / np.where(total > 0, total, 1.0)
    return shares[0], np.mean(shares >= shares[0] - 1e-9, axis=0)


def _medians(sample: Sample, column: int) -> dict[str, float | None]:
    """Median of a dimension by label, None for a label whose units lack it."""
    values = {label: sample.values[sample.codes == code, column] for code, label in enumerate(sample.labels)}
    known = {label: each[np.isfinite(each)] for label, each in values.items()}
    return {label: float(np.median(each)) if len(each) else None for label, each in known.items()}
