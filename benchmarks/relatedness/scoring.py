"""The quality of a distance: over all members, by split, by architecture, by relation, with intervals.

A *query* is a member with related members; its gallery is all others (within the split, for the rows of a split). A
*pair* is any two members, related if they share a root. Shuffled copies share no root with any other member; a merge of
two roots is related to both families. `tpr` is at the threshold below which 1 % of the unrelated pairs lie, one
threshold for all architectures together.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.relatedness.gallery import Member
from benchmarks.relatedness.metrics import (
    area_under_curve,
    average_precision,
    precision_at_1,
    rates_at,
    threshold_at,
    weighted_mean,
)

__all__ = ["FALSE_POSITIVE_RATE", "Evaluation", "RelationScore", "Scores", "evaluate", "rates_within"]

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
FALSE_POSITIVE_RATE = 0.01
LEVELS = (2.5, 97.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """The metrics on one set of members, each with its 95 % bootstrap interval over roots."""

    models: int
    queries: int
    related_pairs: int
    unrelated_pairs: int
    mean_average_precision: float
    precision_at_1: float
    auc: float
    tpr: float
    """At 1 % of the unrelated pairs, one threshold."""
    tpr_same_architecture: float
    """At 1 % of the unrelated pairs *of one architecture*, which is harder."""
    intervals: Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationScore:
    """One kind of child as queries, and paired with its root (both, for a merge of two)."""

    queries: int
    mean_average_precision: float
    precision_at_1: float
    auc: float
    """Child and root against the child and all members not related to it."""
    tpr: float
    """Of the pairs child and root, at the threshold of all members."""
    distance: float
    """Median of child and root; by raw cosine it tells how far the weights have moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Everything about one distance."""

    threshold: float
    splits: Mapping[str, Scores]
    """`all`, `tuned`, `held-out`: each its own gallery and its own threshold."""
    at_threshold: Mapping[str, tuple[float, float]]
    """Split -> (true, false) positive rate of its pairs at `threshold`, which all architectures share."""
    transferred: tuple[float, float]
    """(true, false) positive rate among the held-out at the threshold set on the tuned."""
    architectures: Mapping[str, Mapping[str, float]]
    relations: Mapping[str, RelationScore]
    cells: Mapping[str, RelationScore]
    """By `architecture/relation`."""
    permutation_gap: float
    """mAP of the roots as queries less that of their permuted copies."""
    shuffled_called_related: float
    """Share of shuffled copies within the threshold of their originals."""
    shuffled_nearest: int
    """Queries whose nearest model is a shuffled copy."""


@dataclass(frozen=True, slots=True)
class _Table:
    """The members of one evaluation, all pairs once and every query's figures."""

    members: Sequence[Member]
    distances: Array
    related: Mask

    @classmethod
    def of(cls, members: Sequence[Member], distances: Array) -> "_Table":
        related = np.array([[a is not b and a.is_related(b) for b in members] for a in members])
        return cls(members, np.where(np.isnan(distances), np.inf, distances), related)

    def subset(self, keep: Mask) -> "_Table":
        members = [member for member, is_kept in zip(self.members, keep, strict=True) if is_kept]
        return _Table(members, self.distances[np.ix_(keep, keep)], self.related[np.ix_(keep, keep)])

    def rates(self, threshold: float) -> tuple[float, float]:
        """(true, false) positive rate of all pairs."""
        pairs = np.triu_indices(len(self.members), 1)
        return rates_at(threshold, self.distances[pairs], self.related[pairs])

    def per_query(self, measure: Callable[[Array, Mask], float]) -> Array:
        """`measure` of each member's ranking of all others, NaN for members without related ones; (M,)."""
        others = ~np.eye(len(self.members), dtype=bool)
        return np.array(
            [measure(self.distances[i, others[i]], self.related[i, others[i]]) for i in range(len(self.members))]
        )


