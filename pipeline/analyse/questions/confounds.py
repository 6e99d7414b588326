"""Confounds: other properties of the models that coincide with a label. A small catalog is full of them."""

import math
from collections.abc import Sequence

import numpy as np

from patterndb.records import ModelRecord
from pipeline.analyse.permutation_tests import Labellings
from pipeline.analyse.questions.dimensions import rank_test
from pipeline.analyse.questions.labels import FACETS, Comparison
from pipeline.analyse.questions.records import Confound, Relation
from pipeline.analyse.questions.samples import Sample
from pipeline.arrays import Float64, Indices

__all__ = ["find_confounds"]

ALPHA = 0.05


def find_confounds(
    comparison: Comparison,
    models: Sequence[ModelRecord],
    lineages: Indices,
    sample: Sample,
    dealt: Labellings,
) -> tuple[Confound, ...]:
    """Every other facet that determines the label of all models compared, or in which the groups differ; size too."""
    found = []
    for facet, other_of in FACETS.items():
        if facet not in (comparison.facet, *comparison.refines):
            pairs = [
                (comparison.label_of(model), other_of(model), int(lineage))
                for model, lineage in zip(models, lineages, strict=True)
            ]
            relation = _relate([(own, other, lineage) for own, other, lineage in pairs if own and other])
            others = [str(other_of(models[unit[0]])) for unit in sample.members]
            if relation is None and dealt.p_value(_association(others, dealt.codes)) <= ALPHA:
                relation = "differs"
            if relation is not None:
                found.append(Confound(label=facet, relation=relation))
    weights = [float(np.mean([math.log(models[index].num_weights or 1) for index in unit])) for unit in sample.members]
    everyone = np.ones(len(weights), dtype=bool)
    _, p = rank_test(np.array(weights)[:, None], sample.codes, everyone, dealt)
    if p[0] <= ALPHA:
        found.append(Confound(label="size", relation="differs"))
    return tuple(found)


def _association(others: Sequence[str], labellings: Indices) -> Float64:
    """Pearson's chi-square of each labelling (L, U) and the others' labels (U,), up to terms that are the same for all:
    (L,)."""
    _, codes, counts = np.unique(others, return_inverse=True, return_counts=True)
    members = np.eye(len(counts))[codes] / np.sqrt(counts)
    own = [labellings == code for code in np.unique(labellings[0])]
    return np.asarray(sum(((each @ members) ** 2).sum(axis=1) / each.sum(axis=1) for each in own))


def _relate(pairs: Sequence[tuple[str, str, int]]) -> Relation | None:
    """How the second label of each (label, label, lineage) determines the first."""
    own, other = {pair[0] for pair in pairs}, {pair[1] for pair in pairs}
    together = {pair[:2] for pair in pairs}
    if len(own) < 2 or len(together) > len(other):
        return None
    if len(own) == len(other):
        return "coincides"
    # A label that differs between all lineages determines every other label, which says nothing.
    return "decides" if len(other) < len({pair[2] for pair in pairs}) else None
