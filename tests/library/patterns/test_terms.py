"""Each term is 0 for random weights, finds what was planted, and puts it into a matrix of another shape."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from library.patterns.terms import MATRIX_TERMS
from library.patterns.terms.canonical import CanonicalTerm
from library.patterns.terms.norms import NormsTerm
from library.patterns.terms.products import impose_product, measure_product
from library.patterns.terms.scale import ScaleTerm
from library.patterns.terms.spectrum import SpectrumTerm
from library.patterns.terms.term import Term
from library.patterns.terms.vectors import VectorsTerm
from library.patterns.views import View
from tests.support.sharing import kernel_view, view_of
from zoo.tensors import Axis, Role

Float64 = npt.NDArray[np.float64]
TERMS = {term.name: term for term in MATRIX_TERMS}
RNG = np.random.default_rng(0)


def noise(rows: int, cols: int, seed: int = 0) -> Float64:
    return np.random.default_rng(seed).standard_normal((rows, cols))


def positions(values: Float64) -> View:
    return view_of(values, Role.POSITION_EMBEDDING, row_axis=Axis.POSITION)


def low_rank(rows: int, cols: int) -> View:
    return view_of(noise(rows, cols) + 3 * np.outer(noise(rows, 1, 1), noise(1, cols, 2)))


def scaled_rows(rows: int, cols: int) -> View:
    sizes = np.exp(0.8 * np.random.default_rng(3).standard_normal((rows, 1)))
    return view_of(noise(rows, cols) * sizes)


def smooth_positions(rows: int, cols: int) -> View:
    return positions(np.cumsum(noise(rows, cols), axis=0))


def smooth_kernels(rows: int, cols: int) -> View:
    kernels = noise(rows, cols * 9).reshape(rows, cols, 3, 3)
    return kernel_view(kernels + 2 * kernels.mean(axis=(2, 3), keepdims=True) * 3)


PLANTED: dict[str, Callable[[int, int], View]] = {
    "spectrum": low_rank,
    "norms": scaled_rows,
    "axis": smooth_positions,
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_property_is_found_and_carried_to_another_width(name: str) -> None:
    term, make = TERMS[name], PLANTED[name]
    planted = term.measure(make(64, 48))
    rows, cols = (64, 96) if name == "axis" else (160, 96)
    plain = make(rows, cols).with_values(noise(rows, cols, 9))
    applied = term.measure(term.apply(plain, planted, np.random.default_rng(1)))
    before = np.abs(term.measure(plain) - planted).max()
    assert np.abs(planted).max() > 0.5
    assert np.abs(applied - planted).max() < 0.15 < before


@pytest.mark.parametrize("make", [smooth_positions, smooth_kernels])
def test_second_moments_over_places_are_carried_to_another_width(make: Callable[[int, int], View]) -> None:
    term = TERMS["places"]
    planted = term.measure(make(12, 400))
    plain = make(12, 3000)
    plain = plain.with_values(noise(*plain.values.shape, 9))
    applied = term.measure(term.apply(plain, planted, np.random.default_rng(1)))
    assert term.subject(plain) == term.subject(make(12, 400))
    assert np.abs(applied - planted).max() < 0.1 < np.abs(planted).max()


def test_scale_is_relative_to_the_fan_in() -> None:
    term = ScaleTerm()
    assert term.measure(view_of(noise(50, 400) / 20)) == pytest.approx([0.0], abs=0.02)
    applied = term.apply(view_of(noise(30, 16)), np.array([-1.5]), RNG)
    assert np.sqrt(np.mean(applied.values**2)) == pytest.approx(2**-1.5 / 4)


@pytest.mark.parametrize("name", ["spectrum", "norms", "axis", "canonical"])
def test_random_weights_have_nothing(name: str) -> None:
    make = positions if name == "axis" else view_of
    measured = [TERMS[name].measure(make(noise(64, 200, seed))) for seed in range(6)]
    assert np.abs(np.mean(measured, axis=0)).max() < (0.35 if name == "canonical" else 0.1)


def test_the_canonical_grid_is_put_where_it_was_measured() -> None:
    term = CanonicalTerm()
    grid = np.linspace(-0.6, 0.6, 8)[:, None] * np.linspace(-1, 1, 8)
    applied = term.apply(view_of(noise(80, 48)), grid.ravel(), RNG).values
    blocks = applied.reshape(8, 10, 8, 6).mean(axis=(1, 3))
    assert blocks == pytest.approx(grid, abs=1e-9)
    assert np.mean(applied**2) == pytest.approx(1.0)


def test_terms_keep_out_of_what_is_not_theirs() -> None:
    assert SpectrumTerm().subject(positions(noise(16, 32))) is None
    assert NormsTerm().subject(positions(noise(16, 32))) is None
    assert TERMS["places"].subject(view_of(noise(16, 32))) is None
    assert TERMS["axis"].subject(kernel_view(noise(8, 18).reshape(8, 2, 3, 3))) is None


@pytest.mark.parametrize("cosine", [-0.6, 0.0, 0.4])
def test_a_planted_product_is_found_and_imposed_at_another_width(cosine: float) -> None:
    one, two = noise(48, 64), noise(48, 64, 1)
    planted = measure_product(one, cosine * one + np.sqrt(1 - cosine**2) * two, 4)
    assert planted[0] == pytest.approx(cosine, abs=0.03)
    leader, led = noise(128, 96, 2), noise(128, 96, 3)
    turned = impose_product(leader, led, np.array([planted[0], 0.0]), 8, RNG)
    assert measure_product(leader, turned, 8) == pytest.approx([planted[0], 0.0], abs=1e-6)
    assert np.linalg.norm(turned) == pytest.approx(np.linalg.norm(led))


def test_products_do_not_depend_on_the_basis_of_a_head() -> None:
    one, two = noise(8, 24), noise(8, 24, 1)
    turn, _ = np.linalg.qr(noise(8, 8, 2))
    assert measure_product(turn @ one, turn @ two, 1) == pytest.approx(measure_product(one, two, 1))


def test_vectors_are_relative_to_how_they_start() -> None:
    spec = view_of(noise(2, 8)).spec
    view = View(subject="norm.weight", spec=spec, values=np.full((1, 200), 1.0))
    applied = VectorsTerm().apply(view, np.array([0.5, 0.1]), RNG)
    assert VectorsTerm().measure(view) == pytest.approx([0.0, 0.0])
    assert (applied.values.mean(), applied.values.std()) == pytest.approx((1.5, 0.1))


def test_every_term_is_a_term() -> None:
    terms: tuple[Term, ...] = MATRIX_TERMS
    assert len({term.name for term in terms}) == len(terms)
