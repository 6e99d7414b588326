"""The DNA of shuffled weights: as mining kept it or as it is fitted, with every value back in its place."""

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from library.evaluate.shuffled import STAGE, ShuffledMatrices, shuffled_matrices
from library.rebuild.source import MinedModel
from pipeline.dna.file import SHUFFLED_FILE
from pipeline.kept.stages import StageStore
from pipeline.order import ORDER_FILE, canonicalise, seriate_tensor
from pipeline.weights.reader import WeightReader
from tests.support.rebuilding import SPECIMENS, mined

pytestmark = pytest.mark.slow

TRAINED_ALONE = 2e-3
"""R2 of a copy that trains beside others than in mining: rounding differs, and a training carries it on."""
SIGNS = 0.02
"""A copy with free signs is put into signs of its own, and its R2 in the report is about the mean that it has then."""
KINDS: dict[str, dict[str, Any]] = {
    "separable": {},
    "two nulls, file order": {"num_nulls": 2, "order": "raw"},
    "split by gain": {"hidden_dim": None, "rank": None, "budget": 0.05},
    "separable, model": {"scope": "model"},
    "spectral": {"dna_type": "spectral", "epochs": 2, "learning_rate": 2e-3},
    "adaptive": {"dna_type": "adaptive", "epochs": 2, "learning_rate": 2e-3},
    "hierarchical, model": {"dna_type": "hierarchical", "scope": "model", "epochs": 2, "learning_rate": 2e-3},
}


def file_of(model: MinedModel) -> Path:
    return StageStore(model.home).directory("fit", model.keys.fit) / SHUFFLED_FILE


def orders_of(model: MinedModel) -> Path:
    return StageStore(model.home).directory("order", model.keys.order) / ORDER_FILE


def taken(model: MinedModel, bits: int | None = None) -> tuple[ShuffledMatrices, dict[str, np.ndarray], bool]:
    """The shuffled matrices, their values, and whether something was fitted for them."""
    events: list[object] = []
    with WeightReader(model.files) as reader:
        found = shuffled_matrices(model, reader, tuple(model.dna), bits=bits, on_event=events.append)
        return found, dict(found), bool(events)


def has_free_signs(model: MinedModel, name: str) -> bool:
    order = model.dna[name].order
    return order.row_signs is not None or order.col_signs is not None


def r2_of(model: MinedModel, values: dict[str, np.ndarray]) -> dict[str, float]:
    """By name, about the mean that the fit report has."""
    fits = model.fits()
    with WeightReader(model.files) as reader:
        return {
            name: 1
            - float(np.square(reader.matrix(model.dna[name].spec) - found, dtype=np.float64).sum())
            / (fits[name].mean_mse * fits[name].num_weights)
            for name, found in values.items()
        }


@pytest.mark.parametrize("kind", KINDS)
def test_what_mining_kept_is_the_null_of_the_report(kind: str, tmp_path: Path) -> None:
    model = mined(tmp_path, SPECIMENS / "bert-a-distilled", **KINDS[kind])
    found, values, is_fitted = taken(model)
    assert not is_fitted and not (tmp_path / "stages" / STAGE).exists()
    if model.dna.settings.num_nulls == 1:
        held = r2_of(model, values)
        for name, fit in model.fits().items():
            assert held[name] == pytest.approx(fit.null_r2, abs=SIGNS if has_free_signs(model, name) else 1e-5)
    file_of(model).unlink()
    _, again, is_fitted = taken(model)
    assert is_fitted and r2_of(model, again) == pytest.approx(r2_of(model, values), abs=TRAINED_ALONE)
    assert found.bits <= sum(fit.bits_per_weight * fit.num_weights for fit in model.fits().values()) + 1e-6


@pytest.fixture(scope="module")
def kept_model(tmp_path_factory: pytest.TempPathFactory) -> MinedModel:
    return mined(tmp_path_factory.mktemp("home"), SPECIMENS / "vit-a")


@pytest.fixture
def model(kept_model: MinedModel) -> Iterator[MinedModel]:
    """A mined model whose files a test may spoil: they are put back, and what it has fitted is removed."""
    kept = {path: path.read_bytes() for path in (file_of(kept_model), orders_of(kept_model))}
    yield kept_model
    for path, content in kept.items():
        path.write_bytes(content)
    shutil.rmtree(kept_model.home / "stages" / STAGE, ignore_errors=True)


def cut_short(model: MinedModel) -> None:
    file_of(model).write_bytes(file_of(model).read_bytes()[:-100])


def flip_a_bit(model: MinedModel) -> None:
    data = bytearray(file_of(model).read_bytes())
    data[-5] ^= 1
    file_of(model).write_bytes(bytes(data))


@pytest.mark.parametrize("damage", [cut_short, flip_a_bit])
def test_a_damaged_file_is_fitted_again_and_said(
    model: MinedModel, damage: Callable[[MinedModel], None], caplog: pytest.LogCaptureFixture
) -> None:
    kept = r2_of(model, taken(model)[1])
    damage(model)
    with caplog.at_level(logging.WARNING):
        _, values, is_fitted = taken(model)
    assert is_fitted and "It is fitted again." in caplog.text
    assert r2_of(model, values) == pytest.approx(kept, abs=TRAINED_ALONE)
    assert not taken(model)[2]


def test_without_the_orders_of_mining_its_copies_are_of_no_use(model: MinedModel) -> None:
    kept = r2_of(model, taken(model)[1])
    orders_of(model).unlink()
    _, values, is_fitted = taken(model)
    assert is_fitted and r2_of(model, values) == pytest.approx(kept, abs=TRAINED_ALONE)


def test_a_model_that_was_mined_without_nulls_is_fitted_once(tmp_path: Path) -> None:
    model = mined(tmp_path, SPECIMENS / "vit-a", num_nulls=0)
    assert not file_of(model).exists()
    _, first, is_fitted = taken(model)
    _, second, is_fitted_again = taken(model)
    assert is_fitted and not is_fitted_again
    assert all((first[name] == second[name]).all() for name in first)


def test_values_go_back_to_their_places(model: MinedModel) -> None:
    """A copy that says its own values says the original's when it is carried back."""
    with WeightReader(model.files) as reader:
        copies = shuffled_matrices(model, reader, tuple(model.dna), bits=None).copies
        for tensor in list(model.dna.tensors)[:4]:
            spec, matrix = tensor.spec, reader.matrix(tensor.spec)
            drawn = copies.drawn(spec)
            assert np.array_equal(copies.carried_back(drawn, spec), matrix)
            assert np.array_equal(np.sort(np.abs(drawn), axis=None), np.sort(np.abs(matrix), axis=None))
            canonical = canonicalise(matrix, seriate_tensor(matrix, spec))
            assert not np.array_equal(drawn, canonical)
