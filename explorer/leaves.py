"""Mined models as a tree, for figures: their distances, and an order of the leaves in which near models are near."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import leaves_list, optimal_leaf_ordering
from scipy.spatial.distance import squareform

from dna_zoo.errors import SettingsError
from explorer.source import Source
from patterndb.records import SignatureEntry
from patterndb.similarity import Distances, all_distances
from pipeline.analyse.taxonomy import Taxonomy, classify

__all__ = ["Leaves", "entries_of", "find_leaves"]

Float64 = npt.NDArray[np.float64]
MOST_ORDERED = 200
"""Models whose leaves are put into the best order: it takes the cube of their number."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Leaves:
    """N models in leaf order, and their tree."""

    entries: tuple[SignatureEntry, ...]
    """In leaf order."""
    distances: Distances
    """(N, N) each, in leaf order."""
    merges: Float64
    """(N - 1, 4), as `scipy.cluster.hierarchy.linkage` gives them, of these leaves; drawn, it crosses nowhere."""
    taxonomy: Taxonomy

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(entry.model.key for entry in self.entries)


def entries_of(source: Source, models: Sequence[str] = ()) -> tuple[SignatureEntry, ...]:
    """The signatures of these models, of all if none is named. Raises `NotMinedError`, naming near misses."""
    entries = source.database.signatures(with_nulls=False)
    for key in models:
        if key not in {entry.model.key for entry in entries}:
            source.database.load_pattern(key, with_tensors=False)  # Raises, naming near misses.
    return tuple(entry for entry in entries if not models or entry.model.key in models)


def find_leaves(source: Source, models: Sequence[str] = ()) -> Leaves:
    """The tree of these models, of all if none is named.

    Raises `NotMinedError`, `SettingsError` for fewer than two, and `StoreError` for signatures of different versions.
    """
    entries = entries_of(source, models)
    if len(entries) < 2:
        raise SettingsError(
            f"A tree needs two mined models, and there {'is one' if entries else 'are none'}.",
            hint="Mine another: `dna-zoo mine NAME`.",
        )
    found, distances = classify(entries), all_distances(entries)
    merges = _linkage(found)
    if len(entries) <= MOST_ORDERED:
        merges = optimal_leaf_ordering(merges, squareform(_known(distances.in_one), checks=False))
    order = leaves_list(merges)
    return Leaves(
        entries=tuple(entries[index] for index in order),
        distances=Distances(weights=distances.weights[np.ix_(order, order)], kind=distances.kind[np.ix_(order, order)]),
        merges=_renumbered(merges, order),
        taxonomy=found,
    )


def _linkage(found: Taxonomy) -> Float64:
    """The merges as scipy numbers them: leaves from 0, then each merge in turn."""
    number = {frozenset((key,)): index for index, key in enumerate(found.models)}
    rows = []
    for merge in found.merges:
        both = frozenset((*merge.left, *merge.right))
        rows.append([number[frozenset(merge.left)], number[frozenset(merge.right)], merge.height, len(both)])
        number[both] = len(number)
    return np.array(rows, dtype=np.float64)


def _known(distances: Float64) -> Float64:
    """Without NaN: what cannot be compared is as far apart as anything is."""
    largest = float(np.nanmax(distances)) if np.isfinite(distances).any() else 1.0
    return np.where(np.isnan(distances), largest, distances)


def _renumbered(merges: Float64, order: npt.NDArray[np.int32]) -> Float64:
    """The same tree with leaf i called by its place in the order."""
    place, count = np.argsort(order), len(order)
    renumbered = merges.copy()
    children = merges[:, :2].astype(int)
    renumbered[:, :2] = np.where(children < count, place[np.minimum(children, count - 1)], children)
    return renumbered
