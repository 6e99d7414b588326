"""Lineage groups: models of a catalog that come from one ancestor and are no independent evidence."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import DisjointSet

from patterndb.records import ModelRecord
from patterndb.similarity import pairwise_distances

__all__ = ["LEAST_CORRELATION", "LineageGroups", "find_related", "group_lineages", "leave_out_fingerprint"]

LEAST_CORRELATION = 0.3
"""Models count as related from this correlation of their fingerprints beyond chance, where unrelated models have 0."""
SAME_WEIGHTS = 1e-3
"""Statistics at a smaller distance are of the same weights in another order, which changes them by less than 1e-4."""
FINGERPRINT = "fingerprint/"
"""Prefix of the dimensions that tell whose weights a model has; the others tell its kind."""

Float64 = npt.NDArray[np.float64]
Place = int | str
"""The index of a mined model, or the name of one that is not mined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageGroups:
    """The lineage of each model."""

    lineages: npt.NDArray[np.intp]
    """(models,): numbers of lineages, by first appearance."""
    names: tuple[str, ...]
    """Of each lineage: the earliest known ancestor, mined or not."""
    founders: tuple[int, ...]
    """Of each lineage: the index of the mined model nearest to that ancestor, which represents the lineage."""


def group_lineages(models: Sequence[ModelRecord], related: npt.NDArray[np.bool_] | None = None) -> LineageGroups:
    """Group models with a common declared parent, mined or not, with equal files, or with related weights.

    - `related`: (models, models), whether the weights of each pair are related.

    A parent is known by its key, its repository, or the last part of that if it is declared without an owner. A model
    that declares no parent is taken to have none.
    """
    places = _places(models)
    parents = [[places.get(name.lower(), name.lower()) for name in model.parents] for model in models]
    groups: DisjointSet[Place] = DisjointSet(range(len(models)))
    for index, model in enumerate(models):
        near = [] if related is None else np.flatnonzero(related[index]).tolist()
        for other in (model.sha256, *parents[index], *near):
            groups.add(other)
            groups.merge(index, other)
    roots = [groups[index] for index in range(len(models))]
    numbers = {root: number for number, root in enumerate(dict.fromkeys(roots))}
    lineages = np.array([numbers[root] for root in roots], dtype=np.intp)
    members = [np.flatnonzero(lineages == number).tolist() for number in range(len(numbers))]
    founders = tuple(min(group, key=lambda index: (_age(index, parents), models[index].key)) for group in members)
    return LineageGroups(
        lineages=lineages,
        names=tuple(_ancestor(founder, models, parents) for founder in founders),
        founders=founders,
    )


def find_related(names: Sequence[str], values: Float64) -> npt.NDArray[np.bool_]:
    """Which models are related by their weights, (models, models), from aligned signatures (models, dimensions)."""
    is_fingerprint = _is_fingerprint(names)
    whose = tuple(name for name, own in zip(names, is_fingerprint, strict=True) if own)
    # The distance of two fingerprints is sqrt(1 - correlation).
    unrelated = pairwise_distances(whose, values[:, is_fingerprint]) ** 2
    same = pairwise_distances(*leave_out_fingerprint(names, values)) < SAME_WEIGHTS
    return np.asarray((unrelated <= 1 - LEAST_CORRELATION) | same)


def leave_out_fingerprint(names: Sequence[str], values: Float64) -> tuple[tuple[str, ...], Float64]:
    """The dimensions of signatures other than the fingerprint's."""
    keep = ~_is_fingerprint(names)
    return tuple(name for name, kept in zip(names, keep, strict=True) if kept), values[:, keep]


def _is_fingerprint(names: Sequence[str]) -> npt.NDArray[np.bool_]:
    return np.array([name.startswith(FINGERPRINT) for name in names], dtype=bool)


def _places(models: Sequence[ModelRecord]) -> dict[str, Place]:
    """Name in lower case -> index; a key before a repository before a repository's last part."""
    found: dict[str, Place] = {}
    for index, model in enumerate(models):
        found.setdefault(model.key.lower(), index)
    for index, model in enumerate(models):
        found.setdefault((model.repo or model.key).lower(), index)
    for index, model in enumerate(models):
        found.setdefault((model.repo or model.key).lower().rpartition("/")[2], index)
    return found


def _age(index: int, parents: Sequence[Sequence[Place]]) -> int:
    """Declared generations above a model, mined or not; a circle of parents ends where it closes."""

    def above(place: Place, seen: frozenset[Place]) -> int:
        if not isinstance(place, int) or place in seen:
            return 0
        return max((1 + above(parent, seen | {place}) for parent in parents[place]), default=0)

    return above(index, frozenset())


def _ancestor(founder: int, models: Sequence[ModelRecord], parents: Sequence[Sequence[Place]]) -> str:
    declared = zip(models[founder].parents, parents[founder], strict=True)
    return next((name for name, place in declared if isinstance(place, str)), models[founder].key)
