"""Percentiles among a random sample of pairs, with their standard errors: for catalogs with too many pairs.

The sample is drawn with a seed from the models that there are, and kept in the database. It is drawn again once the
catalog has grown or shrunk by the factor `STALE`.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["NUM_PAIRS", "ROUNDING", "SEED", "STALE", "PairSample", "Place", "count_below", "draw_pairs"]

Vector = npt.NDArray[np.float64]
NUM_PAIRS = 4_000
"""The standard error of a percentile is 0.8 at the median, and 0.16 at the first percentile."""
SEED = 0
STALE = 1.25
ROUNDING = 1e-9
"""Distances that differ by a smaller share are taken for the same: sums in another order differ in the last digits."""


class Place(NamedTuple):
    """Where a distance lies among others: percentile, 0 the nearest, and its standard error; None if it is unknown."""

    percentile: float | None
    error: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSample:
    """Distances of random pairs, (pairs,) each, NaN where a pair cannot be compared."""

    num_models: int
    """How many models there were to draw from."""
    weights: Vector
    kind: Vector

    def is_fresh(self, num_models: int) -> bool:
        """Whether it still stands for so many models."""
        return max(num_models, self.num_models) <= STALE * min(num_models, self.num_models)

    def place(self, distance: float | None, distances: Vector) -> Place:
        """Rank of `distance` among one kind of distances of the sample, from 0 to 100; ties count half.

        The error is the standard deviation of a share of which so many of the pairs were counted (Jeffreys' prior):
        no pair below does not mean that there is none.
        """
        known = distances[np.isfinite(distances)]
        if distance is None or len(known) < 2:
            return Place(None, None)
        below, tied = count_below(distance, known)
        count = below + tied / 2
        a, b = count + 0.5, len(known) - count + 0.5
        return Place(100 * count / len(known), 100 * math.sqrt(a * b / (a + b + 1)) / (a + b))


def count_below(distance: float, distances: Vector) -> tuple[int, int]:
    """How many of the distances are below, and how many are the same up to rounding."""
    slack = ROUNDING * distance
    return int((distances < distance - slack).sum()), int((np.abs(distances - distance) <= slack).sum())


def draw_pairs(num_models: int, num_pairs: int = NUM_PAIRS, seed: int = SEED) -> npt.NDArray[np.intp]:
    """Random pairs of two models each, (pairs, 2), places from 0: each pair as likely as any other."""
    rng = np.random.default_rng((seed, num_models))
    first = rng.integers(num_models, size=num_pairs)
    second = rng.integers(num_models - 1, size=num_pairs)
    return np.stack([first, second + (second >= first)], axis=1)
