"""Metrics of retrieval and of detection. Smaller distances are better; ties share their rank.

M = models, P = pairs. `weights` count each query or pair that many times: a bootstrap is a draw of weights.
"""

import numpy as np
import numpy.typing as npt

__all__ = ["area_under_curve", "average_precision", "precision_at_1", "rates_at", "threshold_at", "weighted_mean"]

Vector = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def average_precision(distances: Vector, is_relevant: Mask) -> float:
    """Mean over the relevant of the precision at their rank, (M,) each; NaN with nothing relevant.

    Ties are found together, as in scikit-learn's `average_precision_score`.
    """
    if not is_relevant.any():
        return float("nan")
    order = np.argsort(distances, kind="stable")
    found, last = is_relevant[order], _ends_of_ties(distances[order])
    num_found = np.cumsum(found)[last]
    precision = num_found / (last + 1)
    return float(np.diff(num_found, prepend=0) @ precision / found.sum())


def precision_at_1(distances: Vector, is_relevant: Mask) -> float:
    """The share of the relevant among the nearest, all that are tied there; NaN with nothing relevant."""
    if not is_relevant.any():
        return float("nan")
    return float(is_relevant[distances == distances.min()].mean())


def area_under_curve(distances: Vector, is_related: Mask, weights: Vector | None = None) -> float:
    """Probability that a related pair is nearer than an unrelated one, ties counting half; (P,) each.

    The Mann-Whitney statistic over both counts. NaN without pairs of either kind.
    """
    weights = np.ones(len(distances)) if weights is None else weights
    order = np.argsort(distances, kind="stable")
    last = _ends_of_ties(distances[order])
    related = np.diff(np.cumsum((weights * is_related)[order])[last], prepend=0)
    others = np.diff(np.cumsum((weights * ~is_related)[order])[last], prepend=0)
    if not related.sum() or not others.sum():
        return float("nan")
    farther = others.sum() - np.cumsum(others)
    return float(related @ (farther + others / 2) / (related.sum() * others.sum()))


def threshold_at(
    distances: Vector, is_related: Mask, false_positive_rate: float, weights: Vector | None = None
) -> float:
    """The largest distance with at most that share of the unrelated pairs as near; -inf if there is none."""
    weights = np.ones(len(distances)) if weights is None else weights
    order = np.argsort(distances, kind="stable")
    last = _ends_of_ties(distances[order])
    others = np.cumsum((weights * ~is_related)[order])[last]
    # A threshold at infinity would take in pairs that cannot be compared at all.
    fits = (others <= false_positive_rate * others[-1] * (1 + 1e-12)) & np.isfinite(distances[order][last])
    return float(distances[order][last][fits][-1]) if fits.any() else float("-inf")


def rates_at(
    threshold: float, distances: Vector, is_related: Mask, weights: Vector | None = None
) -> tuple[float, float]:
    """(true, false) positive rate of calling pairs up to `threshold` related; NaN without such pairs."""
    weights = np.ones(len(distances)) if weights is None else weights
    called = weights * (distances <= threshold)
    return weighted_mean(called[is_related], weights[is_related]), weighted_mean(
        called[~is_related], weights[~is_related]
    )


def weighted_mean(sums: Vector, weights: Vector) -> float:
    """Sum of `sums` (already weighted) over the sum of the weights; NaN without weight."""
    total = float(weights.sum())
    return float(sums.sum()) / total if total > 0 else float("nan")


def _ends_of_ties(values: Vector) -> npt.NDArray[np.intp]:
    """Of sorted values, the last index of each run of equal ones."""
    is_last = np.append(values[1:] != values[:-1], True)
    return np.flatnonzero(is_last)
