"""Odd values: what is said of them, and that nothing after extraction becomes infinite."""

import math
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dna_zoo.errors import NonFiniteWeightsError
from pipeline.weights.inventory import Inventory, extract
from pipeline.weights.values import value_range
from tests.support.mining import database_of, mine_into, request
from tests.support.weight_files import files_of

NAMES = [f"model.layers.{layer}.mlp.{part}_proj.weight" for layer in range(2) for part in ("up", "down")]


def model() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn((24, 16) if "up" in name else (16, 24), generator=generator) * 0.05 for name in NAMES}


def extracted(folder: Path, changed: dict[str, torch.Tensor], **how: bool) -> Inventory:
    save_file(model() | changed, folder / "model.safetensors")
    return extract(files_of(folder / "model.safetensors"), **how)


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_a_range_does_not_depend_on_the_pieces(size: int) -> None:
    values = np.random.default_rng(0).normal(size=137).astype(np.float32)
    values[[3, 70]] = np.nan, np.inf
    found = value_range(values[start : start + size] for start in range(0, values.size, size))
    finite = values[np.isfinite(values)]
    assert (found.count, found.nonfinite) == (137, 2)
    assert (found.low, found.high) == (finite.min(), finite.max())
    assert found.total == pytest.approx(np.abs(finite).sum(dtype=np.float64))


def test_a_constant_matrix_is_no_matrix_to_fit(tmp_path: Path) -> None:
    inventory = extracted(tmp_path, {NAMES[0]: torch.full((24, 16), 0.02), "norm.weight": torch.ones(16)})
    assert [spec.name for spec in inventory.specs if spec.is_constant] == [NAMES[0]]
    assert NAMES[0] not in {spec.name for spec in inventory.matrices} and len(inventory.matrices) == 3
    assert inventory.num_weights == 4 * 24 * 16 + 16
    assert f"1 matrix is constant, and neither ordered nor fitted: '{NAMES[0]}' (0.02)." in inventory.notes


def test_numbers_beyond_float32_are_called_that(tmp_path: Path) -> None:
    wide = model()[NAMES[0]].double()
    wide[0, 0] = 1e300
    with pytest.raises(NonFiniteWeightsError, match="1 value that is NaN, infinite or beyond the range of float32"):
        extracted(tmp_path, {NAMES[0]: wide})
    assert extracted(tmp_path, {NAMES[0]: wide}, allow_nonfinite=True).nonfinite == {NAMES[0]: 1}


def test_equal_matrices_count_once_and_equal_constants_and_vectors_do_not(tmp_path: Path) -> None:
    inventory = extracted(tmp_path, {NAMES[2]: model()[NAMES[0]], "a.bias": torch.ones(9), "b.bias": torch.ones(9)})
    assert {spec.name: spec.tied_to for spec in inventory.specs if spec.tied_to} == {NAMES[2]: NAMES[0]}
    assert inventory.num_weights == 3 * 24 * 16 + 18
    assert inventory.account.tied == 4 * 24 * 16
    zeros = {name: torch.zeros(24, 16) for name in NAMES if "up" in name}
    assert not any(spec.tied_to for spec in extracted(tmp_path, zeros).specs)


def test_nearly_equal_matrices_count_each(tmp_path: Path) -> None:
    other = model()[NAMES[0]].flip(0)  # The same values in other places: the same range.
    assert not any(spec.tied_to for spec in extracted(tmp_path, {NAMES[2]: other}).specs)


@pytest.mark.slow
@pytest.mark.parametrize("change", ["1e30", "3e38", "denormal", "constant", "all constant"])
def test_nothing_becomes_infinite(tmp_path: Path, change: str) -> None:
    tensors = model()
    if change in ("1e30", "3e38"):
        tensors[NAMES[0]][3, 5] = float(change)
    elif change == "denormal":
        tensors = {name: value * 1e-39 for name, value in tensors.items()}
    else:
        tensors |= {name: torch.full_like(tensors[name], 0.5) for name in NAMES[: 1 if change == "constant" else 4]}
    save_file(tensors, tmp_path / "model.safetensors")
    run = mine_into(tmp_path / "home", [request(tmp_path)])
    assert run.status == "done", run.models
    with database_of(tmp_path / "home") as database:
        pattern = database.load_pattern("tiny")
    fits = [fit for fit in (pattern.fit, *(tensor.fit for tensor in pattern.tensors)) if fit is not None]
    assert len(fits) == {"constant": 4, "all constant": 0}.get(change, 5)
    for fit in fits:
        numbers = [value for value in astuple(fit) if isinstance(value, float)]
        assert all(map(math.isfinite, numbers)) and fit.r2 < 0.999
    if change == "all constant":
        assert pattern.pattern_class == "uncalibrated"
    assert all(value is None or math.isfinite(value) for value in pattern.signature.values)
