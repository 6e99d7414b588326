"""Singular values and directions of a matrix, from the eigenvalues of its smaller Gram matrix."""

from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Array, Float32, Float64

__all__ = ["Spectrum", "decompose", "singular_directions", "singular_values"]

CHUNK = 4096
RELATIVE_ZERO = 1e-7
"""Singular values below this share of the largest are rounding of the Gram matrix (its square is float64's epsilon)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spectrum:
    """One decomposition, for all that asks for it: the order of a matrix and its statistics."""

    singular: Float64
    """All min(R, C) singular values, descending."""
    directions: Float64
    """The leading singular vectors along the shorter axis, one a column."""


def decompose(matrix: Float32, num_directions: int) -> Spectrum:
    """All singular values of a matrix (R, C), and the leading directions; the others are not kept in memory."""
    squares, vectors = singular_directions(matrix)
    return Spectrum(singular=np.sqrt(squares), directions=vectors[:, :num_directions].copy())


def singular_values(matrix: Float32) -> Float64:
    """All min(R, C) singular values of a matrix (R, C), descending, float64.

    Taken from the eigenvalues of the smaller Gram matrix, accumulated in float64: float32 input has 24 bits, so its
    square loses nothing that the input had. Values under `RELATIVE_ZERO` of the largest are returned as 0.
    """
    return np.asarray(np.sqrt(_squares(np.linalg.eigvalsh(_smaller_gram(matrix)))), dtype=np.float64)


def singular_directions(matrix: Float32) -> tuple[Float64, Float64]:
    """The squared singular values (L,), descending, and the singular vectors along the shorter axis (L, L), one a
    column in the same order; L = min(R, C), both float64."""
    squares, vectors = np.linalg.eigh(_smaller_gram(matrix))
    return _squares(squares), vectors[:, ::-1]


def _smaller_gram(matrix: Float32) -> Float64:
    """The products of all rows or of all columns, whichever are fewer, float64 (min(R, C), min(R, C))."""
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    gram = np.zeros((tall.shape[1], tall.shape[1]))
    for start in range(0, tall.shape[0], CHUNK):
        chunk = tall[start : start + CHUNK].astype(np.float64)
        gram += chunk.T @ chunk
    return gram


def _squares(eigenvalues: Array) -> Float64:
    """Ascending eigenvalues of a Gram matrix as squared singular values, descending, rounding set to 0."""
    squares = np.maximum(np.asarray(eigenvalues[::-1], dtype=np.float64), 0.0)
    squares[squares <= RELATIVE_ZERO**2 * squares[:1]] = 0.0
    return squares
