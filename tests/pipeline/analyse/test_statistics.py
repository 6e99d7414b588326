"""Every statistic against an independent implementation or by hand, on matrices small enough for both."""

import math
import warnings

import numpy as np
import numpy.typing as npt
import pytest
import scipy.signal
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.analyse.statistics.dimension import effective_rank, measure_dimension, participation_ratio
from pipeline.analyse.statistics.distribution import measure_distribution
from pipeline.analyse.statistics.entropy import histogram_entropy, spectral_entropy
from pipeline.analyse.statistics.heavy_tail import fit_power_law, measure_heavy_tail
from pipeline.analyse.statistics.lipschitz import log_block_bound, log_spectral_norm
from pipeline.analyse.statistics.sizes import measure_sizes
from pipeline.analyse.statistics.spectra import BAND_EDGES, energies, measure_places, measure_spectra
from pipeline.decomposition import decompose, singular_values

HAND = np.array([[3, 0], [0, 4], [0, 0]], dtype=np.float32)


def noise(*shape: int, seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


@pytest.mark.parametrize("shape", [(7, 5), (5, 7), (40, 40), (2, 3)])
def test_singular_values_are_those_of_numpy(shape: tuple[int, int]) -> None:
    matrix = noise(*shape)
    expected = np.linalg.svd(matrix.astype(np.float64), compute_uv=False)
    np.testing.assert_allclose(singular_values(matrix), expected, rtol=1e-9)


def test_singular_values_of_a_long_matrix_are_summed_in_pieces() -> None:
    matrix = noise(9000, 3)
    expected = np.linalg.svd(matrix.astype(np.float64), compute_uv=False)
    np.testing.assert_allclose(singular_values(matrix), expected, rtol=1e-12)


@pytest.mark.parametrize("shape", [(9, 6), (6, 9)])
def test_a_decomposition_has_all_singular_values_and_the_leading_directions(shape: tuple[int, int]) -> None:
    matrix = noise(*shape)
    spectrum = decompose(matrix, 4)
    np.testing.assert_allclose(spectrum.singular, singular_values(matrix), rtol=1e-12)
    along = (matrix if shape[0] > shape[1] else matrix.T) @ spectrum.directions
    np.testing.assert_allclose(np.linalg.norm(along, axis=0), spectrum.singular[:4], rtol=1e-6)


def test_rounding_of_the_gram_matrix_is_no_singular_value() -> None:
    low_rank = noise(30, 1) @ noise(1, 20)
    assert np.count_nonzero(singular_values(low_rank)) <= 2


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.integers(2, 20), st.integers(2, 20))
def test_singular_values_do_not_depend_on_order_or_sign(seed: int, rows: int, cols: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((rows, cols), dtype=np.float32)
    copy = matrix[rng.permutation(rows)][:, rng.permutation(cols)] * rng.choice([-1, 1], cols).astype(np.float32)
    np.testing.assert_allclose(singular_values(copy), singular_values(matrix), rtol=1e-6, atol=1e-7)


def test_participation_ratio_by_hand() -> None:
    assert participation_ratio(np.array([4.0, 3.0])) == pytest.approx(25**2 / (256 + 81))
    assert participation_ratio(np.ones(7)) == pytest.approx(7)
    assert math.isnan(participation_ratio(np.zeros(3)))


def test_effective_rank_by_hand() -> None:
    singular = np.sqrt(np.array([50.0, 40.0, 9.0, 1.0]))
    assert [effective_rank(singular, share) for share in (0.5, 0.9, 0.99, 1.0)] == [1, 2, 3, 4]


def test_dimension_agrees_with_sklearn() -> None:
    from sklearn.decomposition import PCA

    matrix = noise(30, 12) @ np.diag(np.linspace(1, 3, 12)).astype(np.float32)
    matrix -= matrix.mean(axis=0)
    shares = np.cumsum(PCA().fit(matrix.astype(np.float64)).explained_variance_ratio_)
    measured = measure_dimension(singular_values(matrix))
    for pct in (50, 90, 99):
        assert measured[f"dimension.rank_{pct}"] == (np.argmax(shares >= pct / 100) + 1) / 12


def test_sigma_quantiles_are_in_units_of_their_rms() -> None:
    measured = measure_dimension(np.array([4.0, 3.0]))
    assert measured["dimension.sigma_100"] == pytest.approx(4 / math.sqrt(12.5))
    assert measured["dimension.sigma_000"] == pytest.approx(3 / math.sqrt(12.5))


def test_spectral_entropy_agrees_with_scipy() -> None:
    singular = np.array([4.0, 3.0, 1.0])
    assert spectral_entropy(singular) == pytest.approx(scipy.stats.entropy(singular**2) / math.log(3))
    assert spectral_entropy(np.ones(5)) == pytest.approx(1)


def test_histogram_entropy_agrees_with_numpy_and_scipy() -> None:
    values = noise(50, 40) * 3 + 1
    scaled = (values.astype(np.float64) - values.mean(dtype=np.float64)) / values.std(dtype=np.float64)
    counts, _ = np.histogram(np.clip(scaled, -4, 4), bins=64, range=(-4, 4))
    assert histogram_entropy(values) == pytest.approx(scipy.stats.entropy(counts, base=2), abs=1e-6)


def test_histogram_entropy_by_hand() -> None:
    assert histogram_entropy(np.array([-1, 1, -1, 1], dtype=np.float32)) == 1.0
    assert histogram_entropy(np.full(9, 2, dtype=np.float32)) == 0.0


def test_distribution_agrees_with_scipy() -> None:
    values = noise(60, 50) ** 3 + 0.2
    measured = measure_distribution(values)
    flat = values.ravel().astype(np.float64)
    assert measured["distribution.kurtosis"] == pytest.approx(scipy.stats.kurtosis(flat))
    assert measured["distribution.skewness"] == pytest.approx(scipy.stats.skew(flat))
    assert measured["distribution.magnitude_90"] == pytest.approx(
        np.percentile(np.abs(flat), 90) / np.sqrt(np.mean(flat**2))
    )


def test_distribution_by_hand() -> None:
    measured = measure_distribution(np.array([0, 0, 3, -4], dtype=np.float32))
    assert measured["distribution.log_rms"] == pytest.approx(math.log10(2.5))
    assert measured["distribution.near_zero"] == 0.5
    assert measured["distribution.mean"] == pytest.approx(-0.25 / 2.5)
    assert measured["distribution.magnitude_max"] == pytest.approx(1.6)


def test_a_constant_has_no_shape() -> None:
    measured = measure_distribution(np.full(8, 0.1, dtype=np.float32))
    assert math.isnan(measured["distribution.kurtosis"])
    assert measured["distribution.std"] == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("seed", range(2))
def test_power_law_agrees_with_the_powerlaw_package(seed: int) -> None:
    import powerlaw

    eigenvalues = singular_values(np.random.default_rng(seed).standard_t(3, (120, 60)).astype(np.float32)) ** 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle = powerlaw.Fit(eigenvalues, verbose=False, parameter_ranges={"alpha": [1, 1000]})
    law = fit_power_law(eigenvalues)
    assert law is not None
    assert law.alpha == pytest.approx(oracle.alpha, rel=0.02)
    assert law.distance == pytest.approx(oracle.D, rel=0.02)
    assert law.xmin == pytest.approx(oracle.xmin)


def test_a_planted_exponent_is_measured() -> None:
    values = np.random.default_rng(0).pareto(1.5, 5000) + 1
    law = fit_power_law(values)
    assert law is not None and law.alpha == pytest.approx(2.5, rel=0.05)


def test_three_eigenvalues_have_no_tail() -> None:
    assert fit_power_law(np.array([1.0, 2.0, 3.0])) is None


def test_norms_by_hand() -> None:
    singular = singular_values(HAND)
    assert log_spectral_norm(singular) == pytest.approx(math.log10(4))
    measured = measure_heavy_tail(singular)
    assert measured["heavy_tail.stable_rank"] == pytest.approx(25 / 16 / 2)
    assert measured["heavy_tail.log_norm"] == pytest.approx(math.log10(5))
    assert math.isnan(measured["heavy_tail.alpha"])


def test_block_bound_by_hand() -> None:
    norms = {"attention_value": 2.0, "attention_output": 3.0, "ffn_in": 4.0, "ffn_out": 0.5, "attention_query": 9.0}
    assert log_block_bound(norms) == pytest.approx(math.log10((1 + 6) * (1 + 2)))
    assert log_block_bound({"convolution": 2.0, "pointwise_convolution": 5.0}) == pytest.approx(1.0)
    assert math.isnan(log_block_bound({"attention_query": 2.0}))


def test_block_bound_holds_for_the_linear_block() -> None:
    value, output = noise(8, 8), noise(8, 8, seed=1)
    norms = {"attention_value": singular_values(value)[0], "attention_output": singular_values(output)[0]}
    block = np.eye(8) + output @ value
    assert np.linalg.norm(block, 2) <= 10 ** log_block_bound(norms)


def test_energies_are_shares_of_the_variance() -> None:
    share = energies(noise(12, 9) + 5)
    assert share.sum() == pytest.approx(1)
    assert share[0, 0] == 0


def test_energies_by_the_definition_of_the_cosine_transform() -> None:
    matrix = noise(4, 3).astype(np.float64)
    rows, cols = (
        np.sqrt(np.where(np.arange(n) == 0, 1, 2)[:, None] / n)
        * np.cos(math.pi * np.arange(n)[:, None] * (2 * np.arange(n) + 1) / (2 * n))
        for n in (4, 3)
    )
    squares = (rows @ (matrix - matrix.mean()) @ cols.T) ** 2
    np.testing.assert_allclose(energies(matrix.astype(np.float32)), squares / squares.sum(), atol=1e-6)


def test_a_cosine_is_found_at_its_frequency() -> None:
    wave = np.cos(math.pi * 5 * (np.arange(40) + 0.5) / 40)[:, None] * np.ones(20)
    measured = measure_spectra(wave.astype(np.float32))
    assert measured["spectra.dominant_row"] == 5 / 40
    assert measured["spectra.dominant_col"] == 0
    assert measured["spectra.low_share"] == pytest.approx(1)
    assert measured["spectra.centroid"] == pytest.approx(5 / 40 / math.sqrt(2), rel=1e-5)


def test_bands_divide_the_variance() -> None:
    measured = measure_spectra(noise(30, 50))
    assert sum(measured[f"spectra.band_{index}"] for index in range(8)) == pytest.approx(1)
    assert len(BAND_EDGES) == 9 and BAND_EDGES[-1] == pytest.approx(1)


def test_noise_has_its_fair_share_of_low_frequencies() -> None:
    assert measure_spectra(noise(300, 300))["spectra.low_share"] == pytest.approx(1 / 22, rel=0.05)


def test_sizes_are_the_spread_of_lengths_over_their_mean() -> None:
    lengths = np.array([3.0, 4.0, 0.0])
    assert measure_sizes(HAND)["sizes.rows"] == pytest.approx(lengths.std() / lengths.mean())
    assert measure_sizes(HAND)["sizes.cols"] == pytest.approx(0.5 / 3.5)
    assert all(math.isnan(each) for each in measure_sizes(np.zeros_like(HAND)).values())


@pytest.mark.parametrize("num_places", [16, 15])
def test_places_have_the_periodogram_of_scipy(num_places: int) -> None:
    vectors = noise(7, num_places)
    # Its one-sided spectrum counts each pair of frequencies twice, and the highest of an even length once.
    spectra = scipy.signal.periodogram(vectors.astype(np.float64), detrend="constant")[1][:, 1:]
    shares = spectra / spectra.sum(axis=1, keepdims=True)
    found = measure_places(vectors)
    assert found["spectra.peak_share"] == pytest.approx(shares.max(axis=1).mean())
    assert found["spectra.flatness"] == pytest.approx(scipy.stats.gmean(shares.mean(axis=0)) / shares.mean())


def test_sinusoids_of_any_phase_have_one_peak_and_all_of_them_a_flat_spectrum() -> None:
    cycles, places = np.arange(1, 8), np.arange(16)
    waves = np.cos(2 * math.pi * np.outer(cycles, places) / 16 + cycles[:, None]).astype(np.float32)
    assert measure_places(waves)["spectra.peak_share"] == pytest.approx(1)
    assert measure_places(waves[[0]])["spectra.flatness"] == pytest.approx(0, abs=1e-6)
    every = np.concatenate([waves, np.cos(math.pi * places)[None].astype(np.float32)])
    assert measure_places(every)["spectra.flatness"] == pytest.approx(1)
    assert all(math.isnan(each) for each in measure_places(np.ones((3, 16), dtype=np.float32)).values())
