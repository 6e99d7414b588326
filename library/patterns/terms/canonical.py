"""Canonical: the DNA's canonical form on a coarse grid, where models agree in it.

The matrix in canonical order (`pipeline.order`), in units of its rms, as the means of 8 x 8 blocks. It is what a
coordinate network is fitted to, so no DNA can have more in common between models than this has.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from library.patterns.terms.term import NullName
from library.patterns.views import View
from pipeline.order import canonicalise, seriate_tensor

__all__ = ["CanonicalTerm"]

Float64 = npt.NDArray[np.float64]
GRID = 8
LARGEST = 256
"""Rows and columns that are put in order at most: the first of a matrix, whose order is arbitrary."""
LEAST = 1e-12


@dataclass(frozen=True, slots=True)
class CanonicalTerm:
    """The means of the blocks, row by row."""

    name: str = "canonical"
    null: NullName = "shuffle"

    def subject(self, view: View) -> str | None:
        return None if view.num_places or min(view.values.shape) < 2 * GRID else view.subject

    def measure(self, view: View) -> Float64:
        """(64,)."""
        part = view.values[:LARGEST, :LARGEST].astype(np.float32)
        canonical = canonicalise(part, seriate_tensor(part, view.spec)).astype(np.float64)
        blocks = _averaging(part.shape[0]) @ canonical @ _averaging(part.shape[1]).T
        return np.asarray((blocks / max(np.sqrt(np.mean(np.square(canonical))), LEAST)).ravel())

    def apply(self, view: View, values: Float64, rng: np.random.Generator) -> View:
        rows, cols = (np.repeat(np.arange(GRID), _sizes(size)) for size in view.values.shape)
        blocks = values.reshape(GRID, GRID)[np.ix_(rows, cols)]
        weights = view.values / max(np.sqrt(np.mean(np.square(view.values))), LEAST)
        # What random weights have of it is taken out, and the rest shrunk, so that the size stays.
        left = weights - _spread(weights)
        share = max(1.0 - float(np.mean(np.square(blocks))), 0.0)
        return view.with_values(blocks + left * np.sqrt(share / max(float(np.mean(np.square(left))), LEAST)))


def _spread(weights: Float64) -> Float64:
    """The mean of its block at each place."""
    by_rows, by_cols = (_averaging(size) for size in weights.shape)
    blocks = by_rows @ weights @ by_cols.T
    return np.asarray((by_rows > 0).T @ blocks @ (by_cols > 0))


def _sizes(size: int) -> list[int]:
    """Of the blocks."""
    edges = [round(size * block / GRID) for block in range(GRID + 1)]
    return [stop - start for start, stop in pairwise(edges)]


def _averaging(size: int) -> Float64:
    """(GRID, size): the mean over each block."""
    found, start = np.zeros((GRID, size)), 0
    for block, length in enumerate(_sizes(size)):
        found[block, start : start + length] = 1 / length
        start += length
    return found
