"""Maps: points in the plane whose distances are like given ones, and how far to believe them.

Few points are placed by classical scaling (Torgerson 1952), which has no knobs; from `FEWEST_POINTS` on by t-SNE (van
der Maaten & Hinton 2008), started from the principal components as Kobak & Berens (2019) advise. A map of noise shows
islands too. So each is held against maps of the same numbers with every column shuffled on its own, by
trustworthiness (Venna & Kaski 2001): how many neighbours on the map are neighbours in truth.

N = points, D = columns, K = neighbours.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dna_zoo.errors import SettingsError
from explorer.style import require_libraries
from pipeline.analyse.permutation_tests import blocks_of_lineages, deal_labels, least_p

__all__ = [
    "FEWEST_POINTS",
    "Agreement",
    "Map",
    "agreement",
    "classical_scaling",
    "make_map",
    "standardised",
    "trustworthiness",
]

Float64 = npt.NDArray[np.float64]
Labels = npt.NDArray[np.intp]
Method = Literal["t-SNE", "classical scaling"]

FEWEST_POINTS = 100
"""Of fewer, t-SNE's perplexity leaves no room between a point's neighbours and all points."""
PERPLEXITY = 30.0
NUM_NEIGHBOURS = 5
SCALING_NULLS = 19
TSNE_NULLS = 2
NUM_LABELLINGS = 2000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Map:
    """Places (N, 2), and how much they tell."""

    places: Float64
    method: Method
    why: str
    """Why it is that method, as a sentence."""
    neighbours: int
    trust: float
    """Trustworthiness over so many neighbours, at most 1."""
    null_trust: tuple[float, ...]
    """Of maps of the same columns, each shuffled."""
    settings: dict[str, Any]

    @property
    def said(self) -> str:
        """The numbers, as a clause for captions."""
        low, high = min(self.null_trust), max(self.null_trust)
        null = f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"
        return (
            f"trustworthiness over {self.neighbours} neighbours {self.trust:.2f}, of {len(self.null_trust)} maps of "
            f"the same columns shuffled {null}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How often neighbours on a map have one label."""

    share: float
    """Of a point's nearest neighbours those with its label, the mean over points."""
    null_share: float
    """The mean over permuted labels."""
    p: float
    least_p: float
    """The smallest that so many points allow."""


def standardised(values: Float64) -> Float64:
    """Columns (N, D) that differ between points, missing ones at their mean, so that a distance is a root mean square.

    Columns are not rescaled: their units make a difference of 1 matter equally in each.
    """
    known = np.isfinite(values).sum(axis=0) > 1
    kept = values[:, known]
    means = np.nanmean(kept, axis=0) if kept.size else np.zeros(0)
    filled = np.where(np.isfinite(kept), kept, means)
    varying = filled[:, np.ptp(filled, axis=0) > 0] if filled.size else filled
    return np.asarray((varying - varying.mean(axis=0)) / np.sqrt(max(varying.shape[1], 1)), dtype=np.float64)


