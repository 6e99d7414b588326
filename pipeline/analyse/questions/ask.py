"""Answer all questions from the models in a database.

A question is answered `yes` if q <= `ALPHA` and its effect, or that of one significant dimension, is above
`LEAST_EFFECT`; `not enough models` if so few lineages cannot reach that q with any data; `no evidence` otherwise. `yes`
is no proof of a cause, and `no evidence` no proof of absence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from patterndb.multiplicity import q_values
from patterndb.records import ModelRecord, SignatureEntry, Statistic
from patterndb.similarity import align
from pipeline.analyse.lineage_groups import LineageGroups, find_related, group_lineages, leave_out_fingerprint
from pipeline.analyse.permutation_tests import (
    MAX_LABELLINGS,
    Labellings,
    deal_labels,
    labels_needed,
    least_p,
    num_labellings,
)
from pipeline.analyse.questions.confounds import find_confounds
from pipeline.analyse.questions.dimensions import differing_dimensions
from pipeline.analyse.questions.labels import COMPARISONS, Comparison
from pipeline.analyse.questions.records import Answer, QuestionsAnswered, Verdict
from pipeline.analyse.questions.samples import Sample, make_sample
from pipeline.analyse.questions.sentences import explain
from pipeline.analyse.questions.separation import separate
from pipeline.analyse.questions.universal import find_universal, least_universal_p, lineages_for_a_sign
from pipeline.arrays import Float64

__all__ = ["ALPHA", "LEAST_EFFECT", "QUESTIONS", "ask"]

ALPHA = 0.05
LEAST_EFFECT: Mapping[str, float] = {
    # Agreement beyond chance that is more than slight (Landis and Koch 1977).
    "skill": 0.2,
    # A large effect (Cohen 1988, f = 0.4), since it is the largest of many.
    "epsilon squared": 0.14,
    "share of statistics": 0.0,
}
QUESTIONS: Mapping[str, str] = {
    **{each.name: each.question for each in COMPARISONS},
    "universal": "Is there a pattern that all models share?",
}
"""Name -> question, in the order in which they are answered."""
WORK = 2_000_000_000
"""Limit of units times (units or dimensions) times labellings, which is the cost of a test."""


def ask(
    entries: Sequence[SignatureEntry], statistics: Mapping[str, Sequence[Statistic]], *, seed: int = 0
) -> QuestionsAnswered:
    """Answer every question of `QUESTIONS`, all at once because they are one family of tests.

    - `statistics`: pattern key -> statistics of the model as a whole.

    Raises `StoreError` for signatures of different versions.
    """
    models = [entry.model for entry in entries]
    names, values = align([entry.signature for entry in entries])
    groups = group_lineages(models, find_related(names, values))
    names, values = leave_out_fingerprint(names, values)
    catalog = _Catalog(models=tuple(models), names=names, values=values, groups=groups, seed=seed)
    answers = [_compare(comparison, catalog) for comparison in COMPARISONS]
    answers.append(_find_universal(entries, statistics, groups))
    members: dict[str, tuple[str, ...]] = {}
    for model, lineage in zip(models, groups.lineages, strict=True):
        members[groups.names[lineage]] = (*members.get(groups.names[lineage], ()), model.key)
    return QuestionsAnswered(models=len(models), lineages=members, answers=_judge(answers))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Catalog:
    """The models that all questions are about, with signatures without the fingerprint."""

    models: tuple[ModelRecord, ...]
    names: tuple[str, ...]
    """Of the dimensions."""
    values: Float64
    """(models, dimensions)."""
    groups: LineageGroups
    seed: int

    def sample(self, comparison: Comparison) -> Sample:
        """The units whose labels are compared."""
        return make_sample(self.values, [comparison.label_of(model) for model in self.models], self.groups.lineages)

    def deal(self, sample: Sample) -> Labellings:
        """Labellings for its test; they depend on the sample and the seed alone."""
        cost = len(sample.codes) * max(len(sample.codes), sample.num_dimensions)
        limit = int(np.clip(WORK // cost, 999, MAX_LABELLINGS))
        return deal_labels(sample.codes, sample.blocks, rng=np.random.default_rng(self.seed), max_labellings=limit)


def _compare(comparison: Comparison, catalog: _Catalog) -> Answer:
    """Answer whether signatures differ between labels, over the labels that several lineages have."""
    labelled = catalog.sample(comparison)
    sample = labelled.of_several_lineages()
    answer = _draft(comparison, labelled, sample, catalog)
    if len(sample.labels) < 2 or not sample.num_dimensions:
        return answer
    dealt = catalog.deal(sample)
    found = separate(sample, dealt)
    recalls = dict(zip(sample.labels, found.recalls, strict=True))
    return replace(
        answer,
        effect=found.skill,
        chance=found.chance,
        observed=found.accuracy,
        p=found.p,
        least_p=least_p(sample.codes, sample.blocks, len(dealt.codes)),
        labellings=len(dealt.codes),
        is_exact=dealt.is_exact,
        groups=tuple(replace(group, recall=recalls.get(group.label)) for group in answer.groups),
        confounds=find_confounds(comparison, catalog.models, catalog.groups.lineages, sample, dealt),
        findings=differing_dimensions(sample, dealt, catalog.names),
    )


def _find_universal(
    entries: Sequence[SignatureEntry], statistics: Mapping[str, Sequence[Statistic]], groups: LineageGroups
) -> Answer:
    """Answer which statistics all lineages share, each represented by its founder."""
    founders = [entries[index].pattern_key for index in groups.founders]
    by_lineage = [{each.name: each for each in statistics.get(key, ())} for key in founders]
    more = lineages_for_a_sign(ALPHA / len(QUESTIONS)) - len(by_lineage)
    answer = Answer(
        name="universal",
        question=QUESTIONS["universal"],
        measure="share of statistics",
        models=len(entries),
        lineages=len(by_lineage),
        needed={"any": more} if more > 0 else {},
    )
    if len(by_lineage) < 2:
        return answer
    found = find_universal(by_lineage, alpha=ALPHA)
    return replace(
        answer,
        effect=len(found.found) / found.tested if found.tested else None,
        observed=float(len(found.found)),
        p=found.p,
        least_p=least_universal_p(by_lineage),
        findings=found.found,
    )


def _draft(comparison: Comparison, labelled: Sample, tested: Sample, catalog: _Catalog) -> Answer:
    """The answer before its test."""
    num_models = sum(map(len, labelled.members))
    commonest = {group.label for group in sorted(labelled.groups, key=lambda group: -group.lineages)[:2]}
    compared = tested if len(tested.labels) > 1 else labelled.only_labels(commonest)
    return Answer(
        name=comparison.name,
        question=comparison.question,
        measure="skill",
        models=num_models,
        lineages=labelled.num_lineages,
        dimensions=tested.num_dimensions,
        unlabelled=len(catalog.models) - num_models,
        groups=labelled.groups,
        needed=_needed(compared, comparison.labels),
        least_p=least_p(compared.codes, compared.blocks) if len(compared.labels) > 1 else None,
    )


def _needed(sample: Sample, asked: Sequence[str]) -> dict[str, int]:
    """Lineages for a p that stays significant after correction, whatever the other questions give (Bonferroni)."""
    is_pure = sample.blocks == 0
    counts = dict.fromkeys((*asked, *sample.labels), 0)
    for code in sample.codes[is_pure]:
        counts[sample.labels[code]] += 1
    for unnamed in ("any label", "another label")[len(counts) :]:
        counts[unnamed] = 0
    within_mixed = num_labellings(sample.codes[~is_pure], sample.blocks[~is_pure])
    return labels_needed(counts, within_mixed * ALPHA / len(QUESTIONS))


def _judge(answers: Sequence[Answer]) -> tuple[Answer, ...]:
    """Give each answer its q, its verdict and its sentence.

    A test that cannot reach `ALPHA` with any data does not count in the family (Tarone 1990).
    """
    counted = [answer.p if answer.least_p is not None and answer.least_p <= ALPHA else None for answer in answers]
    judged = []
    for index, (answer, q) in enumerate(zip(answers, q_values(counted), strict=True)):
        at_best = q_values([answer.least_p if place == index else p for place, p in enumerate(counted)])[index]
        is_enough = q is not None and at_best is not None and at_best <= ALPHA
        verdict: Verdict = "not enough models"
        if is_enough:
            verdict = "yes" if q is not None and q <= ALPHA and _is_large(answer) else "no evidence"
        final = replace(answer, q=q, verdict=verdict, needed={} if is_enough else answer.needed)
        judged.append(replace(final, sentence=explain(final, alpha=ALPHA)))
    return tuple(judged)


def _is_large(answer: Answer) -> bool:
    """Whether the effect, or that of a dimension with q <= `ALPHA`, is above the least that counts."""
    if answer.measure == "skill":
        strong = [each.effect or 0.0 for each in answer.findings if each.q is not None and each.q <= ALPHA]
        if max(strong, default=0.0) > LEAST_EFFECT["epsilon squared"]:
            return True
    return (answer.effect or 0.0) > LEAST_EFFECT[answer.measure]
