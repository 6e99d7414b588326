"""Distances of signatures, and the nearest of them: numpy only, nothing of the database.

Two models have two distances, each with one meaning and one scale for any pair.

*Weights*: whether they have weights in common. It is `min(1, (1 - c) / (1 - t))`, c the cosine of their fingerprints, t
what chance may give: 0 for copies, 1 for unrelated weights. A fingerprint has two parts, one that no symmetry of a
known architecture changes, and one that takes tensors of one name and shape in the order of the file; the nearer
counts. Where a pair shares neither, its weights cannot be compared.

*Kind*: how alike they are, whoever's weights they have. It is the root mean square difference of the statistics that
both have.
"""

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from dna_zoo.errors import StoreError
from patterndb.neighbours.all_pairs import cosine_distances, mean_squares
from patterndb.neighbours.pair_sample import PairSample, count_below
from patterndb.records import Neighbour, PairDistances, PatternRecord, SignatureEntry, SignatureRecord

__all__ = [
    "Criterion",
    "Distances",
    "align",
    "all_distances",
    "beyond_chance",
    "cosine_distance",
    "fingerprint_parts",
    "is_fingerprint",
    "kind_distance",
    "kind_distances",
    "nearest",
    "pair_distances",
    "percentile",
    "rms_distance",
    "weights_distance",
    "weights_distances",
]

Vector = npt.NDArray[np.float64]
Criterion = Literal["weights", "kind"]
FINGERPRINT = "fingerprint"
CHANCE = 3.0
"""Cosines up to this many times their spread between unrelated models, 1 / sqrt(dimensions), count as none: of pairs
that have nothing in common one in 740 passes, in each part."""
MOST_CHANCE = 0.9
"""With few dimensions even a high correlation says little, but a copy must stay a copy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distances:
    """Of all pairs of some models: (models, models) each, symmetric, NaN where a pair cannot be compared."""

    weights: Vector
    kind: Vector

    @property
    def in_one(self) -> Vector:
        """One number where an order or a tree needs one: `weights` where it is below 1, and 1 + `kind` elsewhere.

        So relatives come first, and then models of a kind. NaN where what it takes is.
        """
        return np.where(self.weights < 1, self.weights, 1 + self.kind)

    def each_once(self) -> "Distances":
        """The same, (pairs,) each, without the distances of models to themselves."""
        pairs = np.triu_indices(len(self.weights), 1)
        return Distances(weights=self.weights[pairs], kind=self.kind[pairs])


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
    if len(layouts) == 1:
        # None becomes NaN.
        return next(iter(layouts)), np.array([signature.values for signature in signatures], dtype=np.float64)
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


def weights_distance(names: Sequence[str], a: Vector, b: Vector) -> float | None:
    """Distance of the weights, in [0, 1], of two signatures as `align` gives them; None where they cannot be compared.

    All sums are rounded once: it depends on nothing but the two, to the last bit.
    """
    parts = fingerprint_parts(names)
    by_role, by_name = (beyond_chance(*_unlike(a[part], b[part])) for part in (parts["roles"], parts["names"]))
    has_common = bool((a[parts["keys"]] == b[parts["keys"]]).any())
    found = float(np.fmin(by_role, by_name if has_common else np.nan))
    return None if math.isnan(found) else found


def kind_distance(names: Sequence[str], a: Vector, b: Vector) -> float | None:
    """Distance of the kinds, >= 0, of two signatures as `align` gives them; None without a statistic in common."""
    statistics = ~is_fingerprint(names)
    return rms_distance(a[statistics], b[statistics])


def weights_distances(names: Sequence[str], values: Vector) -> Vector:
    """`weights_distance` of every pair of rows, as `align` gives them: (rows, rows), NaN where it is None.

    Symmetric; exactly 0 for copies, elsewhere within 1e-10 of the distance, relatively.
    """
    parts = fingerprint_parts(names)
    by_role, by_name = (beyond_chance(*cosine_distances(values[:, parts[part]])) for part in ("roles", "names"))
    has_common = np.zeros(by_name.shape, dtype=bool)
    for keys in values[:, parts["keys"]].T:
        has_common |= keys[:, None] == keys
    return np.asarray(np.fmin(by_role, np.where(has_common, by_name, np.nan)))


def kind_distances(names: Sequence[str], values: Vector) -> Vector:
    """`kind_distance` of every pair of rows, as `align` gives them: (rows, rows), NaN where it is None.

    Symmetric; exactly 0 for copies, elsewhere within 1e-10 of the distance, relatively.
    """
    return np.sqrt(mean_squares(values[:, ~is_fingerprint(names)]))


def is_fingerprint(names: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which dimensions are of the fingerprint."""
    return _parts(tuple(names))["all"]


def fingerprint_parts(names: Sequence[str]) -> Mapping[str, npt.NDArray[np.bool_]]:
    """Which dimensions of the fingerprint are `roles`, `names`, and `keys` that say what names there are."""
    return _parts(tuple(names))


