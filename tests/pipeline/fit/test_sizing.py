"""How large a DNA is: within its budget, as near to it as whole units allow, and what was asked for."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pipeline.fit.networks import SeparableDna, count_parameters, make_pointwise
from pipeline.fit.problem import generator_for
from pipeline.fit.sizing import MOMENTS, SMALLEST_WIDTH, NetworkSize, choose_size, step_size
from pipeline.settings import DnaType, preset
from tests.support.fitting import quick

KINDS: list[DnaType] = ["separable", "spectral", "hierarchical", "adaptive"]
kinds = st.sampled_from(KINDS)
layers = st.sampled_from([None, 1, 2, 5])


def network(kind: DnaType, size: NetworkSize, in_dim: int) -> nn.Module:
    """One network of that size, really built."""
    sizes: dict[str, Any] = {"in_dim": in_dim, "hidden_dim": size.hidden_dim, "num_layers": size.num_layers}
    if kind == "separable":
        sizes |= {"rank": size.rank, "num_branches": size.num_branches}
        return SeparableDna([generator_for(0)], row_omega=1.0, col_omega=1.0, **sizes)
    return make_pointwise(kind, [generator_for(0)], omega=30.0, **sizes)


def num_parameters(kind: DnaType, size: NetworkSize, in_dim: int) -> int:
    return count_parameters(network(kind, size, in_dim)) + MOMENTS


@given(kinds, layers, st.integers(1, 4), st.integers(100, 20_000))
def test_a_chosen_shape_is_the_widest_within_its_budget(
    kind: DnaType, num_layers: int | None, in_dim: int, budget: int
) -> None:
    settings = quick(dna_type=kind, num_layers=num_layers, budget=0.01)
    size = choose_size(settings, num_weights=100 * budget, shortest_axis=64, in_dim=in_dim)
    wider = replace(size, hidden_dim=size.hidden_dim + 1)
    assert num_parameters(kind, size, in_dim) <= budget or size.hidden_dim == SMALLEST_WIDTH
    assert num_parameters(kind, wider, in_dim) > budget


@pytest.mark.parametrize("kind", KINDS)
def test_all_kinds_spend_the_same_budget(kind: DnaType) -> None:
    """Otherwise a comparison of kinds would be one of sizes."""
    in_dim = 1 if kind == "separable" else 2
    size = choose_size(quick(dna_type=kind, budget=0.05), num_weights=384 * 384, shortest_axis=384, in_dim=in_dim)
    assert 0.9 * 0.05 * 384 * 384 < num_parameters(kind, size, in_dim) <= 0.05 * 384 * 384


@given(kinds, st.integers(1, 10_000_000))
def test_more_weights_never_have_a_smaller_network(kind: DnaType, num_weights: int) -> None:
    smaller, larger = (
        choose_size(quick(dna_type=kind, budget=0.01, rank=4), num_weights=n, shortest_axis=64, in_dim=2)
        for n in (num_weights, 2 * num_weights)
    )
    assert larger.hidden_dim >= smaller.hidden_dim


def test_a_shape_that_is_asked_for_is_taken() -> None:
    settings = quick(hidden_dim=13, num_layers=4, rank=3)
    size = choose_size(settings, num_weights=10_000, shortest_axis=100, in_dim=1)
    assert (size.hidden_dim, size.num_layers, size.rank) == (13, 4, 3)


def test_max_parameters_caps_the_budget() -> None:
    small, large = (
        choose_size(quick(budget=0.5, max_parameters=2000), num_weights=n, shortest_axis=200, in_dim=1)
        for n in (40_000, 4_000_000)
    )
    assert small == large


def test_a_chosen_rank_is_at_most_the_shortest_axis() -> None:
    assert choose_size(quick(budget=1.0), num_weights=3 * 50_000, shortest_axis=3, in_dim=1).rank <= 3


def test_the_smallest_tensor_still_has_a_network() -> None:
    size = choose_size(quick(budget=0.01), num_weights=4, shortest_axis=2, in_dim=1)
    assert size.hidden_dim == SMALLEST_WIDTH and size.rank == 2


def test_a_wide_separable_network_takes_smaller_steps_in_proportion() -> None:
    settings = preset("quick")
    narrow, wide = (step_size(settings, NetworkSize(hidden_dim=width, num_layers=2, rank=4)) for width in (16, 480))
    assert narrow == settings.learning_rate
    assert step_size(settings, NetworkSize(hidden_dim=960, num_layers=2, rank=4)) == pytest.approx(wide / 2)


def test_a_pointwise_step_is_bounded_by_the_root_of_the_width() -> None:
    asked = preset("reference")
    assert step_size(asked, NetworkSize(hidden_dim=256, num_layers=5)) == asked.learning_rate
    settings = preset("quick", dna_type="spectral", learning_rate=1.0)
    narrow, wide = (step_size(settings, NetworkSize(hidden_dim=width, num_layers=3)) for width in (64, 256))
    assert narrow == pytest.approx(2 * wide)
    assert 0.5e-3 < wide < 1e-3
