"""Null models and the comparison with them."""

import numpy as np
import pytest

from pipeline.additive import additive_model
from pipeline.decomposition import singular_values
from pipeline.nulls import NULLS, less_medians, means, null_rng, rotate, values_to_turn

MATRIX = np.random.default_rng(0).standard_t(4, (40, 25)).astype(np.float32) + np.float32(0.5)


@pytest.mark.parametrize("kind", NULLS)
def test_a_null_keeps_shape_and_type_and_leaves_the_original_alone(kind: str) -> None:
    before = MATRIX.copy()
    null = NULLS[kind](MATRIX, np.random.default_rng(1))
    assert null.shape == MATRIX.shape and null.dtype == np.float32
    np.testing.assert_array_equal(MATRIX, before)
    assert not np.array_equal(null, MATRIX)


def test_shuffle_keeps_the_values() -> None:
    null = NULLS["shuffle"](MATRIX, np.random.default_rng(1))
    np.testing.assert_array_equal(np.sort(null, axis=None), np.sort(MATRIX, axis=None))


def test_means_keeps_the_means_of_rows_and_columns_and_the_energy_beyond_them() -> None:
    matrix = MATRIX + np.linspace(-2, 2, 25, dtype=np.float32)
    null = means(matrix, np.random.default_rng(1))
    for axis in (0, 1, None):
        np.testing.assert_allclose(null.mean(axis=axis), matrix.mean(axis=axis), atol=1e-5)
    assert null.var(dtype=np.float64) == pytest.approx(matrix.var(dtype=np.float64), rel=1e-5)
    beyond, own = (additive_model(each).residual(each).ravel() for each in (matrix, null))
    assert abs(np.corrcoef(beyond, own)[0, 1]) < 0.1


def test_medians_that_are_taken_once_give_the_same_bits() -> None:
    for rows, cols in ((True, True), (True, False), (False, False)):
        kept = {"rows": rows, "cols": cols}
        once = less_medians(MATRIX, **kept)
        for seed in (0, 1):
            null = means(MATRIX, np.random.default_rng(seed), **kept, beyond_medians=once)
            np.testing.assert_array_equal(null, means(MATRIX, np.random.default_rng(seed), **kept))


def test_means_that_say_nothing_are_not_kept() -> None:
    matrix = MATRIX + np.linspace(-2, 2, 25, dtype=np.float32) + np.linspace(-2, 2, 40, dtype=np.float32)[:, None]
    for rows, cols in ((True, False), (False, True), (False, False)):
        null = means(matrix, np.random.default_rng(1), rows=rows, cols=cols)
        kept = [np.abs(null.mean(axis=axis) - matrix.mean(axis=axis)).max() < 1e-5 for axis in (1, 0)]
        assert kept == [rows, cols]


def test_means_of_a_matrix_that_is_nothing_but_means_is_that_matrix() -> None:
    matrix = np.arange(6, dtype=np.float32)[:, None] + np.arange(4, dtype=np.float32)
    np.testing.assert_allclose(means(matrix, np.random.default_rng(0)), matrix, atol=1e-5)


@pytest.mark.parametrize("matrix", [MATRIX, MATRIX.T])
def test_rotate_keeps_the_mean_row_and_the_singular_values_about_it(matrix: np.ndarray) -> None:
    matrix = np.ascontiguousarray(matrix)
    null = NULLS["rotate"](matrix, np.random.default_rng(1))
    np.testing.assert_allclose(null.mean(axis=0), matrix.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(values_to_turn(null), values_to_turn(matrix), rtol=1e-4)


@pytest.mark.parametrize("matrix", [MATRIX, MATRIX.T])
def test_rotate_keeps_no_mean_row_that_says_nothing(matrix: np.ndarray) -> None:
    matrix = np.ascontiguousarray(matrix)
    null = rotate(matrix, np.random.default_rng(1), cols=False)
    np.testing.assert_allclose(singular_values(null), singular_values(matrix), rtol=1e-4)
    assert np.abs(null.mean(axis=0)).mean() < np.abs(matrix.mean(axis=0)).mean() / 2


def test_rotate_is_uniform_in_sign() -> None:
    rank_one = np.zeros((3, 3), dtype=np.float32)
    rank_one[:, 0] = (1, -1, 0)
    rng = np.random.default_rng(0)
    corners = np.array([NULLS["rotate"](rank_one, rng)[0] for _ in range(500)])
    assert np.abs(corners.mean(axis=0)).max() < 0.12


def test_gaussian_keeps_mean_and_variance() -> None:
    matrix = np.tile(MATRIX, (40, 40))
    null = NULLS["gaussian"](matrix, np.random.default_rng(1))
    assert null.mean(dtype=np.float64) == pytest.approx(matrix.mean(dtype=np.float64), rel=0.01)
    assert null.std(dtype=np.float64) == pytest.approx(matrix.std(dtype=np.float64), rel=0.01)


def test_the_generator_depends_on_the_place_alone() -> None:
    def draw(**place: object) -> float:
        arguments = {"seed": 0, "role": 3, "block": None, "ordinal": 0, "shape": (4, 4), **place}
        return float(null_rng("shuffle", 0, **arguments).random())

    assert draw() == draw()
    changes = ({"seed": 1}, {"role": 2}, {"block": 0}, {"ordinal": 1}, {"shape": (4, 5)})
    assert len({draw(), *(draw(**change) for change in changes)}) == 6
