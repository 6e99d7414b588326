"""Norms: how the lengths of rows and of columns are distributed, relative to those of random weights.

Quantiles of log2(length / median length), less those of a chi distribution, which random weights have. Along a
real axis the lengths belong to `places` and are left out here.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from library.patterns.terms.term import NullName
from library.patterns.views import View

__all__ = ["NormsTerm"]

Float64 = npt.NDArray[np.float64]
QUANTILES = np.array([0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98])
SMALLEST = 1e-6
ROUNDS = 3
"""Of rows and columns in turn: each disturbs the other a little."""


@dataclass(frozen=True, slots=True)
class NormsTerm:
    """Quantiles of the lengths of rows, then of columns."""

    name: str = "norms"
    null: NullName = "shuffle"

    def subject(self, view: View) -> str | None:
        return None if view.num_places and not view.kernel else view.subject

    def measure(self, view: View) -> Float64:
        """(14,): seven of rows, seven of columns; those of columns are 0 where kernels have places."""
        rows = _quantiles(view.values) - _chi(view.values.shape[1])
        cols = np.zeros_like(rows) if view.kernel else _quantiles(view.values.T) - _chi(view.values.shape[0])
        return np.concatenate([rows, cols])

    def apply(self, view: View, values: Float64, rng: np.random.Generator) -> View:
        weights, size = view.values, len(QUANTILES)
        row_sizes = _draw_sizes(values[:size] + _chi(weights.shape[1]), weights.shape[0], rng)
        col_sizes = _draw_sizes(values[size:] + _chi(weights.shape[0]), weights.shape[1], rng)
        for _ in range(ROUNDS):
            if not view.kernel:
                weights = weights * (col_sizes / np.maximum(_relative(weights.T), SMALLEST))
            weights = weights * (row_sizes / np.maximum(_relative(weights), SMALLEST))[:, None]
        return view.with_values(weights)


def _relative(weights: Float64) -> Float64:
    """The length of each row over their median, which a few long ones do not move."""
    lengths = np.linalg.norm(weights, axis=1)
    return np.asarray(lengths / max(float(np.median(lengths)), SMALLEST**2))


def _quantiles(weights: Float64) -> Float64:
    return np.asarray(np.log2(np.maximum(np.quantile(_relative(weights), QUANTILES), SMALLEST)))


def _chi(size: int) -> Float64:
    """Quantiles of log2(length / median length) of `size` Gaussian weights."""
    from scipy.stats import chi

    return np.asarray(np.log2(chi.ppf(QUANTILES, size) / chi.median(size)))


def _draw_sizes(quantiles: Float64, count: int, rng: np.random.Generator) -> Float64:
    """`count` relative lengths with these quantiles, in random order."""
    levels = (np.arange(count) + 0.5) / count
    return np.asarray(2.0 ** np.interp(rng.permutation(levels), QUANTILES, quantiles))
