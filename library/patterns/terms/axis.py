"""Axis: the spectrum of a table of position embeddings along its positions, for any number of positions.

Energy of the discrete cosine transform along the positions, in bands of relative frequency, over what random weights
would have: log2 of the mean energy in the band over the mean energy.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.fft import dct, idct

from library.patterns.terms.term import NullName
from library.patterns.views import View

__all__ = ["AxisTerm"]

Float64 = npt.NDArray[np.float64]
UPPER = np.array([0.0, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0])
"""Relative frequency up to which a band goes; the first is the constant alone."""
SMALLEST = 2.0**-16


@dataclass(frozen=True, slots=True)
class AxisTerm:
    """log2 energies of six bands."""

    name: str = "axis"
    null: NullName = "shuffle"

    def subject(self, view: View) -> str | None:
        return view.subject if view.num_places > 2 and not view.kernel else None

    def measure(self, view: View) -> Float64:
        """(6,); a band without a frequency has the value of the next one."""
        energy = np.square(dct(view.by_place(), axis=0, norm="ortho")).mean(axis=1)
        bands, found = _bands(len(energy)), np.full(len(UPPER), np.nan)
        for band in np.unique(bands):
            share = energy[bands == band].mean() / max(energy.mean(), SMALLEST**4)
            found[band] = np.log2(max(share, SMALLEST))
        for band in range(len(UPPER) - 2, -1, -1):
            found[band] = found[band + 1] if np.isnan(found[band]) else found[band]
        return found

    def apply(self, view: View, values: Float64, rng: np.random.Generator) -> View:
        waves = dct(view.by_place(), axis=0, norm="ortho")
        gains = 2.0 ** (values[_bands(len(waves))] / 2)
        return view.from_places(np.asarray(idct(waves * gains[:, None], axis=0, norm="ortho")))


def _bands(size: int) -> npt.NDArray[np.intp]:
    """The band of each frequency."""
    return np.searchsorted(UPPER, np.arange(size) / max(size - 1, 1))
