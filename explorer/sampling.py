"""Which weights of a model are shown: a fair sample, so made that every first part of it is a fair sample too."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["interleave", "sample_places", "share_out"]

Indices = npt.NDArray[np.int64]


def share_out(sizes: Mapping[str, int], num_points: int) -> dict[str, int]:
    """How many of `num_points` each matrix gets: in proportion to the square root of its size, at most all it has.

    In proportion to the size itself, a table of tokens would leave nothing for the blocks.
    """
    left, open_, found = num_points, dict(sizes), dict.fromkeys(sizes, 0)
    while open_ and left > 0:
        weight = {name: size**0.5 for name, size in open_.items()}
        unit = left / sum(weight.values())
        full = {name: size for name, size in open_.items() if size <= weight[name] * unit}
        if not full:
            for name in open_:
                found[name] = max(1, int(weight[name] * unit))
            break
        for name, size in full.items():
            found[name] = size
            left -= size
            del open_[name]
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
