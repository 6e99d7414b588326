"""The analysis of tensors and models, with its controls: permuted copies, planted patterns, samples."""

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.analyse.aggregation import Measured, TensorAnalysis
from pipeline.analyse.evidence import rank_p
from pipeline.analyse.tensor import analyse_tensor, analyse_vector
from pipeline.settings import AnalysisSettings
from tests.support.small_models import (
    analysed,
    analysed_once,
    canonical,
    encoder_specs,
    matrix_spec,
    permuted,
    trained_model,
)
from zoo.tensors import Axis, Role

QUICK = AnalysisSettings(num_nulls=4)


def analyse_values(
    values: npt.NDArray[np.floating], *, row_axis: Axis = Axis.HIDDEN, num_nulls: int = 4
) -> TensorAnalysis:
    matrix = np.asarray(values, dtype=np.float32)
    spec = matrix_spec("planted", *matrix.shape, row_axis=row_axis)
    return analyse_tensor(canonical(matrix, spec), spec, settings=AnalysisSettings(num_nulls=num_nulls), seed=0)


def value_of(analysis: TensorAnalysis, name: str) -> float:
    found = analysis.get(name)
    assert found is not None
    return found.value


def hidden(values: npt.NDArray[np.floating], seed: int = 0) -> npt.NDArray[np.floating]:
    """The matrix with rows and columns permuted at random."""
    rng = np.random.default_rng(seed)
    return values[rng.permutation(len(values))][:, rng.permutation(values.shape[1])]


@pytest.mark.slow
@settings(max_examples=4)
@given(st.integers(0, 2**31))
def test_a_permuted_copy_has_the_same_numbers(seed: int) -> None:
    model = {spec: values for spec, values in trained_model(seed).items() if spec.block != 1}
    original, copy = analysed(model, num_nulls=2), analysed(permuted(model, seed + 1), num_nulls=2)
    for ours, theirs in zip(original.tensors, copy.tensors, strict=True):
        for left, right in zip(ours.statistics, theirs.statistics, strict=True):
            assert left.value == pytest.approx(right.value, abs=1e-6, nan_ok=True), (ours.spec.name, left.name)


def test_a_rerun_gives_the_same_bits() -> None:
    model = trained_model(0)
    assert analysed(model, num_nulls=2) == analysed(model, num_nulls=2)


@pytest.mark.slow
def test_the_number_of_threads_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    several = analysed_once(0)
    monkeypatch.setattr("pipeline.analyse.measures.host.NUM_THREADS", 1)
    assert analysed_once(0) == several


def test_the_order_of_the_file_does_not_matter() -> None:
    model = trained_model(0)
    backwards = {spec: model[spec] for spec in reversed(list(model))}
    assert analysed(backwards, num_nulls=2) == analysed(model, num_nulls=2)


def test_another_seed_draws_other_nulls_and_leaves_the_values() -> None:
    first, second = (analysed(trained_model(0), num_nulls=2, seed=seed).tensors[0] for seed in (0, 1))
    assert [item.value for item in first.measured] == [item.value for item in second.measured]
    assert first.measured[0].draws != second.measured[0].draws


def test_tensors_of_one_shape_do_not_share_their_nulls() -> None:
    spec = matrix_spec("a", 12, 10)
    matrix = np.random.default_rng(0).normal(size=(12, 10)).astype(np.float32)
    first, second = (analyse_tensor(matrix, spec, settings=QUICK, seed=0, ordinal=ordinal) for ordinal in (0, 1))
    assert first.measured[0].draws != second.measured[0].draws


def test_every_statistic_of_noise_is_within_its_null() -> None:
    noise = np.random.default_rng(5).normal(size=(60, 50))
    scores = [s.z for s in analyse_values(noise, num_nulls=12).statistics if s.z is not None]
    assert len(scores) > 30
    assert np.median(np.abs(scores)) < 1.5 and max(map(abs, scores)) < 6


@pytest.mark.parametrize("rank", [3, 6])
def test_a_planted_rank_is_measured(rank: int) -> None:
    rng = np.random.default_rng(rank)
    left, right = (np.linalg.qr(rng.normal(size=(size, rank)))[0] for size in (90, 70))
    planted = left @ right.T + 0.002 * rng.normal(size=(90, 70))
    analysis = analyse_values(hidden(planted))
    assert value_of(analysis, "dimension.participation") * 70 == pytest.approx(rank, rel=0.05)
    assert value_of(analysis, "dimension.rank_90") * 70 == rank


