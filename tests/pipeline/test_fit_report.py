"""The fit report against other implementations: SVD by brute force, errors by numpy and sklearn, the bound by hand."""

import dataclasses
import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

from patterndb.records import FitRecord
from pipeline.fit_report import MOMENTS, Errors, FitCost, TensorFit, report, svd_explained
from tests.pipeline.fitting import Float32, gaussian, low_rank, quick

COST = FitCost(device="cpu", steps=10, seconds=1.5)
Float64 = npt.NDArray[np.float64]


def errors_of(values: Float32, guess: Float32) -> Errors:
    """By definition, weight by weight."""
    error = np.abs(values.astype(np.float64) - guess)
    percent = 200 * error / (np.abs(values.astype(np.float64)) + np.abs(guess))
    return Errors(points=values.size, sse=float((error**2).sum()), sae=float(error.sum()), sape=float(percent.sum()))


def energies_of(matrix: Float32) -> tuple[float, ...]:
    centred = matrix.astype(np.float64) - matrix.mean(dtype=np.float64)
    return tuple(float(value) for value in np.linalg.svd(centred, compute_uv=False) ** 2)


def tensor_fit(
    matrix: Float32, guess: Float32, nulls: tuple[Float32, ...] = (), *, name: str = "a", parameters: float = 20.0
) -> TensorFit:
    """As the stage would report `guess` as the DNA's word on `matrix`; the nulls are guessed to be 0."""
    zeros = np.full_like(matrix, matrix.mean())
    return TensorFit(
        name=name,
        role="ffn_in",
        rows=matrix.shape[0],
        cols=matrix.shape[1],
        parameters=parameters + MOMENTS,
        order_bits=50.0,
        std=float(matrix.std(dtype=np.float64)),
        low=float(matrix.min()),
        high=float(matrix.max()),
        errors=errors_of(matrix, guess),
        null_errors=tuple(errors_of(null, zeros) for null in nulls),
        energies=energies_of(matrix),
        null_energies=tuple(energies_of(null) for null in nulls),
    )


def guess_of(matrix: Float32, seed: int = 7) -> Float32:
    return (matrix + 0.3 * matrix.std() * gaussian(*matrix.shape, seed)).astype(np.float32)


# SVD at the same number of parameters.


def truncated(matrix: Float32, rank: int) -> float:
    """Sum of squares that the best approximation of that rank explains, by numpy's own factorisation."""
    left, values, right = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    approximation = (left[:, :rank] * values[:rank]) @ right[:rank]
    return float((matrix.astype(np.float64) ** 2).sum() - ((matrix - approximation) ** 2).sum())


def spectrum(matrix: Float32) -> tuple[int, int, list[float]]:
    values = np.linalg.svd(matrix.astype(np.float64), compute_uv=False)
    return (*matrix.shape, [float(value) for value in values**2])


@pytest.mark.parametrize("rank", range(7))
def test_whole_ranks_explain_what_the_truncated_svd_does(rank: int) -> None:
    matrix = gaussian(9, 6)
    assert svd_explained([spectrum(matrix)], 15 * rank) == pytest.approx(truncated(matrix, rank))


@pytest.mark.parametrize("share", [0.0, 0.25, 0.96])
def test_a_fraction_of_a_rank_is_interpolated(share: float) -> None:
    matrix = gaussian(9, 6)
    expected = (1 - share) * truncated(matrix, 2) + share * truncated(matrix, 3)
    assert svd_explained([spectrum(matrix)], 15 * (2 + share)) == pytest.approx(expected)


@pytest.mark.parametrize("ranks", [(1, 0), (0, 1), (1, 1), (2, 1), (1, 3), (4, 2)])
def test_no_split_of_whole_ranks_between_two_matrices_is_better(ranks: tuple[int, int]) -> None:
    wide, tall = gaussian(9, 6), 0.7 * gaussian(14, 5, 1)
    budget = ranks[0] * 15 + ranks[1] * 19
    best = max(
        truncated(wide, first) + truncated(tall, second)
        for first, second in itertools.product(range(7), range(6))
        if 15 * first + 19 * second <= budget
    )
    assert svd_explained([spectrum(wide), spectrum(tall)], budget) >= best - 1e-9


@settings(deadline=None, max_examples=30)
@given(st.floats(0, 300), st.integers(0, 1000))
def test_svd_agrees_with_linear_programming(budget: float, seed: int) -> None:
    """With fractional ranks the best split is a linear programme: at most a whole of each singular direction."""
    from scipy.optimize import linprog

    spectra = [spectrum(gaussian(9, 6, seed)), spectrum(gaussian(14, 5, seed + 1))]
    gains = [energy for _, _, energies in spectra for energy in energies]
    prices = [rows + cols for rows, cols, energies in spectra for _ in energies]
    found = linprog([-gain for gain in gains], A_ub=[prices], b_ub=[budget], bounds=(0, 1))
    assert svd_explained(spectra, budget) == pytest.approx(-found.fun, rel=1e-6, abs=1e-9)


