"""Distances of signatures, and the nearest of them: numpy only, nothing of the database.

A signature has two blocks. The statistics say what kind of model it is. The fingerprint (dimensions `fingerprint/...`)
says whose weights they are; its distance is 1 - correlation: 0 for copies, 1 for unrelated models of any kind. What the
statistics add is bounded, so that two models of one kind do not pass for related: a distance below 1 is a sign of
common weights in any catalog. Unrelated models lie from 1 to 1.05, and among them the statistics decide. All pairs of
a database are ranked by the same distance, so a distance comes with its percentile among them.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dna_zoo.errors import StoreError
from patterndb.all_pairs import cosine_distances, mean_squares
from patterndb.records import Neighbour, SignatureEntry, SignatureRecord

__all__ = [
    "align",
    "cosine_distance",
    "distances_of_pairs",
    "fingerprint_correlation",
    "is_fingerprint",
    "nearest",
    "pairwise_distances",
    "percentile",
    "rms_distance",
    "signature_distance",
]

Vector = npt.NDArray[np.float64]
FINGERPRINT = "fingerprint"
STATISTICS_WEIGHT = 0.1
"""What statistics add at most to a squared distance; unrelated weights add 1."""
CHANCE = 2.0
"""Correlations up to this many times their spread between unrelated models, 1 / sqrt(dimensions), count as none. One
pair in forty that has nothing in common passes; with 3 few would, but a merge of two roots, which keeps a quarter of
its correlation with each, would be lost wherever parts are few (see `benchmarks/retrieval.py`)."""
MOST_CHANCE = 0.9
"""With few dimensions even a high correlation says little, but a copy must stay a copy."""
ROUNDING = 1e-9
"""Distances that differ by a smaller share are taken for the same: all pairs are summed in another order than one."""


def align(signatures: Sequence[SignatureRecord]) -> tuple[tuple[str, ...], Vector]:
    """The names of all dimensions, and the values (signatures, dimensions) with NaN for those that are missing.

    Raises `StoreError` for signatures of different versions: their dimensions do not mean the same.
    """
    versions = sorted({signature.version for signature in signatures})
    if len(versions) > 1:
        raise StoreError(
            f"Signatures of versions {' and '.join(versions)} cannot be compared.",
            hint="Mine the models again with one version of dna-zoo: `dna-zoo mine --force`.",
        )
    layouts = dict.fromkeys(signature.names for signature in signatures)
    names = tuple(dict.fromkeys(itertools.chain.from_iterable(layouts)))
    index = {name: position for position, name in enumerate(names)}
    places = {layout: [index[name] for name in layout] for layout in layouts}
    values = np.full((len(signatures), len(names)), np.nan)
    for row, signature in zip(values, signatures, strict=True):
        # None becomes NaN.
        row[places[signature.names]] = np.array(signature.values, dtype=np.float64)
    return names, values


def rms_distance(a: Vector, b: Vector) -> float | None:
    """Root mean square of the differences, `sqrt(mean((a_i - b_i)^2))`, over the dimensions that both have.

    This is the Euclidean distance divided by the square root of the number of shared dimensions, so that pairs that
    share more are not farther apart for that. None if they share none.
    """
    square = _mean_square(a, b)
    return None if math.isnan(square) else math.sqrt(square)


def cosine_distance(a: Vector, b: Vector) -> float | None:
    """1 - cosine of the angle, in [0, 2], over the shared dimensions; None if there are none or one vector is 0."""
    shared = np.isfinite(a) & np.isfinite(b)
    norms = float(np.linalg.norm(a[shared]) * np.linalg.norm(b[shared]))
    if norms == 0:
        return None
    # Clipped: rounding must not put a vector at a negative distance from itself.
    return float(np.clip(1 - a[shared] @ b[shared] / norms, 0, 2))


def signature_distance(names: Sequence[str], a: Vector, b: Vector) -> float | None:
    """Distance of two signatures, as `align` gives them; None where nothing is shared.

    It is `sqrt(1 - c + w d^2 / (1 + d^2))`: c the correlation of their fingerprints beyond chance, 0 where one
    has none; d the root mean square difference of the statistics both have, w = `STATISTICS_WEIGHT`. Where neither has
    any fingerprint it is d alone. All sums are rounded once: it depends on nothing but the two, to the last bit.
    """
    own = is_fingerprint(names)
    either = bool(np.isfinite(a[own]).any() or np.isfinite(b[own]).any())
    found = _distance(
        np.array(_mean_square(a[~own], b[~own])), np.array(_correlation(a[own], b[own])), np.array(either)
    )
    return _finite_or_none(float(found))


def pairwise_distances(names: Sequence[str], values: Vector) -> Vector:
    """`signature_distance` of every pair of rows, as `align` gives them: (rows, rows), NaN where nothing is shared.

    Symmetric; exactly 0 on the diagonal and for copies, elsewhere within 1e-10 of the distance, relatively.
    """
    own = is_fingerprint(names)
    has_fingerprint = np.isfinite(values[:, own]).any(axis=1)
    squares, correlations = mean_squares(values[:, ~own]), _beyond_chance(*cosine_distances(values[:, own]))
    return _distance(squares, correlations, np.logical_or.outer(has_fingerprint, has_fingerprint))


def is_fingerprint(names: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which dimensions are of the fingerprint."""
    return np.array([name.partition("/")[0] == FINGERPRINT for name in names], dtype=bool)


