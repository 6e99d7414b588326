"""The models nearest to one without all pairs: bounds leave out nearly all, and exact distances rank the rest.

Relatives come first, the nearest weights first, and then all others by kind. Up to `EXACT_MODELS` models, whoever is
nearer by weights than chance allows a single pair counts as a relative; beyond, whoever is at most `RELATED` apart: of
100,000 unrelated models hundreds are nearer than chance allows one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from patterndb.neighbours.code_files import CodeFiles
from patterndb.neighbours.codes import Coded, Query
from patterndb.neighbours.row_distances import Layout, row_distances
from patterndb.records import RELATED
from patterndb.similarity import Criterion, Distances

__all__ = [
    "AT_A_TIME",
    "EXACT_MODELS",
    "Bounds",
    "CandidateBounds",
    "CodedBounds",
    "ExactBounds",
    "Found",
    "Own",
    "Read",
    "find_nearest",
]

Vector = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]
Read = Callable[[Sequence[int]], Mapping[int, Vector]]
"""Patterns -> their values in the layout of the model that is asked about."""
EXACT_MODELS = 500
"""Up to so many models, all pairs are computed: percentiles are among all of them."""
AT_A_TIME = 128
AT_LEAST = 16
"""Bounds are near to the distances: few signatures more than are asked for are read at first."""
CLOSER = 1_000
"""So many of the nearest by the first byte of their statistics are looked at by both."""
SLACK = 1e-9
"""Sums in another order differ by less, relatively."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """The model that is asked about."""

    pattern_id: int
    layout: Layout
    values: Vector
    same_file: frozenset[int]
    """Patterns of the same file: their weights are at 0."""


class Found(NamedTuple):
    """A pattern that is near: `rank` is its distance of weights, or 1 + that of kinds, or that of kinds alone."""

    rank: float
    pattern_id: int


class Bounds(Protocol):
    """Patterns, and distances that theirs are not below, (patterns,) each; infinite for what cannot be compared."""

    def of(self, by: Criterion) -> tuple[Ids, Vector]: ...


class CodedBounds:
    """Bounds by signatures in codes."""

    def __init__(self, files: CodeFiles, places: npt.NDArray[np.intp], query: Query) -> None:
        self._ids: Ids = files.rows()["id"][places]
        self._files, self._places, self._query = files, places, query

    def of(self, by: Criterion) -> tuple[Ids, Vector]:
        """By the fingerprint alone, or by the statistics alone: all of them roughly, and the nearest by all that is
        known of them."""
        found = self._files.bounds(self._query, by)[self._places]
        if by == "kind":
            nearest = np.sort(np.argpartition(found, CLOSER)[:CLOSER]) if len(found) > CLOSER else np.arange(len(found))
            found[nearest] = self._files.closer_kind(self._query, self._places[nearest])
        return self._ids, found


class CandidateBounds:
    """Bounds by the codes of those that are named as candidates for each distance."""

    def __init__(self, read: Callable[[Criterion], Coded | None], query: Query) -> None:
        self._read, self._query = read, query

    def of(self, by: Criterion) -> tuple[Ids, Vector]:
        """By the fingerprint alone, or by the statistics alone."""
        coded = self._read(by)
        if coded is None:
            return np.empty(0, dtype=np.int64), np.empty(0)
        return coded.rows["id"].astype(np.int64), self._query.bound(coded, by)


class ExactBounds:
    """The distances themselves, of all these patterns."""

    def __init__(self, ids: Ids, own: Own, read: Read) -> None:
        self._ids, self._own, self._read = ids, own, read

    def of(self, by: Criterion) -> tuple[Ids, Vector]:
        """What cannot be compared is infinitely far."""
        ids = self._ids[self._ids != self._own.pattern_id]
        found: Vector = getattr(_distances(ids, self._own, self._read), by)
        return ids, (1 - SLACK) * np.where(np.isnan(found), np.inf, found)


def find_nearest(own: Own, bounds: Sequence[Bounds], read: Read, top_k: int, by: Criterion) -> list[Found]:
    """The `top_k` nearest and those that tie with the last, the nearest first; models that cannot be compared never.

    The answer is exact whatever the bounds are; the nearer they are to the distances, the fewer signatures are read.
    """
    if by == "kind":
        return _refine(*_joined(bounds, "kind"), own, read, top_k, lambda found: found.kind)
    ids, least = _joined(bounds, "weights")
    least = np.where(np.isin(ids, list(own.same_file)), 0.0, least)
    near = least <= RELATED
    relatives = _refine(ids[near], least[near], own, read, top_k, _of_relatives)
    if len(relatives) >= top_k:
        return relatives
    # All relatives are known now.
    ids, least = _joined(bounds, "kind")
    others = ~np.isin(ids, [each.pattern_id for each in relatives])
    alike = _refine(ids[others], least[others], own, read, top_k - len(relatives), lambda found: found.kind)
    return relatives + [Found(1 + each.rank, each.pattern_id) for each in alike]


def _of_relatives(found: Distances) -> Vector:
    """The distances of weights that count, NaN for the others."""
    return np.where(found.weights <= RELATED, found.weights, np.nan)


def _joined(bounds: Sequence[Bounds], by: Criterion) -> tuple[Ids, Vector]:
    """All patterns and their bounds."""
    found = [each.of(by) for each in bounds]
    ids = np.concatenate([np.empty(0, dtype=np.int64), *(ids for ids, _ in found)])
    return ids, np.concatenate([np.empty(0), *(least for _, least in found)])


def _refine(
    ids: Ids, least: Vector, own: Own, read: Read, top_k: int, measure: Callable[[Distances], Vector]
) -> list[Found]:
    """The nearest by exact distances, in the order of their bounds until no other can be nearer."""
    known = np.isfinite(least)
    ids, least = ids[known], least[known]
    order = np.lexsort((ids, least))
    ids, least = ids[order], least[order]
    found: list[Found] = []
    size = max(AT_LEAST, top_k + AT_LEAST // 2)
    for start in range(0, len(ids), size):
        if len(found) >= top_k and least[start] > _beyond(found[top_k - 1].rank):
            break
        some = ids[start : start + size]
        exact = measure(_distances(some, own, read))
        known = np.isfinite(exact)
        found = sorted([*found, *map(Found, exact[known].tolist(), some[known].tolist())])
        if len(found) > top_k:
            # With ties, which names decide.
            found = [each for each in found if each.rank <= _beyond(found[top_k - 1].rank)]
    return found


def _beyond(rank: float) -> float:
    """What is above this is farther, however it was summed."""
    return rank * (1 + SLACK) + SLACK


def _distances(ids: Ids, own: Own, read: Read) -> Distances:
    """From the own signature to those of these patterns, (patterns,) each."""
    weights, kind = np.full((2, len(ids)), np.nan)
    for start in range(0, len(ids), AT_A_TIME):
        some = ids[start : start + AT_A_TIME].tolist()
        values = read(some)
        found = row_distances(own.layout, own.values[None], np.stack([values[pattern_id] for pattern_id in some]))
        weights[start : start + len(some)], kind[start : start + len(some)] = found.weights, found.kind
    same = np.isin(ids, list(own.same_file))
    return Distances(weights=np.where(same, 0.0, weights), kind=kind)
