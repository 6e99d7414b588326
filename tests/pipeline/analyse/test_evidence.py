"""p is right by construction: under the null no p comes more often than it says."""

import math
from collections import defaultdict
from collections.abc import Callable

import numpy as np
import pytest
from scipy.linalg import hadamard
from scipy.stats import binomtest

from pipeline.additive import additive_model
from pipeline.analyse.aggregation import (
    BEYOND_MEANS,
    Measured,
    aggregate_measured,
    as_is,
    excess_share,
    log_ratio,
    pool,
    reduction,
    rise,
)
from pipeline.analyse.evidence import (
    NUM_RECOMBINATIONS,
    compare_with_null,
    draws_for,
    rank_p,
    recombination_p,
    smallest_p,
)
from pipeline.analyse.statistics.clusters import measure_clusters
from pipeline.analyse.statistics.entropy import spectral_entropy
from pipeline.analyse.tensor import analyse_tensor
from pipeline.decomposition import singular_values
from pipeline.nulls import means, rotate
from pipeline.settings import AnalysisSettings
from tests.support.small_models import canonical, matrix_spec
from zoo.tensors import Axis

REPEATS = 4000
LEVELS = (0.01, 0.05, 0.1, 2 / 9, 1 / 3, 0.5)
UNLIKELY = 1e-4
"""A share of p-values that chance gives less often than this is a fault."""


def assert_calibrated(p_values: np.ndarray, levels: tuple[float, ...] = LEVELS) -> None:
    """P(p <= a) is at most a, as far as so many repeats can tell."""
    for level in levels:
        hits = int(np.sum(p_values <= level + 1e-12))
        assert binomtest(hits, len(p_values), level, alternative="greater").pvalue > UNLIKELY, (level, hits)


def test_comparison_by_hand() -> None:
    statistic = compare_with_null("x", 5.0, [1.0, 2.0, 3.0], "shuffle")
    assert (statistic.null_mean, statistic.null_std, statistic.z, statistic.num_nulls) == (2.0, 1.0, 3.0, 3)
    assert statistic.p == 2 / 4


def test_p_is_two_sided_and_at_most_one() -> None:
    assert rank_p(9.0, [1.0, 2.0, 3.0]) == rank_p(-9.0, [1.0, 2.0, 3.0]) == 2 / 4
    assert rank_p(2.0, [1.0, 2.0, 3.0]) == 1.0
    assert rank_p(2.5, [1.0, 2.0, 3.0]) == 1.0


def test_fewer_than_two_nulls_have_no_z() -> None:
    one = compare_with_null("x", 5.0, [1.0], "shuffle")
    assert (one.z, one.null_std, one.null_mean, one.p) == (None, None, 1.0, 1.0)
    none = compare_with_null("x", 5.0, [], "shuffle")
    assert (none.z, none.null_mean, none.p, none.null) == (None, None, None, "shuffle")


def test_a_null_without_spread_has_no_z() -> None:
    assert compare_with_null("x", 5.0, [1.0, 1.0], "shuffle").z is None


def test_draws_that_are_not_numbers_do_not_count() -> None:
    assert compare_with_null("x", 5.0, [1.0, math.nan, 3.0], "shuffle").num_nulls == 2
    assert compare_with_null("x", math.nan, [1.0, 3.0], "shuffle").z is None


@pytest.mark.parametrize("num_draws", [2, 8, 19])
@pytest.mark.parametrize("draw", [np.random.Generator.standard_normal, np.random.Generator.standard_cauchy])
def test_under_the_null_p_of_one_tensor_is_right(num_draws: int, draw: Callable[..., np.ndarray]) -> None:
    rng = np.random.default_rng(0)
    values = draw(rng, (REPEATS, num_draws + 1))
    assert_calibrated(np.array([rank_p(row[0], row[1:].tolist()) for row in values]))


