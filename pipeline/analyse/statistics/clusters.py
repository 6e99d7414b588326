"""Clusters of rows: k-means on directions about the centre of the rows.

The centre is taken out, and rows are scaled to unit length, so clusters are of direction, not of size. It is the
spatial median, about which these directions sum to 0 (Weiszfeld 1937): about a mean, which long rows decide, all short
rows would point away from them. The start is farthest-first (Gonzalez 1985) from the row that was longest, the steps
are Lloyd's (1982): no random numbers, no threads, and nothing depends on the order of the rows. The null is `rotate`: a
low-rank matrix is near any eight centroids, and only what exceeds its own spectrum is a cluster.

Only above the null is it one. A turned matrix has normal tails and rows of like size; heavy tails, rows of different
sizes or one large value, without any cluster, give less than that. With a common row left in they would give more: the
rows that are short beside it would all point along it.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Float32, Float64, Indices

__all__ = [
    "CENTRE_STEPS",
    "COARSER",
    "MAX_STEPS",
    "NUM_CLUSTERS",
    "ROUNDING",
    "Clusters",
    "cluster_rows",
    "clusters_and_measures",
    "measure_clusters",
]

NUM_CLUSTERS = 8
COARSER = (2, 4)
"""Numbers of clusters also tried for the best separation: eight centroids would cut four clusters in half."""
MAX_STEPS = 12
"""Enough for clusters that are there; in noise k-means would creep on for long, and its null with it."""
CENTRE_STEPS = 32
ROUNDING = 1e-6
"""What is left of a row, in lengths of the centre, up to which it is rounding of float32 and has no direction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clusters:
    """A partition of the rows, largest cluster first.

    - `labels`: int, (R,), from 0.
    - `sizes`: share of the rows, (K,), descending.
    - `norms`: length of the mean unit vector of each, (K,), in [0, 1]: 1 if all its rows point one way.
    - `explained`: share of the variance of the unit rows that lies between the clusters, in [0, 1].
    - `separation`: simplified silhouette (Hruschka et al. 2006): mean of (b - a) / max(a, b), a and b the distances to
      the own centroid and to the next nearest.
    """

    labels: Indices
    sizes: Float64
    norms: Float64
    explained: float
    separation: float


def cluster_rows(matrix: Float32, num_clusters: int = NUM_CLUSTERS, *, is_centred: bool = True) -> Clusters:
    """Clusters of the rows of a matrix (R, C); at most R of them. Rows that are the centre stay at the origin.

    - `is_centred`: whether the centre is taken out; where the signs of rows are arbitrary, it is 0.
    """
    unit, first = _directions(matrix, is_centred)
    return _cluster(unit, _farthest_first(unit, num_clusters, first))


def measure_clusters(matrix: Float32, *, is_centred: bool = True) -> dict[str, float]:
    """Clusters of the rows of a matrix (R, C), as `cluster_rows` has them.

    - `explained`: with `NUM_CLUSTERS`.
    - `separation`: the best with `NUM_CLUSTERS` or with fewer (`COARSER`).
    - `balance`: the entropy of the `NUM_CLUSTERS` sizes over its maximum, in [0, 1].
    """
    return clusters_and_measures(matrix, is_centred=is_centred)[1]


def clusters_and_measures(matrix: Float32, *, is_centred: bool = True) -> tuple[Clusters, dict[str, float]]:
    """`cluster_rows` and `measure_clusters` in one."""
    unit, first = _directions(matrix, is_centred)
    starts = _farthest_first(unit, NUM_CLUSTERS, first)
    clusters = _cluster(unit, starts)
    used = clusters.sizes[clusters.sizes > 0]
    balance = float(-(used * np.log(used)).sum() / np.log(len(clusters.sizes))) if len(clusters.sizes) > 1 else 0.0
    return clusters, {
        "clusters.explained": clusters.explained,
        "clusters.separation": max(clusters.separation, *(_cluster(unit, starts[:k]).separation for k in COARSER)),
        "clusters.balance": balance + 0.0,
    }


