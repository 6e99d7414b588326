"""Weights that are stored as what they are computed from: what comes out is what torch computes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parametrizations, prune

from pipeline.weights.inventory import extract
from pipeline.weights.reader import WeightReader
from tests.support.weight_files import files_of


def linear() -> nn.Module:
    return nn.Linear(6, 5)


def convolution() -> nn.Module:
    return nn.Conv1d(4, 6, 3)


def transposed_convolution() -> nn.Module:
    return nn.ConvTranspose1d(4, 6, 3)


def weight_norm(dim: int | None) -> Callable[[nn.Module], nn.Module]:
    return lambda module: nn.utils.weight_norm(module, dim=dim)


WAYS: dict[str, Callable[[nn.Module], object]] = {
    "weight norm of rows, hooks": weight_norm(0),
    "weight norm of the last axis, hooks": weight_norm(1),
    "weight norm of all, hooks": weight_norm(None),
    "weight norm": parametrizations.weight_norm,
    "spectral norm, hooks": nn.utils.spectral_norm,
    "spectral norm": parametrizations.spectral_norm,
    "mask": lambda module: prune.random_unstructured(module, "weight", 0.5),
}


@pytest.mark.parametrize("make", [linear, convolution, transposed_convolution])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_weight_is_the_one_that_torch_uses(way: str, make: Callable[[], nn.Module], tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = make()
    WAYS[way](module)
    module.eval()
    module(torch.randn(2, 6) if isinstance(module, nn.Linear) else torch.randn(2, 4, 9))
    model = nn.Sequential(module)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, tmp_path / "model.safetensors")
    with WeightReader(files_of(tmp_path / "model.safetensors")) as reader:
        assert {header.name for header in reader.headers} == {"0.weight", "0.bias"}
        np.testing.assert_allclose(reader.tensor("0.weight"), module.weight.detach(), rtol=1e-5, atol=1e-6)


def test_a_parametrization_that_is_not_known_is_said(tmp_path: Path) -> None:
    module = nn.Sequential(parametrizations.orthogonal(linear()))
    stored = {name: value.contiguous() for name, value in module.state_dict().items()}
    save_file(stored, tmp_path / "model.safetensors")
    notes = extract(files_of(tmp_path / "model.safetensors")).notes
    assert any("of a parametrization that is not known, such as '0.parametrizations.weight" in note for note in notes)


def test_vectors_that_are_only_named_like_a_weight_norm_stay(tmp_path: Path) -> None:
    stored = {"block.time_mix_g": torch.ones(1, 1, 8), "block.time_mix_v": torch.ones(1, 1, 8)}
    save_file(stored, tmp_path / "model.safetensors")
    with WeightReader(files_of(tmp_path / "model.safetensors")) as reader:
        assert {header.name for header in reader.headers} == stored.keys()
