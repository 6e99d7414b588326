"""Answers on catalogs where the truth is planted, and on catalogs where there is none."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import false_discovery_control, kruskal, mannwhitneyu
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict

from patterndb.records import SignatureEntry, Statistic
from pipeline.analyse.evidence import compare_with_null
from pipeline.analyse.permutation_tests import Labellings, deal_labels
from pipeline.analyse.questions import ALPHA, QUESTIONS, Answer, ask
from pipeline.analyse.questions.dimensions import differing_dimensions
from pipeline.analyse.questions.prediction import RIDGE, balanced_recalls, leave_lineages_out, predict
from pipeline.analyse.questions.samples import Sample, make_sample
from pipeline.analyse.questions.separation import separate
from pipeline.analyse.questions.universal import find_universal
from tests.support.catalogs import make_catalog, make_model_statistics

TEXT, VISION = {"modality": "text"}, {"modality": "vision"}


def answers(entries: Sequence[SignatureEntry], *, rise: float = 0.0, seed: int = 0) -> dict[str, Answer]:
    statistics = make_model_statistics(np.random.default_rng(99), entries, rise=rise)
    return {answer.name: answer for answer in ask(entries, statistics, seed=seed).answers}


def sample_of(labels: Sequence[str | None], values: Any, lineages: Sequence[int] | None = None) -> Sample:
    return make_sample(np.asarray(values, dtype=float), labels, np.array(lineages or range(len(labels))))


def deal(sample: Sample, limit: int = 999) -> Labellings:
    return deal_labels(sample.codes, sample.blocks, rng=np.random.default_rng(0), max_labellings=limit)


# Verdicts.


def test_a_planted_difference_is_found() -> None:
    entries = make_catalog(np.random.default_rng(0), [TEXT] * 6 + [VISION] * 6, shift={"vision": 3.0})
    answer = answers(entries)["modality"]
    assert (answer.verdict, answer.lineages, answer.is_exact) == ("yes", 12, True)
    assert answer.effect is not None and answer.effect > 0.4
    assert answer.p == pytest.approx(2 / 924) and answer.p == answer.least_p


def test_the_planted_dimensions_are_named() -> None:
    entries = make_catalog(np.random.default_rng(0), [TEXT] * 7 + [VISION] * 7, shift={"vision": 5.0})
    findings = answers(entries)["modality"].findings
    assert {finding.name for finding in findings[:8]} == {f"model/all/dimension-{index:02}" for index in range(8)}
    assert all(finding.q is not None and finding.q <= ALPHA for finding in findings[:8])
    text, vision = findings[0].values["text"], findings[0].values["vision"]
    assert text is not None and vision is not None and vision - text > 3


def test_no_difference_is_no_evidence() -> None:
    entries = make_catalog(np.random.default_rng(1), [TEXT] * 6 + [VISION] * 6)
    answer = answers(entries)["modality"]
    assert answer.verdict == "no evidence" and answer.needed == {}
    assert "Neither this nor the strongest dimension is significant." in answer.sentence


def test_three_models_are_not_enough_and_it_says_how_many_are_needed() -> None:
    entries = make_catalog(np.random.default_rng(0), [TEXT, TEXT, VISION], shift={"vision": 9.0})
    answer = answers(entries)["modality"]
    assert (answer.verdict, answer.least_p, answer.q) == ("not enough models", pytest.approx(1 / 3), None)
    assert "The smallest possible p is 0.333, which is not significant." in answer.sentence
    assert f"At least {answer.needed['text']} more independent text lineages" in answer.sentence
    grown = [TEXT] * (2 + answer.needed["text"]) + [VISION] * (1 + answer.needed["vision"])
    entries = make_catalog(np.random.default_rng(0), grown, shift={"vision": 9.0})
    assert answers(entries)["modality"].verdict == "yes"


def test_fine_tuned_copies_do_not_make_a_catalog_larger() -> None:
    facts = [TEXT, TEXT, VISION]
    entries = make_catalog(np.random.default_rng(0), facts, shift={"vision": 9.0}, children=9)
    answer = answers(entries)["modality"]
    assert (answer.models, answer.lineages, answer.verdict) == (30, 3, "not enough models")


def test_reordered_copies_that_declare_no_parent_are_recognised() -> None:
    first = make_catalog(np.random.default_rng(0), [TEXT] * 3 + [VISION] * 3, shift={"vision": 9.0})
    copies = [replace(each, model=replace(each.model, key=f"{each.model.key}-copy", sha256="x")) for each in first]
    distinct = [replace(each, model=replace(each.model, sha256=each.model.key)) for each in copies]
    assert answers((*first, *distinct))["modality"].lineages == 6


def test_models_related_by_their_weights_are_one_lineage() -> None:
    rng = np.random.default_rng(0)
    entries = make_catalog(rng, [TEXT] * 4 + [VISION] * 4, shift={"vision": 9.0})
    fingerprints = rng.normal(size=(8, 96))
    fingerprints[7] = fingerprints[6] + 0.3 * rng.normal(size=96)
    signatures = [
        replace(
            entry.signature,
            names=(*entry.signature.names, *(f"fingerprint/all/{index}" for index in range(96))),
            values=(*entry.signature.values, *own.tolist()),
        )
        for entry, own in zip(entries, fingerprints, strict=True)
    ]
    found = answers([replace(entry, signature=own) for entry, own in zip(entries, signatures, strict=True)])
    answer = found["modality"]
    assert [(group.label, group.lineages) for group in answer.groups] == [("text", 4), ("vision", 3)]
    assert not any(finding.name.startswith("fingerprint") for finding in answer.findings)


def test_one_label_is_nothing_to_compare() -> None:
    answer = answers(make_catalog(np.random.default_rng(0), [TEXT] * 8))["modality"]
    assert (answer.verdict, answer.p, answer.effect) == ("not enough models", None, None)
    assert "There is nothing to compare." in answer.sentence


def test_an_empty_catalog_answers_that_it_is_empty() -> None:
    found = answers(())
    assert list(found) == list(QUESTIONS)
    assert all(answer.verdict == "not enough models" and answer.p is None for answer in found.values())


def test_models_of_which_nothing_is_declared_are_left_out_and_counted() -> None:
    entries = make_catalog(np.random.default_rng(0), [TEXT] * 4 + [{}] * 2)
    answer = answers(entries)["modality"]
    assert (answer.models, answer.unlabelled) == (4, 2) and "2 models are left out" in answer.sentence


def test_confounds_that_coincide_are_named() -> None:
    facts = [TEXT | {"architecture": "encoder"}] * 6 + [VISION | {"architecture": "cnn", "num_weights": 9}] * 6
    answer = answers(make_catalog(np.random.default_rng(0), facts, shift={"vision": 3.0}))["modality"]
    assert {(each.label, each.relation) for each in answer.confounds} == {
        ("architecture", "coincides"),
        ("size", "differs"),
    }
    assert "the same groups are made by architecture" in answer.sentence


def test_groups_that_differ_in_another_label_are_named() -> None:
    facts = [TEXT | {"family": "a"}] * 6 + [TEXT | {"family": "b"}] + [VISION | {"family": "b"}] * 7
    answer = answers(make_catalog(np.random.default_rng(0), facts, shift={"vision": 3.0}))["modality"]
    assert [(each.label, each.relation) for each in answer.confounds] == [("family", "differs")]


def test_a_finer_label_determines_a_coarser_one() -> None:
    facts = [{"modality": kind, "family": f"{kind}-{number % 3}"} for kind in ("text", "vision") for number in range(6)]
    answer = answers(make_catalog(np.random.default_rng(0), facts))["modality"]
    assert [(each.label, each.relation) for each in answer.confounds] == [("family", "decides")]


def test_q_is_that_of_all_questions_that_could_be_answered() -> None:
    facts = [{"modality": kind, "is_distilled": bool(number % 2)} for kind in ("text", "vision") for number in range(6)]
    found = answers(make_catalog(np.random.default_rng(0), facts, shift={"vision": 3.0}))
    counted = [each for each in found.values() if each.least_p is not None and each.least_p <= ALPHA]
    assert {each.name for each in counted} == {"modality", "distillation", "universal"}
    expected = false_discovery_control([each.p for each in counted])
    assert [each.q for each in counted] == pytest.approx(expected)


def test_the_same_seed_gives_the_same_answers() -> None:
    entries = make_catalog(np.random.default_rng(0), [TEXT] * 10 + [VISION] * 10, shift={"vision": 0.5})
    assert answers(entries) == answers(entries)
    assert answers(entries)["modality"].is_exact is False


# The test of labels.


def families(rng: np.random.Generator, labels: Sequence[str], kinds: int, *, spread: float) -> Any:
    """Values of 60 dimensions: each label has so many families, which lie apart in no direction of their label."""
    places = {(label, kind): spread * rng.normal(size=60) for label in set(labels) for kind in range(kinds)}
    common = 3 * rng.normal(size=(len(labels), 3)) @ rng.normal(size=(3, 60))
    own = np.array([places[label, number % kinds] for number, label in enumerate(labels)])
    return own + common + rng.normal(size=(len(labels), 60))


def test_labels_of_two_families_each_are_told_apart() -> None:
    """What distances over all dimensions do not see: large differences that have nothing to do with the label."""
    found, by_distance = [], []
    for seed in range(12):
        sample = sample_of(list("ab") * 10, families(np.random.default_rng(seed), list("ab") * 10, 2, spread=0.7))
        dealt = deal(sample, 199)
        found.append(separate(sample, dealt).p)
        squares = ((sample.values[:, None] - sample.values) ** 2).mean(axis=2)
        within = sum((((dealt.codes == code) @ squares) * (dealt.codes == code)).sum(axis=1) for code in (0, 1))
        by_distance.append(dealt.p_value(-within))
    assert np.mean(np.array(found) <= 0.05) >= 0.9 and np.mean(np.array(by_distance) <= 0.05) <= 0.5


def test_one_dimension_of_many_is_found() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(24, 200))
    values[12:, 7] += 5
    sample = sample_of(["a"] * 12 + ["b"] * 12, values)
    assert separate(sample, deal(sample)).p <= 0.01
    assert differing_dimensions(sample, deal(sample), [f"{index}" for index in range(200)])[0].name == "7"


def test_skill_is_near_0_by_chance_and_1_for_labels_that_are_apart() -> None:
    rng, skills = np.random.default_rng(0), []
    for _ in range(200):
        sample = sample_of(list("aaaabbbb"), rng.normal(size=(8, 5)))
        skills.append(separate(sample, deal(sample)).skill)
    assert np.mean(skills) == pytest.approx(0, abs=0.05)
    apart = sample_of(list("aaabbb"), [[0.0], [0.1], [0.2], [1.0], [1.1], [1.2]])
    assert separate(apart, deal(apart)).skill == 1


def test_random_labels_are_rejected_as_often_as_alpha_says() -> None:
    rng, p_values = np.random.default_rng(3), []
    for _ in range(300):
        values = rng.normal(size=(9, 6))
        values[rng.uniform(size=values.shape) < 0.05] = np.nan
        sample = sample_of(rng.permutation(list("aaaabbbcc")).tolist(), values)
        p_values.append(separate(sample, deal(sample, 400)).p)
    assert np.mean(np.array(p_values) <= 0.1) <= 0.14 and np.mean(np.array(p_values) <= 0.5) >= 0.4


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["unequal groups", "three families", "teachers and students"])
def test_p_is_not_too_small_where_labels_mean_nothing(kind: str) -> None:
    p_values = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        labels, lineages = rng.permutation(list("aaabbbbbbbbbb")).tolist(), list(range(13))
        values = rng.standard_t(3, size=(13, 30)) + 2 * rng.normal(size=(13, 2)) @ rng.normal(size=(2, 30))
        if kind == "three families":
            values += 5 * rng.normal(size=(3, 30))[np.arange(13) % 3]
        if kind == "teachers and students":
            labels, lineages = list("abababab" + "aabba"), [0, 0, 1, 1, 2, 2, 3, 3, *range(4, 9)]
            values += 5 * rng.normal(size=(9, 30))[lineages]
        sample = sample_of(labels, values, lineages)
        p_values.append(separate(sample, deal(sample, 200)).p)
    for level in (0.05, 0.2, 0.5):
        assert np.mean(np.array(p_values) <= level) <= level + 3 * np.sqrt(level * (1 - level) / 200)


def test_missing_dimensions_make_no_difference_between_labels() -> None:
    """Dimensions of little variance that vision models lack would bring the others closer, if they were used."""
    rng, p_values = np.random.default_rng(0), []
    for _ in range(60):
        values = np.hstack([rng.normal(size=(10, 4)), 0.1 * rng.normal(size=(10, 30))])
        values[6:, 4:] = np.nan
        sample = sample_of(["text"] * 6 + ["vision"] * 4, values)
        assert sample.num_dimensions == 4
        p_values.append(separate(sample, deal(sample)).p)
    assert np.mean(np.array(p_values) <= 0.2) == pytest.approx(0.2, abs=0.12)


def test_a_lineage_with_both_labels_is_compared_within_itself() -> None:
    rng = np.random.default_rng(0)
    roots = np.repeat(10 * rng.normal(size=(6, 4)), 2, axis=0)
    labels = ["teacher", "student"] * 6
    values = roots + np.tile([[0.0] * 4, [1.0] * 4], (6, 1)) + 0.1 * rng.normal(size=(12, 4))
    sample = sample_of(labels, values, np.repeat(range(6), 2).tolist())
    dealt = deal(sample)
    assert len(dealt.codes) == 2**6
    assert separate(sample, dealt).p <= 4 / 2**6


def test_a_dimension_of_two_labels_is_tested_by_mann_whitney() -> None:
    values = np.random.default_rng(0).normal(size=(9, 7))
    sample = sample_of(list("aaaabbbbb"), values)
    found = {each.name: each.p for each in differing_dimensions(sample, deal(sample), [f"{i}" for i in range(7)])}
    expected = mannwhitneyu(values[:4], values[4:], method="exact").pvalue
    assert [found[f"{index}"] for index in range(7)] == pytest.approx(expected.tolist())


def test_a_dimension_of_three_labels_has_the_effect_of_kruskal_wallis() -> None:
    values = np.random.default_rng(0).normal(size=(12, 3))
    sample = sample_of(list("aaaabbbbcccc"), values)
    found = {each.name: each.effect for each in differing_dimensions(sample, deal(sample), list("xyz"))}
    expected = kruskal(values[:4], values[4:8], values[8:]).statistic / 11
    assert [found[name] for name in "xyz"] == pytest.approx(expected.tolist())


def test_a_dimension_that_one_label_lacks_is_not_compared() -> None:
    values = np.random.default_rng(0).normal(size=(8, 2))
    values[3:, 0] = np.nan
    values[7, 1] = np.nan
    sample = sample_of(list("aaaabbbb"), values)
    (found,) = differing_dimensions(sample, deal(sample), ["lacking", "held"])
    assert found.name == "held" and found.p == found.q
    assert found.p == pytest.approx(mannwhitneyu(values[:4, 1], values[4:7, 1], method="exact").pvalue)


# Prediction.


def test_the_classifier_is_sklearns_ridge_with_lineages_left_out() -> None:
    rng = np.random.default_rng(0)
    labels, lineages = ["a", "b"] * 6 + ["c"] * 3, [0, 0, *range(1, 11), 11, 12, 13]
    sample = sample_of(labels, rng.normal(size=(15, 4)), lineages)
    centred = sample.values - sample.values.mean(axis=0)
    penalty = RIDGE * np.median(np.linalg.eigvalsh(centred.T @ centred))
    told = cross_val_predict(
        Ridge(alpha=penalty), centred, np.eye(3)[sample.codes], groups=sample.lineages, cv=LeaveOneGroupOut()
    )
    assert leave_lineages_out(sample.values, sample.lineages) @ np.eye(3)[sample.codes] == pytest.approx(told)


def test_copies_in_another_fold_would_reveal_the_label() -> None:
    """Random labels of lineages of four copies: predicted with single models left out, not with lineages left out."""
    rng, naive, honest = np.random.default_rng(0), [], []
    for _ in range(40):
        labels = np.repeat(rng.permutation(list("aaaabbbb")), 4).tolist()
        values = np.repeat(rng.normal(size=(8, 5)), 4, axis=0) + 0.01 * rng.normal(size=(32, 5))
        single = sample_of(labels, values)
        predictor = leave_lineages_out(single.values, single.lineages)
        predicted = predict(predictor, single.codes[None], single.lineages)
        naive.append(balanced_recalls(predicted, single.codes[None]).mean())
        whole = sample_of(labels, values, np.repeat(range(8), 4).tolist())
        honest.append(separate(whole, deal(whole)).skill)
    assert np.mean(naive) > 0.8 and np.mean(honest) == pytest.approx(0, abs=0.15)


def test_labels_of_one_lineage_alone_are_not_tested() -> None:
    sample = sample_of(list("aabbcdd"), np.eye(7), [0, 1, 2, 3, 4, 5, 6]).of_several_lineages()
    assert sample.labels == ("a", "b", "d") and sample.num_lineages == 6
    facts = [*[TEXT] * 6, *[VISION] * 6, {"modality": "audio"}]
    answer = answers(make_catalog(np.random.default_rng(0), facts, shift={"vision": 5.0}))["modality"]
    assert [group.recall for group in answer.groups] == [None, 1.0, 1.0]
    assert "Not tested: audio, of one lineage each." in answer.sentence


def test_a_planted_objective_is_predicted() -> None:
    facts = [{"objective": name} for name in ("masked-lm", "causal-lm") for _ in range(7)]
    answer = answers(make_catalog(np.random.default_rng(0), facts, shift={"causal-lm": 5.0}))["objective"]
    assert (answer.verdict, answer.observed) == ("yes", 1.0)
    assert answer.chance is not None and answer.chance < 0.55
    assert "With whole lineages left out" in answer.sentence


# What all models share.


def test_statistics_that_all_lineages_share_are_found_and_no_others() -> None:
    entries = make_catalog(np.random.default_rng(0), [TEXT] * 10)
    answer = answers(entries, rise=8.0)["universal"]
    assert answer.verdict == "yes" and {each.name for each in answer.findings} == {"statistic-0", "statistic-1"}
    assert answer.effect == pytest.approx(0.2) and answer.findings[0].values["share_low"] == pytest.approx(
        0.6915, abs=1e-4
    )


def test_five_lineages_cannot_make_a_pattern_universal() -> None:
    entries = make_catalog(np.random.default_rng(0), [TEXT] * 5, children=5)
    answer = answers(entries, rise=8.0)["universal"]
    assert (answer.verdict, answer.lineages, answer.least_p) == ("not enough models", 5, 0.0625)
    assert answer.needed == {"any": 4}


def test_one_null_of_one_tensor_is_not_enough_for_a_universal_pattern() -> None:
    entries = make_catalog(np.random.default_rng(0), [TEXT] * 10)
    alone = {entry.pattern_key: (compare_with_null("x", 8.0, [0.1], "shuffle"),) for entry in entries}
    answer = ask(entries, alone).answers[-1]
    assert answer.verdict == "not enough models" and "--nulls 8" in answer.sentence
    # Of five tensors together one null each has 32 recombinations, and ten lineages of them are enough.
    pooled = make_model_statistics(np.random.default_rng(0), entries, rise=8.0, num_nulls=1)
    assert ask(entries, pooled).answers[-1].verdict == "yes"


def statistics_at(z: float) -> dict[str, Statistic]:
    """One statistic of a model with that z over 99 nulls."""
    draws = np.random.default_rng(0).normal(size=99)
    return {"x": compare_with_null("x", float(draws.mean() + z * draws.std()), draws.tolist(), "shuffle")}


def test_extreme_models_do_not_make_a_pattern_universal() -> None:
    assert find_universal([statistics_at(50.0)] * 12, alpha=ALPHA).p < 0.001
    mixed = find_universal([statistics_at(50.0)] * 8 + [statistics_at(-0.5)] * 4, alpha=ALPHA)
    assert mixed.found == () and mixed.p > 0.3


def test_a_skewed_null_does_not_make_a_pattern_universal() -> None:
    """All values lie a little above the mean of their nulls, as most draws of a skewed null do."""
    found = find_universal([statistics_at(0.1)] * 12, alpha=ALPHA)
    assert found.found == () and found.p == 1.0


@pytest.mark.slow
def test_nulls_share_nothing_more_often_than_alpha_says() -> None:
    rejected = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        entries = make_catalog(rng, [TEXT] * 8)
        statistics = make_model_statistics(rng, entries, rise=0.0)
        by_lineage = [{each.name: each for each in found} for found in statistics.values()]
        rejected.append(find_universal(by_lineage, alpha=ALPHA).p <= ALPHA)
    assert np.mean(rejected) <= 0.08
