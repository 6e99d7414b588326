"""Two patterns side by side: distances, frequencies, and role by role the fits and the k-means clusters.

Of a role, a pattern keeps `labels` (of the rows: one list, or one for each tensor by name) and what the clusters look
like: `centroids` with their `weights`, or `norms` (lengths of the mean unit vectors) with their `sizes`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from patterndb.neighbours.pair_sample import PairSample
from patterndb.records import FitRecord, PairDistances, PatternRecord
from patterndb.similarity import Distances, align, cosine_distance, is_fingerprint, pair_distances, rms_distance

__all__ = [
    "ClusterOverlap",
    "Comparison",
    "RoleComparison",
    "Side",
    "adjusted_rand",
    "compare",
    "frequency_correlation",
    "mean_overlap",
    "role_overlap",
    "wasserstein_overlap",
]

Vector = npt.NDArray[np.float64]
Labels = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOverlap:
    """How well two clusterings agree: 1 is perfectly.

    - `adjusted_rand`: of the labels, row by row; 0 is what chance gives.
    - `wasserstein`: 1 / (1 + W / r) of the centroids, for models whose rows do not correspond; see
      `wasserstein_overlap`.
    """

    value: float
    kind: Literal["adjusted_rand", "wasserstein"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What the fits of one model say of a role; None where it has none."""

    tensors: int
    r2: float | None
    null_r2: float | None
    gain: float | None
    means_null_r2: float | None = None
    gain_beyond_means: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleComparison:
    """One role in both models; the role `model` stands for the dimensions that pool the whole model."""

    role: str
    distance: float | None
    """`rms_distance` over this role's shared dimensions; None if there are none."""
    dimensions: int
    """How many are shared."""
    a: Side
    b: Side
    cluster_overlap: ClusterOverlap | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison(PairDistances):
    """Two models side by side."""

    a: str
    b: str
    cosine: float | None
    """`cosine_distance` of the statistics."""
    dimensions: int
    """How many statistics both signatures have."""
    frequency_correlation: float | None
    cluster_overlap: ClusterOverlap | None
    """The mean over the roles."""
    roles: tuple[RoleComparison, ...]


def frequency_correlation(a: Mapping[str, tuple[float, ...]], b: Mapping[str, tuple[float, ...]]) -> float | None:
    """Pearson correlation of the band energies of all roles that both have with as many bands.

    None with fewer than three bands in all, or where one side is constant.
    """
    roles = [role for role in a if role in b and len(a[role]) == len(b[role])]
    pairs = np.array([pair for role in roles for pair in zip(a[role], b[role], strict=True)]).reshape(-1, 2)
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    if len(pairs) < 3 or not np.ptp(pairs, axis=0).all():
        return None
    centred = pairs - pairs.mean(axis=0)
    x, y = (centred / np.linalg.norm(centred, axis=0)).T
    return float(np.clip(x @ y, -1, 1))


def compare(a: PatternRecord, b: PatternRecord, among: Distances | PairSample) -> Comparison:
    """Everything about the pair; `among` are the distances of all pairs in the database, each once, or of a sample."""
    names, values = align((a.signature, b.signature))
    statistics = ~is_fingerprint(names)
    x, y = values[:, statistics]
    found = pair_distances(a, b, among)
    if a.model.key == b.model.key:
        found = replace(found, weights_percentile=None, kind_percentile=None)
    roles = _compare_roles(a, b, [name for name, own in zip(names, statistics, strict=True) if own], x, y)
    return Comparison(
        **asdict(found),
        a=a.model.key,
        b=b.model.key,
        cosine=cosine_distance(x, y),
        dimensions=int((np.isfinite(x) & np.isfinite(y)).sum()),
        frequency_correlation=frequency_correlation(a.frequency_profile, b.frequency_profile),
        cluster_overlap=mean_overlap([role.cluster_overlap for role in roles]),
        roles=roles,
    )


def _compare_roles(
    a: PatternRecord, b: PatternRecord, names: Sequence[str], x: Vector, y: Vector
) -> tuple[RoleComparison, ...]:
    """The table by role, in the order of the signature; `model` last."""
    role_of = np.array([name.partition("/")[0] for name in names])
    sides = [_role_sides(pattern) for pattern in (a, b)]
    present = {*sides[0], *sides[1]}
    named = [role for role in dict.fromkeys((*role_of.tolist(), *sides[0], *sides[1])) if role in present]
    rows = []
    for role in sorted(named, key="model".__eq__):
        mask = role_of == role
        rows.append(
            RoleComparison(
                role=role,
                distance=rms_distance(x[mask], y[mask]),
                dimensions=int((np.isfinite(x[mask]) & np.isfinite(y[mask])).sum()),
                a=sides[0].get(role, ABSENT),
                b=sides[1].get(role, ABSENT),
                cluster_overlap=role_overlap(a.clusters.get(role), b.clusters.get(role)),
            )
        )
    return tuple(rows)


ABSENT = Side(tensors=0, r2=None, null_r2=None, gain=None)


def _role_sides(pattern: PatternRecord) -> dict[str, Side]:
    """The fits of every role that the pattern has, and of the model as a whole as `model`."""
    sides = {role.role: _fit_side(role.tensors, role.fit) for role in pattern.roles}
    return sides | {"model": _fit_side(sum(role.tensors for role in pattern.roles), pattern.fit)}


def _fit_side(tensors: int, fit: FitRecord | None) -> Side:
    """The figures that say how much of a fit is structure."""
    if fit is None:
        return Side(tensors=tensors, r2=None, null_r2=None, gain=None)
    return Side(
        tensors=tensors,
        r2=fit.r2,
        null_r2=fit.null_r2,
        gain=fit.gain,
        means_null_r2=fit.means_null_r2,
        gain_beyond_means=fit.gain_beyond_means,
    )


