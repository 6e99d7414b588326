"""How many directions a matrix uses: principal components, without centring.

Rows and columns are treated alike (there is no sample axis), so the components are those of the singular value
decomposition. All counts are normalised by min(R, C). The null is `shuffle`.
"""

import numpy as np

from pipeline.arrays import Float64

__all__ = ["SIGMA_QUANTILES", "effective_rank", "measure_dimension", "participation_ratio"]

SIGMA_QUANTILES = (0, 10, 25, 50, 75, 90, 95, 98, 100)
"""Percentiles of the singular values kept, in units of their root mean square: the shape of the spectrum."""


def participation_ratio(singular: Float64) -> float:
    """(sum s^2)^2 / sum s^4: the number of directions if all shared alike, in [1, len]; NaN if all are 0."""
    squares = _scaled(singular) ** 2
    return float(squares.sum() ** 2 / (squares**2).sum()) if squares.any() else float("nan")


def effective_rank(singular: Float64, share: float) -> int:
    """The least number of directions that hold `share` of the energy; 0 if there is none."""
    cumulative = np.cumsum(_scaled(singular) ** 2)
    if not len(cumulative) or cumulative[-1] == 0:
        return 0
    # A tolerance, so that a share met exactly is met in spite of rounding.
    return int(np.searchsorted(cumulative, share * cumulative[-1] * (1 - 1e-12)) + 1)


def measure_dimension(singular: Float64) -> dict[str, float]:
    """From all min(R, C) singular values, descending.

    - `participation`: participation ratio over min(R, C), in (0, 1].
    - `rank_50`, `rank_90`, `rank_99`: directions holding that percentage of the energy, over min(R, C).
    - `sigma_000` ... `sigma_100`: percentiles of the singular values over their root mean square.
    """
    size = len(singular)
    rms = float(np.sqrt(np.mean(singular**2)))
    quantiles = np.percentile(singular, SIGMA_QUANTILES) / rms if rms > 0 else np.full(len(SIGMA_QUANTILES), np.nan)
    return {
        "dimension.participation": participation_ratio(singular) / size,
        **{f"dimension.rank_{pct}": effective_rank(singular, pct / 100) / size for pct in (50, 90, 99)},
        **{f"dimension.sigma_{pct:03}": float(q) for pct, q in zip(SIGMA_QUANTILES, quantiles, strict=True)},
    }


def _scaled(singular: Float64) -> Float64:
    """Divided by the largest, so that fourth powers neither overflow nor vanish."""
    largest = float(singular.max(initial=0.0))
    return singular / largest if largest > 0 else singular