@pytest.mark.slow
@pytest.mark.parametrize("effect", [as_is, rise, log_ratio, reduction, excess_share])
@pytest.mark.parametrize(("num_tensors", "num_draws"), [(2, 8), (6, 8), (12, 1), (5, 2)])
def test_under_the_null_p_of_a_pooled_figure_is_right(
    num_tensors: int, num_draws: int, effect: Callable[[float, float], float]
) -> None:
    rng = np.random.default_rng(1)
    p_values = []
    for _ in range(400):
        table = rng.beta(2, 5, (num_tensors, num_draws + 1)) * rng.uniform(0.2, 1, (num_tensors, 1))
        items = [(Measured(name="x", value=row[0], kind="shuffle", draws=tuple(row[1:])), 1.0) for row in table]
        pooled = aggregate_measured(items, effect)
        assert pooled is not None and pooled.statistic.p is not None
        p_values.append(pooled.statistic.p)
    assert_calibrated(np.array(p_values))
    assert np.mean(p_values) < 0.65  # Not by never speaking.


@pytest.mark.slow
def test_one_common_row_is_no_cluster() -> None:
    """Noise and one common row: under a null that loses the row the separation of the clusters is always extreme."""
    p_values = []
    for seed in range(120):
        rng = np.random.default_rng([7, seed])
        matrix = (rng.standard_normal((48, 16)) + 2 * rng.standard_normal(16)).astype(np.float32)
        draws = [measure_clusters(rotate(matrix, rng))["clusters.separation"] for _ in range(8)]
        p_values.append(rank_p(measure_clusters(matrix)["clusters.separation"], draws))
    assert_calibrated(np.array(p_values), (2 / 9, 4 / 9))


@pytest.mark.slow
def test_signs_that_an_order_sets_are_no_cluster() -> None:
    """Rows of noise with free signs: an order turns neighbours towards each other, in the matrix and in its nulls."""
    spec, p_values = matrix_spec("noise", 32, 24, row_axis=Axis.ATTENTION), []
    for seed in range(60):
        rng = np.random.default_rng([19, seed])
        matrices = (canonical(rng.standard_normal((32, 24)).astype(np.float32), spec) for _ in range(3))
        analyses = [
            analyse_tensor(matrix, spec, settings=AnalysisSettings(num_nulls=8), seed=seed, ordinal=ordinal)
            for ordinal, matrix in enumerate(matrices)
        ]
        pooled = pool(analyses, "clusters.explained")
        assert pooled is not None and pooled.statistic.p is not None
        p_values.append(pooled.statistic.p)
    assert_calibrated(np.array(p_values))


