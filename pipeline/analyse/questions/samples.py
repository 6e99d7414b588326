"""The sample that a question is answered on: one signature for each independent lineage and label.

U = units, D = dimensions of the signature.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.analyse.permutation_tests import Labels, blocks_of_lineages
from pipeline.analyse.questions.records import Group
from pipeline.arrays import Float64

__all__ = ["Sample", "make_sample"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Units of equal weight. A unit is the mean signature of the models of one lineage with one label."""

    labels: tuple[str, ...]
    """Sorted."""
    codes: Labels
    """(U,): index of each unit's label."""
    lineages: Labels
    """(U,): a lineage has as many units as it has labels."""
    blocks: Labels
    """(U,): `pipeline.analyse.permutation_tests.blocks_of_lineages`."""
    values: Float64
    """(U, D); NaN where none of the unit's models has the dimension."""
    deviations: Float64
    """(U, D): `values` without the mean of their block. What is compared within a lineage is measured within it."""
    is_common: npt.NDArray[np.bool_]
    """(D,): the dimensions that all units have."""
    members: tuple[tuple[int, ...], ...]
    """The indices of each unit's models."""

    @property
    def num_dimensions(self) -> int:
        """How many dimensions all units have."""
        return int(self.is_common.sum())

    @property
    def num_lineages(self) -> int:
        return len(np.unique(self.lineages))

    @property
    def groups(self) -> tuple[Group, ...]:
        """How many models and lineages there are of each label."""
        return tuple(
            Group(
                label=label,
                models=sum(len(members) for members, own in zip(self.members, self.codes, strict=True) if own == code),
                lineages=int((self.codes == code).sum()),
            )
            for code, label in enumerate(self.labels)
        )

    def of_several_lineages(self) -> "Sample":
        """The units whose label another lineage has too: others cannot be predicted with their lineage left out."""
        counts = np.bincount(self.codes, minlength=len(self.labels))
        return self.only(counts[self.codes] > 1)

    def only_labels(self, labels: Collection[str]) -> "Sample":
        """The sample of the units with these labels."""
        return self.only(np.array([self.labels[code] in labels for code in self.codes], dtype=bool))

    def only(self, keep: npt.NDArray[np.bool_]) -> "Sample":
        """The sample of those units (U,) only."""
        members = [members for members, kept in zip(self.members, keep, strict=True) if kept]
        names = [self.labels[code] for code in self.codes[keep]]
        return _sample(names, self.lineages[keep], members, self.values[keep])


def make_sample(values: Float64, labels: Sequence[str | None], lineages: Labels) -> Sample:
    """The units of models with statistics `values` (models, D); models without a label are left out."""
    members: dict[tuple[int, str], list[int]] = {}
    for index, label in enumerate(labels):
        if label is not None:
            members.setdefault((int(lineages[index]), label), []).append(index)
    means = np.array([_mean(values[group]) for group in members.values()]).reshape(len(members), values.shape[1])
    return _sample(
        [label for _, label in members],
        np.array([lineage for lineage, _ in members], dtype=np.intp),
        list(members.values()),
        means,
    )


def _sample(names: Sequence[str], lineages: Labels, members: Sequence[Sequence[int]], values: Float64) -> Sample:
    labels = sorted(set(names))
    codes = np.array([labels.index(name) for name in names], dtype=np.intp)
    blocks = blocks_of_lineages(codes, lineages)
    deviations = values.copy()
    for block in np.unique(blocks):
        deviations[blocks == block] -= _mean(values[blocks == block])
    return Sample(
        labels=tuple(labels),
        codes=codes,
        lineages=lineages,
        blocks=blocks,
        values=values,
        deviations=deviations,
        is_common=np.asarray(np.isfinite(values).all(axis=0) & (len(names) > 0)),
        members=tuple(tuple(group) for group in members),
    )


def _mean(values: Float64) -> Float64:
    """Mean of each column over the rows that have it; NaN where none has."""
    present = np.isfinite(values)
    counts = present.sum(axis=0)
    sums = np.where(present, values, 0.0).sum(axis=0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