def test_svd_never_explains_more_than_there_is() -> None:
    matrix = gaussian(9, 6)
    assert svd_explained([spectrum(matrix)], 1e9) == pytest.approx(float((matrix.astype(np.float64) ** 2).sum()))
    assert svd_explained([spectrum(matrix)], 0) == svd_explained([], 100) == 0


# One tensor.


@pytest.fixture
def matrix() -> Float32:
    return low_rank(12, 9, 2) + 0.01 * gaussian(12, 9, 5)


@pytest.fixture
def record(matrix: Float32) -> FitRecord:
    nulls = (np.sort(matrix.ravel()).reshape(12, 9), gaussian(12, 9, 8) * matrix.std() + matrix.mean())
    return report([tensor_fit(matrix, guess_of(matrix), nulls)], quick(), COST)


def test_errors_are_those_of_sklearn(matrix: Float32, record: FitRecord) -> None:
    values, guess = matrix.astype(np.float64).ravel(), guess_of(matrix).astype(np.float64).ravel()
    assert record.r2 == pytest.approx(r2_score(values, guess))
    assert record.mse == pytest.approx(mean_squared_error(values, guess))
    assert record.rmse == pytest.approx(math.sqrt(mean_squared_error(values, guess)))
    assert record.mae == pytest.approx(mean_absolute_error(values, guess))
    assert record.mean_mse == pytest.approx(mean_squared_error(values, np.full_like(values, values.mean())))


def test_psnr_and_smape_are_those_of_their_definitions(matrix: Float32, record: FitRecord) -> None:
    values, guess = matrix.astype(np.float64), guess_of(matrix).astype(np.float64)
    assert record.peak == pytest.approx(values.max() - values.min())
    assert record.psnr == pytest.approx(10 * np.log10(record.peak**2 / np.mean((values - guess) ** 2)))
    assert record.mean_psnr == pytest.approx(10 * np.log10(record.peak**2 / values.var()))
    smape = 100 * np.mean(2 * np.abs(values - guess) / (np.abs(values) + np.abs(guess)))
    assert record.smape == pytest.approx(smape) and 0 < record.smape < 200


def test_every_bit_is_counted_and_the_ceiling_follows(record: FitRecord) -> None:
    assert record.parameters == 22
    assert record.bits_per_weight == pytest.approx((22 * 32 + 50) / 108)
    assert record.order_bits_per_weight == pytest.approx(50 / 108)
    assert record.ceiling_r2 == pytest.approx(1 - 2 ** (-2 * (22 * 32 + 50) / 108))


def test_the_ceiling_is_the_rate_distortion_bound_of_the_contract() -> None:
    """1.45 bits a weight: R2 of at most 0.866 on Gaussian weights."""
    fit = dataclasses.replace(tensor_fit(gaussian(10, 10), gaussian(10, 10)), parameters=4.0, order_bits=17.0)
    assert report([fit], quick(), COST).ceiling_r2 == pytest.approx(0.866, abs=1e-3)


def test_nulls_stand_beside_the_fit(matrix: Float32, record: FitRecord) -> None:
    nulls = (np.sort(matrix.ravel()).reshape(12, 9), gaussian(12, 9, 8) * matrix.std() + matrix.mean())
    sst = matrix.size * matrix.var(dtype=np.float64)
    expected = [1 - ((null.astype(np.float64) - matrix.mean()) ** 2).sum() / sst for null in nulls]
    assert record.num_nulls == 2 and record.null == "shuffle"
    assert record.null_r2 == pytest.approx(np.mean(expected), abs=1e-6)
    assert record.null_r2_std == pytest.approx(np.std(expected, ddof=1), abs=1e-6)
    assert record.gain == pytest.approx(record.r2 - np.mean(expected))


def test_svd_is_given_the_parameters_of_the_networks(matrix: Float32, record: FitRecord) -> None:
    """20 of the 22: the mean and the scale are known to SVD too."""
    centred, sst = matrix - matrix.mean(dtype=np.float64), matrix.size * matrix.var(dtype=np.float64)
    assert record.svd_r2 == pytest.approx(truncated(centred, 1) * (20 / 21) / sst, rel=1e-4)
    assert record.svd_gain == pytest.approx(record.svd_r2 - record.svd_null_r2)


def test_svd_with_room_for_every_rank_explains_all_and_never_more(matrix: Float32) -> None:
    """Energies are of float32 values that were standardised and back: their sum is not SST to the last bit."""
    fit = tensor_fit(matrix, matrix, (matrix,), parameters=1000)
    rounded = dataclasses.replace(
        fit, energies=tuple(1.0000001 * energy for energy in fit.energies), null_energies=(fit.energies,)
    )
    record = report([rounded], quick(), COST)
    assert record.svd_null_r2 is not None
    for explained in (record.svd_r2, record.svd_null_r2):
        assert explained <= 1 and explained == pytest.approx(1, abs=1e-12)


def test_without_nulls_there_is_no_gain(matrix: Float32) -> None:
    record = report([tensor_fit(matrix, matrix)], quick(num_nulls=0), COST)
    assert (record.null_r2, record.null_r2_std, record.gain, record.svd_null_r2, record.svd_gain) == (None,) * 5


