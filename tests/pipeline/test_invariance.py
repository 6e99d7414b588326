"""Invariance, proved: copies that compute the same function, on being run, have the same signature.

The seeds of the copies are the same in every run, so a failure here is a failure everywhere.
"""

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedModel

from benchmarks.population.symmetries import permutation
from patterndb.records import PatternRecord
from pipeline.fetch.stage import fetch
from pipeline.order import canonicalise, seriate_tensor
from pipeline.settings import AnalysisSettings, FitSettings, MineSettings
from pipeline.weights.inventory import extract
from pipeline.weights.reader import WeightReader
from tests.support.mining import database_of, mine_into, request
from tests.support.symmetries import KINDS, copy_with, make_model, outputs

pytestmark = pytest.mark.slow

SEEDS = st.integers(min_value=0, max_value=2**32 - 1)
RUN = settings(max_examples=2, derandomize=True, database=None)
CHEAP = MineSettings(
    fit=FitSettings(epochs=1, hidden_dim=2, rank=1, num_nulls=0), analysis=AnalysisSettings(num_nulls=2)
)
# In float64 another order of summation costs next to nothing; T5 squares in float32 whatever it is given.
SAME_FUNCTION = {"encoder-decoder": 1e-5}
SAME_IN_FLOAT64 = 1e-12
SAME_SIGNATURE = 1e-4
SAME_STATISTIC = 1e-9


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@cache
def original(kind: str) -> PreTrainedModel:
    return make_model(kind)


def permuted(kind: str, seed: int) -> PreTrainedModel:
    generator = torch.Generator().manual_seed(seed)
    return copy_with(original(kind), permutation().permuted(original(kind), generator=generator))


def difference(a: PreTrainedModel, b: PreTrainedModel) -> float:
    """Largest difference of what they compute, relative to the largest output."""
    first, second = outputs(a), outputs(b)
    return float((first - second).abs().max() / first.abs().max())


