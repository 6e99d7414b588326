"""Codes without a network: SVD against numpy, DCT against its definition, the best split against brute force."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.fft import dctn

from pipeline.additive import additive_model
from pipeline.decomposition import singular_directions
from pipeline.fit.baselines import (
    Baseline,
    Part,
    best_of,
    coefficient_groups,
    explained,
    measure_baseline,
    rounded_energies,
)
from pipeline.fit.versions import describe
from tests.support.fitting import Float32, gaussian, truncated

# Buying parts.


def parts(matrix: Float32) -> list[Part]:
    """The curve of truncated SVD, by numpy's own factorisation."""
    values = np.linalg.svd(matrix.astype(np.float64), compute_uv=False)
    return [(sum(matrix.shape), energy) for energy in (values**2).tolist()]


@pytest.mark.parametrize("rank", range(7))
def test_whole_ranks_explain_what_the_truncated_svd_does(rank: int) -> None:
    matrix = gaussian(9, 6)
    assert explained([parts(matrix)], 15 * rank) == pytest.approx(truncated(matrix, rank))


@pytest.mark.parametrize("share", [0.0, 0.25, 0.96])
def test_a_fraction_of_a_rank_is_interpolated(share: float) -> None:
    matrix = gaussian(9, 6)
    expected = (1 - share) * truncated(matrix, 2) + share * truncated(matrix, 3)
    assert explained([parts(matrix)], 15 * (2 + share)) == pytest.approx(expected)


@pytest.mark.parametrize("ranks", [(1, 0), (0, 1), (1, 1), (2, 1), (1, 3), (4, 2)])
def test_no_split_of_whole_ranks_between_two_matrices_is_better(ranks: tuple[int, int]) -> None:
    wide, tall = gaussian(9, 6), 0.7 * gaussian(14, 5, 1)
    budget = ranks[0] * 15 + ranks[1] * 19
    best = max(
        truncated(wide, first) + truncated(tall, second)
        for first, second in itertools.product(range(7), range(6))
        if 15 * first + 19 * second <= budget
    )
    assert explained([parts(wide), parts(tall)], budget) >= best - 1e-9


@settings(max_examples=30)
@given(st.floats(0, 300), st.integers(0, 1000))
def test_svd_agrees_with_linear_programming(budget: float, seed: int) -> None:
    """With fractional ranks the best split is a linear programme: at most a whole of each singular direction."""
    from scipy.optimize import linprog

    curves = [parts(gaussian(9, 6, seed)), parts(gaussian(14, 5, seed + 1))]
    gains = [energy for curve in curves for _, energy in curve]
    prices = [price for curve in curves for price, _ in curve]
    found = linprog([-gain for gain in gains], A_ub=[prices], b_ub=[budget], bounds=(0, 1))
    assert explained(curves, budget) == pytest.approx(-found.fun, rel=1e-6, abs=1e-9)


def test_svd_never_explains_more_than_there_is() -> None:
    matrix = gaussian(9, 6)
    assert explained([parts(matrix)], 1e9) == pytest.approx(float((matrix.astype(np.float64) ** 2).sum()))
    assert explained([parts(matrix)], 0) == explained([], 100) == 0


# Measuring a matrix.


def standardised(matrix: Float32) -> Float32:
    return ((matrix - matrix.mean(dtype=np.float64)) / matrix.std(dtype=np.float64)).astype(np.float32)


def cosine_parts(matrix: Float32) -> list[tuple[int, float]]:
    return [(count, energy) for count, energy, _ in coefficient_groups(dctn(matrix, norm="ortho"))]


def measured(matrix: Float32, std: float) -> Baseline:
    return measure_baseline(matrix, std, *singular_directions(matrix))


@pytest.mark.parametrize("shape", [(40, 12), (12, 40), (20, 20)])
def test_energies_are_in_original_units(shape: tuple[int, int]) -> None:
    matrix = 0.05 * gaussian(*shape) + 0.2
    baseline = measured(standardised(matrix), float(matrix.std(dtype=np.float64)))
    values = np.linalg.svd(matrix - matrix.mean(dtype=np.float64), compute_uv=False)
    assert baseline.energy == pytest.approx((values**2).sum(), rel=1e-4)
    for rank in range(1, 13):
        assert explained([baseline.svd], rank * sum(shape)) == pytest.approx((values[:rank] ** 2).sum(), rel=1e-4)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("shape", [(40, 12), (12, 40)])
def test_rounded_ranks_explain_what_the_rounded_factors_do(shape: tuple[int, int], bits: int) -> None:
    """Rank by rank against the product itself, its factors rounded here as they should be."""
    matrix = gaussian(*shape)
    tall = matrix if shape[0] > shape[1] else matrix.T
    left, values, right = np.linalg.svd(tall.astype(np.float64), full_matrices=False)
    most, factors = 2 ** (bits - 1) - 1, []
    for factor in (left * values, right.T):
        steps = np.abs(factor).max(axis=0) / most
        factors.append(np.round(factor / steps) * steps)
    sums = [(tall**2).sum() - ((tall - factors[0][:, :k] @ factors[1][:, :k].T) ** 2).sum() for k in range(1, 6)]
    found = rounded_energies(matrix, singular_directions(matrix)[1][:, :5], bits)
    np.testing.assert_allclose(np.cumsum(found), sums, rtol=1e-3)


