"""Permutation tests of labels: the permuted labellings, and the smallest p that is possible with them.

Labels are permuted within blocks only. Where all distinct labellings can be listed the test is exact; otherwise
labellings are drawn at random, and the observed one is counted with them (Phipson and Smyth 2010), so that p is never
0.
"""

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Float64, Indices

__all__ = [
    "MAX_LABELLINGS",
    "Labellings",
    "blocks_of_lineages",
    "deal_labels",
    "labels_needed",
    "least_p",
    "num_labellings",
]

MAX_LABELLINGS = 9_999
TOLERANCE = 1e-9
"""Relative tolerance, since two labellings that make the same partition may differ by rounding."""

Labels = Indices


@dataclass(frozen=True, slots=True, kw_only=True)
class Labellings:
    """Labellings that are equally likely under the null; the first is the observed one."""

    codes: Labels
    """(labellings, things)."""
    is_exact: bool
    """Whether these are all labellings that exist."""

    def p_value(self, statistics: Float64) -> float:
        """The share of labellings whose statistic (labellings,) is at least that of the first."""
        slack = TOLERANCE * max(abs(float(statistics[0])), 1e-300)
        return float(np.mean(statistics >= statistics[0] - slack))

    def combined_p(self, *statistics: Float64) -> float:
        """p of several statistics (labellings,): the rank of the first labelling's smallest p among those of all.

        Tippett's combination (1931) by permutation (Pesarin 2001): exact, whatever the statistics have in common.
        """
        return self.p_value(-np.min([_upper_tails(each) for each in statistics], axis=0))


def _upper_tails(statistics: Float64) -> Float64:
    """The p that each labelling (labellings,) would have if it were the observed one."""
    slack = TOLERANCE * np.maximum(np.abs(statistics), 1e-300)
    return 1 - np.searchsorted(np.sort(statistics), statistics - slack) / len(statistics)


def blocks_of_lineages(codes: Labels, lineages: Labels) -> Labels:
    """The block of each thing.

    Labels of lineages that have one label are permuted between these lineages (block 0). Labels of a lineage that has
    several are permuted between its members. So no permutation separates related models that share a label.
    """
    blocks = np.zeros(len(codes), dtype=np.intp)
    for lineage in np.unique(lineages):
        members = lineages == lineage
        if len(np.unique(codes[members])) > 1:
            blocks[members] = 1 + lineage
    return blocks


def deal_labels(
    codes: Labels, blocks: Labels, *, rng: np.random.Generator, max_labellings: int = MAX_LABELLINGS
) -> Labellings:
    """All distinct labellings if at most `max_labellings`; else the observed one and random ones, so many in all."""
    members = [np.flatnonzero(blocks == block) for block in np.unique(blocks)]
    if num_labellings(codes, blocks) <= max_labellings:
        return Labellings(codes=_all_labellings(codes, members), is_exact=True)
    rows = np.tile(codes, (max_labellings, 1))
    for places in members:
        rows[1:, places] = rng.permuted(rows[1:, places], axis=1)
    return Labellings(codes=rows, is_exact=False)


def _all_labellings(codes: Labels, members: Sequence[Labels]) -> Labels:
    """All combinations of the arrangements within each block; the observed labelling first."""
    parts = [_arrangements(codes[places]) for places in members]
    chosen = np.indices([len(part) for part in parts]).reshape(len(parts), -1)
    rows = np.empty((chosen.shape[1] if parts else 1, len(codes)), dtype=np.intp)
    for places, part, choice in zip(members, parts, chosen, strict=True):
        rows[:, places] = part[choice]
    observed = int(np.flatnonzero((rows == codes).all(axis=1))[0])
    rows[[0, observed]] = rows[[observed, 0]]
    return rows


def _arrangements(codes: Labels) -> Labels:
    """Every distinct order of the labels (n,): (orders, n)."""
    rows = np.full((1, len(codes)), -1, dtype=np.intp)
    for label, count in zip(*np.unique(codes, return_counts=True), strict=True):
        left = np.nonzero(rows < 0)[1].reshape(len(rows), -1)
        picks = np.array(list(itertools.combinations(range(left.shape[1]), int(count))), dtype=np.intp)
        rows = np.repeat(rows, len(picks), axis=0)
        np.put_along_axis(rows, left[:, picks].reshape(-1, int(count)), label, axis=1)
    return rows


def num_labellings(codes: Labels, blocks: Labels) -> int:
    """Distinct labellings: a product of multinomial coefficients."""
    return math.prod(
        _multinomial(tuple(Counter(codes[blocks == block].tolist()).values())) for block in np.unique(blocks)
    )


def _multinomial(counts: Sequence[int]) -> int:
    return math.factorial(sum(counts)) // math.prod(map(math.factorial, counts))


def least_p(codes: Labels, blocks: Labels, max_labellings: int = MAX_LABELLINGS) -> float:
    """The smallest p that any statistic of the partition can reach with such labels.

    Labels with equal counts in every block can be swapped without changing the partition: those labellings tie.
    """
    places = np.unique(blocks)
    table = Counter(
        tuple(int(((codes == label) & (blocks == block)).sum()) for block in places) for label in np.unique(codes)
    )
    ties = math.prod(math.factorial(same) for same in table.values())
    exact = ties / num_labellings(codes, blocks)
    return exact if num_labellings(codes, blocks) <= max_labellings else max(exact, 1 / max_labellings)


def labels_needed(counts: Mapping[str, int], enough: float, *, max_more: int = 100) -> dict[str, int]:
    """How many more things of which labels are needed for a p of `enough`, adding to the rarest label each time.

    - `counts`: things of each label in one block, 0 for a label without any yet; two labels at least. Each label that
      is there is filled up to two: one to learn from when the other is left out.
    """
    grown = dict(counts)
    for _ in range(max_more):
        present = [count for count in grown.values() if count]
        ties = math.prod(math.factorial(same) for same in Counter(present).values())
        if len(present) > 1 and min(present) > 1 and max(ties / _multinomial(present), 1 / MAX_LABELLINGS) <= enough:
            break
        rarest = min(grown, key=lambda label: (grown[label], label))
        grown[rarest] += 1
    return {label: count - counts[label] for label, count in grown.items() if count > counts[label]}
