"""The most that a code of some size can explain of Gaussian weights: reverse water-filling."""

import math
from collections.abc import Sequence

__all__ = ["gaussian_bound"]


def gaussian_bound(variances: Sequence[float], counts: Sequence[int], bits: float) -> float:
    """R2 that no code of so many `bits` in all exceeds on independent Gaussian weights, `counts[i]` of `variances[i]`.

    The rate-distortion function of a Gaussian vector (Cover and Thomas, Elements of Information Theory, theorem
    10.3.3): bits go to the weights of largest variance until what is left of each is min(theta, variance), and weights
    below the water level theta get none. Of sources with these variances Gaussian is the hardest: weights that are not
    Gaussian, or not independent, can be coded beyond it, and a fit beyond it has found that.
    """
    known = sorted(((v, n) for v, n in zip(variances, counts, strict=True) if v > 0), reverse=True)
    total = math.fsum(v * n for v, n in known)
    if not known:
        return 1.0
    weights, logs, level = 0, 0.0, 0.0
    for place, (variance, count) in enumerate(known):
        weights += count
        logs += count * math.log2(variance)
        level = 2 ** ((logs - 2 * bits) / weights)
        if place + 1 == len(known) or level >= known[place + 1][0]:
            break
    return 1 - math.fsum(min(level, v) * n for v, n in known) / total
