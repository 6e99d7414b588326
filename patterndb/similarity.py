"""How alike two patterns are: numpy only, nothing of the database.

A signature has two blocks. Statistics say what kind of model it is; kinship (dimensions `kinship/...`) says whose
weights they are, and is worth 1 - correlation: 0 for copies, 1 for unrelated models, whatever they are. What statistics
add is bounded, so that no likeness of kind passes for kinship: a distance below 1 is a sign of kinship in any catalog,
unrelated models lie from 1 to 1.05, and among them statistics decide. All pairs of a database are ranked by the same
distance, so a distance comes with its percentile among them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dna_zoo.errors import StoreError
from patterndb.clustering import ClusterOverlap, mean_overlap, role_overlap
from patterndb.records import FitRecord, PatternRecord, SignatureEntry, SignatureRecord

__all__ = [
    "Comparison",
    "Neighbour",
    "RoleComparison",
    "Side",
    "align",
    "compare",
    "cosine_distance",
    "distances_of_pairs",
    "frequency_correlation",
    "kinship_correlation",
    "nearest",
    "pairwise_distances",
    "percentile",
    "rms_distance",
]

Vector = npt.NDArray[np.float64]
KINSHIP = "kinship"
STATISTICS_WEIGHT = 0.1
"""Of statistics as different as they can be, beside 1 for unrelated weights."""
CHANCE = 2.0
"""Correlations up to this many times their spread between unrelated models, 1 / sqrt(dimensions), count as none. One
pair in forty that has nothing in common passes; with 3 few would, but a merge of two roots, which keeps a quarter of
its correlation with each, would be lost wherever circuits are few (see `benchmarks/retrieval.py`)."""
MOST_CHANCE = 0.9
"""With few dimensions even a high correlation says little, but a copy must stay a copy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What the fits of one model say of a role; None where it has none."""

    tensors: int
    r2: float | None
    null_r2: float | None
    gain: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleComparison:
    """One role in both models.

    The role `model` stands for the dimensions that pool the whole model, `kinship` for those that say whose weights
    they are: there copies are at 0, unrelated models at about 1.41.
    """

    role: str
    distance: float | None
    """`rms_distance` over this role's shared dimensions; None if there are none."""
    dimensions: int
    """How many are shared."""
    a: Side
    b: Side
    cluster_overlap: ClusterOverlap | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two models side by side."""

    a: str
    b: str
    distance: float | None
    """As `pairwise_distances` has it; None if no dimension is shared."""
    kinship: float | None
    """`kinship_correlation`."""
    cosine: float | None
    """`cosine_distance`."""
    percentile: float | None
    """Of `distance` among all pairs in the database: 0 the closest, 100 the farthest; None where there is one pair."""
    dimensions: int
    """How many both signatures have."""
    frequency_correlation: float | None
    cluster_overlap: ClusterOverlap | None
    """The mean over the roles."""
    roles: tuple[RoleComparison, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A model near another."""

    model: str
    distance: float
    percentile: float | None


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
    names = tuple(dict.fromkeys(name for signature in signatures for name in signature.names))
    index = {name: position for position, name in enumerate(names)}
    values = np.full((len(signatures), len(names)), np.nan)
    for row, signature in zip(values, signatures, strict=True):
        places = [index[name] for name in signature.names]
        row[places] = [np.nan if value is None else value for value in signature.values]
    return names, values


def rms_distance(a: Vector, b: Vector) -> float | None:
    """Root mean square of the differences, `sqrt(mean((a_i - b_i)^2))`, over the dimensions that both have.

    This is the Euclidean distance divided by the square root of the number of shared dimensions, so that pairs that
    share more are not farther apart for that. None if they share none.
    """
    distance = float(_rms_distances(np.stack([a, b]))[0, 1])
    return None if np.isnan(distance) else distance


def cosine_distance(a: Vector, b: Vector) -> float | None:
    """1 - cosine of the angle, in [0, 2], over the shared dimensions; None if there are none or one vector is 0."""
    shared = np.isfinite(a) & np.isfinite(b)
    norms = float(np.linalg.norm(a[shared]) * np.linalg.norm(b[shared]))
    if norms == 0:
        return None
    # Clipped: rounding must not put a vector at a negative distance from itself.
    return float(np.clip(1 - a[shared] @ b[shared] / norms, 0, 2))


