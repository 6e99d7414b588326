"""Fused projections: the parts are the ones that the model multiplies.

Three times the query and a third of the key give the same attention, and so do three times the value with a third of
what its output is multiplied by. A part with a wrong row in it does not pass.
"""

from typing import Any

import pytest
import torch
from torch import nn

from zoo.roles import describe_tensors
from zoo.tensors import Role, TensorHeader, TensorSpec

SIZES = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 40}
MODELS: dict[str, dict[str, Any]] = {
    "bloom": {"n_head": 4, "n_layer": 1, "hidden_size": 32, "vocab_size": 40},
    "gpt_neox": SIZES | {"intermediate_size": 64},
    "persimmon": SIZES | {"intermediate_size": 64, "qk_layernorm": False},
    "falcon by head": SIZES | {"multi_query": False, "new_decoder_architecture": False, "alibi": True},
    "falcon of one key": SIZES | {"multi_query": True, "new_decoder_architecture": False},
    "falcon by group": SIZES | {"multi_query": True, "new_decoder_architecture": True, "num_kv_heads": 2},
    "codegen": {"n_embd": 32, "n_head": 4, "n_layer": 1, "rotary_dim": 4, "vocab_size": 40},
    "phi3": SIZES | {"intermediate_size": 64, "num_key_value_heads": 2, "pad_token_id": 0},
    "gpt_bigcode": {"n_embd": 32, "n_head": 4, "n_layer": 1, "vocab_size": 40, "multi_query": True},
    "gpt_bigcode by head": {"n_embd": 32, "n_head": 4, "n_layer": 1, "vocab_size": 40, "multi_query": False},
    "gpt2": {"n_embd": 32, "n_head": 4, "n_layer": 1, "vocab_size": 40},
}


def build(name: str) -> nn.Module:
    from transformers import AutoConfig, AutoModel

    torch.manual_seed(0)
    return randomised(AutoModel.from_config(AutoConfig.for_model(name.split(" ")[0], **MODELS[name])))


def randomised(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.3)
    return model.double().eval()


def fused_specs(model: nn.Module) -> list[TensorSpec]:
    headers = [TensorHeader(name=k, shape=tuple(v.shape), dtype="F32") for k, v in model.state_dict().items()]
    return list(describe_tensors(headers, model.config.to_dict()))


def rows_of(spec: TensorSpec, length: int) -> torch.Tensor:
    assert spec.row_slice is not None
    period = spec.row_period or length
    return torch.arange(length).reshape(-1, period)[:, slice(*spec.row_slice)].flatten()


def scale(model: nn.Module, spec: TensorSpec, factor: float) -> None:
    """Multiply what a part puts out: its rows, and their biases."""
    state = model.state_dict()
    weight = state[spec.tensor].T if spec.transposed else state[spec.tensor]
    rows = rows_of(spec, len(weight))
    weight[rows] *= factor
    if (bias := state.get(spec.tensor.replace(".weight", ".bias"))) is not None:
        bias[rows] *= factor


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_parts_are_those_that_the_model_multiplies(name: str) -> None:
    model, ids = build(name), torch.arange(2, 11)[None]

    def outputs() -> torch.Tensor:
        with torch.no_grad():
            return torch.as_tensor(model(ids)[0])

    before = outputs()
    by_role = {spec.role: spec for spec in fused_specs(model) if spec.row_slice and spec.role is not Role.FFN_IN}
    query, key, value = (by_role[role] for role in (Role.ATTENTION_QUERY, Role.ATTENTION_KEY, Role.ATTENTION_VALUE))
    scale(model, query, 3.0)
    assert not torch.allclose(outputs(), before)
    scale(model, key, 1 / 3)
    torch.testing.assert_close(outputs(), before)
    scale(model, value, 3.0)
    (leave,) = (spec for spec in fused_specs(model) if spec.role is Role.ATTENTION_OUTPUT)
    model.state_dict()[leave.tensor].div_(3.0)
    torch.testing.assert_close(outputs(), before)


@pytest.mark.slow
def test_parts_behind_an_activation_are_those_of_each_head() -> None:
    """Without its queries, its keys or its values an attention puts out nothing."""
    from transformers import MiniMaxConfig, MiniMaxModel

    sizes = SIZES | {"intermediate_size": 48, "num_hidden_layers": 2, "num_key_value_heads": 4, "num_local_experts": 2}
    model = randomised(MiniMaxModel._from_config(MiniMaxConfig(**sizes), experts_implementation="eager"))
    ids = torch.arange(2, 11)[None]
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    specs = [spec for spec in fused_specs(model) if spec.row_slice and spec.tensor.endswith("qkv_proj.weight")]

    def outputs() -> torch.Tensor:
        with torch.no_grad():
            return torch.as_tensor(model(ids)[0])

    leave = specs[0].tensor.replace("qkv_proj", "out_proj")
    model.load_state_dict(state | {leave: torch.zeros_like(state[leave])})
    expected = outputs()
    assert len(specs) == 3
    for spec in specs:
        model.load_state_dict(state)
        assert not torch.allclose(outputs(), expected)
        scale(model, spec, 0.0)
        torch.testing.assert_close(outputs(), expected)


