"""Roles, views and kinds of single tensors: the traps of the zoo, and checkpoints that it has no card of."""

import numpy as np
import pytest

from tests.support.tensor_headers import load_fixture
from zoo.registry import ALL_CARDS
from zoo.roles import describe_tensors
from zoo.tensors import Axis, Role, TensorHeader, TensorKind, TensorSpec


def header(name: str, *shape: int, dtype: str = "F32") -> TensorHeader:
    return TensorHeader(name=name, shape=shape, dtype=dtype)


def describe_one(name: str, *shape: int, dtype: str = "F32", **config: object) -> TensorSpec:
    (spec,) = describe_tensors([header(name, *shape, dtype=dtype)], config)
    return spec


def specs_of(key: str) -> dict[str, TensorSpec]:
    fixture = load_fixture(key)
    return {spec.name: spec for spec in describe_tensors(fixture.read, fixture.config)}


def view(array: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """The view as `TensorSpec` documents it."""
    array = array.T if spec.transposed else array
    array = array[slice(*spec.row_slice)] if spec.row_slice else array
    return array.reshape(spec.rows, spec.cols)


QUERY_AXES = (Axis.ATTENTION, Axis.RESIDUAL)
OUTPUT_AXES = (Axis.RESIDUAL, Axis.ATTENTION)
IN_AXES = (Axis.HIDDEN, Axis.RESIDUAL)
OUT_AXES = (Axis.RESIDUAL, Axis.HIDDEN)


@pytest.mark.parametrize(
    ("name", "role", "axes"),
    [
        # BERT, DistilBERT, ALBERT, DeBERTa, ViT.
        ("encoder.layer.0.attention.self.query.weight", Role.ATTENTION_QUERY, QUERY_AXES),
        ("transformer.layer.0.attention.k_lin.weight", Role.ATTENTION_KEY, QUERY_AXES),
        ("encoder.layer.0.attention.self.value_proj.weight", Role.ATTENTION_VALUE, QUERY_AXES),
        ("encoder.layer.0.attention.output.dense.weight", Role.ATTENTION_OUTPUT, OUTPUT_AXES),
        ("encoder.albert_layer_groups.0.albert_layers.0.attention.dense.weight", Role.ATTENTION_OUTPUT, OUTPUT_AXES),
        ("encoder.albert_layer_groups.0.albert_layers.0.ffn.weight", Role.FFN_IN, IN_AXES),
        ("encoder.albert_layer_groups.0.albert_layers.0.ffn_output.weight", Role.FFN_OUT, OUT_AXES),
        ("encoder.layer.0.intermediate.dense.weight", Role.FFN_IN, IN_AXES),
        ("encoder.layer.0.output.dense.weight", Role.FFN_OUT, OUT_AXES),
        # LLaMA, as saved by transformers and by its authors.
        ("model.layers.0.self_attn.o_proj.weight", Role.ATTENTION_OUTPUT, OUTPUT_AXES),
        ("model.layers.0.mlp.gate_proj.weight", Role.FFN_IN, IN_AXES),
        ("model.layers.0.mlp.down_proj.weight", Role.FFN_OUT, OUT_AXES),
        ("layers.0.attention.wq.weight", Role.ATTENTION_QUERY, QUERY_AXES),
        ("layers.0.attention.wo.weight", Role.ATTENTION_OUTPUT, OUTPUT_AXES),
        ("layers.0.feed_forward.w2.weight", Role.FFN_OUT, OUT_AXES),
        # T5: one `o` of attention, one `wo` of the feed-forward pair.
        ("encoder.block.0.layer.0.SelfAttention.o.weight", Role.ATTENTION_OUTPUT, OUTPUT_AXES),
        ("encoder.block.0.layer.1.DenseReluDense.wo.weight", Role.FFN_OUT, OUT_AXES),
        # timm's ViT, GPT-NeoX.
        ("blocks.0.attn.proj.weight", Role.ATTENTION_OUTPUT, OUTPUT_AXES),
        ("blocks.0.mlp.fc1.weight", Role.FFN_IN, IN_AXES),
        ("gpt_neox.layers.0.mlp.dense_4h_to_h.weight", Role.FFN_OUT, OUT_AXES),
        # Outside the blocks.
        ("model.embed_tokens.weight", Role.TOKEN_EMBEDDING, (Axis.VOCABULARY, Axis.RESIDUAL)),
        ("encoder.rel_embeddings.weight", Role.POSITION_EMBEDDING, (Axis.POSITION, Axis.RESIDUAL)),
        ("electra.embeddings_project.weight", Role.BOTTLENECK, (Axis.RESIDUAL, Axis.HIDDEN)),
        ("classifier.weight", Role.HEAD, (Axis.LABEL, Axis.RESIDUAL)),
        ("fc.weight", Role.HEAD, (Axis.LABEL, Axis.RESIDUAL)),
        ("head.weight", Role.HEAD, (Axis.LABEL, Axis.RESIDUAL)),
        ("something.nobody.knows.weight", Role.OTHER, (Axis.RESIDUAL, Axis.RESIDUAL)),
    ],
)
def test_names_of_many_families_are_known(name: str, role: Role, axes: tuple[Axis, Axis]) -> None:
    spec = describe_one(name, 12, 8)
    assert spec.role is role
    assert (spec.row_axis, spec.col_axis) == axes
    assert (spec.rows, spec.cols) == (12, 8)


@pytest.mark.parametrize(
    ("name", "shape", "role", "view_shape", "col_axis"),
    [
        ("stages.0.conv.weight", (8, 4, 3, 3), Role.CONVOLUTION, (8, 36), Axis.CHANNEL),
        ("stages.0.conv.weight", (8, 1, 3, 3), Role.DEPTHWISE_CONVOLUTION, (8, 9), Axis.POSITION),
        ("stages.0.conv.weight", (8, 4, 1, 1), Role.POINTWISE_CONVOLUTION, (8, 4), Axis.CHANNEL),
        ("model.encoder.conv1.weight", (8, 4, 3), Role.CONVOLUTION, (8, 12), Axis.POSITION),
        ("resnet.embedder.embedder.convolution.weight", (8, 1, 3, 3), Role.CONVOLUTION, (8, 9), Axis.POSITION),
        ("patch_embed.proj.weight", (8, 3, 4, 4), Role.PATCH_EMBEDDING, (8, 48), Axis.POSITION),
    ],
)
def test_kinds_of_convolutions_are_recognised(
    name: str, shape: tuple[int, ...], role: Role, view_shape: tuple[int, int], col_axis: Axis
) -> None:
    spec = describe_one(name, *shape)
    assert (spec.role, spec.rows, spec.cols, spec.col_axis) == (role, *view_shape, col_axis)


def test_axes_of_length_one_are_dropped_from_embeddings_and_not_from_kernels() -> None:
    positions = describe_one("vit.embeddings.position_embeddings", 1, 197, 192)
    assert (positions.role, positions.rows, positions.cols) == (Role.POSITION_EMBEDDING, 197, 192)
    token = describe_one("vit.embeddings.cls_token", 1, 1, 192)
    assert (token.role, token.rows, token.cols, token.is_matrix) == (Role.TOKEN_EMBEDDING, 1, 192, False)


def test_masks_and_scales_with_leading_ones_are_no_kernels() -> None:
    mask = describe_one("transformer.h.0.attn.bias", 1, 1, 8, 8)
    assert (mask.rows, mask.cols) == (8, 8)
    scale = describe_one("encoder.pos_conv_embed.conv.weight_g", 1, 1, 128)
    assert (scale.role, scale.rows, scale.cols) == (Role.NORM, 1, 128)


def test_a_stack_of_experts_is_not_taken_for_one_projection() -> None:
    spec = describe_one("model.layers.0.mlp.experts.down_proj", 4, 8, 6)
    assert (spec.role, spec.rows, spec.cols) == (Role.OTHER, 4, 48)


@pytest.mark.slow
@pytest.mark.parametrize("key", ALL_CARDS)
def test_views_can_be_taken_and_parts_cover_their_tensor(key: str) -> None:
    shapes = {h.name: h.shape for h in load_fixture(key).read}
    for spec in specs_of(key).values():
        if spec.transposed or spec.row_slice:
            assert len(shapes[spec.tensor]) == 2
        stored = np.broadcast_to(np.float32(0), shapes[spec.tensor])
        if stored.size < 1_000_000:
            assert view(stored, spec).shape == (spec.rows, spec.cols)


def test_gpt2_projections_are_transposed_to_out_by_in() -> None:
    specs = specs_of("distilgpt2")
    into, out = (specs[f"transformer.h.0.mlp.{name}.weight"] for name in ("c_fc", "c_proj"))
    assert (into.role, into.rows, into.cols, into.transposed) == (Role.FFN_IN, 3072, 768, True)
    assert (out.role, out.rows, out.cols, out.transposed) == (Role.FFN_OUT, 768, 3072, True)


def test_gpt2_fused_attention_falls_into_query_key_and_value() -> None:
    specs = describe_tensors([header("h.0.attn.c_attn.weight", 4, 12)])
    stored = np.arange(48.0).reshape(4, 12)
    for spec, columns in zip(specs, (slice(0, 4), slice(4, 8), slice(8, 12)), strict=True):
        np.testing.assert_array_equal(view(stored, spec), stored[:, columns].T)
    assert [spec.role for spec in specs] == [Role.ATTENTION_QUERY, Role.ATTENTION_KEY, Role.ATTENTION_VALUE]
    assert [spec.name.rpartition(".")[2] for spec in specs] == ["weight[query]", "weight[key]", "weight[value]"]


def test_linear_layers_named_as_in_gpt2_are_not_transposed() -> None:
    specs = describe_tensors([header("h.0.attn.c_attn.weight", 12, 4), header("h.0.mlp.c_fc.weight", 16, 4)])
    assert not any(spec.transposed for spec in specs)
    assert [(spec.rows, spec.cols) for spec in specs] == [(4, 4)] * 3 + [(16, 4)]


@pytest.mark.parametrize("name", ["blocks.0.attn.qkv.weight", "in_proj_weight", "layers.0.attn.Wqkv.weight"])
def test_fused_projections_of_other_families_are_split(name: str) -> None:
    specs = describe_tensors([header(name, 24, 8)])
    assert [spec.role for spec in specs] == [Role.ATTENTION_QUERY, Role.ATTENTION_KEY, Role.ATTENTION_VALUE]
    assert [spec.row_slice for spec in specs] == [(0, 8), (8, 16), (16, 24)]


def test_grouped_queries_have_fewer_rows_of_keys() -> None:
    config = {"model_type": "phi3", "num_attention_heads": 4, "num_key_value_heads": 1}
    specs = describe_tensors([header("model.layers.0.self_attn.qkv_proj.weight", 24, 16)], config)
    assert [spec.rows for spec in specs] == [16, 4, 4]


def test_a_layout_that_is_not_known_stays_whole() -> None:
    name = "transformer.h.0.self_attention.query_key_value.weight"
    for config in ({}, {"model_type": "bloom", "n_head": 5}, {"model_type": "falcon", "num_attention_heads": [2]}):
        (spec,) = describe_tensors([header(name, 26, 8)], config)
        assert (spec.name, spec.role, spec.row_slice) == (name, Role.OTHER, None)


def test_mobilebert_output_table_is_transposed_and_its_value_is_wide() -> None:
    specs = specs_of("mobilebert")
    table = specs["cls.predictions.dense.weight"]
    assert (table.role, table.rows, table.cols, table.transposed) == (Role.HEAD, 30522, 384, True)
    value = specs["mobilebert.encoder.layer.0.attention.self.value.weight"]
    assert (value.role, value.rows, value.cols) == (Role.ATTENTION_VALUE, 128, 512)


def test_repeated_layers_inside_a_mobilebert_block_have_its_number() -> None:
    specs = specs_of("mobilebert")
    assert specs["mobilebert.encoder.layer.5.ffn.2.output.dense.weight"].block == 5
    assert specs["mobilebert.encoder.layer.5.ffn.2.output.dense.weight"].role is Role.FFN_OUT


@pytest.mark.parametrize(
    ("name", "shape", "kind"),
    [
        ("transformer.h.0.attn.bias", (1, 1, 8, 8), TensorKind.BUFFER),
        ("transformer.h.0.attn.masked_bias", (), TensorKind.BUFFER),
        ("transformer.h.0.attn.c_attn.bias", (24,), TensorKind.WEIGHT),
        ("transformer.h.0.attn.bias", (8,), TensorKind.WEIGHT),
        ("bn1.running_var", (8,), TensorKind.BUFFER),
        ("bn1.weight", (8,), TensorKind.WEIGHT),
    ],
)
def test_buffers_of_floats_are_known_by_their_exact_names(name: str, shape: tuple[int, ...], kind: TensorKind) -> None:
    assert describe_one(name, *shape).kind is kind


@pytest.mark.parametrize("dtype", ["I64", "I32", "U8", "BOOL"])
def test_integers_are_buffers_whatever_their_name(dtype: str) -> None:
    assert describe_one("encoder.layer.0.attention.self.query.weight", 8, 8, dtype=dtype).kind is TensorKind.BUFFER
    assert describe_one("embeddings.position_ids", 1, 8).kind is TensorKind.WEIGHT


def test_what_chooses_experts_is_a_router() -> None:
    gate = header("model.layers.0.block_sparse_moe.gate.weight", 4, 8)
    expert = header("model.layers.0.block_sparse_moe.experts.0.w1.weight", 16, 8)
    router, _ = describe_tensors([gate, expert])
    assert (router.role, router.row_axis, router.col_axis) == (Role.ROUTER, Axis.HIDDEN, Axis.RESIDUAL)
    assert describe_tensors([gate])[0].role is Role.OTHER  # Without experts there is nothing to choose.


def test_only_whispers_encoder_positions_are_fixed() -> None:
    positions = header("model.encoder.embed_positions.weight", 24, 8)
    conv = header("model.encoder.conv1.weight", 8, 4, 3)
    assert describe_tensors([positions])[0].kind is TensorKind.WEIGHT
    spec = describe_tensors([positions, conv])[0]
    assert (spec.kind, spec.role) == (TensorKind.BUFFER, Role.POSITION_EMBEDDING)


@pytest.mark.parametrize(("gain", "shift"), [("weight", "bias"), ("gamma", "beta")])
def test_both_vectors_of_a_norm_are_norms_and_other_biases_are_not(gain: str, shift: str) -> None:
    headers = [header(f"output.LayerNorm.{name}", 8) for name in (gain, shift)] + [header("output.dense.bias", 8)]
    specs = describe_tensors(headers)
    assert [spec.role for spec in specs] == [Role.NORM, Role.NORM, Role.BIAS]
    assert all(spec.rows == 1 and spec.cols == 8 and not spec.is_matrix for spec in specs)


def test_old_names_of_norms_change_nothing_else() -> None:
    new = load_fixture("scibert").file
    renamed = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    old = [header(_rename(h.name, renamed), *h.shape, dtype=h.dtype) for h in new]
    assert [(s.role, s.depth, s.kind) for s in describe_tensors(old)] == [
        (s.role, s.depth, s.kind) for s in describe_tensors(new)
    ]


def _rename(name: str, endings: dict[str, str]) -> str:
    for ending, other in endings.items():
        name = name.removesuffix(ending) + other if name.endswith(ending) else name
    return name


def test_order_of_the_headers_decides_the_order_of_the_specs_and_nothing_else() -> None:
    headers = load_fixture("whisper-tiny").file
    forward = describe_tensors(headers)
    assert describe_tensors(headers[::-1]) == forward[::-1]


def test_no_tensors_give_no_specs() -> None:
    assert describe_tensors([]) == ()


def test_the_pre_training_heads_of_wav2vec2_are_heads_and_its_mask_an_embedding() -> None:
    specs = specs_of("wav2vec2-base")
    assert specs["wav2vec2.masked_spec_embed"].role is Role.TOKEN_EMBEDDING
    heads = [name for name, spec in specs.items() if spec.role is Role.HEAD]
    assert heads == ["quantizer.codevectors", "quantizer.weight_proj.weight", "project_hid.weight", "project_q.weight"]
    assert (specs[heads[0]].rows, specs[heads[0]].cols) == (640, 128)


def test_the_stem_of_efficientnet_reads_pixels() -> None:
    assert specs_of("efficientnet-b0")["efficientnet.embeddings.convolution.weight"].col_axis is Axis.POSITION


def test_the_outputs_of_attention_in_blip_are_known() -> None:
    spec = specs_of("blip-captioning")["vision_model.encoder.layers.0.self_attn.projection.weight"]
    assert (spec.role, spec.row_axis, spec.col_axis) == (Role.ATTENTION_OUTPUT, *OUTPUT_AXES)