def make_map(values: Float64, distances_of: Callable[[Float64], Float64] | None = None, *, seed: int = 0) -> Map:
    """A map of the rows of `values` (N, D), which may hold NaN.

    - `distances_of`: from such values to distances (N, N); else Euclidean ones of `standardised` values. t-SNE, which
      starts from principal components, takes the latter in any case.

    Raises `SettingsError` for fewer than three points, or where all are the same.
    """
    count = len(values)
    if count < 3 or not standardised(values).size:
        raise SettingsError(
            f"A map needs three points that differ, and there {'is one' if count == 1 else f'are {count}'}.",
            hint="Name more models, or mine more.",
        )
    is_tsne = count >= FEWEST_POINTS
    perplexity = min(PERPLEXITY, (count - 1) / 4)
    neighbours = max(1, min(NUM_NEIGHBOURS, (count - 1) // 2))

    def place(found: Float64) -> tuple[Float64, float]:
        known = standardised(found)
        distances = _euclidean(known) if is_tsne or distances_of is None else distances_of(found)
        places = _tsne(known, perplexity, seed) if is_tsne else classical_scaling(distances)
        return places, trustworthiness(distances, places, neighbours)

    places, trust = place(values)
    rng = np.random.default_rng([seed, count, values.shape[1]])
    draws = TSNE_NULLS if is_tsne else SCALING_NULLS
    null_trust = tuple(place(rng.permuted(values, axis=0))[1] for _ in range(draws))
    settings: dict[str, Any] = {"seed": seed, "neighbours": neighbours, "num_nulls": draws, "null": "columns shuffled"}
    return Map(
        places=places,
        method="t-SNE" if is_tsne else "classical scaling",
        why=_why(count, perplexity, seed),
        neighbours=neighbours,
        trust=trust,
        null_trust=null_trust,
        settings=settings | ({"perplexity": perplexity, "init": "pca"} if is_tsne else {}),
    )


def _why(count: int, perplexity: float, seed: int) -> str:
    if count >= FEWEST_POINTS:
        return f"t-SNE from the first principal components, perplexity {perplexity:g}, seed {seed}."
    return (
        f"Classical scaling: with {count} points, fewer than {FEWEST_POINTS}, t-SNE would show its perplexity rather "
        f"than the data."
    )


def classical_scaling(distances: Float64) -> Float64:
    """The plane (N, 2) that keeps most of the squared distances (N, N); an axis points where its largest entry does."""
    squares = np.where(np.isfinite(distances), distances, np.nanmax(distances)) ** 2
    centred = squares - squares.mean(axis=0) - squares.mean(axis=1)[:, None] + squares.mean()
    values, vectors = np.linalg.eigh(-centred / 2)
    places = vectors[:, ::-1][:, :2] * np.sqrt(np.maximum(values[::-1][:2], 0))
    return np.asarray(places * _signs(places), dtype=np.float64)


def _signs(places: Float64) -> Float64:
    """An eigenvector comes with either sign: the largest entry is positive."""
    largest = places[np.argmax(np.abs(places), axis=0), np.arange(places.shape[1])]
    return np.where(largest < 0, -1.0, 1.0)


def _tsne(values: Float64, perplexity: float, seed: int) -> Float64:
    require_libraries("sklearn")
    from sklearn.manifold import TSNE

    found = TSNE(init="pca", perplexity=perplexity, random_state=seed, max_iter=500, n_jobs=1)
    # A map has no direction of its own: it is turned so that it is widest from left to right.
    places = np.asarray(found.fit_transform(values), dtype=np.float64)
    return classical_scaling(_euclidean(places))


def _euclidean(values: Float64) -> Float64:
    from scipy.spatial.distance import pdist, squareform

    return np.asarray(squareform(pdist(values)), dtype=np.float64)


def trustworthiness(distances: Float64, places: Float64, neighbours: int) -> float:
    """1 if the `neighbours` nearest on the map are the nearest by the distances (N, N); less for each intruder."""
    count = len(places)
    true = np.where(np.isfinite(distances), distances, np.inf).copy()
    np.fill_diagonal(true, -1.0)
    ranks = np.empty((count, count), dtype=np.intp)
    np.put_along_axis(ranks, np.argsort(true, axis=1, kind="stable"), np.arange(count)[None, :], axis=1)
    intruders = np.take_along_axis(ranks, _nearest(places, neighbours), axis=1) - neighbours
    worst = neighbours * count * (2 * count - 3 * neighbours - 1)
    return 1.0 - 2.0 * float(intruders[intruders > 0].sum()) / worst


def _nearest(places: Float64, neighbours: int) -> Labels:
    apart = _euclidean(places)
    np.fill_diagonal(apart, np.inf)
    return np.argsort(apart, axis=1, kind="stable")[:, :neighbours].astype(np.intp)


def agreement(
    found: Map, labels: Sequence[str | None], groups: Sequence[int], *, seed: int = 0, within: bool = False
) -> Agreement | None:
    """How far labels and a map agree, and how likely that is by chance; None where labels do not differ.

    - `groups`: what a point belongs to. Labels are dealt anew `within` each group (the tensors of a model), or to whole
      groups (the models of a lineage, which are no independent evidence). A point without a label is left out.
    """
    known = np.array([index for index, label in enumerate(labels) if label is not None], dtype=np.intp)
    names, codes = np.unique([str(labels[index]) for index in known], return_inverse=True)
    if len(names) < 2 or len(known) < 4:
        return None
    near = _nearest(found.places[known], min(found.neighbours, len(known) - 1))
    own = np.unique(np.asarray(groups)[known], return_inverse=True)[1].astype(np.intp)
    units, unit_of, blocks = (np.arange(len(known)), np.arange(len(known)), own) if within else _units(codes, own)
    rng = np.random.default_rng(seed)
    dealt = deal_labels(codes[units], blocks, rng=rng, max_labellings=NUM_LABELLINGS)
    rows = dealt.codes[:, unit_of]
    shares = np.array([float((row[near] == row[:, None]).mean()) for row in rows])
    return Agreement(
        share=float(shares[0]),
        null_share=float(shares[1:].mean()) if len(shares) > 1 else float(shares[0]),
        p=dealt.p_value(shares),
        least_p=least_p(codes[units], blocks, NUM_LABELLINGS),
    )


def _units(codes: Labels, lineages: Labels) -> tuple[Labels, Labels, Labels]:
    """What is dealt one label at a time: lineages with one label whole, the members of the others singly."""
    blocks = blocks_of_lineages(codes, lineages)
    names = np.where(blocks == 0, lineages, len(codes) + np.arange(len(codes)))
    _, units, unit_of = np.unique(names, return_index=True, return_inverse=True)
    return units.astype(np.intp), unit_of.astype(np.intp), blocks[units]
