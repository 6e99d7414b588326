"""What meets along which axis, read from names and shapes of the real models."""

import pytest

from tests.support.small_models import matrix_spec
from tests.support.tensor_headers import load_fixture
from zoo.registry import ALL_CARDS
from zoo.roles import describe_tensors
from zoo.tensors import Axis, Role, TensorSpec
from zoo.wiring import Stack, find_gains, find_stacks

TRANSFORMERS = sorted(key for key, card in ALL_CARDS.items() if card.architecture not in ("cnn", "hybrid"))


def specs_of(key: str) -> tuple[TensorSpec, ...]:
    fixture = load_fixture(key)
    return describe_tensors(fixture.read, fixture.config)


def stacks_of(key: str) -> tuple[Stack, ...]:
    return find_stacks(specs_of(key))


@pytest.mark.parametrize("key", TRANSFORMERS)
def test_every_projection_of_a_transformer_has_its_partner(key: str) -> None:
    attentions = [a for stack in stacks_of(key) for block in stack.blocks for a in block.attentions]
    assert attentions and all(a.key and a.value and a.output for a in attentions)
    found = {spec for a in attentions for spec in (a.query, a.key, a.value, a.output)}
    assert found == {spec for spec in specs_of(key) if spec.role.value.startswith("attention_") and spec.is_matrix}


@pytest.mark.parametrize("key", TRANSFORMERS)
def test_every_matrix_into_hidden_units_has_one_out_of_them(key: str) -> None:
    pairs = [pair for stack in stacks_of(key) for block in stack.blocks for pair in block.feed_forwards]
    assert all(pair.enter.name.rpartition(".")[0] != pair.leave.name.rpartition(".")[0] for pair in pairs)
    found = {spec for pair in pairs for spec in (pair.enter, pair.leave)}
    assert found == {spec for spec in specs_of(key) if spec.role in (Role.FFN_IN, Role.FFN_OUT) and spec.is_matrix}


@pytest.mark.parametrize("key", TRANSFORMERS)
def test_every_residual_stream_has_a_front(key: str) -> None:
    # The convolutions that turn sound into frames have no stream of their own.
    for stack in (stack for stack in stacks_of(key) if any(block.attentions for block in stack.blocks)):
        assert stack.width is not None
        assert stack.front.table is not None or stack.front.convolutions


def test_the_two_stacks_of_whisper_have_fronts_of_their_own() -> None:
    encoder, decoder = stacks_of("whisper-tiny")
    assert [spec.name for spec in encoder.front.convolutions] == [f"model.encoder.conv{i}.weight" for i in (1, 2)]
    assert decoder.front.table is not None and decoder.front.table.name == "model.decoder.embed_tokens.weight"
    assert [a.is_cross for a in decoder.blocks[0].attentions] == [True, False]
    assert not decoder.goes_on


def test_feed_forward_pairs_of_mobilebert_stay_apart() -> None:
    block = stacks_of("mobilebert")[0].blocks[0]
    ends = [
        (pair.enter.name.split("layer.0.")[1], pair.leave.name.split("layer.0.")[1]) for pair in block.feed_forwards
    ]
    assert ("intermediate.dense.weight", "output.dense.weight") in ends
    assert ("ffn.1.intermediate.dense.weight", "ffn.1.output.dense.weight") in ends
    assert {spec.name.split(".")[-3] for spec in block.narrows} == {"input", "attention"}


def test_convolutions_come_in_the_order_of_execution() -> None:
    block = stacks_of("mobilenet-v2")[0].blocks[3]
    assert [spec.name.split(".")[-3] for spec in block.convolutions] == ["expand_1x1", "conv_3x3", "reduce_1x1"]
    nested = next(block for block in stacks_of("mobilevit-small")[0].blocks if len(block.convolutions) == 5)
    ends = [spec.name.split(".")[-3] for spec in nested.convolutions]
    assert ends == ["expand_1x1", "conv_3x3", "reduce_1x1", "conv_kxk", "conv_1x1"]


def test_every_kernel_under_a_norm_finds_its_gain() -> None:
    specs = specs_of("mobilenet-v2")
    gains = find_gains(specs)
    assert set(gains) == {spec.name for spec in specs if spec.role.value.endswith("convolution")}
    assert all(gain.name == name.replace("convolution", "normalization") for name, gain in gains.items())


@pytest.mark.parametrize(
    ("kernel", "norm"), [("conv1", "bn1"), ("downsample.0", "downsample.1"), ("conv", "norm"), ("dw", "bn")]
)
def test_norms_are_found_under_other_names(kernel: str, norm: str) -> None:
    specs = [
        matrix_spec(f"layer1.0.{kernel}.weight", 8, 72, role=Role.CONVOLUTION, row_axis=Axis.CHANNEL),
        matrix_spec(f"layer1.0.{norm}.weight", 1, 8, role=Role.NORM),
    ]
    assert find_gains(specs)[specs[0].name] is specs[1]


def test_gains_along_the_residual_stream_are_told_from_those_inside_heads() -> None:
    names = ("norm1.weight", "norm1.bias", "attn.q_norm.weight", "norm2.gamma")
    place = {"block": 0, "depth": 0.5}
    specs = [matrix_spec("blocks.0.mlp.fc1.weight", 64, 32, **place)]
    specs += [matrix_spec(f"blocks.0.{name}", 1, 32, role=Role.NORM, **place) for name in names]
    (stack,) = find_stacks(specs)
    assert [spec.name for spec in stack.blocks[0].gains] == ["blocks.0.norm1.weight", "blocks.0.norm2.gamma"]
