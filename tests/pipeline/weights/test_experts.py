"""Mixtures of experts: stacked and single files of one model hold the same matrices."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pipeline.weights.experts import MOST_EXPERTS
from pipeline.weights.inventory import extract
from pipeline.weights.reader import WeightReader
from tests.support.weight_files import files_of
from zoo.tensors import Role

HIDDEN, WIDTH, EXPERTS = 32, 48, 3
MODULE = "model.layers.0.mlp.experts"


def single(num_experts: int = EXPERTS, hidden: int = HIDDEN, width: int = WIDTH) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = {"gate_proj": (width, hidden), "up_proj": (width, hidden), "down_proj": (hidden, width)}
    return {
        f"{MODULE}.{number}.{name}.weight": torch.randn(shape, generator=generator)
        for number in range(num_experts)
        for name, shape in shapes.items()
    }


def stacked(kind: str, model: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same as the kind of model stores it."""
    gate, up, down = (
        torch.stack([value for name, value in model.items() if f".{part}." in name])
        for part in ("gate_proj", "up_proj", "down_proj")
    )
    if kind == "granitemoe":
        start = MODULE.removesuffix(".experts")
        return {f"{start}.input_linear.weight": torch.cat([gate, up], dim=1), f"{start}.output_linear.weight": down}
    if kind == "gpt_oss":
        fused = torch.stack([gate, up], dim=2).flatten(1, 2)
    else:
        fused = torch.cat([gate, up], dim=1)
    is_turned = kind in ("gpt_oss", "llama4_text")
    found = {f"{MODULE}.gate_up_proj": fused, f"{MODULE}.down_proj": down}
    return {name: value.mT.contiguous() if is_turned else value for name, value in found.items()}


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("width", [WIDTH, HIDDEN])
@pytest.mark.parametrize("kind", ["mixtral", "llama4_text", "gpt_oss", "granitemoe"])
def test_a_stack_is_its_experts(tmp_path: Path, kind: str, width: int, name: str) -> None:
    model = single(width=width)
    stored = stacked(kind, model) | {"model.embed_tokens.weight": torch.randn(40, HIDDEN)}
    save = save_file if name.endswith("safetensors") else torch.save
    save(stored, tmp_path / name)
    files = files_of(tmp_path / name, config={"model_type": kind, "hidden_size": HIDDEN})
    with WeightReader(files) as reader:
        for expert, value in model.items():
            np.testing.assert_array_equal(reader.tensor(expert), value)
    inventory = extract(files)
    roles = [spec.role for spec in inventory.specs if spec.block == 0]
    assert (roles.count(Role.FFN_IN), roles.count(Role.FFN_OUT)) == (2 * EXPERTS, EXPERTS)
    assert inventory.account.read == sum(tensor.nbytes for tensor in stored.values())


def test_experts_of_attention_have_parts_of_their_own_and_stay_whole(tmp_path: Path) -> None:
    stored = {"model.layers.0.self_attention.experts.input_linear.weight": torch.randn(EXPERTS, WIDTH, HIDDEN)}
    save_file(stored, tmp_path / "model.safetensors")
    with WeightReader(files_of(tmp_path / "model.safetensors", config={"model_type": "jetmoe"})) as reader:
        assert [*reader.tensors] == [*stored]