def _cluster(unit: Float64, centroids: Float64) -> Clusters:
    """From these first centroids (K, C) on."""
    labels = np.full(len(unit), -1, dtype=np.intp)
    for _ in range(MAX_STEPS):
        nearest = _least(_offsets(unit, centroids))
        if np.array_equal(nearest, labels):
            break
        labels = nearest
        centroids = _means(unit, labels, centroids)
    return _summarise(unit, labels, centroids)


def _directions(matrix: Float32, is_centred: bool) -> tuple[Float64, int]:
    """The rows at length 1 about their centre (R, C), and which of them was longest."""
    values, least = matrix.astype(np.float64), 0.0
    if is_centred:
        centre = _spatial_median(values)
        values, least = values - centre, ROUNDING * float(np.sqrt(centre @ centre))
    norms = _lengths(values)
    return values * (1 / np.where(norms > least, norms, np.inf))[:, None], int(np.argmax(norms))


def _spatial_median(points: Float64) -> Float64:
    """The point (C,) with the least sum of distances to the points (R, C), by Weiszfeld's steps from their mean."""
    centre: Float64 = points.mean(axis=0)
    for _ in range(CENTRE_STEPS):
        distances = _lengths(points - centre)
        weights = 1 / np.maximum(distances, max(ROUNDING * float(distances.max()), 1e-300))
        centre = (weights @ points) / weights.sum()
    return centre


def _lengths(points: Float64) -> Float64:
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", points, points)))


def _offsets(points: Float64, centroids: Float64) -> Float64:
    """(R, K): squared distances less each point's own square, which does not change which is least."""
    offsets: Float64 = np.einsum("ij,ij->i", centroids, centroids)[None, :] - 2 * (points @ centroids.T)
    return offsets


def _least(offsets: Float64) -> Indices:
    """The column of the least value of each row, the first of equal ones: `argmin`, faster for so few columns."""
    least, labels = offsets[:, 0].copy(), np.zeros(len(offsets), dtype=np.intp)
    for column in range(1, offsets.shape[1]):
        labels[offsets[:, column] < least] = column
        np.minimum(least, offsets[:, column], out=least)
    return labels


def _squared_distances(points: Float64, centroids: Float64) -> Float64:
    """(R, K), free of the cancellation below 0 that the expanded square can give."""
    squares: Float64 = np.einsum("ij,ij->i", points, points)[:, None] + _offsets(points, centroids)
    return np.maximum(squares, 0.0)


def _farthest_first(points: Float64, count: int, first: int) -> Float64:
    """Start with the row `first`, then always the row farthest from all chosen; at most all rows.

    Fewer are the first of more.
    """
    count = min(count, len(points))
    squares = np.einsum("ij,ij->i", points, points)
    chosen = [first]
    distance = np.full(len(points), np.inf)
    while len(chosen) < count:
        distance = np.minimum(distance, squares + _offsets(points, points[chosen[-1:]])[:, 0])
        chosen.append(int(np.argmax(distance)))
    return points[chosen]


def _means(points: Float64, labels: Indices, previous: Float64) -> Float64:
    """Mean of each cluster; an empty one keeps its centroid."""
    members = np.zeros((len(previous), len(points)))
    members[labels, np.arange(len(points))] = 1.0
    counts = members.sum(axis=1)
    return np.where(counts[:, None] > 0, (members @ points) / np.maximum(counts, 1)[:, None], previous)


def _summarise(points: Float64, labels: Indices, centroids: Float64) -> Clusters:
    counts = np.bincount(labels, minlength=len(centroids))
    order = np.argsort(-counts, kind="stable")
    distances = np.sqrt(_squared_distances(points, centroids))
    own = distances[np.arange(len(points)), labels]
    distances[np.arange(len(points)), labels] = np.inf
    other = distances.min(axis=1) if len(centroids) > 1 else own
    # Rows have length 1 or 0, so nothing large cancels; what is left of equal rows is rounding.
    total = float(np.vdot(points, points)) - len(points) * float(np.sum(points.mean(axis=0) ** 2))
    larger = np.maximum(np.maximum(own, other), 1e-300)
    return Clusters(
        labels=np.argsort(order)[labels],
        sizes=counts[order] / len(points),
        norms=np.linalg.norm(centroids[order], axis=1),
        explained=1 - float((own**2).sum()) / total if total > 1e-9 else 0.0,
        separation=float(np.mean((other - own) / larger)),
    )
