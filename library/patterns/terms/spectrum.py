"""Spectrum: how the energy is shared by the singular values, relative to a random matrix of the same shape.

The singular values of a matrix, descending, are cut into bands by their rank's quantile. A value is log2 of the band's
share of the energy over that of Gaussian weights of the shape, so it means the same for every shape.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from library.patterns.terms.term import NullName
from library.patterns.views import View
from pipeline.decomposition import singular_values

__all__ = ["SpectrumTerm"]

Float64 = npt.NDArray[np.float64]
EDGES = np.array([0.0, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1.0])
"""Of the bands: finer where the large values are."""
SMALLEST = 2.0**-16
"""Share of a band that counts as none."""
ROUNDS = 40
"""Of the scaling in `apply`: values at the border of two bands belong to both."""
REFERENCE_DRAWS = 4


@dataclass(frozen=True, slots=True)
class SpectrumTerm:
    """log2 shares of seven bands."""

    name: str = "spectrum"
    null: NullName = "shuffle"

    def subject(self, view: View) -> str | None:
        return None if view.num_places or min(view.values.shape) < 4 else view.subject

    def measure(self, view: View) -> Float64:
        """(7,)."""
        return _log_shares(singular_values(view.values.astype(np.float32))) - _reference(*view.values.shape)

    def apply(self, view: View, values: Float64, rng: np.random.Generator) -> View:
        left, singular, right = np.linalg.svd(view.values, full_matrices=False)
        bands = _bands(len(singular))
        wanted = 2.0 ** (values + _reference(*view.values.shape))
        energy = np.square(singular)
        for _ in range(ROUNDS):
            energy = energy * (bands @ (wanted / np.maximum(energy @ bands, SMALLEST**2)))
        return view.with_values((left * np.sqrt(energy)) @ right)


def _log_shares(singular: Float64) -> Float64:
    """log2 of each band's share of the energy."""
    energy = np.square(singular)
    shares = energy @ _bands(len(energy)) / max(float(energy.sum()), SMALLEST**4)
    return np.asarray(np.log2(np.maximum(shares, SMALLEST)))


@cache
def _bands(size: int) -> Float64:
    """(size, 7): how much of each singular value, by its rank, lies in each band; one may lie in several."""
    ranks = np.arange(size)[:, None] / size
    within = np.minimum(ranks + 1 / size, EDGES[1:]) - np.maximum(ranks, EDGES[:-1])
    return np.asarray(np.maximum(within, 0.0) * size)


@cache
def _reference(rows: int, cols: int) -> Float64:
    """The shares of Gaussian weights of the shape."""
    rng = np.random.default_rng([rows, cols])
    draws = [rng.standard_normal((rows, cols), dtype=np.float32) for _ in range(REFERENCE_DRAWS)]
    return np.asarray(np.mean([_log_shares(singular_values(draw)) for draw in draws], axis=0))
