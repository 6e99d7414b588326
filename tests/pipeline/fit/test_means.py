"""Means of rows and columns: when they pay, what is bought, how they are stored, and the fit beside them."""

import math
from pathlib import Path

import numpy as np
import pytest

from patterndb.records import FitRecord
from pipeline.additive import additive_model
from pipeline.dna.dna import Dna
from pipeline.dna.file import DNA_FILE
from pipeline.fit.means import MeanSets, affordable, paying, units_of
from pipeline.fit.report import report
from pipeline.fit.slots import slots_of
from pipeline.fit.versions import describe, moments_of
from pipeline.settings import DnaType, Scope
from tests.support.fitting import Float32, fit_matrices, gaussian, low_rank, quick, rebuild
from tests.support.small_models import matrix_spec
from zoo.tensors import TensorSpec


def sst(matrix: Float32) -> float:
    return moments_of(matrix).std ** 2 * matrix.size


def pays(matrix: Float32) -> tuple[bool, bool]:
    found = paying(additive_model(matrix), sst(matrix))
    return found.rows, found.cols


def with_means(rows: int, cols: int, *, of_rows: float = 0.0, of_cols: float = 0.0) -> Float32:
    """Noise of variance 1 with means of such spread."""
    means = of_rows * gaussian(rows, 1, 1) + of_cols * gaussian(1, cols, 2)
    return gaussian(rows, cols) + np.asarray(means, dtype=np.float32)


@pytest.mark.parametrize("shape", [(200, 30), (30, 200), (6, 5), (2, 300)])
def test_the_means_of_noise_never_pay(shape: tuple[int, int]) -> None:
    assert not any(any(pays(gaussian(*shape, seed))) for seed in range(20))


def test_each_set_pays_for_itself_alone() -> None:
    assert pays(with_means(200, 40, of_cols=1.0)) == (False, True)
    assert pays(with_means(200, 40, of_rows=2.0)) == (True, False)
    assert pays(with_means(200, 40, of_rows=2.0, of_cols=2.0)) == (True, True)
    assert pays(with_means(200, 40, of_cols=0.05)) == (False, False)


def test_a_set_pays_from_the_share_on_that_its_numbers_cost() -> None:
    """100 rows of 50: the 50 column means cost 25 log2(5000) bits, and 2500 log2(before / after) is what they save."""
    share = 1 - 5000.0 ** (-50 / 5000)
    for factor, expected in ((1.02, True), (0.98, False)):
        model, total = additive_model(with_means(100, 50, of_cols=1.0)), 0.0
        total = model.col_energy / (factor * share)
        assert paying(MeanSets(cols=True).of(model), total).cols is expected


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        (np.full((9, 7), 0.1, dtype=np.float32), (False, False)),
        (gaussian(1, 50), (False, False)),
        (gaussian(50, 1), (False, False)),
        (gaussian(40, 1) + gaussian(1, 30), (True, True)),
    ],
)
def test_degenerate_matrices(matrix: Float32, expected: tuple[bool, bool]) -> None:
    """A constant, one row, one column, and a matrix that is nothing but its means."""
    assert pays(matrix) == expected
    version = describe(matrix, math.inf, 4)
    assert np.isfinite(version.outputs).all() and math.isfinite(version.measured.baseline.energy)
    assert version.measured.additive[1] == pytest.approx(sst(matrix) if any(expected) else 0, rel=1e-6)


def test_the_better_set_is_bought_first_as_far_as_the_budget_goes() -> None:
    model = additive_model(with_means(200, 40, of_rows=2.0, of_cols=2.0))
    both = MeanSets(rows=True, cols=True)
    assert affordable(both, model, 240) == both
    assert affordable(both, model, 239) == MeanSets(cols=True)
    assert affordable(both, model, 39) == MeanSets()


def test_units_take_a_matrix_apart_and_together() -> None:
    matrix = with_means(60, 40, of_rows=3.0, of_cols=2.0) + 5
    moments = moments_of(matrix)
    units = units_of(matrix, MeanSets(rows=True, cols=True), moments.mean, moments.std)
    outputs = units.outputs(matrix)
    assert units.rows is not None and units.cols is not None and units.numbers == 100
    assert outputs.std() == pytest.approx(1, abs=1e-3)
    again = units.mean + units.rows[:, None] + units.cols + units.scale * outputs
    np.testing.assert_allclose(again, matrix, atol=1e-4)


def test_strong_means_are_stored_with_more_bits() -> None:
    """At 8 bits the rounding of a mean row that holds nearly everything would be most of what is left."""
    for spread, width in ((0.5, 8), (300.0, 16)):
        matrix = with_means(2000, 20, of_cols=spread)
        moments = moments_of(matrix)
        assert units_of(matrix, MeanSets(cols=True), moments.mean, moments.std).bits == 20 * width + 16


