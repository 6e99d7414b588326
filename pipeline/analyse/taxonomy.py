"""Taxonomy: the tree people declare, the tree the signatures show, and how far the two agree.

The found tree is average-linkage clustering of signature distances (UPGMA, Sokal & Michener 1958); its cophenetic
correlation (Sokal & Rohlf 1962) says how well a tree fits those distances at all. At each declared level the found tree
is cut into as many groups as the level has labels. The adjusted Rand index (Hubert & Arabie 1985) says how well the two
partitions agree: 0 by chance, 1 at most. Its p-value comes from permuting the labels of whole lineages, since related
models are no independent evidence. The level `lineage` is tested by permuting the labels of models.
"""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.cluster.hierarchy import cophenet, fcluster, linkage
from scipy.spatial.distance import squareform

from patterndb.comparison import adjusted_rand
from patterndb.multiplicity import q_values
from patterndb.records import SignatureEntry
from patterndb.similarity import align, all_distances
from pipeline.analyse.lineage_groups import find_related, group_lineages
from pipeline.analyse.permutation_tests import Labels, blocks_of_lineages, deal_labels, least_p
from pipeline.arrays import Float64

__all__ = [
    "FEWEST_MODELS",
    "NOT_ENOUGH",
    "DeclaredModel",
    "LevelAgreement",
    "Merge",
    "Taxonomy",
    "classify",
    "taxonomy",
]

