"""Tracing: the algebra of axes, what small modules are found to be, and proofs by running."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from zoo.tensors import Role
from zoo.tracing.axes import Axes
from zoo.tracing.build import build_tiny, randomise, tiny_of
from zoo.tracing.derive import Derivation, Group, Kind, derive, output_tensors
from zoo.tracing.prove import Proof, prove
from zoo.tracing.roles import read_wiring
from zoo.tracing.sizes import KEPT_TOKENS, Shrink, shrink

INPUT = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
SLOW = ("resnet", "t5", "llama", "gpt_neox", "mamba", "clip", "deberta-v2", "whisper", "mamba2", "mixtral",
        "qwen3_next", "llava_next", "qwen2_vl_vision", "detr", "depth_anything", "voxtral", "bloom",
        "rwkv")  # fmt: skip
"""Recurrent, state-space and delta-rule models, experts, relative and rotary positions, cross-attention, images among
the tokens, patches by a grid, a backbone, sound among the tokens."""


def test_unified_axes_share_every_later_refinement() -> None:
    axes = Axes()
    one, two = axes.atom(24), axes.atom(24)
    axes.unify(one, two)
    heads, within = axes.view([one], [4, 6])
    assert axes.atoms(two) == [axes.find(heads), axes.find(within)]


def test_products_of_different_factors_get_their_common_refinement() -> None:
    axes = Axes()
    one, two = axes.product([axes.atom(4), axes.atom(6)]), axes.product([axes.atom(2), axes.atom(12)])
    axes.unify(one, two)
    assert [axes.size(atom) for atom in axes.atoms(one)] == [2, 2, 6]
    assert axes.atoms(one) == axes.atoms(two)


def test_a_cut_goes_through_factors() -> None:
    axes = Axes()
    heads, within = axes.atom(4), axes.atom(3)
    left, right = axes.cut(axes.product([heads, within]), 6)
    assert axes.atoms(left)[1] == axes.atoms(right)[1] == within
    assert [axes.size(atom) for atom in axes.atoms(heads)] == [2, 2]


def test_parts_of_one_size_split_into_the_same_factors() -> None:
    axes = Axes()
    query, key = axes.atom(12), axes.atom(12)
    outer, inner = axes.split(axes.sum([query, key]), 8)
    assert axes.size(outer) == 8 and axes.atoms(query)[1] == axes.atoms(key)[1] == axes.find(inner)


def test_positions_of_blocks_cover_an_axis_once() -> None:
    axes = Axes()
    node = axes.product([axes.sum([axes.atom(2), axes.atom(3)]), axes.atom(4)])
    positions = np.concatenate([block.positions.reshape(-1) for block in axes.blocks(node)])
    assert sorted(positions) == list(range(20))


def test_axes_of_different_sizes_are_refused() -> None:
    axes = Axes()
    with pytest.raises(ValueError, match="sizes 2 and 3"):
        axes.unify(axes.atom(2), axes.atom(3))


class Pair(nn.Module):
    """Two matrices around a nonlinearity."""

    def __init__(self, act: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.enter, self.leave, self.act = nn.Linear(6, 8), nn.Linear(8, 6), act

    def forward(self, x: Tensor) -> Tensor:
        return self.leave(self.act(self.enter(x)))


class Residual(nn.Module):
    """An entrance, two blocks on a stream, an exit."""

    def __init__(self) -> None:
        super().__init__()
        self.front, self.back, self.norm = nn.Linear(6, 10), nn.Linear(10, 3), nn.LayerNorm(10)
        self.up, self.down = nn.Linear(10, 16), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.front(x)
        return self.back(x + self.down(torch.relu(self.up(self.norm(x)))))


class Attention(nn.Module):
    """Two heads of three dimensions, projections fused."""

    def __init__(self) -> None:
        super().__init__()
        self.front, self.fused, self.out = nn.Linear(6, 6), nn.Linear(6, 18), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.front(x)
        q, k, v = (part.view(2, 5, 2, 3).transpose(1, 2) for part in self.fused(x).chunk(3, -1))
        weights = (q @ k.transpose(-1, -2)).softmax(-1)
        return x + self.out((weights @ v).transpose(1, 2).reshape(2, 5, 6))


class Gated(nn.Module):
    """Gate and up in one matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.both, self.down = nn.Linear(6, 16, bias=False), nn.Linear(8, 6, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.both(x).chunk(2, -1)
        return self.down(torch.nn.functional.silu(gate) * up)


class Convolutions(nn.Module):
    """A convolution with a batch norm, a depthwise one, a pointwise one."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv1d(5, 8, 3, padding=1, bias=False), nn.BatchNorm1d(8)
        self.each, self.last = nn.Conv1d(8, 8, 3, groups=8), nn.Conv1d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.each(self.norm(self.first(x)))))


class Tied(nn.Module):
    """One table to read and to write tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.mix = nn.Embedding(20, 6), nn.Linear(6, 6)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.table(ids)
        return (x + torch.tanh(self.mix(x))) @ self.table.weight.T


def derived(module: nn.Module, *inputs: Any, vocabulary: int = 0) -> tuple[Derivation, Proof]:
    """The module's wiring, and its proof."""
    module = module.double().eval()
    randomise(module, torch.Generator().manual_seed(0))
    inputs = inputs or (INPUT,)
    tokens = list(inputs) if vocabulary else []
    run = lambda: {"out": module(*inputs)}  # noqa: E731
    found = derive(module, run, tokens, vocabulary)
    return found, prove(found, module, run, tokens=tokens, rng=np.random.default_rng(0))


def group_of(found: Derivation, parameter: str, axis: int) -> list[Group]:
    return [g for g in found.groups if any(m.parameter == parameter and m.axis == axis for m in g.members)]


def assert_proven(found: Derivation, proof: Proof) -> None:
    assert not found.stopped_by
    assert proof.holds and proof.checked and not proof.missed


@pytest.mark.parametrize(
    ("act", "signs", "scales"), [(torch.relu, 0, 1), (torch.tanh, 1, 0), (torch.nn.functional.gelu, 0, 0)]
)
def test_hidden_units_move_together(act: Callable[[Tensor], Tensor], signs: int, scales: int) -> None:
    found, proof = derived(Pair(act))
    assert_proven(found, proof)
    (hidden,) = group_of(found, "enter.weight", 0)
    assert hidden.kind is Kind.HIDDEN and (len(hidden.signs), len(hidden.scales)) == (signs, scales)
    assert {(m.parameter, m.axis) for m in hidden.members} == {
        ("enter.weight", 0),
        ("enter.bias", 0),
        ("leave.weight", 1),
    }
    assert not group_of(found, "enter.weight", 1)[0].can_permute


def test_residual_stream_is_one_group_without_signs() -> None:
    found, proof = derived(Residual())
    assert_proven(found, proof)
    (stream,) = group_of(found, "front.weight", 0)
    assert stream.kind is Kind.RESIDUAL and not stream.signs
    assert {m.parameter for m in stream.members} >= {"back.weight", "up.weight", "down.weight", "norm.weight"}


class Layers(nn.Module):
    """An entrance, two layers on a stream, an exit."""

    def __init__(self) -> None:
        super().__init__()
        self.front, self.back = nn.Linear(6, 10), nn.Linear(10, 3)
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 10)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.front(x)
        for layer in self.layers:
            x = x + layer(x)
        return self.back(x)


