"""Alignment: the aligned copy computes the same, and a hidden symmetry is found again."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor

from benchmarks.population.symmetries import permutation
from library.surgery.alignment import Alignment, align, trace_network, values_of
from library.surgery.matching import match
from tests.support.symmetries import copy_with, make_model, outputs
from zoo.tracing.build import TinyModel
from zoo.tracing.derive import Kind

EQUAL = 1e-9
"""Largest difference of outputs in float64, relative to the largest of them."""
KINDS = ("encoder", "decoder", "vit", "cnn")
OTHERS = ("narrow-encoder", "relu-decoder", "mobile-cnn", "encoder-decoder")


def example(model: Any) -> dict[str, Tensor]:
    if model.main_input_name == "pixel_values":
        return {"pixel_values": torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))}
    ids = torch.randint(1, 40, (2, 8), generator=torch.Generator().manual_seed(1))
    return {"input_ids": ids, **({"decoder_input_ids": ids} if model.config.is_encoder_decoder else {})}


def aligned(reference: Any, model: Any, **how: Any) -> Alignment:
    first, second = values_of(reference), values_of(model)
    return align(first, second, model=reference, example=example(model), **how)


def largest_difference(one: Any, other: Any, answer: Callable[[Any], Tensor] = outputs) -> float:
    first, second = answer(one), answer(other)
    return float((first - second).abs().max() / first.abs().max())


def moved(alignment: Alignment, model: Any) -> Any:
    """The network after its alignment, in float64."""
    double = model.double()
    return copy_with(double, {**double.state_dict(), **alignment.apply(double.state_dict())})


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*KINDS, *(pytest.param(each, marks=pytest.mark.slow) for each in OTHERS)])
@pytest.mark.parametrize("turns", [True, False])
def test_aligned_copy_computes_the_same(kind: str, turns: bool) -> None:
    reference, model = make_model(kind, 0), make_model(kind, 1)
    found = aligned(reference, model, turns=turns)
    assert found.match.after > found.match.before + 0.05
    # T5 takes its norms in float32, whatever the weights are in.
    assert largest_difference(model, moved(found, model)) <= (1e-5 if kind == "encoder-decoder" else EQUAL)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*KINDS, pytest.param("relu-decoder", marks=pytest.mark.slow)])
@pytest.mark.parametrize("turns", [True, False])
def test_permuted_copy_is_turned_back(kind: str, turns: bool) -> None:
    reference = make_model(kind)
    copy = copy_with(reference, permutation().permuted(reference, generator=torch.Generator().manual_seed(7)))
    found = aligned(reference, copy, turns=turns)
    assert found.match.before < 0.9 and found.match.after == pytest.approx(1, abs=1e-6)
    state = found.apply(values_of(copy))
    assert all(torch.allclose(state[name], own, atol=1e-5) for name, own in values_of(reference).items())


def test_rms_norm_leaves_signs_and_shared_keys_leave_groups_of_heads() -> None:
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "vocab_size": 40}
    config = transformers.LlamaConfig(**sizes, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=16)
    models = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        models.append(transformers.LlamaForCausalLM._from_config(config, attn_implementation="eager").eval())
    found = aligned(*models)
    stream = next(group for group in found.groups if group.kind is Kind.RESIDUAL)
    assert any((signs < 0).any() for signs in found.match.change.signs[stream.atom])
    answer = lambda model: TinyModel(model.double(), example(model), [], 40).run().logits.detach()  # noqa: E731
    assert largest_difference(models[1], moved(found, models[1]), answer) <= EQUAL


def test_convnext_computes_the_same() -> None:
    config = transformers.ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], num_labels=5)
    models = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        models.append(transformers.ConvNextForImageClassification(config).eval())
    found = aligned(*models)
    inputs = example(models[0])["pixel_values"].double()
    answer = lambda model: model.double()(inputs).logits.detach()  # noqa: E731
    assert sum(group.kind in (Kind.CHANNEL, Kind.RESIDUAL) for group in found.groups) >= 4
    assert largest_difference(models[1], moved(found, models[1]), answer) <= EQUAL


def test_units_that_are_returned_keep_their_order() -> None:
    config = transformers.BertConfig(
        vocab_size=40, hidden_size=24, num_hidden_layers=1, num_attention_heads=3, intermediate_size=32
    )
    model = transformers.BertModel(config, add_pooling_layer=False).eval()
    free = trace_network(model, example(model)).free
    assert {group.kind for group in free} == {Kind.HEADS, Kind.WITHIN_HEAD, Kind.HIDDEN}


def test_positions_between_query_and_key_forbid_rotations() -> None:
    config = transformers.LlamaConfig(
        hidden_size=16, intermediate_size=24, num_hidden_layers=1, vocab_size=40, num_attention_heads=4
    )
    model = transformers.LlamaForCausalLM._from_config(config, attn_implementation="eager").eval()
    network = trace_network(model, example(model))
    turned = [group for group in network.free if network.can_turn(group)]
    names = {name for group in turned for name in network.members(group)}
    assert {name.split(".")[-2] for name in names} == {"v_proj", "o_proj"}


def test_matching_agrees_with_all_orders_of_a_small_hidden_layer() -> None:
    config = transformers.BertConfig(
        vocab_size=12, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=5
    )
    torch.manual_seed(0)
    model = transformers.BertModel(config, add_pooling_layer=False).eval()
    network = trace_network(model, {"input_ids": torch.arange(8)[None]})
    hidden = next(group for group in network.free if group.kind is Kind.HIDDEN)
    rng = np.random.default_rng(0)
    names = network.members(hidden)
    a, b = ({name: rng.standard_normal(values_of(model)[name].shape) for name in names} for _ in range(2))
    found = match(network, a, b, names=names).change.orders[hidden.atom]
    assert agreement(a, b, found) == pytest.approx(max(agreement(a, b, order) for order in orders(5)))


def agreement(a: Mapping[str, Any], b: Mapping[str, Any], order: Any) -> float:
    axes = {name: 1 if "output" in name else 0 for name in a}
    return float(sum(np.vdot(a[name], np.take(b[name], order, axis=axis)) for name, axis in axes.items()))


def orders(size: int) -> list[Any]:
    from itertools import permutations

    return [np.array(order) for order in permutations(range(size))]
