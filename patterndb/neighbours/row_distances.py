"""Distances row by row: of one signature from many, or of many from as many, linear in their number.

They are those of `patterndb.similarity` but for the order of the sums: equal within 1e-10, relatively.

N = rows, D = dimensions of a layout; NaN where a row lacks one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from patterndb.similarity import Distances, beyond_chance, fingerprint_parts, is_fingerprint

__all__ = ["Layout", "row_distances"]

Vector = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Layout:
    """The names of a signature's dimensions, and where its parts are."""

    names: tuple[str, ...]

    @cached_property
    def parts(self) -> dict[str, Places]:
        """Places of the fingerprint's `roles`, `names` and `keys`, and of the `statistics`."""
        parts = fingerprint_parts(self.names)
        found = {name: np.flatnonzero(parts[name]) for name in ("roles", "names", "keys")}
        return found | {"statistics": np.flatnonzero(~is_fingerprint(self.names))}

    def run(self, part: str) -> slice | Places:
        """The places of a part, as a slice where they are in one piece: of an array that takes no copy."""
        places = self.parts[part]
        is_run = len(places) and places[-1] - places[0] + 1 == len(places)
        return slice(int(places[0]), int(places[-1]) + 1) if is_run else places

    @cached_property
    def _index(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.names)}

    def take(self, names: Sequence[str], values: Vector) -> Vector:
        """Values (..., D) of these names as values of this layout; NaN where they lack a dimension."""
        if tuple(names) == self.names:
            return values
        found = np.full((*values.shape[:-1], len(self.names)), np.nan)
        theirs = [place for place, name in enumerate(names) if name in self._index]
        found[..., [self._index[names[place]] for place in theirs]] = values[..., theirs]
        return found


def row_distances(layout: Layout, a: Vector, b: Vector) -> Distances:
    """The distances of the rows of `a`, (N, D) or (1, D), from those of `b` (N, D): (N,) each."""
    parts = layout.parts
    by_role, by_name = (_part_distances(a[:, parts[part]], b[:, parts[part]]) for part in ("roles", "names"))
    has_common = (a[:, parts["keys"]] == b[:, parts["keys"]]).any(axis=1)
    weights = np.fmin(by_role, np.where(has_common, by_name, np.nan))
    return Distances(weights=weights, kind=_root_mean_squares(a[:, parts["statistics"]], b[:, parts["statistics"]]))


def _shared(a: Vector, b: Vector) -> tuple[Vector, Vector, Vector]:
    """Both sides with 0 where one of them lacks a dimension, and how many are shared."""
    shared = np.isfinite(a) & np.isfinite(b)
    return np.where(shared, a, 0.0), np.where(shared, b, 0.0), shared.sum(axis=1).astype(np.float64)


def _part_distances(a: Vector, b: Vector) -> Vector:
    """Distance of the weights by one part of the fingerprint; NaN where none is shared or one side is 0 there."""
    a, b, counts = _shared(a, b)
    sizes = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Half the squared distance of unit vectors is 1 - cosine, and exactly 0 for a vector and itself.
        unlike = ((a / sizes[0][:, None] - b / sizes[1][:, None]) ** 2).sum(axis=1) / 2
    return beyond_chance(np.where((sizes[0] > 0) & (sizes[1] > 0), unlike, np.nan), counts)


def _root_mean_squares(a: Vector, b: Vector) -> Vector:
    """Root mean square of the differences; NaN where no dimension is shared."""
    a, b, counts = _shared(a, b)
    squares = ((a - b) ** 2).sum(axis=1)
    return np.asarray(np.sqrt(np.divide(squares, counts, out=np.full_like(squares, np.nan), where=counts > 0)))
