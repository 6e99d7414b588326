"""The additive model of a matrix: its mean, its row means and its column means. The simplest explanation of a matrix,
and the one that a shuffle takes away together with everything else."""

from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from pipeline.arrays import Float32, Float64

__all__ = ["AdditiveModel", "WhichMeans", "additive_model"]


class WhichMeans(TypedDict):
    """Which means of a matrix say something."""

    rows: bool
    cols: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AdditiveModel:
    """The least-squares fit of w[i, j] by mean + rows[i] + cols[j]; rows and cols each sum to 0."""

    mean: float
    rows: Float64
    """(R,) by how much the mean of each row is above the mean."""
    cols: Float64
    """(C,) by how much the mean of each column is above the mean."""

    @property
    def row_energy(self) -> float:
        """The sum of squares about the mean that the row means explain; the two energies add up."""
        return float(len(self.cols) * (self.rows @ self.rows))

    @property
    def col_energy(self) -> float:
        """The sum of squares about the mean that the column means explain."""
        return float(len(self.rows) * (self.cols @ self.cols))

    def residual(self, matrix: Float32) -> Float32:
        """What a matrix (R, C) has beyond this model, float32."""
        return matrix - self._expected()

    def plus(self, residual: Float32) -> Float32:
        """This model with a residual (R, C) added, float32."""
        return residual + self._expected()

    def _expected(self) -> Float32:
        return np.asarray((self.mean + self.rows)[:, None] + self.cols, dtype=np.float32)


def additive_model(matrix: Float32, *, rows: bool = True, cols: bool = True) -> AdditiveModel:
    """The additive model of a matrix (R, C), sums in float64.

    - `rows`, `cols`: whether it has row means, and column means; with neither it has no mean at all.
    """
    num_rows, num_cols = matrix.shape
    mean = float(matrix.mean(dtype=np.float64)) if rows or cols else 0.0
    return AdditiveModel(
        mean=mean,
        rows=matrix.mean(axis=1, dtype=np.float64) - mean if rows else np.zeros(num_rows),
        cols=matrix.mean(axis=0, dtype=np.float64) - mean if cols else np.zeros(num_cols),
    )
