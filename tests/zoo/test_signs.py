"""Which signs a network leaves free. `tests/pipeline/test_invariance.py` runs networks to prove that they are."""

import pytest

from tests.support.tensor_headers import load_fixture
from zoo.registry import ALL_CARDS
from zoo.roles import describe_tensors
from zoo.tensors import Axis, Role, TensorHeader, TensorSpec

BATCH_NORMED = ("mobilenet-v2", "mobilevit-small")
ENCODER = ("minilm-l6", "deberta-v3-small", "whisper-tiny", "deit-tiny", "distilgpt2")


def specs_of(key: str) -> tuple[TensorSpec, ...]:
    fixture = load_fixture(key)
    return describe_tensors(fixture.read, fixture.config)


def header(name: str, *shape: int) -> TensorHeader:
    return TensorHeader(name=name, shape=shape, dtype="F32")


def gated(module: str) -> list[TensorHeader]:
    return [
        header(f"{module}.gate_proj.weight", 16, 8),
        header(f"{module}.up_proj.weight", 16, 8),
        header(f"{module}.down_proj.weight", 8, 16),
    ]


def free(*headers: TensorHeader) -> dict[str, tuple[bool, bool]]:
    return {spec.name: (spec.free_row_signs, spec.free_col_signs) for spec in describe_tensors(headers)}


@pytest.mark.parametrize("key", sorted(ALL_CARDS.keys() - {"mobilebert", "t5-small", "convnext-tiny"}))
def test_layer_norms_fix_the_signs_of_the_residual_stream(key: str) -> None:
    blocks = [spec for spec in specs_of(key) if spec.role in (Role.FFN_IN, Role.FFN_OUT, Role.ATTENTION_OUTPUT)]
    assert not any(spec.free_row_signs or spec.free_col_signs for spec in blocks)


def test_what_is_scaled_for_each_channel_has_arbitrary_signs() -> None:
    outputs = [spec for spec in specs_of("convnext-tiny") if spec.role is Role.FFN_OUT]
    assert len(outputs) == 18 and all(spec.free_row_signs and not spec.free_col_signs for spec in outputs)
    block = "dinov2.encoder.layer.0"
    attention, output = header(f"{block}.attention.output.dense.weight", 8, 8), header(f"{block}.mlp.fc2.weight", 8, 32)
    norm = [header("dinov2.layernorm.weight", 8), header("dinov2.layernorm.bias", 8)]
    first, second = (header(f"{block}.layer_scale{number}.lambda1", 8) for number in (1, 2))
    for scales, expected in (((), (False, False)), ((first,), (True, False)), ((first, second), (True, True))):
        found = free(*norm, attention, output, *scales)
        assert (found[attention.name][0], found[output.name][0]) == expected


def test_columns_that_read_code_vectors_alone_have_arbitrary_signs() -> None:
    found = {spec.name: spec for spec in specs_of("wav2vec2-base")}
    assert found["project_q.weight"].free_col_signs and not found["project_hid.weight"].free_col_signs


def test_norms_of_t5_subtract_no_mean_and_leave_the_signs_of_the_stream_free() -> None:
    blocks = [spec for spec in specs_of("t5-small") if spec.role in (Role.FFN_OUT, Role.ATTENTION_OUTPUT)]
    assert blocks and all(spec.free_row_signs and not spec.free_col_signs for spec in blocks)


def test_units_that_a_gate_multiplies_have_arbitrary_signs_and_the_gate_not() -> None:
    norm = [header("model.norm.weight", 8), header("model.norm.bias", 8)]
    assert free(*norm, *gated("model.layers.0.mlp")) | {"model.norm.weight": (False, False)} == {
        "model.norm.weight": (False, False),
        "model.norm.bias": (False, False),
        "model.layers.0.mlp.gate_proj.weight": (False, False),
        "model.layers.0.mlp.up_proj.weight": (True, False),
        "model.layers.0.mlp.down_proj.weight": (False, True),
    }
    lone = [each for each in gated("model.layers.0.mlp") if "gate" not in each.name]
    assert not any(any(signs) for signs in free(*norm, *lone).values())