KINDS: dict[str, tuple[str, dict[str, Any], list[tuple[int, int, int | None]]]] = {
    "by head": ("query_key_value", {"model_type": "bloom", "n_head": 4}, [(0, 8, 24), (8, 16, 24), (16, 24, 24)]),
    "by group": (
        "wqkv",
        {"model_type": "internlm2", "num_attention_heads": 8, "num_key_value_heads": 4},
        [(0, 12, 24), (12, 18, 24), (18, 24, 24)],
    ),
    "as GGUF has it": ("attn_qkv", {"model_type": "bloom", "num_attention_heads": 4}, [(0, 32), (32, 64), (64, 96)]),
    "GGUF, grouped": (
        "attn_qkv",
        {"model_type": "falcon", "num_attention_heads": 4, "num_key_value_heads": 1},
        [(0, 64), (64, 80), (80, 96)],
    ),
    "keys shared": (
        "query_key_value",
        {"model_type": "chatglm", "multi_query_attention": True, "multi_query_group_num": 1, "num_attention_heads": 4},
        [(0, 64), (64, 80), (80, 96)],
    ),
    "keys shared by groups": (
        "query_key_value",
        {"model_type": "chatglm", "multi_query_attention": True, "multi_query_group_num": 4, "num_attention_heads": 16},
        [(0, 64), (64, 80), (80, 96)],
    ),
    "no keys shared": (
        "query_key_value",
        {"model_type": "chatglm", "num_attention_heads": 4, "inner_hidden_size": 64},
        [(0, 8, 24), (8, 16, 24), (16, 24, 24)],
    ),
    "keys in a part of the config": (
        "Wqkv",
        {"model_type": "dbrx", "n_heads": 4, "attn_config": {"kv_n_heads": 1}},
        [(0, 64), (64, 80), (80, 96)],
    ),
    "heads wider than the input": (
        "qkv_proj",
        {"model_type": "phi3", "num_attention_heads": 2, "head_dim": 16},
        [(0, 32), (32, 64), (64, 96)],
    ),
    "a type that is not known": ("query_key_value", {"model_type": "new", "num_attention_heads": 4}, []),
    "by group of a type that is not known": ("wqkv", {"model_type": "new", "num_attention_heads": 4}, []),
    "no heads": ("query_key_value", {"model_type": "bloom"}, []),
    "fewer keys, not declared": ("qkv_proj", {"model_type": "new", "num_attention_heads": 4}, []),
}
"""Last part of a name, what `config.json` says, and the runs of rows of query, key and value in a matrix (96, 16)."""


@pytest.mark.parametrize("kind", KINDS)
def test_a_layout_that_is_not_known_stays_whole(kind: str) -> None:
    name, config, runs = KINDS[kind]
    header = TensorHeader(name=f"layers.0.attn.{name}.weight", shape=(96, 16), dtype="F32")
    specs = describe_tensors([header], config)
    if not runs:
        assert [(spec.role, spec.row_slice) for spec in specs] == [(Role.OTHER, None)]
        return
    assert [spec.role for spec in specs] == [Role.ATTENTION_QUERY, Role.ATTENTION_KEY, Role.ATTENTION_VALUE]
    assert [spec.row_slice for spec in specs] == [(start, stop) for start, stop, *_ in runs]
    assert {spec.row_period for spec in specs} == {(runs[0][2:] or (None,))[0]}


def test_each_tower_is_read_by_its_own_heads() -> None:
    config = {
        "model_type": "qwen2_vl",
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "vision_config": {"num_heads": 4, "embed_dim": 40},
    }
    headers = [
        TensorHeader(name="visual.blocks.0.attn.qkv.weight", shape=(120, 40), dtype="F32"),
        TensorHeader(name="model.layers.0.self_attn.qkv_proj.weight", shape=(48, 32), dtype="F32"),
    ]
    specs = describe_tensors(headers, config)
    assert [spec.rows for spec in specs] == [40, 40, 40, 32, 8, 8]


def test_gate_and_up_are_a_matrix_each() -> None:
    header = TensorHeader(name="model.layers.0.mlp.gate_up_proj.weight", shape=(128, 32), dtype="F32")
    specs = describe_tensors([header], {"model_type": "phi3"})
    assert [spec.name.rpartition("[")[2] for spec in specs] == ["gate]", "up]"]
    assert [(spec.role, spec.row_slice) for spec in specs] == [(Role.FFN_IN, (0, 64)), (Role.FFN_IN, (64, 128))]


@pytest.mark.parametrize(
    ("config", "is_split"),
    [
        ({"model_type": "chatglm", "ffn_hidden_size": 64}, True),
        ({"model_type": "chatglm", "inner_hidden_size": 128}, False),
        ({"model_type": "gpt_neox", "ffn_hidden_size": 64}, False),
    ],
)
def test_the_gate_of_chatglm_is_apart_from_what_it_gates(config: dict[str, Any], is_split: bool) -> None:
    module = "transformer.encoder.layers.0.mlp"
    headers = [
        TensorHeader(name=f"{module}.dense_h_to_4h.weight", shape=(128, 32), dtype="F32"),
        TensorHeader(name=f"{module}.dense_4h_to_h.weight", shape=(32, 64 if is_split else 128), dtype="F32"),
    ]
    *enter, leave = describe_tensors(headers, config)
    assert {spec.role for spec in enter} == {Role.FFN_IN} and leave.role is Role.FFN_OUT
    known = [(spec.row_slice, spec.free_row_signs) for spec in enter]
    assert known == ([((0, 64), False), ((64, 128), True)] if is_split else [(None, False)])
    assert leave.free_col_signs is is_split
