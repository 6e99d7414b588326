"""Codes beside a DNA: never more bits than given, their errors as an independent computation has them."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from library.codes.allocation import allocate
from library.codes.codes import Code, Means, TruncatedSvd
from library.codes.rounding import WIDTHS, PlainRounding, residual_bits, rounded_residual
from pipeline.decomposition import singular_directions
from pipeline.fit.baselines import explained, measure_baseline
from tests.support.fitting import gaussian, low_rank
from tests.support.small_models import matrix_spec

Float32 = npt.NDArray[np.float32]
SPECS = [matrix_spec("a", 48, 40), matrix_spec("b", 64, 20), matrix_spec("narrow", 50, 9)]
MATRICES = {
    "a": low_rank(48, 40, 3) + 0.01 * gaussian(48, 40, 5),
    "b": gaussian(64, 20, 1) + 2 * gaussian(1, 20, 2),
    "narrow": gaussian(50, 9, 3),
}
CODES: dict[str, Callable[[], Code]] = {
    "svd": lambda: TruncatedSvd(SPECS, load, most_bits=1e5),
    "rounding": lambda: PlainRounding(SPECS, load),
    "means": lambda: Means(SPECS, load),
}
NUM_WEIGHTS = sum(spec.num_weights for spec in SPECS)


def load(spec: object) -> Float32:
    return MATRICES[spec.name]  # type: ignore[attr-defined]


def error(matrices: object) -> float:
    return sum(float(np.square(MATRICES[name] - matrices[name], dtype=np.float64).sum()) for name in MATRICES)  # type: ignore[index]


@pytest.mark.parametrize("share", [0.06, 0.3, 1.0, 3.7])
@pytest.mark.parametrize("name", CODES)
def test_no_code_spends_more_than_given(name: str, share: float) -> None:
    spent = CODES[name]().spend(share * NUM_WEIGHTS)
    assert 0 < spent.bits <= share * NUM_WEIGHTS
    assert {name: matrix.shape for name, matrix in spent.matrices.items()} == {
        spec.name: (spec.rows, spec.cols) for spec in SPECS
    }


@pytest.mark.parametrize("name", CODES)
def test_more_bits_never_have_a_larger_error(name: str) -> None:
    code = CODES[name]()
    errors = [error(code.spend(share * NUM_WEIGHTS).matrices) for share in (0.1, 0.5, 1.0, 2.0, 4.0, 8.0)]
    assert errors == sorted(errors, reverse=True)


def test_svd_holds_what_the_fit_report_says_at_the_same_bits() -> None:
    budget, matrix = 5000, MATRICES["a"]
    spent = TruncatedSvd(SPECS[:1], load, most_bits=budget).spend(budget)
    centred = ((matrix - matrix.mean()) / matrix.std()).astype(np.float32)
    squares, vectors = singular_directions(centred)
    curves = measure_baseline(centred, float(matrix.std()), squares, vectors).svd_bits
    most = max(explained([curve], budget) for curve in curves.values())
    held = float(np.square(matrix - matrix.mean()).sum() - np.square(matrix - spent.matrices["a"]).sum())
    assert 0.9 * most < held <= most * (1 + 1e-4)


def test_rounding_at_a_whole_width_is_that_of_every_weight() -> None:
    """64 rows of 20: two rows a group, so 3 bits of width, 16 of scale and 2 x 40 of codes each; the mean has 32."""
    exactly = 32 + 32 * (3 + 16 + 2 * 40)
    spent = PlainRounding(SPECS[1:2], load).spend(exactly)
    assert spent.bits <= exactly
    plain = rounded_residual(MATRICES["b"] - MATRICES["b"].mean(), 2)
    assert error({**MATRICES, "b": spent.matrices["b"]}) <= np.square(
        MATRICES["b"] - MATRICES["b"].mean() - plain
    ).sum() * (1 + 1e-5)


@pytest.mark.parametrize(("width", "left"), [(1, 0.3634), (2, 0.1188), (3, 0.03744), (4, 0.01154)])
def test_rounding_of_normal_weights_leaves_what_max_1960_says(width: int, left: float) -> None:
    matrix = gaussian(200, 500)
    rounded = rounded_residual(matrix, width)
    assert len(np.unique(np.round(rounded[0], 6))) <= 2**width
    assert float(np.square(matrix - rounded).mean()) == pytest.approx(left, rel=0.03)


def test_bits_of_a_residual_by_hand() -> None:
    assert residual_bits(matrix_spec("any", 10, 100), 3) == 10 * 100 * 3 + 10 * 16
    assert residual_bits(matrix_spec("any", 10, 9), 2) == 10 * 9 * 2 + 3 * 16  # Four rows of nine share a scale.


def test_zeros_stay_zeros() -> None:
    for width in WIDTHS:
        assert not rounded_residual(np.zeros((4, 40), dtype=np.float32), width).any()


def test_means_are_bought_where_they_pay() -> None:
    spent = Means(SPECS, load).spend(1e6)
    expected = MATRICES["b"].mean() + (MATRICES["b"].mean(axis=0) - MATRICES["b"].mean())
    assert np.allclose(spent.matrices["b"], np.broadcast_to(expected, (64, 20)), atol=0.05)
    assert np.allclose(spent.matrices["narrow"], MATRICES["narrow"].mean(), atol=1e-6)
    assert spent.bits == 3 * 32 + 20 * 8 + 16


def test_allocation_is_the_best_of_all_by_trying_them() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        bits = np.cumsum(rng.integers(1, 9, (4, 4)), axis=1).astype(float)
        errors = np.cumsum(rng.random((4, 4)), axis=1)[:, ::-1].copy()
        budget = float(rng.integers(bits[:, 0].sum(), bits[:, -1].sum()))
        every = np.stack(np.meshgrid(*[np.arange(4)] * 4, indexing="ij"), axis=-1).reshape(-1, 4)
        totals, wrong = (np.take_along_axis(part[None], every[:, :, None], 2)[..., 0].sum(1) for part in (bits, errors))
        best = wrong[totals <= budget].min()
        chosen = allocate(bits, errors, budget)
        assert bits[np.arange(4), chosen].sum() <= budget
        assert errors[np.arange(4), chosen].sum() <= best * 1.35