@functools.lru_cache(maxsize=16)
def _parts(names: tuple[str, ...]) -> Mapping[str, npt.NDArray[np.bool_]]:
    """The same, and `all`: reading thousands of names takes longer than a distance."""
    own = np.array([name.partition("/")[0] == FINGERPRINT for name in names], dtype=bool)
    families = np.array([name.rpartition("/")[2].partition("_")[0] for name in names], dtype=str)
    by_name, keys = own & (families == "names"), own & (families == "keys")
    found = {"all": own, "roles": own & ~by_name & ~keys, "names": by_name, "keys": keys}
    for mask in found.values():
        mask.flags.writeable = False
    return found


def all_distances(entries: Sequence[SignatureEntry]) -> Distances:
    """The distances of all pairs of models whose signatures have one version; the weights of equal files are at 0."""
    names, values = align([entry.signature for entry in entries])
    files = np.array([entry.model.sha256 for entry in entries], dtype=str)
    weights = np.where(files[:, None] == files, 0.0, weights_distances(names, values))
    return Distances(weights=weights, kind=kind_distances(names, values))


def pair_distances(
    a: SignatureEntry | PatternRecord, b: SignatureEntry | PatternRecord, among: Distances | PairSample
) -> PairDistances:
    """The distances of two models, and their percentiles `among` those of all pairs, each once, or of a sample."""
    names, values = align((a.signature, b.signature))
    is_same_file = a.model.sha256 == b.model.sha256
    weights = 0.0 if is_same_file else weights_distance(names, *values)
    kind = kind_distance(names, *values)
    if isinstance(among, PairSample):
        of_weights, of_kind = among.place(weights, among.weights), among.place(kind, among.kind)
        return PairDistances(
            is_same_file=is_same_file,
            weights=weights,
            weights_percentile=of_weights.percentile,
            weights_percentile_error=of_weights.error,
            kind=kind,
            kind_percentile=of_kind.percentile,
            kind_percentile_error=of_kind.error,
        )
    return PairDistances(
        is_same_file=is_same_file,
        weights=weights,
        weights_percentile=percentile(weights, among.weights),
        kind=kind,
        kind_percentile=percentile(kind, among.kind),
    )


def nearest(
    keys: Sequence[str], entries: Sequence[SignatureEntry], top_k: int, by: Criterion = "weights"
) -> dict[str, tuple[Neighbour, ...]]:
    """The `top_k` of `entries` nearest to each of the model keys, the nearest first; ties by name.

    By weights, models without a sign of common weights come last, by kind (`Distances.in_one`). Entries of another
    version, or that cannot be compared, are left out. All pairs are computed once.
    """
    found: dict[str, tuple[Neighbour, ...]] = dict.fromkeys(keys, ())
    for version in sorted({entry.signature.version for entry in entries if entry.model.key in found}):
        models = sorted((e for e in entries if e.signature.version == version), key=lambda entry: entry.model.key)
        distances = all_distances(models)
        ranked, among = distances.in_one if by == "weights" else distances.kind, distances.each_once()
        for own, model in enumerate(models):
            if model.model.key in found:
                others = [models[other] for other in _order(ranked[own]) if other != own][:top_k]
                found[model.model.key] = tuple(
                    Neighbour(model=other.model.key, **asdict(pair_distances(model, other, among))) for other in others
                )
    return found


def _order(distances: Vector) -> list[int]:
    """Places of the models that can be compared, the nearest first; ties keep their order."""
    # Rounded, since distances of all pairs differ in the last digits from those of one.
    order = np.argsort(distances.round(9), kind="stable")
    return [int(place) for place in order if math.isfinite(distances[place])]


def _mean_square(a: Vector, b: Vector) -> float:
    """Mean square of the differences over the dimensions that both have; NaN if they share none."""
    shared = np.isfinite(a) & np.isfinite(b)
    squares = (a[shared] - b[shared]) ** 2
    return math.fsum(squares.tolist()) / len(squares) if len(squares) else math.nan


def _unlike(a: Vector, b: Vector) -> tuple[Vector, Vector]:
    """1 - cosine over the dimensions that both have, NaN if there is none, and how many they are."""
    shared = np.isfinite(a) & np.isfinite(b)
    norms = [math.sqrt(math.fsum((side[shared] ** 2).tolist())) for side in (a, b)]
    if not all(norms):
        return np.array(np.nan), np.array(0.0)
    # Half the squared distance of unit vectors is 1 - cosine, and exactly 0 for a vector and itself.
    squares = (a[shared] / norms[0] - b[shared] / norms[1]) ** 2
    return np.array(math.fsum(squares.tolist()) / 2), np.array(float(len(squares)))


def beyond_chance(unlike: Vector, counts: Vector) -> Vector:
    """1 - cosine over so many dimensions as a distance: 1 where the cosine may be chance."""
    allowed = np.minimum(CHANCE / np.sqrt(np.maximum(counts, 1)), MOST_CHANCE)
    return np.asarray(np.minimum(unlike / (1 - allowed), 1.0))


def percentile(distance: float | None, distances: Vector) -> float | None:
    """Rank of `distance` among `distances`, to which it belongs, from 0 (closest) to 100; ties share the middle rank.

    Distances tie that differ by no more than rounding. None if there are fewer than two.
    """
    distances = distances[np.isfinite(distances)]
    if distance is None or len(distances) < 2:
        return None
    below, tied = count_below(distance, distances)
    return 100 * (below + max(tied - 1, 0) / 2) / (len(distances) - 1)