def evaluate(members: Sequence[Member], distances: Array, *, num_bootstraps: int, seed: int) -> Evaluation:
    """Every figure of `distances` (M, M)."""
    table = _Table.of(members, distances)
    pairs = np.triu_indices(len(members), 1)
    threshold = threshold_at(table.distances[pairs], table.related[pairs], FALSE_POSITIVE_RATE)
    split_of = np.array([member.split for member in members])
    tables = {"all": table} | {split: table.subset(split_of == split) for split in dict.fromkeys(split_of.tolist())}
    precisions, firsts = table.per_query(average_precision), table.per_query(precision_at_1)
    return Evaluation(
        threshold=threshold,
        splits={name: _scores(part, num_bootstraps, seed) for name, part in tables.items()},
        at_threshold={name: part.rates(threshold) for name, part in tables.items()},
        transferred=_transferred(tables),
        architectures=_by_architecture(table, precisions, firsts, threshold),
        relations=_by_relation(table, precisions, firsts, threshold, lambda m: m.relation),
        cells=_by_relation(table, precisions, firsts, threshold, lambda m: f"{m.architecture}/{m.relation}"),
        permutation_gap=_mean_of(table, precisions, "root") - _mean_of(table, precisions, "permuted"),
        shuffled_called_related=_shuffled_called_related(table, threshold),
        shuffled_nearest=_shuffled_nearest(table),
    )


def rates_within(
    members: Sequence[Member], distances: Array, threshold: float
) -> dict[str, tuple[float, float, int, int]]:
    """(true, false) positive rate of calling pairs up to a fixed threshold related, and how many pairs are and are not.

    Of all pairs, of those within each split, and of those within each architecture.
    """
    table = _Table.of(members, distances)
    names = [("all", member.split, member.architecture) for member in members]
    found = {}
    for group in dict.fromkeys(itertools.chain.from_iterable(zip(*names, strict=True))):
        part = table.subset(np.array([group in own for own in names]))
        num_related = int(np.triu(part.related).sum())
        num_pairs = len(part.members) * (len(part.members) - 1) // 2
        found[group] = (*part.rates(threshold), num_related, num_pairs - num_related)
    return found


def _scores(table: _Table, num_bootstraps: int, seed: int) -> Scores:
    precisions, firsts = table.per_query(average_precision), table.per_query(precision_at_1)
    is_query = np.isfinite(precisions)
    first, second = np.triu_indices(len(table.members), 1)
    # In order of distance once and for all: every draw sorts them again, which then costs next to nothing.
    order = np.argsort(table.distances[first, second], kind="stable")
    pairs = first[order], second[order]
    distances, related = table.distances[pairs], table.related[pairs]
    architecture = np.array([member.architecture for member in table.members])
    is_near = related | (architecture[pairs[0]] == architecture[pairs[1]])

    def measure(weights: Array) -> dict[str, float]:
        """With each member counted as often as its root was drawn."""
        pair_weights = _pair_weights(table.members, weights, pairs)
        threshold = threshold_at(distances, related, FALSE_POSITIVE_RATE, pair_weights)
        hard = pair_weights * is_near
        hard_threshold = threshold_at(distances[is_near], related[is_near], FALSE_POSITIVE_RATE, pair_weights[is_near])
        return {
            "mean_average_precision": weighted_mean((weights * precisions)[is_query], weights[is_query]),
            "precision_at_1": weighted_mean((weights * firsts)[is_query], weights[is_query]),
            "auc": area_under_curve(distances, related, pair_weights),
            "tpr": rates_at(threshold, distances, related, pair_weights)[0],
            "tpr_same_architecture": rates_at(hard_threshold, distances, related, hard)[0],
        }

    rng = np.random.default_rng(seed)
    draws = [measure(_draw_roots(table.members, rng)) for _ in range(num_bootstraps)]
    found = measure(np.ones(len(table.members)))
    return Scores(
        models=len(table.members),
        queries=int(is_query.sum()),
        related_pairs=int(related.sum()),
        unrelated_pairs=int((~related).sum()),
        intervals={name: _interval([draw[name] for draw in draws]) for name in found},
        **found,
    )


def _draw_roots(members: Sequence[Member], rng: np.random.Generator) -> Array:
    """How often each member counts when as many roots are drawn, with replacement, from each architecture."""
    counts: dict[str, int] = {}
    for architecture in sorted({member.architecture for member in members}):
        roots = sorted({member.origin for member in members if member.architecture == architecture})
        drawn = rng.integers(len(roots), size=len(roots))
        counts |= dict(zip(roots, np.bincount(drawn, minlength=len(roots)).tolist(), strict=True))
    return np.array([counts[member.origin] for member in members], dtype=np.float64)


def _pair_weights(members: Sequence[Member], weights: Array, pairs: tuple[Array, Array]) -> Array:
    """A pair within one root's offspring counts as often as the root was drawn, another as often as both together."""
    origin = np.unique([member.origin for member in members], return_inverse=True)[1]
    first, second = pairs
    return np.where(origin[first] == origin[second], weights[first], weights[first] * weights[second])