def pairwise_distances(names: Sequence[str], values: Vector) -> Vector:
    """Distance of every pair of rows, as `align` gives them: (rows, rows), symmetric, 0 on the diagonal.

    The distance is `sqrt(1 - c + w d^2 / (1 + d^2))`: c the correlation of their kinship beyond chance, 0 where one of
    the two has none; d the root mean square difference of the statistics both have, w = `STATISTICS_WEIGHT`. Where
    neither has any kinship it is d alone. NaN where nothing is shared.
    """
    is_kinship = np.array([name.partition("/")[0] == KINSHIP for name in names], dtype=bool)
    statistics, kinship = values[:, ~is_kinship], values[:, is_kinship]
    squares = _rms_distances(statistics) ** 2
    unrelated = 1 - _correlations(kinship)
    has_kinship = np.isfinite(kinship).any(axis=1)
    # A pair without a statistic in common is told apart by its weights alone.
    weighed = np.where(np.isnan(squares) & np.isfinite(unrelated), 0.0, STATISTICS_WEIGHT * squares / (1 + squares))
    apart = weighed + np.where(np.isfinite(unrelated), unrelated, 1.0)
    either = np.logical_or.outer(has_kinship, has_kinship)
    return np.asarray(np.sqrt(np.where(either, apart, squares)))


def distances_of_pairs(entries: Sequence[SignatureEntry]) -> Vector:
    """The distances of all pairs of signatures of one version, each pair once."""
    return _distances(entries)[np.triu_indices(len(entries), 1)]


def _distances(entries: Sequence[SignatureEntry]) -> Vector:
    """Distances (entries, entries) of one signature version."""
    return pairwise_distances(*align([entry.signature for entry in entries]))


def nearest(own: SignatureEntry, entries: Sequence[SignatureEntry], top_k: int) -> tuple[Neighbour, ...]:
    """The `top_k` of `entries` nearest to `own`, which is one of them, the nearest first; ties by name.

    Entries of another version, or without a dimension in common, are left out. Raises `StoreError` if there are others
    and none is of the version of `own`.
    """
    comparable = [entry for entry in entries if entry.signature.version == own.signature.version]
    if len(comparable) == 1 < len(entries):
        align([entry.signature for entry in entries])
    distances = _distances(comparable)
    pairs = distances[np.triu_indices(len(comparable), 1)]
    neighbours = [
        Neighbour(model=entry.model.key, distance=float(distance), percentile=percentile(float(distance), pairs))
        for entry, distance in zip(comparable, distances[comparable.index(own)], strict=True)
        if entry is not own and np.isfinite(distance)
    ]
    return tuple(sorted(neighbours, key=lambda each: (each.distance, each.model))[:top_k])


def kinship_correlation(a: Vector, b: Vector) -> float | None:
    """Correlation of two models' kinship beyond chance, 0 to 1, over the dimensions both have; None if none are shared.

    - `a`, `b`: values of the kinship block alone. Unrelated weights give 0, copies 1.
    """
    correlation = float(_correlations(np.stack([a, b]))[0, 1])
    return None if np.isnan(correlation) else correlation


def _rms_distances(values: Vector) -> Vector:
    """`rms_distance` of every pair of rows; NaN where none is shared."""
    present = np.isfinite(values)
    filled = np.where(present, values, 0.0)
    distances = np.full((len(values), len(values)), np.nan)
    for row, (mask, value) in enumerate(zip(present, filled, strict=True)):
        shared = present & mask
        counts = shared.sum(axis=1)
        squares = (((filled - value) ** 2) * shared).sum(axis=1)
        distances[row, counts > 0] = np.sqrt(squares[counts > 0] / counts[counts > 0])
    return distances


def _correlations(values: Vector) -> Vector:
    """`kinship_correlation` of every pair of rows, 1 on the diagonal; NaN where none is shared."""
    present = np.isfinite(values)
    filled = np.where(present, values, 0.0)
    correlations = np.full((len(values), len(values)), np.nan)
    for row, (mask, value) in enumerate(zip(present, filled, strict=True)):
        shared = present & mask
        counts = shared.sum(axis=1)
        ours, theirs = value * shared, filled * shared
        norms = np.linalg.norm(ours, axis=1), np.linalg.norm(theirs, axis=1)
        usable = (counts > 0) & (norms[0] > 0) & (norms[1] > 0)
        units = ours[usable] / norms[0][usable, None], theirs[usable] / norms[1][usable, None]
        # Half the squared distance of unit vectors is 1 - cosine, and exactly 0 for a vector and itself.
        cosine = 1 - ((units[0] - units[1]) ** 2).sum(axis=1) / 2
        chance = np.minimum(CHANCE / np.sqrt(counts[usable]), MOST_CHANCE)
        correlations[row, usable] = np.maximum(cosine - chance, 0) / (1 - chance)
    return correlations


