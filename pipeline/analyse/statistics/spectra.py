"""Frequencies: the two-dimensional cosine transform of a canonical matrix.

The transform is the orthonormal DCT-II (Ahmed, Natarajan & Rao 1974) of the standardised matrix, so its squares are
shares of the variance. Index i along an axis of length R means i half-cycles; the normalised frequency is i / R in
[0, 1). The radial frequency is hypot(i / R, j / C) / sqrt(2). Position-dependent: the null is `shuffle`, put into
canonical order as the original is.

Along an axis whose order is real (positions, places in a kernel) two statistics need no canonical order: how much of a
vector lies at one frequency (the g of Fisher 1929), and how flat the spectrum of all vectors is (Gray & Markel 1974).
Their null is `reorder`, the places in random order.
"""

import math
from functools import lru_cache

import numpy as np
from scipy.fft import dctn

from pipeline.arrays import Float32, Float64, Indices

__all__ = [
    "BAND_EDGES",
    "FEWEST_PLACES",
    "LOW_SHARE",
    "NUM_BANDS",
    "energies",
    "frequency_grid",
    "measure_places",
    "measure_spectra",
]

LOW_SHARE = 1 / 22
"""`low_share` looks at this part of the coefficients: both frequencies under sqrt(1 / 22)."""
NUM_BANDS = 8
BAND_EDGES = (0.0, *(float(edge) for edge in np.geomspace(1 / 16, 1.0, NUM_BANDS)))
"""Radial bands, log-spaced above 1/16; below it a small matrix has too few coefficients to split."""
FEWEST_PLACES = 8
"""Along fewer there are too few frequencies for one of them to stand out."""


def energies(matrix: Float32) -> Float64:
    """Share of the variance at each pair of frequencies, (R, C), summing to 1; all 0 for a constant matrix."""
    # The transform of float32 values is as exact in float32 as they are; only the sums need more.
    centred = matrix - np.float32(np.mean(matrix, dtype=np.float64))
    squares: Float64 = dctn(centred, norm="ortho", overwrite_x=True).astype(np.float64) ** 2
    squares[0, 0] = 0.0
    total = float(squares.sum())
    return squares / total if total > 0 else squares


def measure_spectra(matrix: Float32) -> dict[str, float]:
    """Frequencies of a canonical matrix (R, C).

    - `low_share`: energy in the lowest 1/22 of the coefficients.
    - `band_0` ... `band_7`: energy in radial bands between `BAND_EDGES`.
    - `centroid`: energy-weighted mean radial frequency, in [0, 1].
    - `dominant_row`, `dominant_col`: normalised frequency along rows and columns that holds most energy, in [0, 1).
    """
    share = energies(matrix)
    num_rows, num_cols = share.shape
    radial, band = frequency_grid(num_rows, num_cols)
    cut = math.sqrt(LOW_SHARE)
    low = share[: math.ceil(num_rows * cut), : math.ceil(num_cols * cut)]
    bands = np.bincount(band, weights=share.ravel(), minlength=NUM_BANDS)
    return {
        "spectra.low_share": float(low.sum()),
        **{f"spectra.band_{index}": float(energy) for index, energy in enumerate(bands)},
        "spectra.centroid": float(np.vdot(share, radial)),
        "spectra.dominant_row": int(np.argmax(share.sum(axis=1))) / num_rows,
        "spectra.dominant_col": int(np.argmax(share.sum(axis=0))) / num_cols,
    }


def measure_places(vectors: Float32) -> dict[str, float]:
    """Of vectors (V, L) along L places in their real order, `FEWEST_PLACES` or more.

    The periodogram of a vector about its mean, at 1 to L / 2 cycles, is scaled to sum 1. Constant vectors do not count.

    - `peak_share`: the mean over vectors of its largest entry, in (0, 1]: 1 for sinusoids of any phase and size.
    - `flatness`: of the mean periodogram the geometric over the arithmetic mean, in [0, 1]: near 1 if all frequencies
      are equally strong over all vectors, small for smooth vectors and for those that share a spectrum.

    NaN if all vectors are constant.
    """
    centred = vectors - vectors.mean(axis=1, keepdims=True, dtype=np.float64)
    energy = np.abs(np.fft.rfft(centred, axis=1)[:, 1:]) ** 2
    if vectors.shape[1] % 2 == 0:
        energy[:, -1] /= 2  # All others stand for a positive and a negative frequency.
    energy = energy[energy.any(axis=1)]
    if not len(energy):
        return dict.fromkeys(("spectra.peak_share", "spectra.flatness"), float("nan"))
    energy /= energy.sum(axis=1, keepdims=True)
    return {"spectra.peak_share": float(energy.max(axis=1).mean()), "spectra.flatness": _flatness(energy.mean(axis=0))}


def _flatness(spectrum: Float64) -> float:
    return float(np.exp(np.log(spectrum).mean()) / spectrum.mean()) if spectrum.all() else 0.0


@lru_cache(maxsize=8)
def frequency_grid(num_rows: int, num_cols: int) -> tuple[Float64, Indices]:
    """Radial frequency (R, C) and, flattened, the band of each coefficient (R * C,)."""
    rows, cols = np.arange(num_rows) / num_rows, np.arange(num_cols) / num_cols
    radial = np.hypot(rows[:, None], cols[None, :]) / math.sqrt(2)
    return radial, np.digitize(radial.ravel(), BAND_EDGES[1:-1])
