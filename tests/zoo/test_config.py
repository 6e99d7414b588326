"""Configurations as files hold them: nonsense counts as nothing, and nothing of it is a traceback."""

from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.fetch.model_card import model_record
from pipeline.weights.experts import unstack
from pipeline.weights.inventory import Inventory
from pipeline.weights.quantised import dequantise
from tests.support.weight_files import files_of
from zoo.config import flag_in, number_in, part_of, text_in
from zoo.roles import describe_tensors
from zoo.tensors import TensorHeader


@pytest.mark.parametrize(
    ("value", "layer", "expected"),
    [
        (4, None, 4),
        (4.0, None, 4),
        ([4, 2], 1, 2),
        ([4, 2], None, None),
        ([4, 4], None, 4),
        ([4, 4], 7, 4),
        *((value, None, None) for value in (0, -1, True, nan, inf, 1.5, "4", [], [[4]], {}, None)),
    ],
)
def test_a_number_is_one_where_it_means_one(value: Any, layer: int | None, expected: int | None) -> None:
    assert number_in({"heads": value}, "heads", layer=layer) == expected
    assert number_in({"heads": value, "n_head": 3}, "heads", "n_head", layer=layer) == (expected or 3)


def test_texts_flags_and_parts_are_of_their_kind() -> None:
    odd = {"a": ["llama"], "b": 1, "c": "text"}
    assert [text_in(odd, name) for name in "abcd"] == ["", "", "text", ""]
    assert [flag_in({"x": value}, "x", True) for value in (False, 0, None, "no", True)] == [
        False,
        True,
        True,
        True,
        True,
    ]
    assert part_of({"x": {"y": 1}}, "x") == {"y": 1} and part_of(odd, "a") == part_of({}, "x") == {}


def test_each_layer_may_have_its_own_number_of_heads() -> None:
    names = [f"model.layers.{layer}.self_attn.qkv_proj.weight" for layer in range(2)]
    headers = [
        TensorHeader(name=name, shape=(16 + 2 * 4 * heads, 16), dtype="F32")
        for name, heads in zip(names, (2, 1), strict=True)
    ]
    config = {"model_type": "phi3", "num_attention_heads": 4, "num_key_value_heads": [2, 1]}
    specs = describe_tensors(headers, config)
    assert [spec.rows for spec in specs] == [16, 8, 8, 16, 4, 4]


SHAPES = {
    "model.embed_tokens.weight": (20, 8),
    "lm_head.weight": (20, 8),
    "model.layers.0.self_attn.qkv_proj.weight": (16, 8),
    "transformer.h.0.attn.c_attn.weight": (8, 24),
    "transformer.h.0.self_attention.query_key_value.weight": (24, 8),
    "visual.blocks.0.attn.qkv.weight": (24, 8),
    "model.layers.0.mlp.gate_up_proj.weight": (32, 8),
    "albert_layer_groups.0.albert_layers.0.ffn.weight": (16, 8),
    "model.layers.0.input_layernorm.weight": (8,),
}
HEADERS = tuple(TensorHeader(name=name, shape=shape, dtype="F32") for name, shape in SHAPES.items())
KINDS = ("llama", "gpt2", "falcon", "gpt_neox", "codegen", "phi3", "mobilebert", "albert", "qwen2_vl", "bert", "llama4")
NAMES = (
    "model_type", "architectures", "is_encoder_decoder", "tie_word_embeddings", "hidden_size", "num_attention_heads",
    "n_head", "num_key_value_heads", "num_kv_heads", "multi_query", "new_decoder_architecture", "num_hidden_groups",
    "num_hidden_layers", "normalization_type", "text_config", "vision_config", "audio_config", "quantization_config",
    "quant_method", "config_groups", "weight_block_size", "targets",
)  # fmt: skip
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 9), st.sampled_from([nan, inf, -inf, 0.0, 2.0, 1e308]),
    st.sampled_from(KINDS), st.sampled_from(["", "BertForMaskedLM", "compressed-tensors", "re:("]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=6,
)


@settings(max_examples=300, derandomize=True)
@given(config=st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=8), kind=st.sampled_from(KINDS))
@pytest.mark.slow
def test_no_configuration_is_a_traceback(config: dict[str, Any], kind: str) -> None:
    for each in (config, {**config, "model_type": kind}):
        specs = describe_tensors(HEADERS, each)
        assert {spec.tensor for spec in specs} == set(SHAPES)
        unstack(dequantise({}, each), each)
        inventory = Inventory(specs=specs, num_weights=1, num_tensors=1)
        record = model_record(files_of(Path("model.safetensors"), config=each), inventory)
        texts = (record.family, record.modality, record.architecture, record.objective)
        assert all(text is None or isinstance(text, str) for text in texts)
