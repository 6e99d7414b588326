"""The canonical order: invariant under every symmetry it claims, invertible, and smoother than chance."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import order as order_module
from pipeline.order import canonicalise, canonicalise_pieces, raw_order, restore, seriate
from zoo.tensors import Axis

Float32 = npt.NDArray[np.float32]
AXES = [Axis.RESIDUAL, Axis.HIDDEN, Axis.ATTENTION, Axis.VOCABULARY, Axis.POSITION]
seeds = st.integers(0, 2**31)


@pytest.fixture
def short_chains(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every axis but the shortest counts as a long one."""
    monkeypatch.setattr(order_module, "LARGEST_CHAIN", 6)
    monkeypatch.setattr(order_module, "LEAF", 5)


def gaussian(rows: int, cols: int, seed: int = 0) -> Float32:
    return np.random.default_rng(seed).normal(size=(rows, cols)).astype(np.float32)


def redrawn(matrix: Float32, row_axis: Axis, col_axis: Axis, seed: int) -> Float32:
    """A copy that the symmetries of its axes allow: permuted, and with signs flipped where they are free."""
    rng = np.random.default_rng(seed)
    for number, axis in enumerate((row_axis, col_axis)):
        size = matrix.shape[number]
        if axis.is_permutable:
            matrix = np.take(matrix, rng.permutation(size), axis=number)
        if axis.is_sign_free:
            signs = rng.choice(np.array([-1, 1], dtype=np.float32), size)
            matrix = matrix * (signs[:, None] if number == 0 else signs)
    return matrix


def canonical(matrix: Float32, row_axis: Axis = Axis.HIDDEN, col_axis: Axis = Axis.HIDDEN) -> Float32:
    return canonicalise(matrix, seriate(matrix, row_axis=row_axis, col_axis=col_axis))


def roughness(matrix: Float32) -> float:
    """Mean square of the steps between neighbours, over that between any two: 1 for noise."""
    steps = (np.diff(matrix, axis=0) ** 2).mean() + (np.diff(matrix, axis=1) ** 2).mean()
    return float(steps / (4 * matrix.var()))


# What leaves the canonical matrix alone.


@pytest.mark.parametrize("axis", AXES)
def test_every_symmetry_of_the_axes_leaves_the_canonical_matrix_equal(axis: Axis) -> None:
    matrix = gaussian(24, 17)
    for row_axis, col_axis in ((axis, Axis.ATTENTION), (Axis.ATTENTION, axis)):
        copy = redrawn(matrix, row_axis, col_axis, seed=1)
        np.testing.assert_array_equal(canonical(copy, row_axis, col_axis), canonical(matrix, row_axis, col_axis))


@settings(max_examples=30)
@given(st.integers(2, 30), st.integers(2, 30), st.sampled_from(AXES), st.sampled_from(AXES), seeds)
def test_any_shape_and_any_redrawing(rows: int, cols: int, row_axis: Axis, col_axis: Axis, seed: int) -> None:
    matrix = gaussian(rows, cols, seed)
    copy = redrawn(matrix, row_axis, col_axis, seed + 1)
    np.testing.assert_array_equal(canonical(copy, row_axis, col_axis), canonical(matrix, row_axis, col_axis))


@pytest.mark.usefixtures("short_chains")
@pytest.mark.parametrize("row_axis", [Axis.VOCABULARY, Axis.ATTENTION])
@pytest.mark.parametrize("rows", [7, 20, 33, 101])
def test_long_axes_are_cut_the_same_way_whatever_their_order(rows: int, row_axis: Axis) -> None:
    for seed in range(10):
        matrix = gaussian(rows, 9, seed)
        copy = redrawn(matrix, row_axis, Axis.RESIDUAL, seed + 1)
        np.testing.assert_array_equal(canonical(copy, row_axis), canonical(matrix, row_axis))