def test_slots_are_a_table_of_tensors_kinds_and_draws() -> None:
    slots = slots_of([True, False], quick(num_nulls=2))
    assert [(slot.tensors, slot.kind, slot.draw) for slot in slots] == [
        ((0,), None, 0), ((1,), None, 0),
        ((0,), "shuffle", 0), ((1,), "shuffle", 0), ((0,), "shuffle", 1), ((1,), "shuffle", 1),
        ((0,), "means", 0), ((0,), "means", 1),
    ]  # fmt: skip
    shared = slots_of([True, False], quick(num_nulls=1, scope="model"))
    assert [(slot.tensors, slot.kind) for slot in shared] == [((0, 1), None), ((0, 1), "shuffle"), ((0, 1), "means")]
    assert len(slots_of([False, False], quick(num_nulls=2))) == 6


# Fits.


def table_of(matrix: Float32, directory: Path, **changes: object) -> FitRecord:
    settings = quick(num_nulls=4, **changes)
    result = fit_matrices({matrix_spec("a", *matrix.shape): matrix}, settings, directory)
    return report(result.tensors, settings, result.cost)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["separable", "spectral"])
def test_noise_with_a_mean_row_has_no_structure_beyond_it(kind: DnaType, tmp_path: Path) -> None:
    """What a token table may be: the old gain is large, and all of it is the mean row."""
    matrix = with_means(120, 24, of_cols=2.0)
    record = table_of(matrix, tmp_path, dna_type=kind, epochs=60)
    share = additive_model(matrix).col_energy / sst(matrix)
    assert record.additive_numbers == 24 and record.additive_r2 == pytest.approx(share) and share > 0.7
    assert record.gain is not None and record.gain > 0.6
    assert record.gain_beyond_means is not None and record.means_null_r2_std is not None
    assert abs(record.gain_beyond_means) < max(4 * record.means_null_r2_std, 0.02)
    assert record.svd_r2 >= share and record.dct_r2 is not None and record.dct_r2 >= share
    assert record.svd_means_null_r2 == pytest.approx(record.svd_r2, abs=0.03)
    assert record.svd_bits_r2 is not None and record.svd_bits_r2 >= share


@pytest.mark.slow
def test_structure_beyond_the_means_is_gained_over_both_nulls(tmp_path: Path) -> None:
    matrix = 20 * low_rank(60, 30, 1) + 0.3 * with_means(60, 30, of_cols=2.0)
    record = table_of(matrix, tmp_path, epochs=200)
    assert record.additive_numbers and record.gain_beyond_means is not None and record.gain is not None
    assert record.gain > record.gain_beyond_means > 0.1


@pytest.mark.slow
def test_where_no_means_pay_both_nulls_are_one(tmp_path: Path) -> None:
    record = table_of(low_rank(30, 20, 2), tmp_path)
    assert (record.additive_r2, record.additive_numbers) == (0, 0)
    assert (record.means_null_r2, record.gain_beyond_means) == (record.null_r2, record.gain)
    assert record.svd_means_null_r2 == record.svd_null_r2


MIXED = {
    matrix_spec("a", 40, 12): with_means(40, 12, of_cols=3.0),
    matrix_spec("b", 40, 12): gaussian(40, 12, 7),
    matrix_spec("c", 16, 20): with_means(16, 20, of_rows=4.0) + 1,
}
"""Two of one shape of which one buys its means, and one of another that buys its rows'."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "scope"),
    [("separable", "tensor"), ("separable", "model"), ("hierarchical", "tensor"), ("spectral", "model")],
)
def test_the_file_of_a_dna_that_bought_means_has_what_is_reported(kind: DnaType, scope: Scope, tmp_path: Path) -> None:
    settings = quick(dna_type=kind, scope=scope, num_nulls=2, budget=0.2)
    result = fit_matrices(MIXED, settings, tmp_path)
    guesses = rebuild(tmp_path)
    for fit, (spec, matrix) in zip(result.tensors, MIXED.items(), strict=True):
        error = float(((matrix - guesses[spec.name]) ** 2).mean())
        assert report([fit], settings, result.cost).mse == pytest.approx(error, rel=1e-3)
        kept = 0 if fit.name == "b" and scope == "tensor" else 2
        assert (len(fit.null_errors), len(fit.means_null_errors)) == (2, kept)
    dna = Dna.load(tmp_path / DNA_FILE)
    bought = {
        name: (tensor.kept.row_means is not None, tensor.kept.col_means is not None) for name, tensor in dna.items()
    }
    assert bought == {"a": (False, True), "b": (False, False), "c": (True, False)}
    stored = sum(value.numel() for network in dna.contents.networks for value in network.state.values())
    assert report(result.tensors, settings, result.cost).parameters == stored + 3 * 2 + 12 + 16
    last = result.history[0]["points"][-1]
    assert 0 < last["r2"] <= 1 and math.isfinite(last["smape"])


@pytest.mark.slow
def test_means_leave_the_network_less_of_the_budget(tmp_path: Path) -> None:
    plain: dict[TensorSpec, Float32] = {matrix_spec("a", 80, 40): gaussian(80, 40)}
    settings = quick(budget=0.1, epochs=2)
    without = fit_matrices(plain, settings, tmp_path / "without").tensors[0]
    bought = fit_matrices({matrix_spec("a", 80, 40): with_means(80, 40, of_cols=3.0)}, settings, tmp_path / "with")
    assert 40 < bought.tensors[0].parameters <= 320 and without.parameters <= 320