def _distance(squares: Vector, correlations: Vector, either: npt.NDArray[np.bool_]) -> Vector:
    """From the mean squares of statistics, the correlations of fingerprints, and whether one of the two has one."""
    is_known = np.isfinite(correlations)
    # A pair without a statistic in common is told apart by its weights alone.
    weighed = np.where(np.isnan(squares) & is_known, 0.0, STATISTICS_WEIGHT * squares / (1 + squares))
    apart = weighed + np.where(is_known, 1 - correlations, 1.0)
    return np.asarray(np.sqrt(np.where(either, apart, squares)))


def distances_of_pairs(entries: Sequence[SignatureEntry]) -> Vector:
    """The distances of all pairs of signatures of one version, each pair once."""
    distances = pairwise_distances(*align([entry.signature for entry in entries]))
    return distances[np.triu_indices(len(entries), 1)]


def nearest(keys: Sequence[str], entries: Sequence[SignatureEntry], top_k: int) -> dict[str, tuple[Neighbour, ...]]:
    """The `top_k` of `entries` nearest to each of the model keys, the nearest first; ties by name.

    Entries of another version, or without a dimension in common, are left out. All pairs are computed once.
    """
    found: dict[str, tuple[Neighbour, ...]] = dict.fromkeys(keys, ())
    for version in sorted({entry.signature.version for entry in entries if entry.model.key in found}):
        models = [entry for entry in entries if entry.signature.version == version]
        names, values = align([model.signature for model in models])
        distances = pairwise_distances(names, values)
        pairs = distances[np.triu_indices(len(models), 1)]
        np.fill_diagonal(distances, np.nan)
        for own, model in enumerate(models):
            if model.model.key not in found:
                continue
            near = []
            for other in _least(distances[own], top_k):
                distance = signature_distance(names, values[own], values[other])
                assert distance is not None, "What shares nothing is not among the nearest."
                rank = percentile(distance, pairs)
                near.append(Neighbour(model=models[other].model.key, distance=distance, percentile=rank))
            found[model.model.key] = tuple(sorted(near, key=lambda each: (each.distance, each.model))[:top_k])
    return found


def _least(distances: Vector, count: int) -> list[int]:
    """Places of the `count` least, of others that rounding may have put behind them, and of none that is NaN."""
    known = np.sort(distances[np.isfinite(distances)])[:count]
    return np.flatnonzero(distances <= known.max(initial=0.0) * (1 + ROUNDING)).tolist()


def fingerprint_correlation(a: Vector, b: Vector) -> float | None:
    """Correlation of two fingerprints beyond chance, 0 to 1, over the dimensions both have; None if none are shared.

    - `a`, `b`: values of the fingerprint block alone. Unrelated weights give 0, copies 1.
    """
    correlation = _correlation(a, b)
    return None if math.isnan(correlation) else correlation


def _mean_square(a: Vector, b: Vector) -> float:
    """Mean square of the differences over the dimensions that both have; NaN if they share none."""
    shared = np.isfinite(a) & np.isfinite(b)
    squares = (a[shared] - b[shared]) ** 2
    return math.fsum(squares.tolist()) / len(squares) if len(squares) else math.nan


def _correlation(a: Vector, b: Vector) -> float:
    """`fingerprint_correlation`; NaN if they share none."""
    shared = np.isfinite(a) & np.isfinite(b)
    norms = [math.sqrt(math.fsum((side[shared] ** 2).tolist())) for side in (a, b)]
    if not all(norms):
        return math.nan
    # Half the squared distance of unit vectors is 1 - cosine, and exactly 0 for a vector and itself.
    squares = (a[shared] / norms[0] - b[shared] / norms[1]) ** 2
    return float(_beyond_chance(np.array(math.fsum(squares.tolist()) / 2), np.array(float(len(squares)))))


def _beyond_chance(unlike: Vector, counts: Vector) -> Vector:
    """From 1 - cosine over so many dimensions: the correlation's part that is beyond chance."""
    chance = np.minimum(CHANCE / np.sqrt(np.maximum(counts, 1)), MOST_CHANCE)
    return np.asarray(np.maximum(1 - unlike - chance, 0) / (1 - chance))


def percentile(distance: float | None, distances: Vector) -> float | None:
    """Rank of `distance` among `distances`, to which it belongs, from 0 (closest) to 100; ties share the middle rank.

    Distances tie that differ by no more than rounding. None if there are fewer than two.
    """
    distances = distances[np.isfinite(distances)]
    if distance is None or len(distances) < 2:
        return None
    slack = ROUNDING * distance
    below, tied = int((distances < distance - slack).sum()), int((np.abs(distances - distance) <= slack).sum())
    return 100 * (below + max(tied - 1, 0) / 2) / (len(distances) - 1)


def _finite_or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None