def test_the_side_of_the_stream_tells_a_feed_forward_pair() -> None:
    module = Layers()
    found, proof = derived(module)
    assert_proven(found, proof)
    tensors = read_wiring(found, module, vocabulary=0).tensors
    assert [tensors[f"layers.1.{place}.weight"].role for place in (0, 2)] == [Role.FFN_IN, Role.FFN_OUT]
    assert tensors["back.weight"].role is Role.HEAD


def test_attention_has_heads_and_dimensions_within_each() -> None:
    found, proof = derived(Attention())
    assert_proven(found, proof)
    heads, query, value = sorted(group_of(found, "fused.weight", 0), key=lambda g: (g.kind, g.members[-1].parameter))
    assert heads.kind is Kind.HEADS and query.kind is value.kind is Kind.WITHIN_HEAD
    assert query.nested_in == value.nested_in == (heads.atom,)
    assert query.signs and value.signs and query.scales
    assert {*found.roles["fused.weight"]} == {Role.ATTENTION_QUERY, Role.ATTENTION_KEY, Role.ATTENTION_VALUE}
    assert found.roles["out.weight"] == (Role.ATTENTION_OUTPUT,)


def test_gate_and_up_in_one_matrix_share_their_units() -> None:
    found, proof = derived(Gated())
    assert_proven(found, proof)
    (hidden,) = group_of(found, "both.weight", 0)
    assert [m.block.offset for m in hidden.members if m.parameter == "both.weight"] == [0, 8]
    assert len(hidden.signs) == 1  # Of up and down; the gate's are not free.