def test_an_expert_of_blocks_of_four_bits_is_made_of_its_own_codes(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(3)
    blocks = torch.randint(0, 256, (EXPERTS, 2 * WIDTH, 1, 16), dtype=torch.uint8, generator=generator)
    scales = torch.randint(120, 130, (EXPERTS, 2 * WIDTH, 1), dtype=torch.uint8, generator=generator)
    stored = {f"{MODULE}.gate_up_proj_blocks": blocks, f"{MODULE}.gate_up_proj_scales": scales}
    save_file(stored, tmp_path / "model.safetensors")
    whole = {"quantization_config": {"quant_method": "mxfp4"}}
    with WeightReader(
        files_of(tmp_path / "model.safetensors", config=whole | {"model_type": "gpt_oss", "hidden_size": HIDDEN})
    ) as reader:
        up = reader.tensor(f"{MODULE}.2.up_proj.weight")
        (part,) = reader.tensors[f"{MODULE}.2.up_proj.weight"].parts  # type: ignore[union-attr]
        assert [each.array().shape for each in part.parts] == [(2 * WIDTH, 1, 16), (2 * WIDTH, 1)]  # type: ignore[union-attr]
    low = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    codes = blocks[2, 1::2, 0, :].numpy()
    first = np.where(codes & 8, -1.0, 1.0) * low[codes & 7]
    np.testing.assert_allclose(up[:, ::2], first * 2.0 ** (scales[2, 1::2].numpy().astype(int) - 127))


FLAT = "transformer.blocks.0.ffn.experts.mlp"
COUNT = {"ffn_config": {"moe_num_experts": EXPERTS, "ffn_hidden_size": WIDTH}}


def flat() -> dict[str, torch.Tensor]:
    """As DBRX stores them, with something else for the rest of the model."""
    generator = torch.Generator().manual_seed(5)
    stacks = {
        f"{FLAT}.{part}": torch.randn(EXPERTS * WIDTH, HIDDEN, generator=generator) for part in ("w1", "v1", "w2")
    }
    return stacks | {"transformer.wte.weight": torch.randn(40, HIDDEN, generator=generator)}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_experts_in_two_dimensions_are_those_that_the_model_multiplies(tmp_path: Path, name: str) -> None:
    from transformers.models.dbrx.configuration_dbrx import DbrxFFNConfig
    from transformers.models.dbrx.modeling_dbrx import DbrxExperts

    stored = flat()
    module = DbrxExperts(DbrxFFNConfig(**COUNT["ffn_config"], hidden_size=HIDDEN))
    module.mlp.load_state_dict({part: stored[f"{FLAT}.{part}"] for part in ("w1", "v1", "w2")})
    (save_file if name.endswith("safetensors") else torch.save)(stored, tmp_path / name)
    read = torch.randn(7, HIDDEN, generator=torch.Generator().manual_seed(6))
    files = files_of(tmp_path / name, config={"model_type": "dbrx", **COUNT})
    with WeightReader(files) as reader, torch.no_grad():
        for number in range(EXPERTS):
            gate, up, down = (
                torch.from_numpy(reader.tensor(f"{FLAT}.{number}.{part}.weight")) for part in ("w1", "v1", "w2")
            )
            found = (torch.nn.functional.silu(read @ gate.T) * (read @ up.T)) @ down.T
            chosen, weights = torch.full((7, 1), number), torch.ones(7, 1)
            torch.testing.assert_close(found[None], module(read[None], chosen, weights).reshape(1, 7, HIDDEN))


def test_experts_in_two_dimensions_are_those_of_a_file_that_has_them_apart(tmp_path: Path) -> None:
    stored = flat()
    apart = {
        f"{FLAT}.{number}.{part}.weight": (each.T if part == "w2" else each).contiguous()
        for part in ("w1", "v1", "w2")
        for number, each in enumerate(stored[f"{FLAT}.{part}"].chunk(EXPERTS))
    }
    save_file(stored, tmp_path / "stacked.safetensors")
    save_file(apart | {"transformer.wte.weight": stored["transformer.wte.weight"]}, tmp_path / "apart.safetensors")
    config = {"model_type": "dbrx", **COUNT}
    one, two = (extract(files_of(tmp_path / f"{name}.safetensors", config=config)) for name in ("stacked", "apart"))
    assert {spec.name: spec for spec in one.specs} == {spec.name: spec for spec in two.specs}
    assert one.account.read == two.account.read == sum(tensor.nbytes for tensor in stored.values())
    roles = {spec.name.split(".")[-2]: (spec.role, spec.free_row_signs) for spec in one.specs if "experts" in spec.name}
    assert roles["w1"] == (Role.FFN_IN, False) and roles["v1"] == (Role.FFN_IN, True) and roles["w2"][0] is Role.FFN_OUT


@pytest.mark.parametrize(
    "config",
    [{}, {"ffn_config": {"moe_num_experts": 5}}, {"ffn_config": {"moe_num_experts": 2, "ffn_hidden_size": WIDTH}}],
)
def test_experts_in_two_dimensions_of_no_known_number_stay_whole_and_say_so(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    save_file(flat(), tmp_path / "model.safetensors")
    inventory = extract(files_of(tmp_path / "model.safetensors", config=config))
    whole = [spec for spec in inventory.specs if "experts" in spec.name]
    assert [(spec.role, spec.rows, spec.cols) for spec in whole] == 3 * [(Role.OTHER, EXPERTS * WIDTH, HIDDEN)]
    assert any("3 stacks have all experts of a module below each other" in note for note in inventory.notes)


@pytest.mark.parametrize("axis", [-1, -2])
@pytest.mark.parametrize("has_one_scale", [True, False])
def test_an_expert_of_nvfp4_is_made_of_its_own_codes(tmp_path: Path, axis: int, has_one_scale: bool) -> None:
    """Stacks (out, in) and (in, out) are told apart by the shapes of their scales."""
    generator = torch.Generator().manual_seed(3)
    codes = torch.randint(0, 256, (EXPERTS, WIDTH, HIDDEN // 2), dtype=torch.uint8, generator=generator)
    scales = torch.rand(EXPERTS, WIDTH, HIDDEN // 16, generator=generator).to(torch.float8_e4m3fn)
    whole = torch.tensor(0.25) if has_one_scale else torch.tensor([0.25, 0.5, 2.0])
    stack = f"{MODULE}.up_proj"
    turned = {stack: codes.transpose(axis, -1), f"{stack}_weight_scale": scales.transpose(axis, -1)}
    stored = {name: part.contiguous() for name, part in turned.items()} | {f"{stack}_weight_scale_2": whole}
    save_file(stored, tmp_path / "model.safetensors")
    config = {"hidden_size": HIDDEN, "model_type": "mixtral"}
    with WeightReader(files_of(tmp_path / "model.safetensors", config=config)) as reader:
        up = reader.tensor(f"{MODULE}.2.up_proj.weight")
        (part,) = reader.tensors[f"{MODULE}.2.up_proj.weight"].parts  # type: ignore[union-attr]
        assert part.parts[0].array().size == codes[2].numel()  # type: ignore[union-attr]
    low = codes[2].numpy()
    first = np.where(low & 8, -1.0, 1.0) * np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])[low & 7]
    steps = scales[2].float().repeat_interleave(8, dim=1) * whole.reshape(-1)[-1]
    np.testing.assert_allclose(up[:, ::2], first * steps.numpy())


@pytest.mark.parametrize("kind", ["mixtral", "gpt_oss"])
def test_biases_of_experts_are_a_vector_each(tmp_path: Path, kind: str) -> None:
    gate, up, down = torch.randn(EXPERTS, WIDTH), torch.randn(EXPERTS, WIDTH), torch.randn(EXPERTS, HIDDEN)
    both = torch.stack([gate, up], 2).flatten(1) if kind == "gpt_oss" else torch.cat([gate, up], 1)
    model = single()
    stored = stacked(kind, model) | {f"{MODULE}.gate_up_proj_bias": both, f"{MODULE}.down_proj_bias": down}
    save_file(stored, tmp_path / "model.safetensors")
    files = files_of(tmp_path / "model.safetensors", config={"model_type": kind, "hidden_size": HIDDEN})
    with WeightReader(files) as reader:
        for number in range(EXPERTS):
            for part, values in (("gate_proj", gate), ("up_proj", up), ("down_proj", down)):
                np.testing.assert_array_equal(reader.tensor(f"{MODULE}.{number}.{part}.bias"), values[number])
    inventory = extract(files)
    assert {spec.role for spec in inventory.specs if spec.name.endswith(".bias")} == {Role.BIAS}
    assert inventory.account.read == sum(tensor.nbytes for tensor in stored.values())


@pytest.mark.parametrize("is_stacked", [False, True])
def test_a_sample_stands_for_many_experts_and_is_stated(tmp_path: Path, is_stacked: bool) -> None:
    model = single(MOST_EXPERTS + 5)
    stored = stacked("mixtral", model) if is_stacked else model
    save_file(stored, tmp_path / "model.safetensors")
    config: dict[str, Any] = {"model_type": "mixtral", "hidden_size": HIDDEN}
    inventory = extract(files_of(tmp_path / "model.safetensors", config=config))
    assert len(inventory.specs) == 3 * MOST_EXPERTS and len(inventory.account.left_out) == 15
    assert any(f"{MOST_EXPERTS} experts at random" in note for note in inventory.notes)
    expected = {7, 19} & {int(spec.name.split(".")[5]) for spec in inventory.specs}
    assert expected == {7, 19} - {int(name.split(".")[5]) for name in inventory.account.left_out}
