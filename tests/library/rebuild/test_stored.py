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


def test_a_product_is_written_as_such_where_the_class_has_it_as_its_parameter(tmp_path: Path) -> None:
    name = "encoder.layer.0.attention.self.query.weight"
    save_file({f"{name}_g": torch.ones(8, 1), f"{name}_v": torch.randn(8, 8)}, tmp_path / "model.safetensors")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    for config, written in (({"model_type": "bert", **sizes}, {name}), ({}, {f"{name}_g", f"{name}_v"})):
        with WeightReader(files_of(tmp_path / "model.safetensors", config=config)) as reader:
            assert set(StoredModel(reader=reader, parts={}).tensors) == written


def test_experts_that_were_quantised_come_in_their_stack_and_so_do_their_biases(tmp_path: Path) -> None:
    """As gpt-oss has them: its class has no parameter for a single expert."""
    generator, module = torch.Generator().manual_seed(0), "model.layers.0.mlp.experts"
    state = {
        f"{module}.down_proj_blocks": torch.randint(256, (3, 32, 2, 16), generator=generator, dtype=torch.uint8),
        f"{module}.down_proj_scales": torch.full((3, 32, 2), 120, dtype=torch.uint8),
        f"{module}.down_proj_bias": torch.randn(3, 32, generator=generator),
    }
    save_file(state, tmp_path / "model.safetensors")
    config = {"model_type": "gpt_oss", "quantization_config": {"quant_method": "mxfp4"}, "dtype": "bfloat16"}
    expert, other = f"{module}.1.down_proj.weight", torch.randn(32, 64, generator=generator)
    parts = {expert: ((Layout(tensor=expert, shape=(32, 64), dtype="F32"), expert),)}
    with WeightReader(files_of(tmp_path / "model.safetensors", config=config)) as reader:
        copied = StoredModel(reader=reader, parts=parts)
        assert set(copied.tensors) == {f"{module}.down_proj", f"{module}.down_proj_bias"} and not copied.replaced
        stack, bias = (copied.tensor(f"{module}.{name}") for name in ("down_proj", "down_proj_bias"))
        assert torch.equal(bias, state[f"{module}.down_proj_bias"])
        assert (stack.shape, stack.dtype, stack.is_contiguous()) == ((3, 64, 32), torch.bfloat16, True)
        for number in range(3):  # Codes of four bits are exact in bfloat16.
            own = torch.from_numpy(reader.tensor(f"{module}.{number}.down_proj.weight"))
            assert torch.equal(stack[number].float(), own.T)
        replaced = StoredModel(reader=reader, parts=parts, matrices={expert: other.numpy()})
        assert replaced.replaced == {f"{module}.down_proj"}
        found = replaced.tensor(f"{module}.down_proj")
    assert torch.equal(found[1], other.T.bfloat16()) and torch.equal(found[[0, 2]], stack[[0, 2]])


def test_numbers_of_8_bits_have_the_format_that_the_model_computes_in(tmp_path: Path) -> None:
    """transformers takes the format of a checkpoint for that of the model, and torch multiplies none of 8 bits."""
    values = torch.randn(4, 4).to(torch.float8_e4m3fn)
    save_file({"layer.weight": values}, tmp_path / "model.safetensors")
    for config, dtype in (({"dtype": "bfloat16"}, torch.bfloat16), ({}, torch.float32)):
        with WeightReader(files_of(tmp_path / "model.safetensors", config=config)) as reader:
            found = StoredModel(reader=reader, parts={}).tensor("layer.weight")
        assert found.dtype == dtype and torch.equal(found.float(), values.float())


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