def test_one_null_has_no_spread(matrix: Float32) -> None:
    record = report([tensor_fit(matrix, matrix, (matrix,))], quick(), COST)
    assert record.null_r2 is not None and record.null_r2_std is None


def test_a_perfect_fit_has_no_error_and_infinite_psnr(matrix: Float32) -> None:
    record = report([tensor_fit(matrix, matrix)], quick(), COST)
    assert (record.r2, record.mse, record.smape, record.psnr) == (1.0, 0.0, 0.0, math.inf)


def test_the_mean_as_a_fit_explains_nothing(matrix: Float32) -> None:
    record = report([tensor_fit(matrix, np.full_like(matrix, matrix.mean()))], quick(), COST)
    assert record.r2 == pytest.approx(0, abs=1e-6)
    assert record.psnr == pytest.approx(record.mean_psnr)


def test_a_constant_tensor_is_reported_without_a_crash() -> None:
    constant = np.full((4, 5), 0.5, dtype=np.float32)
    record = report([tensor_fit(constant, constant, (constant,))], quick(), COST)
    assert record.r2 == 1 and record.gain == 0 and record.svd_r2 == 0
    assert math.isfinite(record.mean_psnr) and math.isfinite(record.bits_per_weight)


# Tensors together.


def test_pooling_adds_up_the_parts() -> None:
    first, second = low_rank(12, 9, 2), 3 * gaussian(5, 7, 3) + 1
    fits = [tensor_fit(first, guess_of(first)), tensor_fit(second, guess_of(second), name="b", parameters=9)]
    pooled, parts = report(fits, quick(), COST), [report([fit], quick(), COST) for fit in fits]
    weights = [108, 35]
    assert pooled.num_weights == 143 and pooled.parameters == 20 + 9 + 2 * MOMENTS
    for name in ("mse", "mae", "smape", "mean_mse", "bits_per_weight", "order_bits_per_weight"):
        expected = np.average([getattr(part, name) for part in parts], weights=weights)
        assert getattr(pooled, name) == pytest.approx(expected), name
    assert pooled.r2 == pytest.approx(1 - pooled.mse / pooled.mean_mse)
    assert pooled.peak == pytest.approx(max(first.max(), second.max()) - min(first.min(), second.min()))


def test_pooled_r2_is_about_the_mean_of_each_tensor() -> None:
    """The DNA stores every tensor's mean, so a fit that knows nothing else has explained nothing."""
    low, high = gaussian(6, 6), gaussian(6, 6, 1) + 100
    fits = [tensor_fit(matrix, np.full_like(matrix, matrix.mean())) for matrix in (low, high)]
    assert report(fits, quick(), COST).r2 == pytest.approx(0, abs=1e-6)


def test_pooled_svd_is_the_best_split_of_all_the_parameters() -> None:
    strong, weak = 10 * low_rank(12, 9, 2), 0.1 * gaussian(12, 9)
    fits = [tensor_fit(matrix, guess_of(matrix)) for matrix in (strong, weak)]
    pooled, apart = report(fits, quick(), COST), [report([fit], quick(), COST) for fit in fits]
    explained = sum(part.svd_r2 * part.mean_mse for part in apart)
    assert pooled.svd_r2 * 2 * pooled.mean_mse > 1.1 * explained


# Samples.


def sampled(matrix: Float32, guess: Float32, rng: np.random.Generator, points: int) -> TensorFit:
    """As the stage estimates from a sample with replacement."""
    squares = ((matrix.astype(np.float64) - guess) ** 2).ravel()[rng.integers(matrix.size, size=points)]
    whole = tensor_fit(matrix, guess)
    errors = dataclasses.replace(
        whole.errors,
        points=points,
        sse=float(squares.mean() * matrix.size),
        sse_variance=float(matrix.size**2 * squares.var() / points),
    )
    return dataclasses.replace(whole, errors=errors)


def test_the_interval_of_a_sample_covers_the_truth_about_as_often_as_it_says() -> None:
    matrix = gaussian(40, 30)
    guess, rng = guess_of(matrix), np.random.default_rng(0)
    truth = report([tensor_fit(matrix, guess)], quick(), COST).r2
    records = [report([sampled(matrix, guess, rng, 300)], quick(), COST) for _ in range(400)]
    covered = np.mean([r.r2_low <= truth <= r.r2_high for r in records])  # type: ignore[operator]
    assert 0.91 < covered < 0.985
    assert np.mean([r.r2 for r in records]) == pytest.approx(truth, abs=1e-3)
    assert {r.sampled_weights for r in records} == {300}


def test_a_fit_on_all_weights_has_no_interval(record: FitRecord) -> None:
    assert (record.r2_low, record.r2_high, record.sampled_weights) == (None, None, None)


def test_plain_json_and_back() -> None:
    fit = tensor_fit(gaussian(4, 3), gaussian(4, 3, 1), (gaussian(4, 3, 2),))
    assert TensorFit.from_dict(fit.as_dict()) == fit
