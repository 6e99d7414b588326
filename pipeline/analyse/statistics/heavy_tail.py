"""Heavy tails: a power law in the eigenvalues of W^T W, and norms.

The fit follows Clauset, Shalizi & Newman 2009: for every candidate xmin the continuous maximum-likelihood exponent
(their eq. 3.1), and of all candidates the one whose tail is nearest to its power law in Kolmogorov-Smirnov distance
(section 3.3). Martin & Mahoney 2021 read the exponent of a layer as its quality. The null is `shuffle`.
"""

import math
from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Float64, Indices

__all__ = ["PowerLaw", "fit_power_law", "measure_heavy_tail"]

FEWEST_VALUES = 8
"""With fewer eigenvalues there is no tail to speak of: alpha is NaN."""
STARTS_AT_A_TIME = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerLaw:
    """p(x) ~ x^-alpha for x >= xmin, and how far the data are from it."""

    alpha: float
    xmin: float
    distance: float
    """Kolmogorov-Smirnov distance of the tail."""
    num_tail: int


def fit_power_law(values: Float64) -> PowerLaw | None:
    """The power law of the positive `values`, (N,); None with fewer than `FEWEST_VALUES` distinct ones.

    The empirical distribution at the i-th of n tail values is i / n, i from 0, as in the `powerlaw` package
    (Alstott, Bullmore & Plenz 2014), so that the two agree.
    """
    data = np.sort(values[values > 0])
    starts = np.unique(data, return_index=True)[1]
    if len(starts) < FEWEST_VALUES:
        return None
    logs = np.log(data)
    counts = len(data) - np.arange(len(data))
    above = np.cumsum(logs[::-1])[::-1] - counts * logs
    # The largest value alone has no exponent, nor have values that their logarithms cannot tell apart.
    starts = starts[:-1][above[starts[:-1]] > 0]
    if not len(starts):
        return None
    alphas = 1 + counts[starts] / above[starts]
    distances = _distances(logs, starts, alphas)
    best = int(np.argmin(distances))
    start = starts[best]
    return PowerLaw(
        alpha=float(alphas[best]), xmin=float(data[start]), distance=float(distances[best]), num_tail=int(counts[start])
    )


def _distances(logs: Float64, starts: Indices, alphas: Float64) -> Float64:
    """Kolmogorov-Smirnov distance of each tail (S,) from its power law; `logs` (N,) ascend, `starts` (S,) do too."""
    found = np.empty(len(starts))
    for first in range(0, len(starts), STARTS_AT_A_TIME):
        some = slice(first, first + STARTS_AT_A_TIME)
        begin, offset = starts[some, None], starts[first]
        ranks = np.arange(offset, len(logs))
        # What lies before a tail's own start counts as at its start, where the distance is 0.
        beyond = np.maximum(logs[None, offset:] - logs[begin], 0.0)
        shares = np.maximum(ranks - begin, 0) / (len(logs) - begin)
        found[some] = np.abs(1 - np.exp((1 - alphas[some, None]) * beyond) - shares).max(axis=1)
    return found


def measure_heavy_tail(singular: Float64) -> dict[str, float]:
    """From all singular values of a matrix.

    - `alpha`, `ks`: exponent of the power law in the eigenvalues s^2, and its distance; NaN where there is none.
    - `stable_rank`: sum s^2 / max s^2 over their number, in (0, 1].
    - `log_norm`: log10 of the Frobenius norm.
    """
    largest = float(singular.max(initial=0.0))
    if largest == 0:
        nothing = math.nan
        return {f"heavy_tail.{name}": nothing for name in ("alpha", "ks", "stable_rank", "log_norm")}
    relative = (singular / largest) ** 2
    law = fit_power_law(relative)
    return {
        "heavy_tail.alpha": law.alpha if law else math.nan,
        "heavy_tail.ks": law.distance if law else math.nan,
        "heavy_tail.stable_rank": float(relative.sum()) / len(relative),
        "heavy_tail.log_norm": math.log10(largest) + 0.5 * math.log10(float(relative.sum())),
    }