@pytest.mark.usefixtures("short_chains")
@settings(max_examples=20)
@given(st.integers(7, 60), st.integers(7, 60), seeds)
def test_two_long_axes(rows: int, cols: int, seed: int) -> None:
    matrix = gaussian(rows, cols, seed)
    copy = redrawn(matrix, Axis.HIDDEN, Axis.ATTENTION, seed + 1)
    order = canonical(matrix, Axis.HIDDEN, Axis.ATTENTION)
    np.testing.assert_array_equal(canonical(copy, Axis.HIDDEN, Axis.ATTENTION), order)


@pytest.mark.usefixtures("short_chains")
def test_a_long_axis_ends_up_as_a_permutation_of_all_its_rows() -> None:
    assert sorted(seriate(gaussian(101, 9)).rows) == list(range(101))


def test_chunks_do_not_change_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = gaussian(40, 12)
    whole = canonical(matrix)
    monkeypatch.setattr(order_module, "CHUNK", 7)
    monkeypatch.setattr("pipeline.decomposition.CHUNK", 7)
    np.testing.assert_array_equal(canonical(matrix), whole)


@pytest.mark.parametrize("row_axis", [Axis.HIDDEN, Axis.ATTENTION])
@pytest.mark.parametrize("rank", [1, 2, 4])
def test_low_rank_matrices_have_one_canonical_form_too(rank: int, row_axis: Axis) -> None:
    for seed in range(5):
        matrix = gaussian(20, rank, seed) @ gaussian(rank, 15, seed + 100)
        copy = redrawn(matrix, row_axis, Axis.RESIDUAL, seed + 1)
        np.testing.assert_array_equal(canonical(copy, row_axis), canonical(matrix, row_axis))


def test_the_first_row_and_column_are_those_of_largest_norm() -> None:
    matrix = gaussian(8, 6)
    matrix[3], matrix[:, 2] = matrix[3] * 20, matrix[:, 2] * 20
    order = seriate(matrix)
    assert (order.rows[0], order.cols[0]) == (3, 2)


def test_a_transposed_matrix_has_the_transposed_order() -> None:
    matrix = gaussian(12, 9)
    np.testing.assert_array_equal(canonical(np.ascontiguousarray(matrix.T)), canonical(matrix).T)


def test_a_rerun_gives_the_same_order() -> None:
    first, second = seriate(gaussian(64, 40)), seriate(gaussian(64, 40))
    np.testing.assert_array_equal(first.rows, second.rows)
    np.testing.assert_array_equal(first.cols, second.cols)


# What the order is made of.


@pytest.mark.parametrize("row_axis", AXES)
def test_restoring_is_the_inverse(row_axis: Axis) -> None:
    matrix = gaussian(11, 14)
    order = seriate(matrix, row_axis=row_axis, col_axis=Axis.ATTENTION)
    np.testing.assert_array_equal(restore(canonicalise(matrix, order), order), matrix)


@pytest.mark.parametrize("row_axis", AXES)
def test_some_canonical_rows_come_from_pieces_as_they_are_among_all(row_axis: Axis) -> None:
    matrix, rows = gaussian(11, 14), np.array([9, 0, 4])
    order = seriate(matrix, row_axis=row_axis, col_axis=Axis.ATTENTION)
    found = canonicalise_pieces([matrix[:3], matrix[3:]], order, rows)
    np.testing.assert_array_equal(found, canonicalise(matrix, order)[rows])


def test_positions_stay_where_they_are_and_cost_nothing() -> None:
    order = seriate(gaussian(10, 6), row_axis=Axis.POSITION)
    np.testing.assert_array_equal(order.rows, np.arange(10))
    assert order.bits == pytest.approx(math.log2(math.factorial(6)))


def test_permutations_cost_the_logarithm_of_their_number() -> None:
    assert seriate(gaussian(7, 9)).bits == pytest.approx(math.log2(math.factorial(7)) + math.log2(math.factorial(9)))