def mined(model: PreTrainedModel) -> PatternRecord:
    """The model saved as it would be published, and taken through the whole chain."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(Path(folder) / "model")
        home = Path(folder) / "home"
        assert mine_into(home, [request(Path(folder) / "model")], CHEAP).exit_code == 0
        with database_of(home) as database:
            return database.load_pattern("tiny")


@cache
def mined_original(kind: str) -> PatternRecord:
    return mined(original(kind))


def values_of(pattern: PatternRecord) -> np.ndarray:
    """The signature, NaN where the model has nothing, without what compares in the order of the file."""
    named = zip(pattern.signature.names, pattern.signature.values, strict=True)
    return np.array([np.nan if value is None else value for name, value in named if "/names_" not in name])


def assert_same_pattern(before: PatternRecord, after: PatternRecord) -> None:
    assert before.signature.names == after.signature.names
    np.testing.assert_allclose(values_of(after), values_of(before), rtol=0, atol=SAME_SIGNATURE)
    assert after.pattern_class == before.pattern_class
    assert after.class_scores == pytest.approx(before.class_scores, abs=SAME_SIGNATURE)
    first, second = beside_signature(before), beside_signature(after)
    assert first.keys() == second.keys() and len(first) >= 2
    for name, numbers in first.items():
        assert second[name] == pytest.approx(numbers, abs=SAME_STATISTIC), name


def beside_signature(pattern: PatternRecord) -> dict[str, tuple[float | None, ...]]:
    """Value, null mean and p of each statistic that the signature leaves out."""
    blocks = ("products.", "sizes.", "spectra.peak_share", "spectra.flatness")
    return {
        each.name: (each.value, each.null_mean, each.p) for each in pattern.statistics if each.name.startswith(blocks)
    }


def canonical_matrices(model: PreTrainedModel, folder: Path) -> dict[str, np.ndarray]:
    model.save_pretrained(folder / "model")
    files = fetch(request(folder / "model"), home=folder / "home")
    with WeightReader(files) as reader:
        specs = [spec for spec in extract(files).specs if spec.is_matrix]
        matrices = {spec.name: reader.matrix(spec) for spec in specs}
    return {spec.name: canonicalise(matrices[spec.name], seriate_tensor(matrices[spec.name], spec)) for spec in specs}


def test_the_kinds_are_those_the_signature_is_invariant_for() -> None:
    assert set(KINDS) >= {"encoder", "decoder", "vit", "cnn", "encoder-decoder"}


# The copies are what they are said to be.


@pytest.mark.parametrize("kind", KINDS)
@RUN
@given(seed=SEEDS)
def test_a_permuted_copy_computes_the_same_from_other_matrices(kind: str, seed: int) -> None:
    copy = permuted(kind, seed)
    assert difference(original(kind), copy) < SAME_FUNCTION.get(kind, SAME_IN_FLOAT64)
    weights = dict(copy.named_parameters())
    moved = [name for name, weight in original(kind).named_parameters() if not torch.equal(weight, weights[name])]
    assert len(moved) > 0.8 * len(weights)


@pytest.mark.parametrize("kind", ["narrow-encoder", "relu-decoder", "cnn", "encoder-decoder"])
@RUN
@given(seed=SEEDS)
def test_units_behind_a_relu_may_be_rescaled(kind: str, seed: int) -> None:
    state = permutation().rescaled_units(original(kind), torch.Generator().manual_seed(seed))
    # Factors and quotients are rounded to the weights' float32.
    assert difference(original(kind), copy_with(original(kind), state)) < 1e-5


@pytest.mark.parametrize("kind", ["encoder", "narrow-encoder", "decoder", "relu-decoder", "vit", "encoder-decoder"])
@RUN
@given(seed=SEEDS)
def test_heads_may_be_rotated(kind: str, seed: int) -> None:
    state = permutation().rotated_heads(original(kind), torch.Generator().manual_seed(seed))
    assert difference(original(kind), copy_with(original(kind), state)) < 1e-5


def test_units_behind_a_gelu_may_not_be_rescaled() -> None:
    with pytest.raises(ValueError, match="not behind 'gelu'"):
        permutation().rescaled_units(original("encoder"), torch.Generator())


# Signatures are those of functions.


@pytest.mark.parametrize(("seed", "kind"), list(enumerate(KINDS)))
def test_a_permuted_copy_has_the_same_signature_and_scores(seed: int, kind: str) -> None:
    assert_same_pattern(mined_original(kind), mined(permuted(kind, seed)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_permuted_copy_has_the_same_canonical_matrices(kind: str, tmp_path: Path) -> None:
    first = canonical_matrices(original(kind), tmp_path / "original")
    second = canonical_matrices(permuted(kind, 1), tmp_path / "copy")
    assert first.keys() == second.keys()
    for name, matrix in first.items():
        np.testing.assert_array_equal(second[name], matrix, err_msg=name)


# What is no symmetry is seen.


def with_half_a_symmetry(model: PreTrainedModel) -> PreTrainedModel:
    """The rows that write the first inner units in another order, the columns that read them as they were."""
    state = model.state_dict()
    name = next(name for name in state if name.endswith(("intermediate.dense.weight", "fc1.weight", "wi.weight")))
    return copy_with(model, state | {name: state[name].flip(0)})


def with_a_turned_stream(model: PreTrainedModel) -> PreTrainedModel:
    """Every sign along the stream of a BERT turned: layer norms subtract a mean, so this is another function."""
    state = model.state_dict()
    turned = {name: -state[name] for name in state if name.endswith(("_embeddings.weight", "output.dense.weight"))}
    return copy_with(model, state | turned)


def with_mixed_rows(model: PreTrainedModel) -> PreTrainedModel:
    """The entries of every row of every matrix in an order of their own."""
    generator = torch.Generator().manual_seed(0)
    state = model.state_dict()
    for name, tensor in state.items():
        if tensor.dim() > 1:
            rows = tensor.flatten(1)
            state[name] = torch.stack([row[torch.randperm(len(row), generator=generator)] for row in rows]).view_as(
                tensor
            )
    return copy_with(model, state)


@pytest.mark.parametrize("kind", ["encoder", "relu-decoder", "vit", "encoder-decoder"])
def test_units_permuted_on_one_side_alone_compute_something_else(kind: str) -> None:
    assert difference(original(kind), with_half_a_symmetry(original(kind))) > 1e-3


@pytest.mark.parametrize("change", [with_a_turned_stream, with_mixed_rows])
def test_another_function_of_the_same_values_has_another_signature(
    change: Callable[[PreTrainedModel], PreTrainedModel],
) -> None:
    copy = change(original("encoder"))
    assert difference(original("encoder"), copy) > 0.1
    shift = np.abs(values_of(mined(copy)) - values_of(mined_original("encoder")))
    assert np.nanmax(shift) > 0.1
