"""The distribution of the values, wherever they stand: unchanged by any permutation.

The unit is the root mean square about zero, not the standard deviation: for weight matrices the two agree, and a
gain vector near 1 would have no usable scale in the other. The null is `gaussian`.
"""

import math

import numpy as np

from pipeline.arrays import Float32, Float64

__all__ = ["MAGNITUDE_QUANTILES", "NEAR_ZERO", "measure_distribution"]

NEAR_ZERO = 0.01
"""Weights with |w| under this share of the root mean square count as near zero."""
MAGNITUDE_QUANTILES = (10, 25, 50, 75, 90, 99)
"""Percentiles of |w| over its root mean square."""


def measure_distribution(values: Float32) -> dict[str, float]:
    """Of an array of any shape.

    - `log_rms`: log10 of the root mean square; -inf for zeros alone.
    - `mean`, `std`: in units of the root mean square.
    - `skewness`, `kurtosis` (excess): standardised third and fourth moments, 0 for a normal; NaN for a constant.
    - `near_zero`: share of weights with |w| < 0.01 rms.
    - `magnitude_10` ... `magnitude_99`, `magnitude_max`: percentiles of |w| over rms.
    """
    flat = values.ravel().astype(np.float64)
    rms = math.sqrt(float(np.mean(flat**2)))
    scaled = flat / rms if rms > 0 else flat
    mean = float(scaled.mean())
    # float32 holds every magnitude exactly as well as the input did. In order, percentiles cost next to nothing, and
    # vectorised sorting takes a quarter of the time of finding them otherwise.
    magnitude = np.sort(np.abs(scaled).astype(np.float32))
    quantiles = np.percentile(magnitude, MAGNITUDE_QUANTILES)
    return {
        "distribution.log_rms": math.log10(rms) if rms > 0 else -math.inf,
        "distribution.mean": mean,
        **_moments(scaled - mean),
        "distribution.near_zero": float(np.mean(magnitude < NEAR_ZERO)),
        **{f"distribution.magnitude_{pct}": float(q) for pct, q in zip(MAGNITUDE_QUANTILES, quantiles, strict=True)},
        "distribution.magnitude_max": float(magnitude.max()),
    }


def _moments(centred: Float64) -> dict[str, float]:
    squares = centred * centred
    variance = float(squares.mean())
    # A constant leaves only rounding, whose shape means nothing.
    has_spread = variance > 1e-14
    return {
        "distribution.std": math.sqrt(variance),
        "distribution.skewness": float(np.mean(squares * centred)) / variance**1.5 if has_spread else math.nan,
        "distribution.kurtosis": float(np.mean(squares * squares)) / variance**2 - 3 if has_spread else math.nan,
    }
