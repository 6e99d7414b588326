"""Average linkage, held against scipy's."""

import numpy as np
import numpy.typing as npt
import pytest
from scipy.cluster.hierarchy import cophenet, fcluster, linkage
from scipy.spatial.distance import squareform

from pipeline.analyse.linkage import average_linkage, cophenetic_distances, cut

Float64 = npt.NDArray[np.float64]


def trees(decimals: int, num: int = 100) -> list[tuple[Float64, Float64]]:
    """Random distances of 2 to 20 things and scipy's tree of them; few decimals make many ties."""
    rng = np.random.default_rng(decimals)
    sizes = rng.integers(2, 21, size=num)
    condensed = [np.round(rng.random(size * (size - 1) // 2), decimals) for size in sizes]
    return [(squareform(each), linkage(each, "average")) for each in condensed]


@pytest.mark.parametrize("decimals", [17, 2, 1, 0])
def test_the_tree_is_scipys_to_the_last_bit(decimals: int) -> None:
    for distances, expected in trees(decimals):
        np.testing.assert_array_equal(average_linkage(distances), expected)


def test_cophenetic_distances_are_scipys() -> None:
    for distances, expected in trees(2):
        np.testing.assert_array_equal(cophenetic_distances(average_linkage(distances)), squareform(cophenet(expected)))


@pytest.mark.parametrize("decimals", [17, 1])
def test_cut_groups_as_scipy_does(decimals: int) -> None:
    for distances, expected in trees(decimals):
        for num_groups in range(1, len(distances) + 1):
            pairs = set(zip(cut(expected, num_groups), fcluster(expected, num_groups, "maxclust"), strict=True))
            assert len(pairs) == len({ours for ours, _ in pairs}) == len({theirs for _, theirs in pairs})


def test_the_distances_given_stay_as_they_are() -> None:
    distances, _ = trees(2)[0]
    before = distances.copy()
    average_linkage(distances)
    np.testing.assert_array_equal(distances, before)
