"""Maps keep neighbours, say so beside their null, and agree with labels only where labels are in them."""

import numpy as np
import pytest

from dna_zoo.errors import SettingsError
from explorer.maps import FEWEST_POINTS, Map, agreement, classical_scaling, make_map, standardised, trustworthiness


def clusters(count: int, apart: float, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """Points of three labels, `apart` from each other in all of 10 columns."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    return rng.standard_normal((count, 10)) + apart * rng.standard_normal((3, 10))[labels], [
        f"{each}" for each in labels
    ]


def test_points_of_a_plane_are_placed_as_they_were() -> None:
    plane = np.random.default_rng(0).standard_normal((30, 2)) * [3, 1]
    apart = np.linalg.norm(plane[:, None] - plane, axis=-1)
    places = classical_scaling(apart)
    assert np.allclose(np.linalg.norm(places[:, None] - places, axis=-1), apart)
    assert np.ptp(places[:, 0]) > np.ptp(places[:, 1])


def test_trustworthiness_is_that_of_scikit_learn() -> None:
    from sklearn.manifold import trustworthiness as reference

    rng = np.random.default_rng(1)
    values, places = rng.standard_normal((40, 8)), rng.standard_normal((40, 2))
    apart = np.linalg.norm(values[:, None] - values, axis=-1)
    assert trustworthiness(apart, places, 5) == pytest.approx(reference(values, places, n_neighbors=5))
    assert trustworthiness(np.linalg.norm(places[:, None] - places, axis=-1), places, 5) == 1.0


def test_few_points_are_scaled_and_many_are_not_and_both_say_why() -> None:
    few, many = (make_map(clusters(count, 2.0)[0]) for count in (FEWEST_POINTS - 1, FEWEST_POINTS))
    assert few.method == "classical scaling" and "fewer than 100" in few.why and "perplexity" not in few.settings
    assert many.method == "t-SNE" and "perplexity 24.75, seed 0" in many.why and many.settings["init"] == "pca"


def test_a_map_of_clusters_is_trusted_more_than_its_null_and_one_of_noise_is_not() -> None:
    found = make_map(clusters(60, 3.0)[0])
    assert found.trust > max(found.null_trust) + 0.1
    noise = make_map(np.random.default_rng(2).standard_normal((60, 10)))
    assert min(noise.null_trust) - 0.05 < noise.trust < max(noise.null_trust) + 0.05


def test_labels_that_are_in_the_map_agree_with_it_and_others_do_not() -> None:
    values, labels = clusters(60, 3.0)
    found = make_map(values)
    agreed = agreement(found, labels, range(60))
    assert agreed is not None and agreed.share > 0.9 and agreed.null_share < 0.5 and agreed.p <= 0.001
    rng = np.random.default_rng(3)
    ps = [chance.p for _ in range(20) if (chance := agreement(found, list(rng.permutation(labels)), range(60)))]
    assert np.mean(np.array(ps) < 0.1) < 0.35 and np.mean(ps) > 0.3


def test_relatives_are_no_independent_evidence() -> None:
    """Two lineages of ten copies each, of two labels: every copy's neighbours agree, and nothing follows from it."""
    places = np.repeat([[0.0, 0.0], [9.0, 9.0]], 10, axis=0) + np.random.default_rng(0).standard_normal((20, 2)) / 9
    found = Map(places=places, method="classical scaling", why="", neighbours=5, trust=1, null_trust=(1,), settings={})
    labels = ["a"] * 10 + ["b"] * 10
    apart = agreement(found, labels, [0] * 10 + [1] * 10)
    alone = agreement(found, labels, range(20))
    assert apart is not None and apart.share == 1.0 and apart.p == 1.0
    assert alone is not None and alone.p < 0.01


def test_one_label_agrees_with_nothing() -> None:
    found = make_map(clusters(12, 1.0)[0])
    assert agreement(found, ["same"] * 12, range(12)) is None


def test_columns_that_nobody_or_one_point_has_count_for_nothing() -> None:
    values = np.array([[1.0, np.nan, 5.0], [2.0, np.nan, np.nan], [4.0, 3.0, np.nan]])
    assert np.allclose(standardised(values), np.array([[1.0], [2.0], [4.0]]) - 7 / 3)


@pytest.mark.slow
def test_a_map_is_the_same_bits_again() -> None:
    values = clusters(FEWEST_POINTS + 5, 1.0)[0]
    assert np.array_equal(make_map(values).places, make_map(values).places)


@pytest.mark.parametrize("values", [np.ones((1, 4)), np.ones((2, 4)), np.ones((5, 4))])
def test_points_that_make_no_map_are_refused(values: np.ndarray) -> None:
    with pytest.raises(SettingsError, match="three points that differ"):
        make_map(values)
