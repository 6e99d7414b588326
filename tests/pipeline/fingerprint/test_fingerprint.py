"""The fingerprint: no symmetry changes it, unrelated weights do not correlate, copies do."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.fetch.request import ModelRequest
from pipeline.fetch.stage import fetch
from pipeline.fingerprint.fingerprint import (
    FAMILIES,
    NUM_DIMENSIONS,
    FingerprintPart,
    fingerprint_vector,
    measure_fingerprint,
)
from pipeline.weights.inventory import extract
from pipeline.weights.reader import WeightReader
from tests.support.small_models import Model, matrix_spec, permuted, random_model, shuffled
from tests.support.tiny_models import make_tiny_checkpoint
from zoo.registry import ALL_CARDS
from zoo.tensors import Axis, Role

SPECIMENS = Path(__file__).parents[3] / "data" / "specimens"
FACTS = {path.parent.name: json.loads(path.read_text()) for path in sorted(SPECIMENS.glob("*/specimen.json"))}
UNRELATED = 4 / np.sqrt(NUM_DIMENSIONS)
"""Four standard deviations of the correlation between independent directions."""


def random(seed: int) -> Model:
    return random_model(seed, lambda rng, shape: rng.normal(size=shape))


def parts_of(model: Model) -> list[FingerprintPart]:
    return measure_fingerprint(list(model), lambda spec: [model[spec]])


def vector(model: Model) -> np.ndarray:
    found = fingerprint_vector(parts_of(model))
    assert found is not None
    return found


def correlation(a: Model, b: Model) -> float:
    return float(np.mean(vector(a) * vector(b)))


def changed(model: Model, change: Callable[[str, np.ndarray], np.ndarray]) -> Model:
    return {spec: change(spec.name, values).astype(np.float32) for spec, values in model.items()}


def read(folder: Path, tmp_path: Path) -> Model:
    files = fetch(ModelRequest(name=str(folder)), home=tmp_path)
    with WeightReader(files) as reader:
        return {spec: reader.matrix(spec) for spec in extract(files).specs if spec.kind == "weight"}


def test_a_permuted_copy_has_the_same_fingerprint() -> None:
    assert np.abs(vector(random(0)) - vector(permuted(random(0), 7))).max() < 1e-5


def test_a_tensor_permuted_on_its_own_is_another_model() -> None:
    order = np.random.default_rng(0).permutation(64)
    broken = changed(random(0), lambda name, values: values[order] if name.endswith("ffn.in") else values)
    assert correlation(random(0), broken) < 0.9


def test_rotating_inside_heads_does_not_change_it() -> None:
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(32, 32)))[0]

    def rotate(name: str, values: np.ndarray) -> np.ndarray:
        if name.endswith(("query", "key", "value")):
            return rotation @ values
        return values @ rotation.T if name.endswith("output") else values

    assert np.abs(vector(random(0)) - vector(changed(random(0), rotate))).max() < 1e-4


def test_rescaling_units_does_not_change_it() -> None:
    scales = np.exp(np.random.default_rng(0).normal(size=64))

    def rescale(name: str, values: np.ndarray) -> np.ndarray:
        return (
            values * scales[:, None] if name.endswith("in") else values / scales if name.endswith("ffn.out") else values
        )

    assert np.abs(vector(random(0)) - vector(changed(random(0), rescale))).max() < 1e-4


def test_unrelated_models_do_not_correlate() -> None:
    vectors = [vector(random(seed)) for seed in range(6)]
    found = np.array([np.mean(a * b) for i, a in enumerate(vectors) for b in vectors[:i]])
    assert np.abs(found).max() < UNRELATED


def test_a_shuffled_copy_is_unrelated() -> None:
    assert abs(correlation(random(0), shuffled(random(0), 3))) < UNRELATED


def test_noise_and_pruning_leave_most_of_it() -> None:
    rng = np.random.default_rng(0)
    disturbed = changed(random(0), lambda name, values: values + 0.15 * rng.normal(size=values.shape))
    pruned = changed(random(0), lambda name, values: values * (np.abs(values) > 0.4))
    assert correlation(random(0), disturbed) > 0.8
    assert correlation(random(0), pruned) > 0.8


def test_a_larger_vocabulary_leaves_most_of_it() -> None:
    model = random(0)
    words = next(spec for spec in model if spec.role is Role.TOKEN_EMBEDDING)
    longer = matrix_spec("words", 88, 32, role=Role.TOKEN_EMBEDDING, depth=0.0, row_axis=Axis.VOCABULARY)
    more = np.random.default_rng(1).normal(size=(8, 32)).astype(np.float32)
    grown = {longer: np.concatenate([model[words], more])} | {s: v for s, v in model.items() if s is not words}
    assert correlation(model, grown) > 0.7


def test_other_embeddings_do_not_change_parts_without_them() -> None:
    model = random(0)
    (name,) = (spec.name for spec in model if spec.role is Role.TOKEN_EMBEDDING)
    reversed_rows = changed(model, lambda at, values: values[::-1] if at == name else values)
    before, after = (
        {family: fingerprint_vector([part for part in parts_of(one) if part.family == family]) for family in FAMILIES}
        for one in (model, reversed_rows)
    )
    assert np.array_equal(before["others"], after["others"])
    assert abs(np.mean(before["inputs"] * after["inputs"])) < UNRELATED


def test_kinds_are_projected_apart_and_their_scale_is_lost() -> None:
    values = np.random.default_rng(0).normal(size=256)
    one, two = (fingerprint_vector([FingerprintPart(kind=kind, depth=None, values=values)]) for kind in ("one", "two"))
    assert one is not None and two is not None
    assert np.mean(one**2) == pytest.approx(1) and abs(np.mean(one * two)) < UNRELATED
    assert fingerprint_vector([]) is None and measure_fingerprint([], lambda spec: []) == []


@pytest.mark.slow
@pytest.mark.parametrize("key", ALL_CARDS)
def test_every_architecture_of_the_zoo_has_a_fingerprint(key: str, tmp_path: Path) -> None:
    weights = make_tiny_checkpoint(key, tmp_path / key, seed=0)
    found = vector(read(weights.parent, tmp_path / "home"))
    assert np.isfinite(found).all() and found.std() > 0.9


@pytest.mark.parametrize("child", [name for name, facts in FACTS.items() if facts["parent"]])
def test_specimens_correlate_with_their_parent_alone(child: str, tmp_path: Path) -> None:
    own = vector(read(SPECIMENS / child, tmp_path))
    found = {name: np.mean(own * vector(read(SPECIMENS / name, tmp_path))) for name in ("bert-a", "gpt2-a", "vit-a")}
    found |= {name: np.mean(own * vector(read(SPECIMENS / name, tmp_path))) for name in ("bert-b", "cnn-a")}
    parent = found.pop(FACTS[child]["parent"])
    assert parent > 0.6 and max(map(abs, found.values())) < UNRELATED
