"""Average linkage (UPGMA, Sokal & Michener 1958): the tree of a few models, and what is read off it.

The same trees, to the last bit, as `scipy.cluster.hierarchy` makes: loading that takes longer than all the rest of
`dna-zoo taxonomy`.
"""

import numpy as np
import numpy.typing as npt

__all__ = ["average_linkage", "cophenetic_distances", "cut"]

Float64 = npt.NDArray[np.float64]
Labels = npt.NDArray[np.intp]


def average_linkage(distances: Float64) -> Float64:
    """Merges (N - 1, 4) of N things, from the nearest pair up: two groups, their mean distance, the size of both.

    - `distances`: (N, N), symmetric, finite, N >= 2.

    Groups are numbered as merged, from N on; things are groups 0 to N - 1, and the smaller number comes first. Grows
    chains of nearest neighbours until two groups are each other's nearest (Murtagh 1983).
    """
    open_distances = distances.astype(np.float64)
    np.fill_diagonal(open_distances, np.inf)
    sizes = np.ones(len(distances))
    merges = np.empty((len(distances) - 1, 3))
    chain: list[int] = []
    for number in range(len(merges)):
        low, high = _nearest_pair(open_distances, sizes, chain)
        merges[number] = low, high, open_distances[low, high]
        _join(open_distances, sizes, low, high)
    return _numbered(merges[np.argsort(merges[:, 2], kind="stable")])


def _nearest_pair(distances: Float64, sizes: Float64, chain: list[int]) -> tuple[int, int]:
    """Two groups that are each other's nearest, taken off the end of `chain`."""
    if not chain:
        chain.append(int(np.flatnonzero(sizes)[0]))
    while True:
        last = chain[-1]
        nearest = int(np.argmin(distances[last]))
        # Of equally near groups the one before, or the chain would run in circles.
        if len(chain) > 1 and distances[last, chain[-2]] <= distances[last, nearest]:
            nearest = chain[-2]
        if len(chain) > 1 and nearest == chain[-2]:
            del chain[-2:]
            return min(last, nearest), max(last, nearest)
        chain.append(nearest)


def _join(distances: Float64, sizes: Float64, low: int, high: int) -> None:
    """Put both groups in the place of `high`: mean distances to all that are left."""
    joined = (sizes[low] * distances[low] + sizes[high] * distances[high]) / (sizes[low] + sizes[high])
    sizes[low], sizes[high] = 0, sizes[low] + sizes[high]
    joined[[low, high]] = np.inf
    distances[high], distances[:, high] = joined, joined
    distances[low], distances[:, low] = np.inf, np.inf


def _numbered(merges: Float64) -> Float64:
    """The merges in order, with groups in place of the things that they were found by."""
    num_things = len(merges) + 1
    group_of, sizes = list(range(num_things)), [1.0] * num_things
    rows = np.empty((len(merges), 4))
    members = [[thing] for thing in range(num_things)]
    for number, (low, high, height) in enumerate(merges):
        left, right = sorted((group_of[int(low)], group_of[int(high)]))
        members.append(members[left] + members[right])
        sizes.append(sizes[left] + sizes[right])
        for thing in members[-1]:
            group_of[thing] = num_things + number
        rows[number] = left, right, height, sizes[-1]
    return rows


def cophenetic_distances(merges: Float64) -> Float64:
    """The height at which each pair is joined, (N, N); 0 on the diagonal."""
    num_things = len(merges) + 1
    members = [[thing] for thing in range(num_things)]
    heights = np.zeros((num_things, num_things))
    for left, right, height, _ in merges:
        x, y = members[int(left)], members[int(right)]
        heights[np.ix_(x, y)], heights[np.ix_(y, x)] = height, height
        members.append(x + y)
    return heights


def cut(merges: Float64, num_groups: int) -> Labels:
    """The group of each thing, (N,), cut as low as leaves at most `num_groups`: fewer where merges are equally high."""
    num_merges = len(merges) + 1 - num_groups
    if num_merges <= 0:
        return np.arange(len(merges) + 1)
    together = cophenetic_distances(merges) <= merges[num_merges - 1, 2]
    # All of a group have the same row, and its first thing is their first neighbour.
    return np.unique(np.argmax(together, axis=1), return_inverse=True)[1]
