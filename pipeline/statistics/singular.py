"""The singular values of a matrix, computed once and shared by every block that asks for a spectrum."""

import numpy as np
import numpy.typing as npt

__all__ = ["singular_values"]

CHUNK = 4096
RELATIVE_ZERO = 1e-7
"""Singular values below this share of the largest are rounding of the Gram matrix (its square is float64's epsilon)."""


def singular_values(matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """All min(R, C) singular values of a matrix (R, C), descending, float64.

    Taken from the eigenvalues of the smaller Gram matrix, accumulated in float64: float32 input has 24 bits, so its
    square loses nothing that the input had. Values under `RELATIVE_ZERO` of the largest are returned as 0.
    """
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    gram = np.zeros((tall.shape[1], tall.shape[1]))
    for start in range(0, tall.shape[0], CHUNK):
        chunk = tall[start : start + CHUNK].astype(np.float64)
        gram += chunk.T @ chunk
    squares = np.maximum(np.linalg.eigvalsh(gram)[::-1], 0.0)
    squares[squares <= RELATIVE_ZERO**2 * squares[:1]] = 0.0
    return np.asarray(np.sqrt(squares), dtype=np.float64)
