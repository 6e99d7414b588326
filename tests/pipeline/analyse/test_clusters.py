"""Clusters of rows."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from pipeline.analyse.statistics.clusters import cluster_rows, measure_clusters
from pipeline.nulls import rotate


def planted(
    num_blocks: int = 8, noise: float = 0.2, seed: int = 0
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.intp]]:
    """240 rows around orthogonal centres, shuffled; and which block each belongs to."""
    rng = np.random.default_rng(seed)
    blocks = rng.permutation(np.arange(240) % num_blocks)
    centres = np.kron(np.eye(num_blocks), np.ones(64 // num_blocks))
    return (centres[blocks] + noise * rng.standard_normal((240, 64))).astype(np.float32), blocks


def test_planted_blocks_are_found() -> None:
    matrix, blocks = planted()
    assert adjusted_rand_score(blocks, cluster_rows(matrix).labels) == 1.0


def test_the_share_of_variance_between_planted_blocks_is_measured() -> None:
    matrix, blocks = planted()
    unit = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    means = np.array([unit[blocks == block].mean(axis=0) for block in range(8)])[blocks]
    between = np.sum((means - unit.mean(axis=0)) ** 2) / np.sum((unit - unit.mean(axis=0)) ** 2)
    assert cluster_rows(matrix).explained == pytest.approx(between, rel=0.05)


def test_the_explained_share_agrees_with_sklearn() -> None:
    matrix, _ = planted(noise=0.6)
    unit = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    inertia = KMeans(8, n_init=10, random_state=0).fit(unit).inertia_
    expected = 1 - inertia / np.sum((unit - unit.mean(axis=0)) ** 2)
    assert cluster_rows(matrix).explained == pytest.approx(expected, rel=0.05)


@settings(max_examples=20)
@given(st.integers(0, 2**31))
def test_clusters_do_not_depend_on_the_order_of_the_rows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((30, 6), dtype=np.float32)
    order = rng.permutation(30)
    original, permuted = cluster_rows(matrix, 4), cluster_rows(matrix[order], 4)
    assert adjusted_rand_score(original.labels[order], permuted.labels) == pytest.approx(1)
    assert permuted.explained == pytest.approx(original.explained, abs=1e-9)


def test_the_largest_cluster_comes_first() -> None:
    clusters = cluster_rows(planted()[0][:150])
    counts = np.bincount(clusters.labels, minlength=8)
    assert list(clusters.sizes) == sorted(clusters.sizes, reverse=True)
    np.testing.assert_allclose(clusters.sizes, counts / 150)


def test_fewer_rows_than_clusters_are_their_own() -> None:
    clusters = cluster_rows(np.eye(3, dtype=np.float32))
    assert sorted(clusters.labels) == [0, 1, 2]
    assert clusters.explained == pytest.approx(1)


def test_equal_rows_have_nothing_to_explain() -> None:
    measured = measure_clusters(np.ones((12, 4), dtype=np.float32))
    assert measured == {"clusters.explained": 0.0, "clusters.separation": 0.0, "clusters.balance": 0.0}


def test_the_mean_row_is_no_cluster_and_what_rounding_leaves_of_it_none_either() -> None:
    matrix, blocks = planted()
    far = (matrix + 10 * np.random.default_rng(1).standard_normal(64)).astype(np.float32)
    assert adjusted_rand_score(blocks, cluster_rows(far).labels) == 1.0
    assert cluster_rows(far).explained == pytest.approx(cluster_rows(matrix).explained, abs=1e-4)
    equal = measure_clusters(np.tile(np.float32([0.1, -0.7, 1 / 3]), (31, 1)))
    assert equal == {"clusters.explained": 0.0, "clusters.separation": 0.0, "clusters.balance": 0.0}


def test_without_a_mean_row_rows_and_their_opposites_are_apart() -> None:
    rows = np.concatenate([planted(2)[0], -planted(2)[0]])
    assert measure_clusters(rows, is_centred=False)["clusters.explained"] > 0.9


def test_rows_of_zeros_are_survived() -> None:
    matrix = planted()[0]
    matrix[:20] = 0
    assert np.isfinite(list(measure_clusters(matrix).values())).all()


@pytest.mark.parametrize("mean", [0.0, 2.0])
@pytest.mark.parametrize(("spread", "is_below"), [(0.0, False), (1.0, True)])
def test_rows_of_different_sizes_have_fewer_clusters_than_their_null(
    spread: float, is_below: bool, mean: float
) -> None:
    """A limit of `rotate` that docs/measurement.md names: turned, the few long rows' spectrum is everybody's."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((48, 32)) * np.exp(spread * rng.standard_normal((48, 1)))
    matrix = (rows + mean * rng.standard_normal(32)).astype(np.float32)
    drawn = [measure_clusters(rotate(matrix, rng))["clusters.explained"] for _ in range(8)]
    z = (measure_clusters(matrix)["clusters.explained"] - np.mean(drawn)) / np.std(drawn, ddof=1)
    assert bool(z < -4) is is_below
