"""Which weights of a model are shown: a fair sample, so made that every first part of it is a fair sample too."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["interleave", "quotas", "sample_places"]

Indices = npt.NDArray[np.int64]


def quotas(sizes: Sequence[int], total: int) -> list[int]:
    """How many weights of each matrix are shown: as many of each, of small ones all, `total` together where there are.

    In proportion to their sizes, a table of tokens would leave nothing for the blocks.
    """
    found, left = [0] * len(sizes), total
    order = sorted(range(len(sizes)), key=lambda index: (sizes[index], index))
    for place, index in enumerate(order):
        found[index] = min(sizes[index], left // (len(order) - place))
        left -= found[index]
    return found


def sample_places(shape: tuple[int, int], count: int, rng: np.random.Generator) -> tuple[Indices, Indices]:
    """Rows and columns of `count` different places of a matrix, in random order."""
    flat = rng.choice(shape[0] * shape[1], size=count, replace=False, shuffle=True)
    rows, cols = np.divmod(flat.astype(np.int64), shape[1])
    return rows, cols


def interleave(counts: Sequence[int], rng: np.random.Generator) -> Indices:
    """An order of all points, those of the first matrix first, in which each matrix has its share of every beginning.

    Point k of n of a matrix comes at a random place in the k-th n-th part of the whole (a stratified sample in time).
    """
    keys = [(np.arange(count) + rng.random(count)) / count for count in counts if count]
    return np.argsort(np.concatenate(keys), kind="stable") if keys else np.empty(0, dtype=np.int64)