def test_one_tower_with_layer_norms_fixes_no_signs_of_another() -> None:
    text = [header("language_model.norm.weight", 8), header("language_model.embed_tokens.weight", 40, 8)]
    seen = [header(f"vision_tower.norm.{end}", 8) for end in ("weight", "bias")]
    names = free(*text, *seen, header("vision_tower.layers.0.mlp.fc1.weight", 16, 8), header("lm_head.weight", 50, 8))
    assert names["language_model.embed_tokens.weight"] == (False, True) == names["lm_head.weight"]
    assert names["vision_tower.layers.0.mlp.fc1.weight"] == (False, False)


def test_norms_inside_of_heads_say_nothing_of_the_stream() -> None:
    norms = [header("model.norm.weight", 8), header("model.layers.0.attn.k_norm.weight", 4)]
    shift = header("model.layers.0.attn.k_norm.bias", 4)
    assert free(*norms, shift, header("model.layers.0.attn.q_proj.weight", 8, 8))["model.layers.0.attn.q_proj.weight"][
        1
    ]


def test_norms_that_only_scale_and_shift_leave_all_signs_arbitrary() -> None:
    specs = [spec for spec in specs_of("mobilebert") if spec.role in (Role.BOTTLENECK, Role.FFN_IN, Role.NORM)]
    ends = [spec for spec in specs if spec.role is Role.BOTTLENECK and "transformation" not in spec.name]
    assert all(spec.free_row_signs and spec.free_col_signs for spec in ends) and len(ends) == 24 * 3
    assert all(spec.free_col_signs for spec in specs)
    assert not any(spec.free_row_signs for spec in specs if spec.role is Role.FFN_IN)


@pytest.mark.parametrize("key", BATCH_NORMED)
def test_kernels_before_a_batch_norm_have_arbitrary_signs(key: str) -> None:
    specs = specs_of(key)
    kernels = [spec for spec in specs if spec.role.value.endswith("convolution")]
    norms = [s for s in specs if s.role is Role.NORM and s.tensor.endswith(("normalization.weight", "running_mean"))]
    assert len(kernels) > 10 and all(spec.free_row_signs for spec in kernels)
    assert len(norms) > 10 and all(spec.free_col_signs for spec in norms)


def test_channels_between_inverted_bottlenecks_have_arbitrary_signs_and_pixels_not() -> None:
    kernels = [spec for spec in specs_of("mobilenet-v2") if spec.role.value.endswith("convolution")]
    assert {(spec.col_axis, spec.free_col_signs) for spec in kernels} == {(Axis.CHANNEL, True), (Axis.POSITION, False)}


@pytest.mark.parametrize("key", ENCODER)
def test_layer_norms_and_kernels_before_them_have_fixed_signs(key: str) -> None:
    held = [s for s in specs_of(key) if s.role in (Role.NORM, Role.CONVOLUTION, Role.PATCH_EMBEDDING)]
    assert held and not any(spec.free_row_signs or spec.free_col_signs for spec in held)


def test_units_behind_a_tanh_have_arbitrary_signs() -> None:
    found = free(header("pooler.dense.weight", 8, 8), header("classifier.weight", 2, 8), header("norm.bias", 8))
    assert found["pooler.dense.weight"] == (True, False)
    assert found["classifier.weight"] == (False, True)


def test_signs_of_the_residual_stream_are_arbitrary_if_no_norm_has_a_shift() -> None:
    ffn, gain = header("block.0.layer.1.DenseReluDense.wi.weight", 32, 8), header("block.0.layer_norm.weight", 8)
    assert free(ffn, gain) == {ffn.name: (False, True), gain.name: (False, False)}
    assert free(ffn, gain, header("block.0.layer_norm.bias", 8))[ffn.name] == (False, False)