def test_a_planted_wave_is_measured_under_a_hidden_permutation() -> None:
    rng = np.random.default_rng(0)
    rows, cols = np.arange(120)[:, None] / 120, np.arange(100)[None, :] / 100
    wave = math.sqrt(2) * np.sin(2 * math.pi * (rows + cols))
    analysis = analyse_values(hidden(wave + 0.5 * rng.normal(size=wave.shape)))
    # Of the variance 1 + 0.25, the wave is 0.8; the noise has 1/22 of its own down there.
    assert value_of(analysis, "spectra.low_share") == pytest.approx(0.8 + 0.2 / 22, rel=0.05)
    found = analysis.get("spectra.low_share")
    assert found is not None and found.statistic.z is not None and found.statistic.z > 20


@pytest.mark.parametrize("half_cycles", [6, 20])
def test_a_planted_frequency_along_positions_is_measured(half_cycles: int) -> None:
    rng = np.random.default_rng(1)
    wave = np.cos(math.pi * half_cycles * (np.arange(128) + 0.5) / 128)[:, None] * rng.normal(size=60)
    values = (wave + 0.5 * rng.normal(size=wave.shape))[:, rng.permutation(60)]
    analysis = analyse_values(values, row_axis=Axis.POSITION)
    assert value_of(analysis, "spectra.dominant_row") == pytest.approx(half_cycles / 128, rel=0.05)


def test_planted_blocks_are_measured_beyond_their_spectrum() -> None:
    rng = np.random.default_rng(0)
    blocks = np.kron(np.eye(8), np.ones((15, 10))) + 0.3 * rng.normal(size=(120, 80))
    analysis = analyse_values(hidden(blocks))
    found = analysis.get("clusters.explained")
    assert found is not None and found.statistic.z is not None and found.statistic.z > 20
    assert analysis.cluster_sizes == pytest.approx([1 / 8] * 8)


def places_of(values: npt.NDArray[np.floating]) -> dict[str, Measured]:
    found = analyse_values(values, row_axis=Axis.POSITION).measured
    return {item.name: item for item in found if item.kind == "reorder"}


def test_planted_frequencies_along_places_are_found_where_the_spectrum_is_flat() -> None:
    """Each column is one frequency: an orthogonal basis, in which nothing but the order of the places is not noise."""
    places = np.arange(64)[:, None]
    basis = np.cos(2 * math.pi * places * np.arange(64) / 64 - math.pi / 4)
    rng = np.random.default_rng(0)
    found = places_of(basis[:, rng.permutation(64)])
    peak = found["spectra.peak_share"].statistic
    assert peak.value == pytest.approx(1, abs=0.05) and peak.z is not None and peak.z > 20
    disordered = places_of(hidden(basis))["spectra.peak_share"].statistic
    assert disordered.value < 0.3


def test_places_of_noise_are_within_their_null() -> None:
    """Though the rows and columns have sizes of their own, and few directions hold them."""
    scores = []
    for seed in range(25):
        rng = np.random.default_rng(seed)
        values = rng.normal(size=(24, 3)) @ rng.normal(size=(3, 12)) * np.exp(rng.normal(size=12))
        scores += [rank_p(each.value, each.draws) for each in places_of(values).values()]
    # With 4 draws p is 0.4 for the first and the last of 5, so for 0.4 of them.
    assert len(scores) == 50 and 0.2 < np.mean([p is not None and p <= 0.41 for p in scores]) < 0.6


def test_each_statistic_names_its_null() -> None:
    nulls = {item.name: item.kind for item in analyse_values(np.random.default_rng(0).normal(size=(20, 16))).measured}
    assert nulls["spectra.low_share"] == nulls["heavy_tail.alpha"] == "shuffle"
    assert nulls["spectra.low_share.beyond_means"] == nulls["heavy_tail.alpha.beyond_means"] == "means"
    assert nulls["clusters.explained"] == "rotate"
    assert nulls["entropy.histogram"] == nulls["distribution.kurtosis"] == "gaussian"
    assert nulls["heavy_tail.log_norm"] is nulls["distribution.log_rms"] is None


def test_many_rows_are_sampled_and_said_to_be() -> None:
    rng = np.random.default_rng(0)
    spec = matrix_spec("words", 300, 20, role=Role.TOKEN_EMBEDDING, row_axis=Axis.VOCABULARY)
    matrix = canonical(rng.normal(size=(300, 20)).astype(np.float32), spec)
    analysis = analyse_tensor(matrix, spec, settings=AnalysisSettings(num_nulls=2, max_rows=64), seed=0)
    assert analysis.rows_used == 64 and analysis.is_sampled and analysis.labels == ()
    assert all(each.low < each.value < each.high for each in analysis.statistics if each.low != each.high)  # type: ignore[operator]
    again = analyse_tensor(matrix, spec, settings=AnalysisSettings(num_nulls=2, max_rows=64), seed=0)
    assert repr(again) == repr(analysis)


def test_what_is_measured_whole_has_no_interval() -> None:
    statistics = analyse_values(np.random.default_rng(0).normal(size=(20, 16))).statistics
    assert all(each.low is None and each.high is None for each in statistics)