def percentile(distance: float | None, distances: Vector) -> float | None:
    """Rank of `distance` among `distances`, to which it belongs, from 0 (closest) to 100; ties share the middle rank.

    None if there are fewer than two.
    """
    distances = distances[np.isfinite(distances)]
    if distance is None or len(distances) < 2:
        return None
    below, tied = int((distances < distance).sum()), int((distances == distance).sum())
    return 100 * (below + max(tied - 1, 0) / 2) / (len(distances) - 1)


def frequency_correlation(a: Mapping[str, tuple[float, ...]], b: Mapping[str, tuple[float, ...]]) -> float | None:
    """Pearson correlation of the band energies of all roles that both have with as many bands.

    None with fewer than three bands in all, or where one side is constant.
    """
    roles = [role for role in a if role in b and len(a[role]) == len(b[role])]
    pairs = np.array([pair for role in roles for pair in zip(a[role], b[role], strict=True)]).reshape(-1, 2)
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    if len(pairs) < 3 or not np.ptp(pairs, axis=0).all():
        return None
    centred = pairs - pairs.mean(axis=0)
    x, y = (centred / np.linalg.norm(centred, axis=0)).T
    return float(np.clip(x @ y, -1, 1))


def compare(a: PatternRecord, b: PatternRecord, all_distances: Vector) -> Comparison:
    """Everything about the pair; `all_distances` are those of all pairs in the database, this one among them."""
    names, values = align((a.signature, b.signature))
    x, y = values
    # By the same sums as for all pairs, so that `compare` and `similar` say the same to the last bit.
    distance = _finite_or_none(float(pairwise_distances(names, values)[0, 1]))
    roles = _compare_roles(a, b, names, x, y)
    return Comparison(
        a=a.model.key,
        b=b.model.key,
        distance=distance,
        kinship=kinship_correlation(*values[:, [name.partition("/")[0] == KINSHIP for name in names]]),
        cosine=cosine_distance(x, y),
        percentile=percentile(distance, all_distances) if a.model.key != b.model.key else None,
        dimensions=int((np.isfinite(x) & np.isfinite(y)).sum()),
        frequency_correlation=frequency_correlation(a.frequency_profile, b.frequency_profile),
        cluster_overlap=mean_overlap([role.cluster_overlap for role in roles]),
        roles=roles,
    )


def _finite_or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _compare_roles(
    a: PatternRecord, b: PatternRecord, names: Sequence[str], x: Vector, y: Vector
) -> tuple[RoleComparison, ...]:
    """The table by role, in the order of the signature, `model` and `kinship` last; only what one of the models has."""
    role_of = np.array([name.partition("/")[0] for name in names])
    sides = [_role_sides(pattern) for pattern in (a, b)]
    has_kinship = bool(np.isfinite(x[role_of == KINSHIP]).any() or np.isfinite(y[role_of == KINSHIP]).any())
    present = {*sides[0], *sides[1], *([KINSHIP] if has_kinship else [])}
    named = [role for role in dict.fromkeys((*role_of.tolist(), *sides[0], *sides[1])) if role in present]
    rows = []
    for role in sorted(named, key=("model", KINSHIP).__contains__):
        mask = role_of == role
        rows.append(
            RoleComparison(
                role=role,
                distance=rms_distance(x[mask], y[mask]),
                dimensions=int((np.isfinite(x[mask]) & np.isfinite(y[mask])).sum()),
                a=sides[0].get(role, ABSENT),
                b=sides[1].get(role, ABSENT),
                cluster_overlap=role_overlap(a.clusters.get(role), b.clusters.get(role)),
            )
        )
    return tuple(rows)


ABSENT = Side(tensors=0, r2=None, null_r2=None, gain=None)


def _role_sides(pattern: PatternRecord) -> dict[str, Side]:
    """The fits of every role that the pattern has, and of the model as a whole as `model`."""
    sides = {role.role: _fit_side(role.tensors, role.fit) for role in pattern.roles}
    return sides | {"model": _fit_side(sum(role.tensors for role in pattern.roles), pattern.fit)}


def _fit_side(tensors: int, fit: FitRecord | None) -> Side:
    """The three figures that say how much of a fit is structure."""
    if fit is None:
        return Side(tensors=tensors, r2=None, null_r2=None, gain=None)
    return Side(tensors=tensors, r2=fit.r2, null_r2=fit.null_r2, gain=fit.gain)
