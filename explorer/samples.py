"""What figures look at of a matrix: all of it, or rows drawn at random where it has more than the analysis looks at.

R = rows (of the sample), C = columns.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from explorer.source import MinedMatrix
from pipeline.analyse.sampling import random_rows
from pipeline.nulls import Place, null_rng, sample_rng, shuffle
from pipeline.order import CanonicalOrder, canonicalise, seriate_tensor
from zoo.tensors import Role

__all__ = ["MOST_ROWS", "MatrixSample", "block_means", "means_between", "sample_of"]

MOST_ROWS = 4096
"""As many as the analysis looks at by default."""

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, kw_only=True, eq=False)
class MatrixSample:
    """Rows of a matrix in file order, and in the canonical order of the analysis; with nulls made as it makes them.

    It is not the order of the DNA, which the fit has moved on from there: nulls have no such moves.
    """

    matrix: MinedMatrix
    in_file_order: Float32
    """(R, C)."""

    @property
    def is_sampled(self) -> bool:
        return len(self.in_file_order) < self.matrix.spec.rows

    @cached_property
    def order(self) -> CanonicalOrder:
        return seriate_tensor(self.in_file_order, self.matrix.spec)

    @cached_property
    def canonical(self) -> Float32:
        return canonicalise(self.in_file_order, self.order)

    def shuffled(self, draw: int) -> Float32:
        """The canonical values at random places (R, C), not in order: all that a null needs of singular values."""
        return shuffle(self.canonical, null_rng("shuffle", draw, seed=self.matrix.seed, **_place(self.matrix)))

    def null(self, draw: int) -> Float32:
        """The same, put into order as the matrix was."""
        drawn = self.shuffled(draw)
        return canonicalise(drawn, seriate_tensor(drawn, self.matrix.spec))

    def nulls(self, count: int) -> Iterator[Float32]:
        return (self.null(draw) for draw in range(count))

    def said(self) -> str:
        """How much of the matrix it is, as a clause for captions."""
        rows, cols = self.matrix.dna.shape
        if not self.is_sampled:
            return f"{rows:,} x {cols:,}"
        return f"{rows:,} x {cols:,}; {len(self.in_file_order):,} rows drawn at random"


def sample_of(matrix: MinedMatrix, most_rows: int = MOST_ROWS) -> MatrixSample:
    """All rows, or `most_rows` of them at random, by the seed that the model was mined with."""
    found, rows = matrix.in_file_order, matrix.spec.rows
    if rows > most_rows:
        found = found[random_rows(rows, most_rows, sample_rng(0, seed=matrix.seed, **_place(matrix)))]
    return MatrixSample(matrix=matrix, in_file_order=np.ascontiguousarray(found))


def block_means(matrix: Float32, most: int) -> tuple[Float64, tuple[int, int]]:
    """Means of blocks of a matrix (R, C), so that neither side has more than `most`; and the size of a block.

    The last block of a side may be smaller.
    """
    rows, cols = (-(-length // most) for length in matrix.shape)
    edges = ([*range(0, length, step), length] for length, step in zip(matrix.shape, (rows, cols), strict=True))
    return means_between(matrix, *edges), (rows, cols)


def means_between(
    values: npt.NDArray[Any], row_edges: Sequence[int] | Indices, col_edges: Sequence[int] | Indices
) -> Float64:
    """Means of the blocks of a matrix (R, C) that lie between these edges, the first 0 and the last its length."""
    sums = np.add.reduceat(np.add.reduceat(values, row_edges[:-1], axis=0, dtype=np.float64), col_edges[:-1], axis=1)
    return np.asarray(sums / np.outer(np.diff(row_edges), np.diff(col_edges)), dtype=np.float64)


def _place(matrix: MinedMatrix) -> Place:
    spec = matrix.spec
    return {
        "role": list(Role).index(spec.role),
        "block": spec.block,
        "ordinal": matrix.ordinal,
        "shape": (spec.rows, spec.cols),
    }
