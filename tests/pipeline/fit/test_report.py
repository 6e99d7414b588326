"""The fit report against other implementations: errors by numpy and sklearn, SVD by numpy, the bound by hand."""

import dataclasses
import json
import math

import numpy as np
import pytest
from cattrs import structure
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

from patterndb.records import FitRecord
from pipeline.fit.baselines import Baseline, explained
from pipeline.fit.report import Errors, FitCost, Quantised, TensorFit, report
from pipeline.fit.sizing import MOMENTS
from tests.support.fitting import Float32, gaussian, low_rank, quick, truncated

COST = FitCost(device="cpu", steps=10, seconds=1.5)


def sst_of(matrix: Float32) -> float:
    return float(matrix.size * matrix.var(dtype=np.float64))


def errors_of(values: Float32, guess: Float32) -> Errors:
    """By definition, weight by weight."""
    error = np.abs(values.astype(np.float64) - guess)
    percent = 200 * error / (np.abs(values.astype(np.float64)) + np.abs(guess))
    return Errors(points=values.size, sse=float((error**2).sum()), sae=float(error.sum()), sape=float(percent.sum()))


def baseline_of(matrix: Float32) -> Baseline:
    """By numpy's own factorisation; 8 bits cost a tenth, 4 bits a fifth, and all coefficients are alike."""
    centred = matrix.astype(np.float64) - matrix.mean(dtype=np.float64)
    energies = tuple(float(value) for value in np.linalg.svd(centred, compute_uv=False) ** 2)
    numbers = sum(matrix.shape)
    kept = {8: 0.9, 6: 0.85, 4: 0.8, 3: 0.1}
    return Baseline(
        energy=sum(energies),
        svd=tuple((numbers, energy) for energy in energies),
        svd_bits={
            width: tuple((numbers * width + 32, share * energy) for energy in energies) for width, share in kept.items()
        },
        dct=((2 * matrix.size, sum(energies)),),
        dct_bits=((10 * matrix.size, sum(energies)),),
    )


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
        baseline=baseline_of(matrix),
        null_baselines=tuple(baseline_of(null) for null in nulls),
    )


def guess_of(matrix: Float32, seed: int = 7) -> Float32:
    return (matrix + 0.3 * matrix.std() * gaussian(*matrix.shape, seed)).astype(np.float32)


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


def test_the_ceiling_of_unequal_variances_spends_bits_where_the_variance_is() -> None:
    """One bit a weight: the strong tensor takes nearly two and keeps a 16th, the weak one keeps all of its 1 %."""
    fits = [tensor_fit(scale * gaussian(10, 10), gaussian(10, 10)) for scale in (1.0, 0.1)]
    fits = [
        dataclasses.replace(fit, parameters=1.0, order_bits=68.0, std=std)
        for fit, std in zip(fits, (1, 0.1), strict=True)
    ]
    assert report(fits, quick(), COST).ceiling_r2 == pytest.approx(1 - (1 / 16 + 0.01) / 1.01)


def test_nulls_stand_beside_the_fit(matrix: Float32, record: FitRecord) -> None:
    nulls = (np.sort(matrix.ravel()).reshape(12, 9), gaussian(12, 9, 8) * matrix.std() + matrix.mean())
    expected = [1 - ((null.astype(np.float64) - matrix.mean()) ** 2).sum() / sst_of(null) for null in nulls]
    assert record.num_nulls == 2 and record.null == "shuffle"
    assert record.null_r2 == pytest.approx(np.mean(expected), abs=1e-6)
    assert record.null_r2_std == pytest.approx(np.std(expected, ddof=1), abs=1e-6)
    assert record.gain == pytest.approx(record.r2 - np.mean(expected))


def test_svd_is_given_the_parameters_of_the_networks(matrix: Float32, record: FitRecord) -> None:
    """20 of the 22: the mean and the scale are known to SVD too."""
    centred, sst = matrix - matrix.mean(dtype=np.float64), matrix.size * matrix.var(dtype=np.float64)
    assert record.svd_r2 == pytest.approx(truncated(centred, 1) * (20 / 21) / sst, rel=1e-4)
    assert record.svd_gain == pytest.approx(record.svd_r2 - record.svd_null_r2)


def test_the_null_of_svd_has_singular_values_of_its_own(matrix: Float32) -> None:
    null = gaussian(12, 9, 8) * matrix.std() + matrix.mean()
    record = report([tensor_fit(matrix, guess_of(matrix), (null,))], quick(), COST)
    centred, sst = null - null.mean(dtype=np.float64), null.size * null.var(dtype=np.float64)
    assert record.svd_null_r2 == pytest.approx(truncated(centred, 1) * (20 / 21) / sst, rel=1e-4)
    assert record.svd_null_r2 < record.svd_r2


def test_svd_with_room_for_every_rank_explains_all_and_never_more(matrix: Float32) -> None:
    """Energies are of float32 values that were standardised and back: their sum is not SST to the last bit."""
    fit = tensor_fit(matrix, matrix, (matrix,), parameters=1000)
    parts = tuple((price, 1.0000001 * energy) for price, energy in fit.baseline.svd)
    fit = dataclasses.replace(fit, baseline=dataclasses.replace(fit.baseline, svd=parts))
    record = report([fit], quick(), COST)
    assert record.svd_null_r2 is not None
    for found in (record.svd_r2, record.svd_null_r2):
        assert found <= 1 and found == pytest.approx(1, abs=1e-12)


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


# At 8 bits, and compared with the cosine transform.


