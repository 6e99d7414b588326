"""k-means on the rows of a stack of matrices, as `pipeline.analyse.statistics.clusters` takes that of one.

B = matrices, R = rows, C = columns, K = clusters. Float64. Sums over the rows of a cluster are products with a table of
zeros and ones: their order does not change from run to run, as that of additions to one place may.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Partition", "cluster", "farthest_first", "unit_rows"]


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


def unit_rows(stack: Tensor) -> Tensor:
    """Rows of length 1, float64 (B, R, C); rows of zeros stay zeros."""
    values = stack.double()
    norms = values.square().sum(dim=2, keepdim=True).sqrt()
    return values / torch.where(norms > 0, norms, 1.0)


def farthest_first(points: Tensor, count: int) -> Tensor:
    """First centroids (B, K, C): the row nearest to the mean, then always the row farthest from all chosen."""
    squares = points.square().sum(dim=2)
    nearest = (squares + _offsets(points, points.mean(dim=1, keepdim=True))[:, :, 0]).argmin(dim=1)
    chosen = [_rows(points, nearest)]
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
