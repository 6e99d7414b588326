"""Labellings that chance could have dealt."""

import math
from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.analyse.permutation_tests import Labellings, blocks_of_lineages, deal_labels, labels_needed, least_p


def deal(codes: list[int], blocks: list[int] | None = None, limit: int = 999) -> Labellings:
    places = np.array(blocks or [0] * len(codes), dtype=np.intp)
    return deal_labels(np.array(codes), places, rng=np.random.default_rng(0), max_labellings=limit)


def between(dealt: Labellings, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Sum of squares between labels of each labelling."""
    centred = values - values.mean()
    labels = np.unique(dealt.codes[0])
    return sum(((dealt.codes == label) @ centred) ** 2 / (dealt.codes[0] == label).sum() for label in labels)


def test_all_labellings_are_listed_once_the_observed_first() -> None:
    dealt = deal([0, 1, 0, 2, 1])
    assert dealt.is_exact and len(dealt.codes) == math.factorial(5) // 4
    assert len({tuple(row) for row in dealt.codes}) == len(dealt.codes)
    assert dealt.codes[0].tolist() == [0, 1, 0, 2, 1]


def test_labels_stay_in_their_block() -> None:
    dealt = deal([0, 0, 1, 0, 1], [0, 0, 0, 4, 4])
    assert len(dealt.codes) == 3 * 2
    assert all(Counter(row[3:]) == Counter([0, 1]) for row in dealt.codes.tolist())


def test_too_many_labellings_are_drawn() -> None:
    dealt = deal([0] * 10 + [1] * 10, limit=50)
    assert not dealt.is_exact and dealt.codes.shape == (50, 20)
    assert (dealt.codes.sum(axis=1) == 10).all() and len({tuple(row) for row in dealt.codes}) > 40


def test_a_lineage_with_two_labels_is_a_block_of_its_own() -> None:
    blocks = blocks_of_lineages(np.array([0, 1, 0, 1, 1]), np.array([5, 5, 6, 7, 8]))
    assert blocks.tolist() == [6, 6, 0, 0, 0]


@pytest.mark.parametrize(
    ("codes", "expected"), [([0, 0, 1, 1], 2 / 6), ([0, 0, 0, 1, 1], 1 / 10), ([0, 1, 2, 2], 2 / 12)]
)
def test_no_data_give_a_smaller_p_than_the_least(codes: list[int], expected: float) -> None:
    labels = np.array(codes)
    dealt = deal(codes)
    assert least_p(labels, np.zeros_like(labels)) == pytest.approx(expected)
    assert dealt.p_value(between(dealt, 100.0 * labels**2)) == pytest.approx(expected)


def test_the_least_p_of_drawn_labellings_is_one_over_their_number() -> None:
    codes = np.repeat([0, 1], 10)
    assert least_p(codes, np.zeros_like(codes), 500) == 1 / 500


def test_p_is_uniform_when_labels_mean_nothing() -> None:
    rng, p_values = np.random.default_rng(1), []
    for _ in range(400):
        codes = rng.permutation([0, 0, 0, 0, 1, 1, 1, 2])
        dealt = deal(codes.tolist())
        p_values.append(dealt.p_value(between(dealt, rng.normal(size=8))))
    assert np.mean(np.array(p_values) <= 0.05) == pytest.approx(0.05, abs=0.03)
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.04)


def test_related_models_are_no_more_evidence_than_their_founder() -> None:
    """Children that look like their parent make single models seem significant; lineages as wholes do not."""
    rng, naive, honest = np.random.default_rng(2), [], []
    for _ in range(200):
        lineages = np.repeat(np.arange(6), 4)
        values = np.repeat(rng.normal(size=6), 4) + 0.1 * rng.normal(size=24)
        labels = rng.permutation([0, 0, 0, 1, 1, 1])
        single = deal_labels(labels[lineages], np.zeros(24, dtype=np.intp), rng=rng, max_labellings=200)
        naive.append(single.p_value(between(single, values)) <= 0.1)
        whole = deal(labels.tolist())
        honest.append(whole.p_value(between(whole, values.reshape(6, 4).mean(axis=1))) <= 0.1)
    assert np.mean(naive) > 0.3 and np.mean(honest) == pytest.approx(0.1, abs=0.06)


@pytest.mark.parametrize("counts", [{"a": 1, "b": 4}, {"a": 0, "b": 3}, {"a": 2, "b": 2, "c": 1}])
def test_the_number_needed_is_the_smallest_that_is_enough(counts: dict[str, int]) -> None:
    needed = labels_needed(counts, 0.01)
    grown = [counts[label] + needed.get(label, 0) for label in counts]
    codes = np.repeat(np.arange(len(grown)), grown)
    assert least_p(codes, np.zeros_like(codes)) <= 0.01
    fewer = labels_needed(counts, 0.01, max_more=sum(needed.values()) - 1)
    codes = np.repeat(np.arange(len(grown)), [counts[label] + fewer.get(label, 0) for label in counts])
    assert least_p(codes, np.zeros_like(codes)) > 0.01
    assert labels_needed({"a": 8, "b": 8}, 0.01) == {}