def quantised(fit: TensorFit, *, bits: float = 160.0, factor: float = 1.5) -> TensorFit:
    """The fit with errors that grow by a factor at 8 bits."""
    null_sse = tuple(factor * null.sse for null in fit.null_errors)
    at_8_bits = Quantised(width=8, bits=bits, sse=factor * fit.errors.sse, null_sse=null_sse)
    return dataclasses.replace(fit, quantised=(at_8_bits,))


def test_every_bit_of_the_8_bit_dna_is_counted(matrix: Float32) -> None:
    """160 of the network, 50 of the order, 64 of the mean and the scale."""
    record = report([quantised(tensor_fit(matrix, guess_of(matrix)))], quick(), COST)
    assert record.bits_per_weight_8bit == pytest.approx((160 + 50 + 64) / 108)
    assert record.ceiling_r2_8bit == pytest.approx(1 - 2 ** (-2 * (160 + 50 + 64) / 108))


def test_r2_and_null_at_8_bits_are_those_of_the_rounded_networks(matrix: Float32) -> None:
    nulls = (np.sort(matrix.ravel()).reshape(12, 9), gaussian(12, 9, 8))
    record = report([quantised(tensor_fit(matrix, guess_of(matrix), nulls))], quick(), COST)
    assert record.null_r2 is not None
    assert record.r2_8bit == pytest.approx(1 - 1.5 * (1 - record.r2))
    assert record.null_r2_8bit == pytest.approx(1 - 1.5 * (1 - record.null_r2))


def test_svd_at_8_bits_has_the_bits_of_the_network_and_of_its_order(matrix: Float32) -> None:
    """A rank costs 21 numbers of 8 bits and two scales of 16: 200 bits; there are 210."""
    centred, sst = matrix - matrix.mean(dtype=np.float64), matrix.size * matrix.var(dtype=np.float64)
    record = report([quantised(tensor_fit(matrix, guess_of(matrix), (matrix,)))], quick(), COST)
    expected = 0.95 * truncated(centred, 1) + 0.05 * truncated(centred, 2)
    assert record.svd_r2_8bit == pytest.approx(0.9 * expected / sst, rel=1e-4)
    assert record.svd_null_r2_8bit == pytest.approx(record.svd_r2_8bit)


def test_at_equal_bits_svd_has_the_width_that_is_best(matrix: Float32) -> None:
    """For 210 bits: a rank and a 20th at 8 bits (200 each), two at 4 bits (116 each, the second in part)."""
    fit = quantised(tensor_fit(matrix, guess_of(matrix), (matrix, matrix)))
    record = report([fit], quick(), COST)
    every = {width: min(report_svd(fit, width), 1.0) for width in (8, 6, 4, 3)}
    assert record.svd_bits_r2 == max(every.values()) and record.svd_bits_width == max(every, key=every.__getitem__) == 4
    assert record.svd_bits_null_r2 == pytest.approx(record.svd_bits_r2)
    assert record.svd_r2_8bit == every[8] < record.svd_bits_r2


def report_svd(fit: TensorFit, width: int) -> float:
    """R2 that the fit's SVD has at that width with the bits of its network and its order."""
    bits = fit.quantised[0].bits + fit.order_bits
    return explained([fit.baseline.svd_bits[width]], bits) / fit.baseline.energy


def test_the_cosine_transform_pays_for_the_order_it_needs(matrix: Float32) -> None:
    """160 bits buy 16 of 108 coefficients that cost 10 each; the 50 of the order are spent."""
    record = report([quantised(tensor_fit(matrix, guess_of(matrix), (matrix,)))], quick(), COST)
    assert record.dct_bits_r2 == pytest.approx(16 / 108) == record.dct_bits_null_r2


def test_the_means_are_reported_with_their_numbers_and_their_null(matrix: Float32) -> None:
    """Of two tensors one has means that pay; the other is held against its shuffles, draw by draw."""
    null, kept = gaussian(12, 9, 8), gaussian(12, 9, 9)
    plain = tensor_fit(matrix, guess_of(matrix), (null,))
    zeros = np.zeros_like(kept)
    paying = dataclasses.replace(
        plain,
        name="b",
        additive_numbers=9,
        additive_energy=0.25 * plain.sst,
        means_null_errors=(errors_of(kept, zeros),),
        means_null_baselines=(baseline_of(kept),),
    )
    record = report([plain, paying], quick(), COST)
    assert record.additive_numbers == 9 and record.additive_r2 == pytest.approx(0.125)
    sse = plain.null_errors[0].sse + float((kept.astype(np.float64) ** 2).sum())
    assert record.means_null_r2 == pytest.approx(1 - sse / (sst_of(null) + sst_of(kept)), abs=1e-6)
    assert record.gain_beyond_means == pytest.approx(record.r2 - record.means_null_r2)
    assert record.null_r2 != record.means_null_r2 and record.svd_means_null_r2 != record.svd_null_r2


def test_a_coefficient_costs_a_place_and_a_value(matrix: Float32) -> None:
    """20 parameters buy 10 of 108 coefficients that are all alike."""
    record = report([tensor_fit(matrix, guess_of(matrix), (matrix,))], quick(), COST)
    assert record.dct_r2 == pytest.approx(10 / 108) and record.dct_null_r2 == pytest.approx(10 / 108)


def test_what_was_not_quantised_is_unknown_at_8_bits(matrix: Float32) -> None:
    known, unknown = quantised(tensor_fit(matrix, matrix)), tensor_fit(matrix, matrix, name="b")
    record = report([known, unknown], quick(), COST)
    assert (record.r2_8bit, record.bits_per_weight_8bit, record.svd_r2_8bit, record.ceiling_r2_8bit) == (None,) * 4


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
    for each in (fit, quantised(fit)):
        assert structure(json.loads(json.dumps(dataclasses.asdict(each))), TensorFit) == each