def role_overlap(a: Mapping[str, Any] | None, b: Mapping[str, Any] | None) -> ClusterOverlap | None:
    """The overlap of one role's clusters: of the labels where their lengths allow it, else of the centroids."""
    if not a or not b:
        return None
    pairs = _label_pairs(a.get("labels"), b.get("labels"))
    if pairs:
        value = float(np.mean([adjusted_rand(np.array([x]), np.array(y)) for x, y in pairs]))
        return ClusterOverlap(value=value, kind="adjusted_rand")
    x, y = _weighted_points(a), _weighted_points(b)
    if x is None or y is None or x[0].shape[1] != y[0].shape[1]:
        return None
    return ClusterOverlap(value=wasserstein_overlap(*x, *y), kind="wasserstein")


def mean_overlap(overlaps: Sequence[ClusterOverlap | None]) -> ClusterOverlap | None:
    """The mean over roles; of the labels' overlaps alone where there are any, since the two kinds do not mix."""
    found = [overlap for overlap in overlaps if overlap is not None]
    by_labels = [overlap for overlap in found if overlap.kind == "adjusted_rand"]
    chosen = by_labels or found
    if not chosen:
        return None
    return ClusterOverlap(value=float(np.mean([overlap.value for overlap in chosen])), kind=chosen[0].kind)


def _label_pairs(a: Any, b: Any) -> list[tuple[Sequence[int], Sequence[int]]]:
    """Label lists that correspond: of tensors of one name, else in order if all lengths agree; none of length 0."""
    x = a if isinstance(a, Mapping) else {"": a or []}
    y = b if isinstance(b, Mapping) else {"": b or []}
    pairs = [(x[name], y[name]) for name in sorted(x) if name in y and len(x[name]) == len(y[name]) > 0]
    if pairs:
        return pairs
    lists = [[labels[name] for name in sorted(labels)] for labels in (x, y)]
    lengths = [[len(each) for each in labels] for labels in lists]
    if lengths[0] == lengths[1] and all(lengths[0]):
        return list(zip(*lists, strict=True))
    return []


def adjusted_rand(labellings: Labels, groups: Labels) -> Vector:
    """The adjusted Rand index of each labelling (L, N) and one partition (N,), (L,): Hubert & Arabie 1985, eq. 5.

    Labels are integers from 0. Ours, since scikit-learn's takes one labelling at a time, a thousand times as long for
    all of a permutation test, and longer to import than `compare` has in all.
    """
    members = np.eye(int(groups.max()) + 1)[groups]
    together, in_labels = np.zeros(len(labellings)), np.zeros(len(labellings))
    for label in range(int(labellings.max()) + 1):
        table = (labellings == label) @ members
        together += _pairs(table).sum(axis=1)
        in_labels += _pairs(table.sum(axis=1))
    in_groups = _pairs(members.sum(axis=0)).sum()
    expected = in_labels * in_groups / max(_pairs(np.array(len(groups))), 1)
    largest = (in_labels + in_groups) / 2
    # Equal only if both put all in one group, or each in its own: then they agree.
    agreement = np.ones(len(labellings))
    np.divide(together - expected, largest - expected, out=agreement, where=largest != expected)
    return agreement


def _pairs(counts: Vector) -> Vector:
    return np.asarray(counts * (counts - 1) / 2)


def _weighted_points(clusters: Mapping[str, Any]) -> tuple[Vector, Vector] | None:
    """Centroids (clusters, dimensions) and their weights, which sum to 1; None if there are none to be had."""
    if clusters.get("centroids"):
        points, weights = np.array(clusters["centroids"], dtype=float), clusters.get("weights")
    elif clusters.get("norms"):
        points, weights = np.array(clusters["norms"], dtype=float)[:, None], clusters.get("sizes")
    else:
        return None
    shares = np.ones(len(points)) if weights is None else np.array(weights, dtype=float)
    return (points, shares / shares.sum()) if shares.sum() > 0 else None


def wasserstein_overlap(a: Vector, a_weights: Vector, b: Vector, b_weights: Vector) -> float:
    """1 / (1 + W / r), with W the 1-Wasserstein distance of the weighted points and r their spread.

    r is the root mean square distance of all points, by weight, from their common mean. Both zero give 1.
    """
    cost = np.sqrt(((a[:, None, :] - b[None, :, :]) ** 2).sum(axis=2))
    distance = _transport_cost(cost, a_weights, b_weights)
    points, weights = np.concatenate([a, b]), np.concatenate([a_weights, b_weights]) / 2
    spread = float(np.sqrt(weights @ ((points - weights @ points) ** 2).sum(axis=1)))
    return 1.0 if distance == 0 or spread == 0 else 1 / (1 + distance / spread)


def _transport_cost(cost: Vector, a_weights: Vector, b_weights: Vector) -> float:
    """The least mean cost of moving the one distribution onto the other: a small linear programme."""
    from scipy.optimize import linprog

    num_a, num_b = cost.shape
    leaves = np.kron(np.eye(num_a), np.ones(num_b))
    arrives = np.kron(np.ones(num_a), np.eye(num_b))
    # The last row follows from the others; with it, rounding in the weights could make the programme infeasible.
    constraints = np.concatenate([leaves, arrives])[:-1]
    solution = linprog(cost.ravel(), A_eq=constraints, b_eq=np.concatenate([a_weights, b_weights])[:-1])
    assert solution.fun is not None, "What can leave can arrive: there is always a plan."
    return max(float(solution.fun), 0.0)