def test_channels_pass_batch_norm_and_depthwise_kernels() -> None:
    found, proof = derived(Convolutions())
    assert_proven(found, proof)
    (channel,) = group_of(found, "first.weight", 0)
    assert channel.kind is Kind.CHANNEL and len(channel.signs) == 2
    assert {m.parameter for m in channel.members} >= {"norm.running_var", "each.weight", "last.weight"}
    assert found.roles["each.weight"] == (Role.DEPTHWISE_CONVOLUTION,)


def test_tied_table_is_permuted_once() -> None:
    ids = torch.randint(10, 20, (2, 5), generator=torch.Generator().manual_seed(0))
    found, proof = derived(Tied(), ids, vocabulary=20)
    assert_proven(found, proof)
    assert group_of(found, "table.weight", 0)[0].kind is Kind.VOCABULARY
    assert not group_of(found, "table.weight", 0)[0].signs and group_of(found, "table.weight", 1)[0].can_permute


class Repeated(nn.Module):
    """Tokens that are read as they are, and twice over from another table."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Embedding(20, 6), nn.Embedding(20, 6)

    def forward(self, ids: Tensor) -> Tensor:
        again = ids.repeat_interleave(2, dim=0)[:, 1:]
        return self.one(ids).sum(1).repeat_interleave(2, dim=0) * self.two(again).sum(1)


def test_tokens_stay_tokens_where_they_are_repeated() -> None:
    ids = torch.randint(10, 20, (2, 5), generator=torch.Generator().manual_seed(0))
    found, proof = derived(Repeated(), ids, vocabulary=20)
    assert_proven(found, proof)
    assert {m.parameter for m in group_of(found, "one.weight", 0)[0].members} == {"one.weight", "two.weight"}


def test_recurrent_units_are_one_group() -> None:
    lstm = nn.LSTM(6, 7, batch_first=True)
    module = nn.Sequential(lstm)
    found, proof = derived(module)
    assert proof.holds and not found.stopped_by
    (units,) = group_of(found, "0.weight_hh_l0", 1)
    assert units.can_permute and len([m for m in units.members if m.parameter == "0.weight_ih_l0"]) == 4


def test_units_of_a_gru_are_one_group() -> None:
    found, proof = derived(nn.Sequential(nn.GRU(6, 7, batch_first=True)))
    assert proof.holds and not found.stopped_by
    (units,) = group_of(found, "0.weight_hh_l0", 1)
    assert units.can_permute and not units.signs
    assert len([m for m in units.members if m.parameter == "0.weight_ih_l0"]) == 3


class Between(nn.Module):
    """Two matrices, and between them what a test is about."""

    def __init__(self, between: Callable[[Tensor], Tensor], width: int = 8) -> None:
        super().__init__()
        self.enter, self.leave, self.between = nn.Linear(6, width, bias=False), nn.Linear(width, 6), between

    def forward(self, x: Tensor) -> Tensor:
        return self.leave(self.between(self.enter(x)))


LOWER = torch.tril(torch.ones(5, 5, dtype=torch.float64))
PLACES = torch.tensor([[True, False, True, False, False], [False, True, False, False, True]])


def _solved(x: Tensor) -> Tensor:
    return torch.linalg.solve_triangular(LOWER + 0 * (x @ x.mT), x, upper=False, unitriangular=True)


def _put_among_others(x: Tensor) -> Tensor:
    """Rows at places that a mask names, as features of an image are put among tokens."""
    return torch.ones_like(x).masked_scatter(PLACES.unsqueeze(-1).expand_as(x), x[:, :2])


def _written_into_a_transpose(x: Tensor) -> Tensor:
    new = torch.zeros_like(x.mT.contiguous().mT)
    new[:, 1:4] = x[:, 1:4]
    return new


def _written_through_a_view(x: Tensor) -> Tensor:
    new = torch.zeros_like(x)
    new.view(10, 8).copy_(x.reshape(10, 8))
    return new


def _written_in_parts_of_which_one_is_empty(x: Tensor) -> Tensor:
    new = x.new_empty(x.shape)
    new[..., :8].copy_(x)
    new[..., 8:].copy_(x[..., 8:])
    return new


def _put_behind_a_free_axis(x: Tensor) -> Tensor:
    new = torch.zeros_like(x)
    new[:, torch.tensor([4, 0, 2])] = x[:, :3]
    return new


def _squeezed_in_place(x: Tensor) -> Tensor:
    return x.unsqueeze(1).clone().squeeze_(1)


@pytest.mark.parametrize(
    "between",
    [
        _solved,
        _put_among_others,
        _written_into_a_transpose,
        _written_through_a_view,
        _written_in_parts_of_which_one_is_empty,
        _put_behind_a_free_axis,
        _squeezed_in_place,
    ],
)
def test_columns_pass_through(between: Callable[[Tensor], Tensor]) -> None:
    found, proof = derived(Between(between))
    assert proof.holds and not found.stopped_by
    (hidden,) = group_of(found, "enter.weight", 0)
    assert hidden.can_permute and {m.parameter for m in hidden.members} == {"enter.weight", "leave.weight"}


def _with_noise(x: Tensor) -> Tensor:
    torch.manual_seed(0)
    return x + torch.randn_like(x)


def test_what_random_numbers_are_added_to_has_a_real_order() -> None:
    found, proof = derived(Between(_with_noise))
    assert proof.holds and not any(g.can_permute for g in group_of(found, "enter.weight", 0))


def test_sign_of_what_is_written_into_a_transpose_is_that_of_what_is_read() -> None:
    found, proof = derived(Between(_written_into_a_transpose))
    assert proof.sign_error <= 1e-9
    (hidden,) = group_of(found, "enter.weight", 0)
    both = {found.parameters["enter.weight"].number, found.parameters["leave.weight"].number}
    (scheme,) = hidden.signs
    assert both <= {unknown[0] for unknown in scheme}


def test_pairs_of_a_rotation_keep_their_order() -> None:
    angles = torch.polar(torch.ones(5, 4, dtype=torch.float64), torch.arange(20, dtype=torch.float64).view(5, 4))
    turn = lambda x: torch.view_as_real(torch.view_as_complex(x.view(2, 5, 4, 2)) * angles).flatten(2)  # noqa: E731
    found, proof = derived(Between(turn))
    assert proof.holds and not found.stopped_by and not any(g.can_permute for g in group_of(found, "enter.weight", 0))


def test_a_model_is_run_on_the_inputs_that_read_most_of_it() -> None:
    tiny = build_tiny("llava")
    assert {"input_ids", "pixel_values"} <= tiny.inputs.keys() and tiny.unread <= 0.1
    assert (tiny.inputs["input_ids"] < KEPT_TOKENS).any()  # Places for the image.


def test_random_numbers_in_a_model_are_the_same_each_time() -> None:
    tiny = build_tiny("vit_mae")
    with torch.no_grad():
        one, two = (output_tensors(tiny.run()) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_a_configuration_that_does_not_fit_is_made_small_in_another_way() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        tiny_of(*_class_and_config("helium", Shrink.ALL))
    assert tiny_of(*_class_and_config("helium", Shrink.PLAIN)).unread == 0


def _class_and_config(model_type: str, how: Shrink) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = CONFIG_MAPPING[model_type]
    return AutoModelForCausalLM._model_mapping[kind], shrink(kind(), how)


class Experts(nn.Module):
    """The best two of four, weighed; `order` is what is done with their numbers on the way."""

    def __init__(self, order: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.router, self.order = nn.Linear(6, 4, bias=False), order
        self.experts = nn.Parameter(torch.randn(4, 6, generator=torch.Generator().manual_seed(0)))

    def forward(self, x: Tensor) -> Tensor:
        gates, chosen = self.order(*self.router(x).topk(2, -1))
        return gates * (self.experts[chosen] * x.unsqueeze(-2)).sum(-1)


def _by_number(gates: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    return gates, chosen.sort(-1)[0]


def _joined(gates: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    return gates, torch.cat([chosen[..., :1], chosen[..., 1:]], -1)


@pytest.mark.parametrize(("order", "can_permute"), [(_joined, True), (_by_number, False)])
def test_experts_whose_numbers_are_sorted_keep_their_order(order: Any, can_permute: bool) -> None:
    found, proof = derived(Experts(order))
    assert proof.holds and not found.stopped_by
    assert group_of(found, "router.weight", 0)[0].can_permute is can_permute


def test_a_wrong_union_is_detected() -> None:
    module = Pair(torch.relu).double()
    run = lambda: {"out": module(INPUT)}  # noqa: E731
    found = derive(module, run)
    (hidden,) = group_of(found, "enter.weight", 0)
    (inputs,) = group_of(found, "enter.weight", 1)
    missing = replace(hidden, can_permute=False)
    wrong = replace(inputs, can_permute=True)
    rng = np.random.default_rng(0)
    assert not prove(replace(found, groups=(hidden, wrong)), module, run, tokens=(), rng=rng).holds
    assert prove(replace(found, groups=(missing,)), module, run, tokens=(), rng=rng).holds


class Amplified(nn.Module):
    """Rounding in the stream is some 1e7 times as large behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.front, self.up, self.down = nn.Linear(6, 10), nn.Linear(10, 16), nn.Linear(16, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(torch.sin(2e7 * self.up(torch.relu(self.front(x)))))


def test_a_model_that_amplifies_rounding_is_held_to_what_rounding_does() -> None:
    torch.manual_seed(0)
    found, proof = derived(Amplified())
    assert 1e-9 < proof.worst < 10 * proof.rounding and proof.holds and not proof.missed
    (hidden,) = group_of(found, "front.weight", 0)
    wrong = replace(hidden, signs=hidden.scales)  # Relu lets no sign pass.
    module = Amplified().double()
    run = lambda: {"out": module(INPUT)}  # noqa: E731
    assert not prove(replace(found, groups=(wrong,)), module, run, tokens=(), rng=np.random.default_rng(0)).holds


def test_a_model_that_gives_out_no_numbers_does_not_hold() -> None:
    _, proof = derived(Between(lambda x: x / torch.zeros(8, dtype=x.dtype) * 0))
    assert proof.worst == float("inf") and not proof.holds


def test_a_wrong_sign_is_detected() -> None:
    module = Pair(torch.relu).double()
    run = lambda: {"out": module(INPUT)}  # noqa: E731
    found = derive(module, run)
    (hidden,) = group_of(found, "enter.weight", 0)
    wrong = replace(hidden, signs=hidden.scales)  # Where scales are free, signs are not: relu is not odd.
    proof = prove(replace(found, groups=(wrong,)), module, run, tokens=(), rng=np.random.default_rng(0))
    assert proof.error <= 1e-9 and proof.scale_error <= 1e-9 < proof.sign_error


def test_an_operation_that_no_rule_knows_fixes_what_it_touches() -> None:
    found, proof = derived(Pair(lambda x: torch.linalg.inv_ex(x.mT @ x + torch.eye(8, dtype=x.dtype))[0][:, :5]))
    assert "linalg_inv_ex" in found.stopped_by and proof.holds
    assert not group_of(found, "enter.weight", 0)[0].can_permute


@pytest.mark.parametrize("model_type", ["bert", "gpt2", "vit"])
def test_architecture_is_proven(model_type: str) -> None:
    tiny = build_tiny(model_type)
    found = derive(tiny.model, tiny.run, tiny.tokens, tiny.vocabulary)
    proof = prove(found, tiny.model, tiny.run, tokens=tiny.tokens, rng=np.random.default_rng(0))
    assert_proven(found, proof)
    assert sum(group.can_permute for group in found.groups) >= 9


@pytest.mark.slow
@pytest.mark.parametrize("model_type", SLOW)
def test_another_architecture_is_proven(model_type: str) -> None:
    tiny = build_tiny(model_type)
    found = derive(tiny.model, tiny.run, tiny.tokens, tiny.vocabulary)
    proof = prove(found, tiny.model, tiny.run, tokens=tiny.tokens, rng=np.random.default_rng(0))
    assert not found.stopped_by and proof.holds and len(proof.missed) <= 3
