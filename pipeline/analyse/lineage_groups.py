"""Lineage groups: models of a catalog that come from one ancestor and are no independent evidence."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import DisjointSet

from patterndb.records import RELATED, ModelRecord
from patterndb.similarity import is_fingerprint, kind_distances, weights_distances
from pipeline.arrays import Float64, Indices

__all__ = ["LineageGroups", "find_related", "group_lineages", "leave_out_fingerprint"]

SAME_WEIGHTS = 1e-3
"""Statistics at a smaller distance are of the same weights in another order, which changes them by less than 1e-4."""

Place = int | str
"""The index of a mined model, or the name of one that is not mined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageGroups:
    """The lineage of each model."""

    lineages: Indices
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
    members: list[list[int]] = [[] for _ in numbers]
    for index, lineage in enumerate(lineages.tolist()):
        members[lineage].append(index)
    founders = tuple(min(group, key=lambda index: (_age(index, parents), models[index].key)) for group in members)
    return LineageGroups(
        lineages=lineages,
        names=tuple(_ancestor(founder, models, parents) for founder in founders),
        founders=founders,
    )


def find_related(names: Sequence[str], values: Float64) -> npt.NDArray[np.bool_]:
    """Which models are related by their weights, (models, models), from aligned signatures (models, dimensions)."""
    return np.asarray((weights_distances(names, values) <= RELATED) | (kind_distances(names, values) < SAME_WEIGHTS))


def leave_out_fingerprint(names: Sequence[str], values: Float64) -> tuple[tuple[str, ...], Float64]:
    """The dimensions of signatures other than the fingerprint's."""
    keep = ~is_fingerprint(names)
    return tuple(name for name, kept in zip(names, keep, strict=True) if kept), values[:, keep]


def _places(models: Sequence[ModelRecord]) -> dict[str, Place]:
    """Name in lower case -> index; a key before a repository before a repository's last part."""
    keys, repos = [model.key for model in models], [model.repo or model.key for model in models]
    found: dict[str, Place] = {}
    for names in (keys, repos, [repo.rpartition("/")[2] for repo in repos]):
        for index, name in enumerate(names):
            found.setdefault(name.lower(), index)
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
