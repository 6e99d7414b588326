"""How alike the k-means clusters of two patterns are.

Of a role, a pattern keeps `labels` (of the rows: one list, or one for each tensor by name) and what the clusters look
like: `centroids` with their `weights`, or `norms` (lengths of the mean unit vectors) with their `sizes`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

__all__ = ["ClusterOverlap", "adjusted_rand", "mean_overlap", "role_overlap", "wasserstein_overlap"]

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOverlap:
    """How well two clusterings agree: 1 is perfectly.

    - `adjusted_rand`: of the labels, row by row; 0 is what chance gives.
    - `wasserstein`: 1 / (1 + W / r) of the centroids, for models whose rows do not correspond; see
      `wasserstein_overlap`.
    """

    value: float
    kind: Literal["adjusted_rand", "wasserstein"]


def role_overlap(a: Mapping[str, Any] | None, b: Mapping[str, Any] | None) -> ClusterOverlap | None:
    """The overlap of one role's clusters: of the labels where their lengths allow it, else of the centroids."""
    if not a or not b:
        return None
    pairs = _label_pairs(a.get("labels"), b.get("labels"))
    if pairs:
        value = float(np.mean([adjusted_rand(x, y) for x, y in pairs]))
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


def adjusted_rand(a: Sequence[int], b: Sequence[int]) -> float:
    """The adjusted Rand index (Hubert and Arabie 1985) of two labellings of the same things."""
    _, x = np.unique(np.asarray(a), return_inverse=True)
    _, y = np.unique(np.asarray(b), return_inverse=True)
    table = np.zeros((x.max() + 1, y.max() + 1))
    np.add.at(table, (x, y), 1)
    together, in_a, in_b = (_pairs_within(counts) for counts in (table, table.sum(axis=1), table.sum(axis=0)))
    expected = in_a * in_b / max(_pairs_within(np.array([len(x)])), 1)
    largest = (in_a + in_b) / 2
    # Equal only if both put all in one cluster, or each in its own: then they agree.
    return 1.0 if largest == expected else float((together - expected) / (largest - expected))


def _pairs_within(counts: npt.NDArray[Any]) -> float:
    """How many pairs there are within groups of these sizes."""
    return float((counts * (counts - 1) / 2).sum())


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
