"""What is copied of a model is copied bit by bit, in the number format of its file, with what belongs to it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parametrizations, weight_norm

from library.rebuild.stored import StoredModel
from library.rebuild.write import copy_beside
from pipeline.weights.reader import WeightReader
from tests.support.weight_files import files_of
from zoo.layout import Layout

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_copies_have_every_bit_of_the_file(name: str, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    state = {
        f"layer.{i}.norm.weight": torch.randn(7, generator=generator, dtype=torch.float64).to(dtype)
        for i, dtype in enumerate(FLOATS)
    }
    state["wide.bias"] = torch.tensor([1e300, -1e-300, torch.pi], dtype=torch.float64)
    state |= {"position_ids": torch.arange(5), "mask": torch.ones(2, 2, dtype=torch.bool), "steps": torch.tensor(3)}
    state["none"] = torch.empty(0, dtype=torch.int32)
    path = tmp_path / name
    torch.save(state, path) if path.suffix == ".bin" else save_file(state, path)
    with WeightReader(files_of(path)) as reader:
        stored = StoredModel(reader=reader, parts={})
        assert set(stored.tensors) == set(state)
        for key, value in state.items():
            copy = stored.tensor(key)
            assert (copy.dtype, copy.shape) == (value.dtype, value.shape) and torch.equal(copy, value), key


@pytest.mark.parametrize(
    "normed",
    [
        weight_norm,
        lambda module: weight_norm(module, dim=None),
        lambda module: parametrizations.weight_norm(module, dim=2),
    ],
    ids=["rows", "all", "the last axis"],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_lengths_and_directions_are_written_as_such(normed: Callable[[nn.Module], nn.Module], tmp_path: Path) -> None:
    """The class of the model has these as its parameters, and none of the name that the weight has in use."""
    torch.manual_seed(0)
    module = nn.Sequential(normed(nn.Conv1d(4, 6, 3)))
    state = {name: value.contiguous() for name, value in module.state_dict().items()}
    save_file(state, tmp_path / "model.safetensors")
    other = torch.randn(6, 4, 3)
    parts = {"0.weight": ((Layout(tensor="0.weight", shape=(6, 4, 3), dtype="F32"), "0.weight"),)}
    with WeightReader(files_of(tmp_path / "model.safetensors")) as reader:
        copied = StoredModel(reader=reader, parts=parts)
        assert all(torch.equal(copied.tensor(name), state[name]) for name in state) and not copied.replaced
        replaced = StoredModel(reader=reader, parts=parts, matrices={"0.weight": other.reshape(6, 12).numpy()})
        assert set(replaced.tensors) == set(state) and replaced.replaced == set(state) - {"0.bias"}
        module.load_state_dict({name: replaced.tensor(name) for name in replaced.tensors})
    module(torch.randn(1, 4, 9))  # The older hooks make the weight as the module runs.
    assert torch.allclose(module[0].weight, other, atol=1e-6) and torch.equal(module[0].bias, state["0.bias"])


def test_the_modules_behind_a_transformer_are_copied_and_nothing_outside_its_folder(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    outside = tmp_path / "outside" / "config.json"
    for path in (source / "2_Dense" / "model.safetensors", source / "2_Dense" / "config.json", outside):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    (source / "2_Dense" / "modeling.py").touch()
    (source / "model.safetensors").touch()
    (source / "vocab.txt").write_text("a")
    paths = ("", "2_Dense", "3_Normalize", "../outside", str(outside.parent))
    (source / "modules.json").write_text(json.dumps([{"idx": i, "path": each} for i, each in enumerate(paths)]))
    out.mkdir()
    copy_beside(source, out)
    found = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert found == {"vocab.txt", "modules.json", "2_Dense/config.json", "2_Dense/model.safetensors"}
