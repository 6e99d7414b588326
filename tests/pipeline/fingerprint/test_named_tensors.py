"""The part of the fingerprint that needs no roles: unknown architectures, tensor by tensor of one name and shape."""

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.fingerprint.fingerprint import measure_fingerprint
from pipeline.fingerprint.named_tensors import NUM_SUMS, NamedTensors, measure_named_tensors
from tests.support.small_models import Model, matrix_spec
from zoo.tensors import Axis, Role

UNRELATED = 4 / np.sqrt(NUM_SUMS)
"""Four standard deviations of the correlation between independent directions."""
SHAPES = {"embed.table": (90, 24), "message.edges": (48, 40), "message.nodes": (24, 64), "readout.map": (12, 24)}


def random(seed: int, prefix: str = "", **shapes: tuple[int, int]) -> Model:
    """Weights of no known architecture, with means and outlying columns that all models have in common."""
    rng = np.random.default_rng(seed)
    common = np.random.default_rng(99)
    model = {}
    for name, (rows, cols) in {**SHAPES, **shapes}.items():
        spec = matrix_spec(prefix + name, rows, cols, role=Role.OTHER, depth=None, row_axis=Axis.CHANNEL)
        mean, scale = common.normal(size=cols), np.exp(common.normal(size=cols))
        model[spec] = (2 * mean + scale * rng.normal(size=(rows, cols))).astype(np.float32)
    return model


def named(model: Model) -> NamedTensors:
    found = measure_named_tensors(list(model), lambda spec: [model[spec]])
    assert found is not None
    return found


def correlation(a: Model, b: Model) -> float:
    return float(np.mean(named(a).sums * named(b).sums))


def changed(model: Model, change: Callable[[np.ndarray], np.ndarray]) -> Model:
    return {spec: change(values).astype(np.float32) for spec, values in model.items()}


def test_models_of_no_known_architecture_have_no_other_part() -> None:
    model = random(0)
    assert measure_fingerprint(list(model), lambda spec: [model[spec]]) == []


def test_unrelated_models_do_not_correlate_whatever_they_have_in_common() -> None:
    models = [named(random(seed)).sums for seed in range(12)]
    found = np.array([np.mean(a * b) for i, a in enumerate(models) for b in models[:i]])
    assert np.abs(found).max() < UNRELATED and abs(found.mean()) < UNRELATED / 4


def test_a_fine_tuned_copy_correlates() -> None:
    rng = np.random.default_rng(5)
    tuned = changed(random(0), lambda values: values + 0.3 * values.std() * rng.normal(size=values.shape))
    assert correlation(random(0), tuned) > 0.7
    assert abs(correlation(random(1), tuned)) < UNRELATED


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_the_correlation_is_that_of_the_weights(share: float) -> None:
    rng = np.random.default_rng(3)
    a = {spec: rng.normal(size=values.shape).astype(np.float32) for spec, values in random(0).items()}
    b = changed(a, lambda values: share * values + np.sqrt(1 - share**2) * rng.normal(size=values.shape))
    assert correlation(a, b) == pytest.approx(share, abs=3 / np.sqrt(NUM_SUMS))


def test_another_name_or_another_shape_is_another_tensor() -> None:
    assert abs(correlation(random(0), random(0, prefix="other."))) < UNRELATED
    flat = {matrix_spec(spec.name, spec.cols, spec.rows, role=Role.OTHER): v.T.copy() for spec, v in random(0).items()}
    assert abs(correlation(random(0), flat)) < UNRELATED


def test_keys_agree_in_the_share_of_tensors_in_common() -> None:
    half = {**dict(list(random(1).items())[:2]), **dict(list(random(0, prefix="other.").items())[2:])}
    assert (named(random(0)).keys == named(random(1)).keys).all()
    assert not (named(random(0)).keys == named(random(0, prefix="other.")).keys).any()
    # Two of six tensors are common.
    assert 0 < (named(random(0)).keys == named(half).keys).mean() < 0.7
    assert (named(half).keys.astype(np.float32) == named(half).keys).all()


def test_most_of_the_tensors_are_enough() -> None:
    a, b = (random(0, head=(9, 24)), random(0, head=(7, 24)))
    assert correlation(a, b) > 0.7


def test_pieces_do_not_matter() -> None:
    model = random(0)
    pieces = measure_named_tensors(list(model), lambda spec: np.split(model[spec], 3))
    assert pieces is not None
    assert np.array_equal(pieces.sums, named(model).sums)


def test_a_large_matrix_is_summed_as_a_small_one() -> None:
    # Larger than what is taken at a time: names of entries go on from block to block.
    rng = np.random.default_rng(0)
    spec = matrix_spec("table", 3000, 64, role=Role.OTHER)
    values = rng.normal(size=(3000, 64)).astype(np.float32)
    whole, turned = named({spec: values}), named({spec: np.roll(values, 2048, axis=0)})
    assert abs(np.mean(whole.sums * turned.sums)) < UNRELATED


def test_constants_and_few_entries_prove_nothing() -> None:
    model = changed(random(0), lambda values: np.ones_like(values))
    assert measure_named_tensors(list(model), lambda spec: [model[spec]]) is None
    small = dict(list(random(0).items())[3:])
    assert measure_named_tensors(list(small), lambda spec: [small[spec]]) is None
    assert measure_named_tensors([], lambda spec: []) is None
