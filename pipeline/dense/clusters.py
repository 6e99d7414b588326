"""k-means on the rows of a stack of matrices, as `pipeline.analyse.statistics.clusters` takes that of one.

B = matrices, R = rows, C = columns, K = clusters. Float64. Sums over the rows of a cluster are products with a table of
zeros and ones: their order does not change from run to run, as that of additions to one place may.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Partition", "cluster", "directions", "farthest_first"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Partition:
    """Rows of each matrix by cluster; clusters are in no order yet."""

    labels: Tensor
    """int64 (B, R)."""
    centroids: Tensor
    """(B, K, C)."""
    counts: Tensor
    """Rows of each cluster, float64 (B, K)."""
    distances: Tensor
    """(B, R, K), of each row to each centroid."""


def directions(stack: Tensor, *, num_steps: int, rounding: float) -> tuple[Tensor, Tensor]:
    """Rows of length 1 about the spatial median of the rows, float64 (B, R, C), and which was longest, (B,).

    - `num_steps`: of Weiszfeld, from the mean; with 0 the rows are taken about 0.
    - `rounding`: a row of which no more than so many lengths of the median is left becomes zeros.
    """
    points = stack.double()
    centre = points.mean(dim=1, keepdim=True) if num_steps else torch.zeros_like(points[:, :1])
    for _ in range(num_steps):
        distances = _lengths(points - centre)
        least = (rounding * distances.amax(dim=1, keepdim=True)).clamp(min=1e-300)
        weights = 1 / torch.maximum(distances, least)
        centre = (weights.mT @ points) / weights.sum(dim=1, keepdim=True)
    points = points - centre
    norms = _lengths(points)
    least = rounding * _lengths(centre)
    return points * (1 / torch.where(norms > least, norms, torch.inf)), norms[:, :, 0].argmax(dim=1)


def _lengths(points: Tensor) -> Tensor:
    return points.square().sum(dim=2, keepdim=True).sqrt()


def farthest_first(points: Tensor, count: int, first: Tensor) -> Tensor:
    """First centroids (B, K, C): the row `first` (B,), then always the row farthest from all chosen."""
    squares = points.square().sum(dim=2)
    chosen = [_rows(points, first)]
    distance = torch.full_like(squares, torch.inf)
    while len(chosen) < min(count, points.shape[1]):
        distance = torch.minimum(distance, squares + _offsets(points, chosen[-1])[:, :, 0])
        chosen.append(_rows(points, distance.argmax(dim=1)))
    return torch.cat(chosen, dim=1)


def cluster(points: Tensor, centroids: Tensor, num_steps: int) -> Partition:
    """Lloyd's steps from these first centroids (B, K, C) on.

    A matrix whose labels change no more would stop on a CPU. Here it goes on with the others: from the same labels come
    the same centroids, bit for bit, so nothing changes.
    """
    labels = torch.empty(points.shape[:2], dtype=torch.int64, device=points.device)
    for _ in range(num_steps):
        labels = _offsets(points, centroids).argmin(dim=2)
        centroids = _means(points, labels, centroids)
    squares = points.square().sum(dim=2, keepdim=True) + _offsets(points, centroids)
    return Partition(
        labels=labels,
        centroids=centroids,
        counts=_members(labels, centroids.shape[1]).sum(dim=2),
        distances=squares.clamp(min=0.0).sqrt(),
    )


def _rows(points: Tensor, places: Tensor) -> Tensor:
    """One row of each matrix, (B, 1, C)."""
    return points[torch.arange(len(points), device=points.device), places][:, None]


def _offsets(points: Tensor, centroids: Tensor) -> Tensor:
    """(B, R, K): squared distances less each point's own square."""
    return centroids.square().sum(dim=2)[:, None] - 2 * (points @ centroids.mT)


def _members(labels: Tensor, count: int) -> Tensor:
    """(B, K, R): 1 where a row is of a cluster."""
    return (labels[:, None] == torch.arange(count, device=labels.device)[None, :, None]).double()


def _means(points: Tensor, labels: Tensor, previous: Tensor) -> Tensor:
    """Mean of each cluster; an empty one keeps its centroid."""
    members = _members(labels, previous.shape[1])
    counts = members.sum(dim=2, keepdim=True)
    return torch.where(counts > 0, (members @ points) / counts.clamp(min=1), previous)
