"""Entropies: of the values, and of the spectrum."""

import numpy as np

from pipeline.arrays import Float32, Float64

__all__ = ["NUM_BINS", "RANGE_STD", "histogram_entropy", "spectral_entropy"]

NUM_BINS = 64
RANGE_STD = 4.0


def histogram_entropy(values: Float32) -> float:
    """Shannon entropy in bits of the values' histogram, in [0, 6].

    64 equal bins over mean +- 4 standard deviations; what lies outside is counted in the end bins. Free of scale and
    location. 0 for a constant. The null is `gaussian`.
    """
    flat = values.ravel()
    mean, std = float(np.mean(flat, dtype=np.float64)), float(np.std(flat, dtype=np.float64))
    if std == 0:
        return 0.0
    scaled = (flat.astype(np.float64) - mean) * (NUM_BINS / (2 * RANGE_STD * std)) + NUM_BINS / 2
    counts = np.bincount(np.clip(scaled, 0, NUM_BINS - 1).astype(np.intp), minlength=NUM_BINS)
    shares = counts[counts > 0] / flat.size
    return float(-(shares * np.log2(shares)).sum() + 0.0)


def spectral_entropy(singular: Float64) -> float:
    """Entropy of the energies s^2 / sum s^2 over log(len), in [0, 1]: 1 if all directions share alike.

    Roy & Vetterli 2007 take its exponential as the effective rank. NaN if all are 0 or there is but one. The null is
    `shuffle`.
    """
    largest = float(singular.max(initial=0.0))
    if len(singular) < 2 or largest == 0:
        return float("nan")
    energy = (singular / largest) ** 2
    shares = energy[energy > 0] / energy.sum()
    return float(-(shares * np.log(shares)).sum() / np.log(len(singular)) + 0.0)