FEWEST_MODELS = 4
"""With three models every tree fits, and no permutation test can reach p < 0.05."""
NOT_ENOUGH = "not enough models"
ALPHA = 0.05
LEVELS = ("modality", "architecture", "family", "lineage", "profile")
SAME_SOURCE = "the class comes from the same statistics"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredModel:
    """What is known of a model apart from its weights, and the profile of its frequencies (its class, say)."""

    key: str
    modality: str | None
    architecture: str | None
    profile: str | None
    family: str | None = None
    lineage: str | None = None
    """Ancestor that it is declared to come from; None for a model that declares none."""
    lineage_group: str | None = None
    """The same, declared or found in the weights: models of one group are no independent evidence."""

    @property
    def path(self) -> tuple[str, str, str]:
        return (self.modality or "unknown", self.architecture or "unknown", self.profile or "unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """A node of the found tree: two groups of models joined at a mean distance."""

    left: tuple[str, ...]
    right: tuple[str, ...]
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelAgreement:
    """Declared against found, at one level. Numbers are None, and `note` says why, where they would mean nothing."""

    level: str
    num_models: int
    """With a declared label."""
    num_labels: int
    num_lineages: int = 0
    """Independent ones among those models."""
    adjusted_rand: float | None = None
    p: float | None = None
    least_p: float | None = None
    """The smallest p that so many lineages allow."""
    q: float | None = None
    """p adjusted for all levels whose least p could be evidence; None for the others."""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taxonomy:
    """Both trees and their agreement."""

    models: tuple[str, ...]
    declared: Mapping[str, Mapping[str, Mapping[str, tuple[str, ...]]]]
    """modality -> architecture -> frequency profile -> keys, sorted."""
    merges: tuple[Merge, ...]
    """From the nearest pair up; one fewer than there are models."""
    cophenetic: float | None
    """None with fewer than `FEWEST_MODELS` models or without two different distances."""
    agreement: tuple[LevelAgreement, ...]
    note: str = ""
    sample: str = ""
    """Which models these are, where they stand for a larger catalog."""


def classify(entries: Sequence[SignatureEntry]) -> Taxonomy:
    """The trees of the models in a database. Raises `StoreError` for signatures of different versions."""
    names, values = align([entry.signature for entry in entries])
    models = [entry.model for entry in entries]
    # The weights must not be asked whether they agree with what they said themselves.
    by_card, by_weights = group_lineages(models), group_lineages(models, find_related(names, values))
    declared = [
        DeclaredModel(
            key=entry.model.key,
            modality=entry.model.modality,
            architecture=entry.model.architecture,
            profile=entry.pattern_class,
            family=entry.model.family,
            lineage=by_card.names[lineage],
            lineage_group=by_weights.names[group],
        )
        for entry, lineage, group in zip(entries, by_card.lineages, by_weights.lineages, strict=True)
    ]
    return taxonomy(declared, all_distances(entries).in_one)


def taxonomy(
    models: Sequence[DeclaredModel], distances: Float64, *, seed: int = 0, num_permutations: int = 1999
) -> Taxonomy:
    """Compare what is declared of `models` with the tree of `distances`.

    - `distances`: (N, N), symmetric, 0 on the diagonal; NaN where two signatures share no dimension, which counts
      as the largest distance there is.
    """
    if distances.shape != (len(models), len(models)):
        raise ValueError(f"`distances` must have shape {(len(models),) * 2}. Got {distances.shape}.")
    known = _fill(distances)
    keys = tuple(model.key for model in models)
    merges = _average_linkage(known) if len(models) > 1 else np.empty((0, 4))
    enough = len(models) >= FEWEST_MODELS
    return Taxonomy(
        models=keys,
        declared=_declare(models),
        merges=_name_merges(keys, merges),
        cophenetic=_cophenetic(merges, known) if enough else None,
        agreement=_adjust([_agree(level, models, known, seed, num_permutations) for level in LEVELS]),
        note="" if enough else NOT_ENOUGH,
    )


def _label(model: DeclaredModel, level: str) -> str | None:
    if level == "lineage":
        return model.lineage or model.key
    found: str | None = getattr(model, level)
    return found


def _adjust(levels: Sequence[LevelAgreement]) -> tuple[LevelAgreement, ...]:
    """Give q to the levels that could have reached `ALPHA`, and say so of those that could not."""
    counted = [each.p if each.least_p is not None and each.least_p <= ALPHA else None for each in levels]
    return tuple(
        replace(each, q=q, note=NOT_ENOUGH if each.p is not None and q is None else each.note)
        for each, q in zip(levels, q_values(counted), strict=True)
    )


def _declare(models: Sequence[DeclaredModel]) -> dict[str, dict[str, dict[str, tuple[str, ...]]]]:
    tree: dict[str, dict[str, dict[str, tuple[str, ...]]]] = {}
    for (modality, architecture, profile), group in itertools.groupby(
        sorted(models, key=lambda model: (model.path, model.key)), key=lambda model: model.path
    ):
        tree.setdefault(modality, {}).setdefault(architecture, {})[profile] = tuple(model.key for model in group)
    return tree


def _fill(distances: Float64) -> Float64:
    """The distances (N, N) by their upper triangle, unknown ones at the largest known."""
    upper = np.triu(distances, k=1).astype(np.float64)
    known = upper[np.isfinite(upper)]
    filled = np.where(np.isfinite(upper), upper, known.max(initial=0.0))
    return filled + filled.T


def _average_linkage(distances: Float64) -> Float64:
    """The merges (N - 1, 4) of the tree, as `scipy.cluster.hierarchy.linkage` gives them."""
    return linkage(squareform(distances, checks=False), "average")


def _cophenetic(merges: Float64, distances: Float64) -> float | None:
    heights, condensed = cophenet(merges), squareform(distances, checks=False)
    if np.ptp(condensed) == 0 or np.ptp(heights) == 0:
        return None
    return float(np.corrcoef(heights, condensed)[0, 1])


def _name_merges(keys: tuple[str, ...], merges: Float64) -> tuple[Merge, ...]:
    groups: list[tuple[str, ...]] = [(key,) for key in keys]
    named = []
    for left, right, height, _ in merges:
        named.append(Merge(left=groups[int(left)], right=groups[int(right)], height=float(height)))
        groups.append((*groups[int(left)], *groups[int(right)]))
    return tuple(named)


def _agree(
    level: str, models: Sequence[DeclaredModel], distances: Float64, seed: int, num_permutations: int
) -> LevelAgreement:
    """Agreement at one level, over the models that have a label there."""
    labels = [_label(model, level) for model in models]
    known = np.array([index for index, label in enumerate(labels) if label is not None], dtype=np.intp)
    counts = Counter(label for label in labels if label is not None)
    names = [models[index].lineage_group or models[index].lineage or models[index].key for index in known]
    found = LevelAgreement(level=level, num_models=len(known), num_labels=len(counts), num_lineages=len(set(names)))
    if len(known) < FEWEST_MODELS or len(counts) < 2 or len(counts) == len(known):
        return _with_note(found, counts)
    codes = np.unique([str(labels[index]) for index in known], return_inverse=True)[1]
    # The tree of the known models alone.
    groups = fcluster(_average_linkage(distances[np.ix_(known, known)]), len(counts), "maxclust").astype(np.intp) - 1
    # All models of a lineage have one label there, so that labels are permuted between models.
    lineages = np.arange(len(known)) if level == "lineage" else np.unique(names, return_inverse=True)[1]
    units, unit_of, blocks = _units(codes, lineages)
    rng = np.random.default_rng(seed)
    dealt = deal_labels(codes[units], blocks, rng=rng, max_labellings=num_permutations + 1)
    # One-sided: only more agreement than chance is agreement.
    agreement = adjusted_rand(dealt.codes[:, unit_of], groups)
    return replace(
        found,
        adjusted_rand=float(agreement[0]),
        p=dealt.p_value(agreement),
        least_p=least_p(codes[units], blocks, num_permutations + 1),
        note=SAME_SOURCE if level == "profile" else "",
    )


def _units(codes: Labels, lineages: Labels) -> tuple[Labels, Labels, Labels]:
    """What is dealt one label at a time: lineages with one label whole, the models of the others singly.

    Gives one model of each unit, the unit of each model, and the block of each unit.
    """
    blocks = blocks_of_lineages(codes, lineages)
    names = np.where(blocks == 0, lineages, len(codes) + np.arange(len(codes)))
    _, units, unit_of = np.unique(names, return_index=True, return_inverse=True)
    return units, unit_of, blocks[units]


def _with_note(found: LevelAgreement, counts: Counter[str]) -> LevelAgreement:
    if found.num_models < FEWEST_MODELS:
        note = NOT_ENOUGH
    elif len(counts) < 2:
        note = "one label for all" if counts else NOT_ENOUGH
    else:
        note = "every model has a label of its own"
    return replace(found, note=note)