def normal(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((48, 32))


NO_CLUSTERS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "heavy tails": lambda rng: rng.standard_t(1.5, (48, 32)),
    "heavy tails and a mean row": lambda rng: rng.standard_t(3, (48, 32)) + 2 * rng.standard_normal(32),
    "rows of different sizes": lambda rng: normal(rng) * np.exp(rng.standard_normal((48, 1))),
    "rows of different sizes and a mean row": lambda rng: (
        normal(rng) * np.exp(rng.standard_normal((48, 1))) + 2 * rng.standard_normal(32)
    ),
    "one large value": lambda rng: normal(rng) + 30 * (np.arange(48 * 32).reshape(48, 32) == 0),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clusters.explained", "clusters.separation"])
@pytest.mark.parametrize("kind", NO_CLUSTERS)
def test_what_is_no_cluster_is_not_above_the_null_of_clusters(kind: str, name: str) -> None:
    """A turned matrix has normal tails and rows of one size, and gives more; if less, this were `structured`."""
    above = below = 0
    for seed in range(16):
        rng = np.random.default_rng([17, seed])
        matrix = NO_CLUSTERS[kind](rng).astype(np.float32)
        value = measure_clusters(matrix)[name]
        draws = [measure_clusters(rotate(matrix, rng))[name] for _ in range(8)]
        above, below = above + (value > max(draws)), below + (value < min(draws))
    assert above <= 3 and below >= 3  # Below it they are, as the pages say.


MEANS = {"a mean row": (0.0, 2.0), "row means": (2.0, 0.0), "both": (2.0, 2.0)}


@pytest.mark.slow
@pytest.mark.parametrize("kind", MEANS)
def test_noise_and_its_means_are_extreme_under_a_shuffle_and_not_beyond_the_means(kind: str) -> None:
    of_rows, of_cols = MEANS[kind]
    spec, settings = matrix_spec("noise", 24, 16), AnalysisSettings(num_nulls=8)
    p_values: dict[str, list[float]] = defaultdict(list)
    for seed in range(60):
        rng = np.random.default_rng([11, seed])
        added = of_rows * rng.standard_normal((24, 1)) + of_cols * rng.standard_normal(16)
        matrix = (rng.standard_normal((24, 16)) + added).astype(np.float32)
        for item in analyse_tensor(canonical(matrix, spec), spec, settings=settings, seed=seed).measured:
            p_values[item.name].append(item.statistic.p or 1.0)
    for name in ("spectra.low_share", "dimension.participation", "heavy_tail.stable_rank"):
        assert np.mean(np.array(p_values[name]) < 0.23) > 0.9, name
    for name in (name for name in p_values if name.endswith(BEYOND_MEANS)):
        assert_calibrated(np.array(p_values[name]), (2 / 9, 4 / 9))
        assert "rank" in name or np.mean(p_values[name]) < 0.75, name  # Not by never speaking, as ties would.


def test_heavy_tails_are_not_extreme_beyond_the_means() -> None:
    """A null that permuted what is less its means would lose part of each large value to them a second time."""
    p_values = []
    for seed in range(150):
        rng = np.random.default_rng([13, seed])
        matrix = (rng.standard_t(1.5, (24, 16)) + 3 * rng.standard_normal(16)).astype(np.float32)
        value, *draws = (
            spectral_entropy(singular_values(additive_model(each).residual(each)))
            for each in (matrix, *(means(matrix, rng) for _ in range(8)))
        )
        p_values.append(rank_p(value, draws))
    assert_calibrated(np.array(p_values), (2 / 9, 4 / 9))


def test_what_a_null_leaves_as_it_is_has_no_evidence_in_its_rounding() -> None:
    """Rows that are orthogonal stay so when they are turned."""
    rng, basis = np.random.default_rng(0), hadamard(32).astype(np.float32)
    specs = [matrix_spec(f"basis.{number}", 32, 32) for number in range(6)]
    found = [
        analyse_tensor(canonical(basis[rng.permutation(32)], spec), spec, settings=AnalysisSettings(), seed=number)
        for number, spec in enumerate(specs)
    ]
    pooled = pool(found, "clusters.explained")
    assert pooled is not None and pooled.statistic.p == 1.0 and pooled.statistic.z is None
    single = found[0].get("clusters.explained")
    assert single is not None and single.statistic.p == 1.0 and single.statistic.z is None


def test_recombining_gives_p_that_can_speak() -> None:
    far = [[10.0, *np.linspace(-1, 1, 8)]] * 6
    assert recombination_p([1.0] * 6, far) == pytest.approx(smallest_p(8, 6)) == 2 / (NUM_RECOMBINATIONS + 1)
    assert recombination_p([1.0] * 2, far[:2]) == pytest.approx(2 / 81)
    assert smallest_p(8) == pytest.approx(2 / 9)
    assert smallest_p(draws_for(0.05)) <= 0.05 < smallest_p(draws_for(0.05) - 1)


def test_every_recombination_is_counted_where_there_are_few() -> None:
    # Sums 0..3 of two tensors with items (1, 0) and (2, 0): the observed one is the largest of four.
    assert recombination_p([1.0, 1.0], [[1.0, 0.0], [2.0, 0.0]]) == 2 / 4
    assert recombination_p([1.0, 1.0], [[0.0, 1.0], [2.0, 0.0]]) == 1.0


def test_a_draw_that_is_not_finite_costs_itself_alone() -> None:
    found = Measured(name="x", value=3.0, kind="shuffle", draws=(1.0, math.nan, 2.0))
    other = Measured(name="x", value=3.0, kind="shuffle", draws=(1.0, 2.0, 2.0))
    pooled = aggregate_measured([(found, 1.0), (other, 1.0)])
    assert pooled is not None
    assert len(pooled.effects) == 2 and pooled.num_nulls == 2
    assert pooled.statistic.null_mean == pytest.approx((1.5 + 5 / 3) / 2)


def test_variances_of_tensors_add_up() -> None:
    items = [(Measured(name="x", value=1.0, kind="shuffle", draws=(0.0, 2.0, 4.0)), 3.0)] * 2
    pooled = aggregate_measured(items)
    assert pooled is not None
    assert pooled.statistic.null_std == pytest.approx(2 / math.sqrt(2))