def test_8_bits_cost_svd_little_and_4_bits_more() -> None:
    matrix = gaussian(60, 50)
    squares, vectors = singular_directions(matrix)
    losses = [1 - rounded_energies(matrix, vectors, bits).sum() / squares.sum() for bits in (8, 4)]
    assert 0 < losses[0] < 2e-3 < losses[1] < 0.2


def test_coefficients_are_those_of_the_cosine_transform_by_its_definition() -> None:
    matrix = gaussian(5, 4)
    rows, cols = (np.cos(np.pi * np.outer(np.arange(n), np.arange(n) + 0.5) / n) for n in (5, 4))
    squares = (rows @ matrix @ cols.T) ** 2 * np.outer([1 / 5] + [2 / 5] * 4, [1 / 4] + [2 / 4] * 3)
    found = cosine_parts(matrix)
    assert [count for count, _ in found] == [1] * 20
    np.testing.assert_allclose([energy for _, energy in found], np.sort(squares.ravel())[::-1], rtol=1e-3, atol=1e-6)


@settings(max_examples=20)
@given(st.integers(2, 40), st.integers(2, 60), st.integers(0, 1000))
def test_coefficients_are_all_there_largest_first(rows: int, cols: int, seed: int) -> None:
    matrix = gaussian(rows, cols, seed)
    found = cosine_parts(matrix)
    means = [energy / count for count, energy in found]
    assert sum(count for count, _ in found) == matrix.size
    assert sum(energy for _, energy in found) == pytest.approx(float((matrix.astype(np.float64) ** 2).sum()), rel=1e-4)
    assert means == sorted(means, reverse=True)


def test_a_planted_wave_is_one_coefficient() -> None:
    wave = np.outer(np.cos(np.pi * 3 * (np.arange(30) + 0.5) / 30), np.cos(np.pi * 5 * (np.arange(40) + 0.5) / 40))
    matrix = (wave + 0.001 * gaussian(30, 40)).astype(np.float32)
    assert explained([measured(matrix, 1.0).dct], 2) > 0.999 * (matrix**2).sum()


def test_a_constant_matrix_has_no_energy() -> None:
    baseline = measured(np.zeros((6, 4), dtype=np.float32), 0.0)
    assert explained([baseline.svd, *baseline.svd_bits.values(), baseline.dct, baseline.dct_bits], 1e9) == 0


# Buying the means.


def test_a_code_may_buy_the_means_and_then_the_rest() -> None:
    """With a price below a rank's, the mean row is all there is to buy; from a rank on, the better of both ways."""
    matrix = gaussian(50, 20) + np.float32(3) * gaussian(1, 20, 1)
    baseline = describe(matrix, 0, 0).measured.baseline
    model = additive_model(matrix)
    assert explained([baseline.svd], 20) == pytest.approx(model.col_energy, rel=1e-4)
    assert explained([baseline.dct], 20) >= model.col_energy * (1 - 1e-4)
    rest = np.linalg.svd(matrix - matrix.mean(axis=0), compute_uv=False) ** 2
    plain = np.linalg.svd(matrix - matrix.mean(dtype=np.float64), compute_uv=False) ** 2
    for rank in range(1, 6):
        assert explained([baseline.svd], 20 + 70 * rank) >= model.col_energy + rest[:rank].sum() * (1 - 1e-4)
        assert explained([baseline.svd], 70 * rank) >= plain[:rank].sum() * (1 - 1e-4)
    assert explained([baseline.svd], 1e9) == pytest.approx(baseline.energy, rel=1e-4)


def test_the_best_of_two_codes_is_the_hull_over_both() -> None:
    found = best_of([[(10, 8), (10, 1)], [(4, 2), (4, 6), (4, 2)]])
    assert found == ((8.0, 8.0), (4.0, 2.0)) and explained([found], 12) == 10
    assert best_of([[(1, 3), (1, -5)], []]) == ((1.0, 3.0),) and best_of([]) == ()


@settings(max_examples=30)
@given(st.integers(0, 1000), st.floats(0, 200))
def test_the_best_of_codes_is_never_below_one_of_them(seed: int, budget: float) -> None:
    rng = np.random.default_rng(seed)
    curves = [[(float(p), float(e)) for p, e in rng.uniform(1, 20, (6, 2))] for _ in range(3)]
    best = explained([best_of(curves)], budget)
    for curve in curves:
        spent = gained = 0.0
        for price, energy in curve:
            spent, gained = spent + price, gained + energy
            assert spent > budget or gained <= best + 1e-9


def test_coefficients_by_bits_cost_their_places_and_signs() -> None:
    """A single wave: one of 1,200 places, a sign, and a size of 16 bits."""
    wave = np.outer(np.cos(np.pi * 3 * (np.arange(30) + 0.5) / 30), np.cos(np.pi * 5 * (np.arange(40) + 0.5) / 40))
    price, energy = measured(wave.astype(np.float32), 1.0).dct_bits[0]
    assert price == pytest.approx(np.log2(1200) + 17) and energy == pytest.approx((wave**2).sum(), rel=1e-4)