def _interval(draws: Sequence[float]) -> tuple[float, float]:
    finite = [draw for draw in draws if np.isfinite(draw)]
    low, high = np.percentile(finite, LEVELS) if finite else (np.nan, np.nan)
    return float(low), float(high)


def _transferred(tables: Mapping[str, _Table]) -> tuple[float, float]:
    if not {"tuned", "held-out"} <= tables.keys():
        return float("nan"), float("nan")
    flat = {}
    for name in ("tuned", "held-out"):
        pairs = np.triu_indices(len(tables[name].members), 1)
        flat[name] = tables[name].distances[pairs], tables[name].related[pairs]
    return rates_at(threshold_at(*flat["tuned"], FALSE_POSITIVE_RATE), *flat["held-out"])


def _by_architecture(table: _Table, precisions: Array, firsts: Array, threshold: float) -> dict[str, dict[str, float]]:
    """Queries of the architecture among all members; pairs within it, at the common threshold."""
    found = {}
    names = np.array([member.architecture for member in table.members])
    for name in dict.fromkeys(names.tolist()):
        own = names == name
        part = table.subset(own)
        pairs = np.triu_indices(len(part.members), 1)
        distances, related = part.distances[pairs], part.related[pairs]
        tpr, fpr = part.rates(threshold)
        found[name] = {
            "mean_average_precision": float(np.nanmean(precisions[own])),
            "precision_at_1": float(np.nanmean(firsts[own])),
            "auc": area_under_curve(distances, related),
            "tpr": tpr,
            "fpr": fpr,
        }
    return found


def _by_relation(
    table: _Table, precisions: Array, firsts: Array, threshold: float, name: Callable[[Member], str]
) -> dict[str, RelationScore]:
    """The children that `name` gives one name, together."""
    places: dict[str, list[int]] = {}
    for place, member in enumerate(table.members):
        if member.hardness in ("easy", "hard") and np.isfinite(precisions[place]):
            places.setdefault(name(member), []).append(place)
    return {
        relation: _relation_score(table, precisions[found], firsts[found], threshold, found)
        for relation, found in places.items()
    }


def _relation_score(
    table: _Table, precisions: Array, firsts: Array, threshold: float, places: Sequence[int]
) -> RelationScore:
    to_roots, to_others = _to_roots(table, places), _to_others(table, places)
    both = np.concatenate([to_roots, to_others])
    is_root = np.arange(len(both)) < len(to_roots)
    return RelationScore(
        queries=len(places),
        mean_average_precision=float(precisions.mean()),
        precision_at_1=float(firsts.mean()),
        auc=area_under_curve(both, is_root),
        tpr=rates_at(threshold, both, is_root)[0],
        distance=float(np.median(to_roots)),
    )


def _to_roots(table: _Table, places: Sequence[int]) -> Array:
    """Distances of these members to their roots."""
    index = {member.name: place for place, member in enumerate(table.members)}
    pairs = [(i, index[root]) for i in places for root in sorted(table.members[i].roots) if root in index]
    return np.array([table.distances[pair] for pair in pairs])


def _to_others(table: _Table, places: Sequence[int]) -> Array:
    """Distances of these members to all members not related to them."""
    unrelated = ~table.related & ~np.eye(len(table.members), dtype=bool)
    return np.concatenate([table.distances[place, unrelated[place]] for place in places])


def _mean_of(table: _Table, figures: Array, relation: str) -> float:
    places = [place for place, member in enumerate(table.members) if member.relation == relation]
    return float(np.nanmean(figures[places])) if places else float("nan")


def _shuffled_called_related(table: _Table, threshold: float) -> float:
    index = {member.name: place for place, member in enumerate(table.members)}
    to_original = [
        table.distances[place, index[member.origin]]
        for place, member in enumerate(table.members)
        if member.relation == "shuffled" and member.origin in index
    ]
    return float(np.mean(np.array(to_original) <= threshold)) if to_original else float("nan")


def _shuffled_nearest(table: _Table) -> int:
    away = table.distances + np.where(np.eye(len(table.members), dtype=bool), np.inf, 0.0)
    has_related = table.related.any(axis=1)
    return sum(table.members[place].relation == "shuffled" for place in away.argmin(axis=1)[has_related])
