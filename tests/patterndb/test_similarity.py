"""Distances and ranks of signatures, against other implementations and by hand."""

import math

import numpy as np
import pytest
from scipy.spatial.distance import cosine

from dna_zoo.errors import StoreError
from patterndb.records import ModelRecord, SignatureEntry, SignatureRecord
from patterndb.similarity import (
    Distances,
    align,
    all_distances,
    cosine_distance,
    kind_distance,
    kind_distances,
    nearest,
    pair_distances,
    percentile,
    rms_distance,
    weights_distance,
    weights_distances,
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
    assert np.isnan(kind_distances("ab", np.stack([a, b]))[0, 1])
    assert np.isnan(weights_distances("ab", np.stack([a, a]))[0, 1])


def test_all_pairs_are_as_the_single_pairs() -> None:
    values = np.random.default_rng(0).normal(size=(5, 30))
    values[values > 1] = NAN
    distances = kind_distances([f"model/all/{i}" for i in range(30)], values)
    expected = [[math.sqrt(np.nanmean((x - y) ** 2)) for y in values] for x in values]
    assert np.allclose(distances, expected, rtol=1e-14)
    assert np.array_equal(distances, distances.T) and not np.diag(distances).any()


NAMES = (
    *(f"model/all/{i}" for i in range(20)),
    *(f"fingerprint/all/inputs_{i:03}" for i in range(400)),
    *(f"fingerprint/all/names_{i:03}" for i in range(256)),
    *(f"fingerprint/all/keys_{i:02}" for i in range(4)),
)
KIND, ROLES, SUMS, KEYS = slice(0, 20), slice(20, 420), slice(420, 676), slice(676, 680)


def drawn(count: int, seed: int = 0) -> np.ndarray:
    """Signatures of unrelated models without a tensor name in common."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(size=(count, 676)), rng.random((count, 4))], axis=1)


def test_a_pair_is_as_far_apart_alone_as_among_all() -> None:
    values, rng = drawn(12), np.random.default_rng(1)
    values[1] = values[0]
    values[2] = 0.9 * values[0] + 0.1 * values[2]
    values[2:4, KEYS] = values[0, KEYS]
    values[4, ROLES], values[5, KIND], values[6:8, 20:] = NAN, NAN, NAN
    values[8:][rng.random((4, 680)) < 0.3] = NAN
    for of_pairs, of_pair in ((weights_distances, weights_distance), (kind_distances, kind_distance)):
        distances = of_pairs(NAMES, values)
        expected = [[of_pair(NAMES, x, y) for y in values] for x in values]
        np.testing.assert_allclose(distances, np.array(expected, dtype=float), rtol=1e-10, atol=0)
        assert distances[0, 1] == expected[0][1] == 0 and np.array_equal(distances, distances.T, equal_nan=True)


def test_a_distance_does_not_depend_on_the_order_of_dimensions() -> None:
    names, order, values = np.array(NAMES), np.random.default_rng(1).permutation(680), drawn(2)
    values[1] = 0.5 * (values[0] + values[1])
    for distance in (weights_distance, kind_distance):
        assert distance(names, *values) == distance(names[order], *values[:, order])


def test_each_distance_depends_on_its_own_block() -> None:
    a, b = drawn(2)
    b[ROLES] = 0.6 * a[ROLES] + 0.8 * b[ROLES]
    weights, kind = weights_distance(NAMES, a, b), kind_distance(NAMES, a, b)
    b[KIND] *= 1e6
    assert weights_distance(NAMES, a, b) == weights
    b[ROLES] = a[ROLES]
    b[KIND] /= 1e6
    assert weights_distance(NAMES, a, b) == 0 and kind_distance(NAMES, a, b) == kind


def test_the_distance_of_weights_is_one_minus_the_correlation_beyond_chance() -> None:
    a, b = drawn(2)
    b[ROLES] = 0.6 * a[ROLES] + 0.8 * b[ROLES]
    # Up to 3 / sqrt(400) = 0.15 a correlation may be chance.
    assert weights_distance(NAMES, a, b) == pytest.approx(1 - (0.6 - 0.15) / 0.85, abs=0.05)


def test_the_nearer_part_of_the_fingerprint_counts() -> None:
    a, b = drawn(2)
    b[KEYS.start] = a[KEYS.start]
    assert weights_distance(NAMES, a, b) == 1
    by_name, by_role = b.copy(), b.copy()
    by_name[SUMS], by_role[ROLES] = a[SUMS], a[ROLES]
    assert weights_distance(NAMES, a, by_name) == weights_distance(NAMES, a, by_role) == 0


def test_without_a_role_or_a_name_in_common_weights_cannot_be_compared() -> None:
    values = drawn(3)
    values[:, ROLES] = NAN
    values[2, KEYS.start] = values[0, KEYS.start]
    distances = weights_distances(NAMES, values)
    assert np.isnan(distances[0, 1]) and distances[0, 2] == 1
    assert weights_distance(NAMES, values[0], values[1]) is None


def test_unrelated_models_pass_for_related_as_seldom_as_is_stated() -> None:
    values = drawn(300)
    values[:, KEYS] = 0.5
    values[:, ROLES] = NAN
    below = weights_distances(NAMES, values)[np.triu_indices(300, 1)] < 1
    # One pair in 740: 61 of 44,850, give or take 8.
    assert 35 < below.sum() < 90


def test_few_dimensions_prove_nothing() -> None:
    names = [f"fingerprint/all/inputs_{i}" for i in range(9)]
    a, b = np.random.default_rng(0).normal(size=(2, 9))
    assert weights_distance(names, a, b) == 1 and weights_distance(names, a, a) == 0


def entry(key: str, values: np.ndarray, sha256: str = "") -> SignatureEntry:
    known = tuple(None if math.isnan(value) else float(value) for value in values)
    return SignatureEntry(
        model=ModelRecord(key=key, sha256=sha256 or key),
        pattern_key=key,
        pattern_class="",
        signature=SignatureRecord(version="1", names=NAMES, values=known),
    )


def family() -> list[SignatureEntry]:
    """`a`, a relative of another kind, an unrelated model of its kind, another one, and one without a fingerprint."""
    values = drawn(5)
    values[1, ROLES] = 0.7 * values[0, ROLES] + 0.7 * values[1, ROLES]
    values[1, KIND] += 5
    values[2, KIND] = values[0, KIND] + 0.1
    values[4, KIND], values[4, 20:] = values[0, KIND] + 0.3, NAN
    return [entry(key, each) for key, each in zip(("a", "relative", "alike", "other", "unknown"), values, strict=True)]


def test_relatives_come_first_and_then_models_of_a_kind() -> None:
    by_weights, by_kind = (nearest(["a"], family(), 9, by)["a"] for by in ("weights", "kind"))
    assert [each.model for each in by_weights] == ["relative", "alike", "unknown", "other"]
    assert [each.model for each in by_kind] == ["alike", "unknown", "other", "relative"]
    assert by_weights[2].weights is by_weights[2].weights_percentile is None


def test_a_tree_joins_relatives_first_and_then_models_of_a_kind() -> None:
    weights, kind = np.array([0.2, 1.0, NAN, 1.0, NAN]), np.array([9.0, 0.5, 0.1, NAN, NAN])
    found = Distances(weights=weights, kind=kind).in_one
    assert np.array_equal(found, [0.2, 1.5, 1.1, NAN, NAN], equal_nan=True)


def test_each_distance_has_its_own_percentile() -> None:
    entries = family()
    found = {each.model: each for each in nearest(["a"], entries, 9)["a"]}
    # Six pairs have both distances, four have a kind alone.
    assert (found["relative"].weights_percentile, found["alike"].kind_percentile) == (0, 0)
    assert found["alike"].weights_percentile == found["other"].weights_percentile == 60
    assert found["unknown"].kind_percentile == pytest.approx(200 / 9)
    among = all_distances(entries).each_once()
    assert np.isfinite(among.weights).sum() == 6 and np.isfinite(among.kind).sum() == 10


def test_equal_files_are_the_same_file_even_without_a_fingerprint() -> None:
    a, b = drawn(2)
    a[20:], b[20:] = NAN, NAN
    one, two, other = entry("one", a, "digest"), entry("two", a, "digest"), entry("other", b)
    same, apart = nearest(["one"], [one, two, other], 2)["one"]
    assert (same.model, same.is_same_file, same.weights, same.weights_percentile) == ("two", True, 0.0, None)
    assert (apart.is_same_file, apart.weights) == (False, None)
    assert pair_distances(one, two, Distances(weights=np.array([]), kind=np.array([]))).is_same_file


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