def test_free_signs_cost_one_bit_each() -> None:
    order = seriate(gaussian(7, 9), col_axis=Axis.ATTENTION)
    assert order.row_signs is None
    assert order.bits == pytest.approx(math.log2(math.factorial(7)) + math.log2(math.factorial(9)) + 9)


def test_file_order_moves_nothing_and_costs_nothing() -> None:
    matrix, order = gaussian(5, 4), raw_order(5, 4)
    np.testing.assert_array_equal(canonicalise(matrix, order), matrix)
    assert order.bits == 0


def test_signs_make_neighbours_alike() -> None:
    matrix = canonical(gaussian(30, 8), row_axis=Axis.ATTENTION).astype(np.float64)
    assert (np.einsum("ij,ij->i", matrix[1:], matrix[:-1]) > -1e-9).all()


def test_the_canonical_matrix_is_a_new_contiguous_float32_array() -> None:
    matrix = gaussian(5, 4)
    for order in (raw_order(5, 4), seriate(matrix, row_axis=Axis.ATTENTION)):
        out = canonicalise(matrix, order)
        assert out.dtype == np.float32 and out.flags.c_contiguous and not np.shares_memory(out, matrix)


# What it is for.


def planted(rows: int, cols: int) -> Float32:
    """Two waves under a hidden permutation of rows and columns."""
    x, y = np.linspace(0, 2 * np.pi, rows)[:, None], np.linspace(0, 2 * np.pi, cols)[None, :]
    waves = np.sin(x) * np.cos(y) + 0.5 * np.cos(2 * x) * np.sin(2 * y)
    return redrawn(waves.astype(np.float32), Axis.HIDDEN, Axis.HIDDEN, seed=3)


def test_a_hidden_wave_becomes_smooth() -> None:
    matrix = planted(60, 40)
    shuffled = np.random.default_rng(0).permutation(matrix.ravel()).reshape(matrix.shape)
    assert roughness(matrix) > 0.5
    assert roughness(canonical(matrix)) < 0.1
    assert roughness(canonical(shuffled)) > 0.5


@pytest.mark.usefixtures("short_chains")
def test_a_hidden_wave_becomes_smooth_along_a_long_axis_too() -> None:
    matrix = planted(200, 40)
    assert roughness(canonical(matrix)) < 0.5 * roughness(matrix)


DEGENERATE = {
    "zeros": np.zeros((9, 7)),
    "a constant": np.full((9, 7), 0.1),
    "equal rows": np.tile(np.arange(7.0), (9, 1)),
    "two kinds of rows": np.repeat(np.random.default_rng(0).normal(size=(2, 7)), [4, 5], axis=0),
    "one entry": np.eye(9, 7) * (np.arange(9)[:, None] == 4),
    "a zero row": np.random.default_rng(0).normal(size=(9, 7)) * (np.arange(9) > 0)[:, None],
    "tiny values": np.random.default_rng(0).normal(size=(9, 7)) * 1e-30,
    "huge values": np.random.default_rng(0).normal(size=(9, 7)) * 1e30,
    "two by two": np.array([[1.0, 2.0], [3.0, 5.0]]),
}


@pytest.mark.parametrize("row_axis", [Axis.HIDDEN, Axis.ATTENTION])
@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_matrices_have_an_order_that_restores_them(name: str, row_axis: Axis) -> None:
    matrix = DEGENERATE[name].astype(np.float32)
    order = seriate(matrix, row_axis=row_axis)
    assert sorted(order.rows) == list(range(len(matrix)))
    np.testing.assert_array_equal(restore(canonicalise(matrix, order), order), matrix)


@pytest.mark.parametrize("name", [name for name in DEGENERATE if name != "huge values"])
def test_degenerate_matrices_have_one_canonical_form(name: str) -> None:
    matrix = DEGENERATE[name].astype(np.float32)
    copy = redrawn(matrix, Axis.HIDDEN, Axis.HIDDEN, seed=5)
    np.testing.assert_array_equal(canonical(copy), canonical(matrix))