@pytest.mark.slow
def test_the_interval_of_sampled_rows_covers_what_samples_give_on_average() -> None:
    """Rows of unequal length, so that the choice matters: about 95 % of samples lie within their interval."""
    rng = np.random.default_rng(0)
    spec = matrix_spec("words", 400, 12, role=Role.TOKEN_EMBEDDING, row_axis=Axis.VOCABULARY)
    rows = rng.normal(size=(400, 12)) * rng.gamma(4.0, size=(400, 1))
    settings = AnalysisSettings(num_nulls=0, max_rows=60)
    found: dict[str, list[Measured]] = {}
    for seed in range(60):
        matrix = canonical(rng.permutation(rows)[:395].astype(np.float32), replace(spec, rows=395))
        for each in analyse_tensor(matrix, replace(spec, rows=395), settings=settings, seed=seed).measured:
            found.setdefault(each.name, []).append(each)
    for name in ("dimension.participation", "entropy.spectral", "spectra.centroid", "distribution.log_rms"):
        average = np.mean([sample for each in found[name] for sample in each.samples])
        inside = [each.statistic.low <= average <= each.statistic.high for each in found[name]]  # type: ignore[operator]
        assert np.mean(inside) >= 0.85, name


def test_without_nulls_there_are_values_and_no_evidence() -> None:
    statistics = analyse_values(np.random.default_rng(0).normal(size=(20, 16)), num_nulls=0).statistics
    assert all(item.z is None and item.p is None and item.num_nulls == 0 for item in statistics)


@pytest.mark.parametrize("shape", [(2, 2), (2, 9), (40, 3)])
def test_the_smallest_matrices_are_survived(shape: tuple[int, int]) -> None:
    assert analyse_values(np.random.default_rng(0).normal(size=shape)).measured


def test_a_matrix_of_zeros_is_survived() -> None:
    analysis = analyse_values(np.zeros((12, 10)))
    assert value_of(analysis, "spectra.low_share") == 0
    assert math.isnan(value_of(analysis, "dimension.participation"))


def test_signs_of_a_bias_do_not_matter() -> None:
    spec = matrix_spec("bias", 1, 40, role=Role.BIAS)
    rng = np.random.default_rng(0)
    bias = rng.normal(1, 1, size=40).astype(np.float32)
    flipped = rng.permutation(bias * rng.choice([-1, 1], 40).astype(np.float32))
    first, second = (analyse_vector(values, spec, settings=QUICK, seed=0) for values in (bias, flipped))
    np.testing.assert_equal(first, second)


def test_which_side_arbitrary_signs_lean_to_is_not_measured() -> None:
    rng = np.random.default_rng(0)
    specs = (
        matrix_spec("bias", 1, 40, role=Role.BIAS),
        matrix_spec("query", 40, 30, role=Role.ATTENTION_QUERY, row_axis=Axis.ATTENTION),
        matrix_spec("ffn", 40, 30, role=Role.FFN_IN),
    )
    values = [rng.standard_normal((spec.rows, spec.cols), dtype=np.float32) for spec in specs]
    bias = analyse_vector(values[0], specs[0], settings=QUICK, seed=0)
    query, ffn = (analyse_tensor(*each, settings=QUICK, seed=0) for each in zip(values[1:], specs[1:], strict=True))
    for name in ("distribution.mean", "distribution.skewness"):
        assert bias.get(name) is None and query.get(name) is None and ffn.get(name) is not None
    assert bias.get("distribution.kurtosis") is not None


def test_signs_of_a_norm_do_matter() -> None:
    spec = matrix_spec("norm", 1, 40, role=Role.NORM)
    gain = np.linspace(0.5, 1.5, 40, dtype=np.float32)
    first, second = (analyse_vector(values, spec, settings=QUICK, seed=0) for values in (gain, -gain))
    assert value_of(first, "distribution.mean") == pytest.approx(-value_of(second, "distribution.mean"))


def test_roles_and_progress_cover_every_weight() -> None:
    analysis = analysed_once(0)
    assert sum(role.weights for role in analysis.roles) == sum(spec.num_weights for spec in encoder_specs())
    assert {role.role: role.tensors for role in analysis.roles}[Role.FFN_IN] == 2


def test_clusters_and_profiles_are_plain_json() -> None:
    import json

    analysis = analysed_once(0)
    clusters = json.loads(json.dumps(analysis.clusters, allow_nan=False))
    assert len(clusters["ffn_in"]["labels"]["0.ffn.in"]) == 64
    assert len(clusters["ffn_in"]["sizes"]) == len(clusters["ffn_in"]["norms"]) == 8
    assert len(analysis.frequency_profile["ffn_in"]) == 8
    assert analysis.frequency_profile["ffn_in"][0] > 0.5
