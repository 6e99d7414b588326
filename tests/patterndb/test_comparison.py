"""Two patterns side by side, against other implementations and by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import pearsonr, wasserstein_distance
from sklearn.metrics import adjusted_rand_score

from patterndb.comparison import (
    ClusterOverlap,
    adjusted_rand,
    compare,
    frequency_correlation,
    mean_overlap,
    role_overlap,
    wasserstein_overlap,
)
from patterndb.similarity import Distances
from tests.support.patterns import make_pattern

NAN = math.nan
NOTHING = Distances(weights=np.array([]), kind=np.array([]))


def test_frequency_correlation_is_pearsons_over_the_shared_roles() -> None:
    a = {"ffn_in": (1.0, 2.0, 4.0), "ffn_out": (3.0, 1.0, 0.0), "head": (9.0, 9.0, 9.0)}
    b = {"ffn_out": (2.0, 2.0, 1.0), "ffn_in": (1.0, 1.0, 5.0), "norm": (7.0, 7.0, 8.0)}
    expected = pearsonr([1, 2, 4, 3, 1, 0], [1, 1, 5, 2, 2, 1]).statistic
    assert frequency_correlation(a, b) == pytest.approx(expected)
    assert frequency_correlation(a, a) == pytest.approx(1)


def test_profiles_without_spread_do_not_correlate() -> None:
    flat = {"ffn_in": (1.0, 1.0, 1.0)}
    assert frequency_correlation(flat, {"ffn_in": (1.0, 2.0, 3.0)}) is None
    assert frequency_correlation({}, flat) is None
    assert frequency_correlation({"ffn_in": (1.0, NAN, 2.0, 5.0)}, {"ffn_in": (1.0, 2.0, NAN, 3.0)}) is None


@pytest.mark.parametrize("num_labels", [1, 2, 5, 40])
def test_adjusted_rand_agrees_with_sklearn(num_labels: int) -> None:
    rng = np.random.default_rng(num_labels)
    labellings, groups = rng.integers(0, num_labels, (20, 40)), rng.integers(0, num_labels, 40)
    expected = [adjusted_rand_score(labelling, groups) for labelling in labellings]
    assert adjusted_rand(labellings, groups) == pytest.approx(expected, abs=1e-12)


def test_adjusted_rand_does_not_care_what_labels_are_called() -> None:
    assert adjusted_rand(np.array([[0, 0, 1, 1, 2]]), np.array([5, 5, 3, 3, 9])) == 1


@pytest.mark.parametrize("size", [1, 2, 5])
def test_adjusted_rand_of_trivial_partitions_is_one(size: int) -> None:
    one, each = np.zeros(size, dtype=np.intp), np.arange(size)
    assert adjusted_rand(one[None], one) == 1 and adjusted_rand(each[None], each) == 1


def test_overlap_of_points_on_a_line_agrees_with_scipy() -> None:
    rng = np.random.default_rng(3)
    a, b, u, v = rng.normal(size=4), rng.normal(size=6), rng.dirichlet(np.ones(4)), rng.dirichlet(np.ones(6))
    points, weights = np.concatenate([a, b]), np.concatenate([u, v]) / 2
    spread = math.sqrt(weights @ (points - weights @ points) ** 2)
    expected = 1 / (1 + wasserstein_distance(a, b, u, v) / spread)
    assert wasserstein_overlap(a[:, None], u, b[:, None], v) == pytest.approx(expected)


def test_overlap_is_one_for_the_same_clusters_in_another_order() -> None:
    centroids, weights = np.random.default_rng(4).normal(size=(5, 3)), np.full(5, 0.2)
    assert wasserstein_overlap(centroids, weights, centroids[::-1], weights) == pytest.approx(1, abs=1e-12)
    assert wasserstein_overlap(np.ones((1, 2)), np.ones(1), np.ones((1, 2)), np.ones(1)) == 1


def test_labels_are_compared_where_their_lengths_allow() -> None:
    a = {"labels": [0, 0, 1, 1], "centroids": [[0.0], [1.0]], "weights": [0.5, 0.5]}
    same, longer = a | {"labels": [1, 1, 0, 0]}, a | {"labels": [0, 1, 0, 1, 0]}
    assert role_overlap(a, same) == ClusterOverlap(value=1.0, kind="adjusted_rand")
    assert role_overlap(a, longer) == ClusterOverlap(value=1.0, kind="wasserstein")
    assert role_overlap(a, {"labels": []}) is None
    assert role_overlap(a, None) is None


def test_labels_by_tensor_are_matched_by_name_then_by_order() -> None:
    a = {"labels": {"x": [0, 0, 1], "y": [0, 1, 1, 1]}}
    assert role_overlap(a, {"labels": {"x": [1, 1, 0], "z": [0]}}) == ClusterOverlap(value=1.0, kind="adjusted_rand")
    renamed = {"labels": {"bert.x": [0, 0, 1], "bert.y": [1, 0, 0, 0]}}
    assert role_overlap(a, renamed) == ClusterOverlap(value=1.0, kind="adjusted_rand")
    assert role_overlap(a, {"labels": {"bert.x": [0, 0]}}) is None


def test_sizes_and_norms_stand_in_for_centroids() -> None:
    a, b = {"norms": [0.9, 0.2], "sizes": [0.7, 0.3]}, {"norms": [0.8, 0.1], "sizes": [0.7, 0.3]}
    overlap = role_overlap(a, b)
    assert overlap and overlap.kind == "wasserstein" and 0 < overlap.value < 1


def test_the_two_kinds_of_overlap_are_not_averaged_together() -> None:
    by_labels, by_centroids = (
        ClusterOverlap(value=0.2, kind="adjusted_rand"),
        ClusterOverlap(value=1, kind="wasserstein"),
    )
    assert mean_overlap([None, by_centroids, by_labels]) == by_labels
    assert mean_overlap([by_centroids, None]) == by_centroids
    assert mean_overlap([None]) is None


def test_a_model_compared_with_itself_is_the_same_in_everything() -> None:
    pattern = make_pattern()
    comparison = compare(pattern, pattern, Distances(weights=np.ones(2), kind=np.array([1.0, 2.0])))
    assert (comparison.weights, comparison.kind, comparison.kind_percentile) == (0, 0, None)
    assert comparison.frequency_correlation == pytest.approx(1) and comparison.cosine == pytest.approx(0)
    assert comparison.cluster_overlap == ClusterOverlap(value=1.0, kind="adjusted_rand")
    assert all(role.distance in (0, None) and role.a == role.b for role in comparison.roles)


def test_compare_is_symmetric() -> None:
    a, b = make_pattern("a"), make_pattern("b")
    there, back = compare(a, b, NOTHING), compare(b, a, NOTHING)
    assert (there.weights, there.kind, there.cosine) == (back.weights, back.kind, back.cosine)
    assert [(role.a, role.b) for role in there.roles] == [(role.b, role.a) for role in back.roles]


def test_roles_of_one_model_only_are_shown_with_the_other_side_empty() -> None:
    a, b = make_pattern("a"), make_pattern("b")
    comparison = compare(a, replace(b, roles=b.roles[:1]), NOTHING)
    missing = next(role for role in comparison.roles if role.role == "ffn_in")
    assert missing.a.tensors == 2 and missing.b.tensors == 0 and missing.b.r2 is None
    assert {role.role for role in comparison.roles} == {role.role for role in a.roles} | {"model"}
