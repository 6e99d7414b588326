"""Distances and ranks of signatures, against other implementations and by hand."""

import math

import numpy as np
import pytest
from scipy.spatial.distance import cosine

from dna_zoo.errors import StoreError
from patterndb.records import SignatureRecord
from patterndb.similarity import (
    align,
    cosine_distance,
    fingerprint_correlation,
    pairwise_distances,
    percentile,
    rms_distance,
    signature_distance,
)

NAN = math.nan


def signature(*values: float | None, version: str = "1", names: str = "abcdef") -> SignatureRecord:
    return SignatureRecord(version=version, names=tuple(names[: len(values)]), values=values)


def test_the_distance_is_the_root_mean_square_over_shared_dimensions() -> None:
    a, b = np.array([1.0, 2.0, NAN, 7.0]), np.array([4.0, 6.0, 1.0, NAN])
    assert rms_distance(a, b) == pytest.approx(math.sqrt((9 + 16) / 2))
    assert cosine_distance(a, b) == pytest.approx(cosine(a[:2], b[:2]))


def test_nothing_shared_is_no_distance() -> None:
    a, b = np.array([1.0, NAN]), np.array([NAN, 1.0])
    assert rms_distance(a, b) is None
    assert cosine_distance(a, b) is None
    assert np.isnan(pairwise_distances("ab", np.stack([a, b]))[0, 1])


def test_all_pairs_are_as_the_single_pairs() -> None:
    values = np.random.default_rng(0).normal(size=(5, 30))
    values[values > 1] = NAN
    distances = pairwise_distances([f"model/all/{i}" for i in range(30)], values)
    expected = [[math.sqrt(np.nanmean((x - y) ** 2)) for y in values] for x in values]
    assert np.allclose(distances, expected, rtol=1e-14)
    assert np.array_equal(distances, distances.T) and not np.diag(distances).any()


def test_a_pair_is_as_far_apart_alone_as_among_all() -> None:
    names = [*(f"model/all/{i}" for i in range(20)), *(f"fingerprint/all/{i}" for i in range(400))]
    rng = np.random.default_rng(0)
    values = rng.normal(size=(12, 420))
    values[1] = values[0]
    values[2] = 0.9 * values[0] + 0.1 * values[2]
    values[4, 20:], values[5, :20], values[6:8, 20:] = NAN, NAN, NAN
    values[8:][rng.random((4, 420)) < 0.3] = NAN
    distances = pairwise_distances(names, values)
    expected = [[signature_distance(names, x, y) for y in values] for x in values]
    np.testing.assert_allclose(distances, np.array(expected, dtype=float), rtol=1e-10, atol=0)
    assert distances[0, 1] == expected[0][1] == 0 and expected[4][5] is None


def test_a_distance_does_not_depend_on_the_order_of_dimensions() -> None:
    names = np.array([*(f"model/all/{i}" for i in range(20)), *(f"fingerprint/all/{i}" for i in range(400))])
    values, order = np.random.default_rng(0).normal(size=(2, 420)), np.random.default_rng(1).permutation(420)
    assert signature_distance(names, *values) == signature_distance(names[order], *values[:, order])


FINGERPRINT_NAMES = ("model/all/a", *(f"fingerprint/all/probe_{i}" for i in range(900)))


def fingerprint_values(*, statistic: float, seed: int) -> np.ndarray:
    return np.concatenate([[statistic], np.random.default_rng(seed).normal(size=900)])


def test_unrelated_fingerprint_puts_models_at_one_or_more() -> None:
    values = np.stack([fingerprint_values(statistic=1, seed=0), fingerprint_values(statistic=1, seed=1)])
    assert pairwise_distances(FINGERPRINT_NAMES, values)[0, 1] == 1
    values[1, 0] = 3
    assert pairwise_distances(FINGERPRINT_NAMES, values)[0, 1] == pytest.approx(math.sqrt(1 + 0.1 * 4 / 5))


