"""The products of an attention: their trace by hand, what must not move it, its null, and what is left out."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.analyse.aggregation import Measured, aggregate_measured
from pipeline.analyse.evidence import rank_p
from pipeline.analyse.statistics.products import OUTPUT_VALUE, QUERY_KEY, measure_products, measure_trace
from pipeline.fetch.request import ModelRequest
from pipeline.fetch.stage import fetch
from pipeline.weights.inventory import extract
from pipeline.weights.reader import WeightReader
from tests.support.small_models import analysed, matrix_spec, permuted, trained_model
from zoo.tensors import Axis, Role, TensorSpec

SPECIMENS = Path(__file__).parents[3] / "data" / "specimens"
Float32 = npt.NDArray[np.float32]


def noise(*shape: int, seed: int = 0) -> Float32:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def trace(one: Float32, two: Float32, *, signs_are_free: bool = False, num_nulls: int = 8, seed: int = 0) -> Measured:
    rngs = [np.random.default_rng([seed, draw]) for draw in range(num_nulls)]
    return measure_trace("x", one, two, rngs, signs_are_free=signs_are_free)


def numbers(found: Measured) -> list[float]:
    return [found.value, *found.draws]


def specimen(name: str, home: Path) -> dict[str, list[Measured]]:
    files = fetch(ModelRequest(name=str(SPECIMENS / name)), home=home)
    with WeightReader(files) as reader:
        return measure_products(extract(files).specs, reader.pieces, lambda _, draw: np.random.default_rng(draw), 8)


def pooled(found: dict[str, list[Measured]], name: str) -> Measured:
    items = [(each, 1.0) for own in found.values() for each in own if each.name == name]
    return aggregate_measured(items).statistic  # type: ignore[union-attr, return-value]


def scaled(one: Float32, two: Float32) -> npt.NDArray[np.float64]:
    """The product with rows and columns of length 1, by scaling them in turns."""
    product = one.T.astype(np.float64) @ two
    for _ in range(200):
        product /= np.linalg.norm(product, axis=1, keepdims=True)
        product /= np.linalg.norm(product, axis=0)
    return product


def test_the_trace_is_the_cosine_of_the_scaled_product_and_the_identity() -> None:
    one, two = noise(5, 12), noise(5, 12, seed=1)
    expected = np.trace(scaled(one, two)) / np.linalg.norm(scaled(one, two)) / np.linalg.norm(np.eye(12))
    assert trace(one, two).value == pytest.approx(expected, rel=1e-9)


def test_the_trace_of_a_diagonal_product_is_one_or_minus_one() -> None:
    basis = np.diag(np.linspace(1, 5, 9)).astype(np.float32)
    assert trace(basis, basis).value == pytest.approx(1) and trace(basis, -basis).value == pytest.approx(-1)
    assert np.isnan(trace(np.zeros_like(basis), basis).value)


def test_a_draw_is_the_trace_with_the_units_of_one_factor_in_another_order() -> None:
    one, two = noise(5, 12), noise(5, 12, seed=1)
    (found,) = trace(one, two, num_nulls=1, seed=4).draws
    by_diagonal = np.argsort(-np.diagonal(scaled(one, two)))
    order = np.random.default_rng([4, 0]).permutation(12)
    assert found == pytest.approx(trace(one[:, by_diagonal], two[:, by_diagonal[order]]).value, rel=1e-5)


@pytest.mark.parametrize("signs_are_free", [False, True])
def test_what_leaves_the_function_leaves_the_trace_and_its_draws(signs_are_free: bool) -> None:
    rng = np.random.default_rng(0)
    one, two = noise(12, 20), noise(12, 20, seed=1)
    order, gains = rng.permutation(20), np.exp(rng.normal(size=20))
    signs = rng.choice([-1, 1], 20) if signs_are_free else np.ones(20)
    turned = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    copies = (((turned @ own) * gains * signs)[:, order].astype(np.float32) for own in (one, two))
    ours, theirs = (trace(*pair, signs_are_free=signs_are_free) for pair in ((one, two), copies))
    assert numbers(ours) == pytest.approx(numbers(theirs), abs=1e-6)


@pytest.mark.slow
def test_a_permuted_model_has_the_same_products() -> None:
    model = trained_model(0)
    ours, theirs = (analysed(own, num_nulls=3).statistics for own in (model, permuted(model, 5)))
    (left,), (right,) = ([each for each in own if each.name == OUTPUT_VALUE] for own in (ours, theirs))
    assert left.value == pytest.approx(right.value, abs=1e-6) and left.p == right.p
    assert left.null_std == pytest.approx(right.null_std, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.0, 1.5])
@pytest.mark.parametrize("signs_are_free", [False, True])
def test_p_is_uniform_where_the_factors_have_nothing_to_do_with_each_other(spread: float, signs_are_free: bool) -> None:
    """Also where the same units are large in both."""
    found = []
    for seed in range(400):
        sizes = np.exp(spread * np.random.default_rng(seed).standard_normal(20)).astype(np.float32)
        one, two = (noise(12, 20, seed=2 * seed + part) * sizes for part in (0, 1))
        measured = trace(one, two, signs_are_free=signs_are_free, seed=seed)
        found.append(rank_p(measured.value, measured.draws))
    # Two-sided 99.9 % interval of a share of 2/9 of 400.
    assert 0.154 < np.mean([p is not None and p <= 2 / 9 + 1e-9 for p in found]) < 0.294


def test_trained_attention_has_a_trace_and_untrained_has_none(tmp_path: Path) -> None:
    trained, untrained = (specimen(name, tmp_path) for name in ("bert-a", "bert-untrained"))
    for name in (QUERY_KEY, OUTPUT_VALUE):
        assert abs(pooled(trained, name).z) > 6 > 3 > abs(pooled(untrained, name).z)  # type: ignore[attr-defined]
    assert pooled(trained, f"{QUERY_KEY}_size").p <= 0.003  # type: ignore[attr-defined]


def test_fused_projections_have_products(tmp_path: Path) -> None:
    found = specimen("gpt2-a", tmp_path)
    assert len(found) == 6 and all(len(own) == 2 for own in found.values())
    # The first block looks away from what is like it, the others towards it: pooled, the sign is lost, the size is not.
    assert [own[0].value > 0 for name, own in found.items() if "query" in name] == [False, True, True]
    assert pooled(found, QUERY_KEY).p > 0.05 > 0.003 >= pooled(found, f"{QUERY_KEY}_size").p  # type: ignore[attr-defined]


def attention(*, name: str = "0.attention", key_rows: int = 16) -> list[TensorSpec]:
    parts = (("query", Role.ATTENTION_QUERY, 16), ("key", Role.ATTENTION_KEY, key_rows))
    return [
        matrix_spec(f"{name}.{part}", rows, 24, role=role, block=0, row_axis=Axis.ATTENTION)
        for part, role, rows in parts
    ]


@pytest.mark.parametrize(
    ("specs", "has_product"),
    [(attention(), True), (attention(key_rows=8), False), (attention(name="0.crossattention"), False)],
    ids=["plain", "fewer key heads", "cross-attention"],
)
def test_only_what_shares_heads_and_stream_has_a_product(specs: list[TensorSpec], has_product: bool) -> None:
    found = measure_products(
        specs, lambda spec: [noise(spec.rows, spec.cols)], lambda *_: np.random.default_rng(0), num_nulls=1
    )
    assert bool(found) == has_product