def test_related_models_are_nearer_than_any_unrelated_pair() -> None:
    values = np.stack([fingerprint_values(statistic=1, seed=seed) for seed in (0, 1, 2)])
    values[1] = 0.6 * values[0] + 0.8 * values[1]
    distances = pairwise_distances(FINGERPRINT_NAMES, values)
    # Up to 2 / sqrt(900) = 0.067 a correlation may be chance.
    assert distances[0, 1] == pytest.approx(math.sqrt(1 - (0.6 - 0.067) / 0.933), abs=0.05)
    assert distances[0, 1] < distances[0, 2] and np.array_equal(distances, distances.T)


def test_no_difference_of_kind_hides_fingerprint() -> None:
    values = np.stack([fingerprint_values(statistic=0, seed=seed) for seed in (0, 1, 2)])
    values[1] = 0.6 * values[0] + 0.8 * values[1]
    values[1, 0] = 1e6
    distances = pairwise_distances(FINGERPRINT_NAMES, values)
    assert distances[0, 1] < 1 <= distances[0, 2] <= distances[1, 2] < math.sqrt(1.1)


def test_a_copy_with_fingerprint_is_at_no_distance() -> None:
    values = np.stack([fingerprint_values(statistic=1, seed=0)] * 2)
    assert not pairwise_distances(FINGERPRINT_NAMES, values).any()


def test_a_model_without_fingerprint_is_related_to_none() -> None:
    values = np.stack([fingerprint_values(statistic=1, seed=0)] * 3)
    values[1:, 1:] = NAN
    distances = pairwise_distances(FINGERPRINT_NAMES, values)
    assert distances[0, 1] == 1 and distances[1, 2] == 0


def test_few_dimensions_prove_no_fingerprint() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 9))
    assert fingerprint_correlation(a, b) == 0 and fingerprint_correlation(a, a) == 1
    assert fingerprint_correlation(a, np.full(9, NAN)) is None


def test_more_shared_dimensions_do_not_put_a_pair_farther() -> None:
    rng = np.random.default_rng(1)
    short, long = rng.normal(size=(2, 500)), rng.normal(size=(2, 50_000))
    assert rms_distance(*short) == pytest.approx(rms_distance(*long) or 0, rel=0.1)


def test_cosine_of_a_vector_with_itself_is_no_less_than_zero() -> None:
    vectors = np.random.default_rng(2).normal(size=(100, 7))
    assert all(0 <= (cosine_distance(x, x) or 0) < 1e-15 for x in vectors)
    assert cosine_distance(np.zeros(3), np.ones(3)) is None


def test_dimensions_are_matched_by_name() -> None:
    names, values = align((signature(1.0, 2.0, names="ab"), signature(3.0, None, names="bc")))
    assert names == ("a", "b", "c")
    assert np.array_equal(values, [[1, 2, NAN], [NAN, 3, NAN]], equal_nan=True)


def test_versions_are_not_mixed() -> None:
    with pytest.raises(StoreError, match="versions 1 and 2") as caught:
        align((signature(1.0), signature(1.0, version="2")))
    assert "--force" in caught.value.hint


def test_percentiles_rank_from_the_closest() -> None:
    distances = np.array([4.0, 1.0, 3.0, 2.0, 5.0])
    assert [percentile(each, distances) for each in (1.0, 2.0, 3.0, 5.0)] == [0, 25, 50, 100]


def test_ties_share_the_middle_rank() -> None:
    distances = np.array([1.0, 2.0, 2.0, 2.0, 3.0])
    assert percentile(2.0, distances) == 50
    assert percentile(1.0, np.ones(3)) == 50


def test_distances_that_differ_by_rounding_tie() -> None:
    distances = np.array([1.0, 2.0, 2.0 + 4e-16, 2.0 - 3e-16, 3.0])
    assert percentile(2.0 + 2e-16, distances) == percentile(2.0 - 3e-16, distances) == 50


def test_a_single_pair_has_no_percentile() -> None:
    assert percentile(1.0, np.array([1.0, NAN])) is None
    assert percentile(None, np.array([1.0, 2.0])) is None
