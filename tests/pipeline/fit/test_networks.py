"""The four kinds of DNA: their shapes, their initialisation, and the independence of a stack's networks."""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from pipeline.fit.networks import (
    HIDDEN_OMEGA,
    AdaptiveDna,
    HierarchicalDna,
    SeparableDna,
    Siren,
    SpectralDna,
    branch_ranks,
    count_parameters,
    make_pointwise,
    pointwise_parameters,
    separable_parameters,
    sine_of_turns,
    siren_parameters,
)
from pipeline.fit.problem import generator_for
from pipeline.settings import DnaType

POINTWISE: list[DnaType] = ["spectral", "hierarchical", "adaptive"]
ROUNDING = 1e-5
"""Batched and single matrix products add up in different orders."""


def generators(count: int = 3, seed: int = 0) -> list[torch.Generator]:
    return [generator_for(seed, slot) for slot in range(count)]


def siren(in_dim: int = 2, hidden_dim: int = 8, num_layers: int = 3, out_dim: int = 2, omega: float = 20.0) -> Siren:
    return Siren(
        generators(), in_dim=in_dim, hidden_dim=hidden_dim, num_layers=num_layers, out_dim=out_dim, omega=omega
    )


def pointwise(kind: DnaType, count: int = 3) -> nn.Module:
    return make_pointwise(kind, generators(count), in_dim=2, hidden_dim=8, num_layers=3, omega=20.0)


def separable(count: int = 3) -> SeparableDna:
    return SeparableDna(generators(count), in_dim=1, hidden_dim=8, num_layers=2, rank=4, row_omega=20.0, col_omega=10.0)


def points(count: int = 3, num_points: int = 11, dim: int = 2) -> Tensor:
    return torch.rand(count, num_points, dim, generator=generator_for(9)) * 2 - 1


def one_by_one(net: Siren, slot: int, coords: Tensor, omega: Tensor | float) -> Tensor:
    """The same network, written down as published: one slot, plain matrices."""
    hidden = torch.sin(omega * (coords @ net.weights[0][slot] + net.biases[0][slot]))
    for weight, bias in itertools.islice(zip(net.weights, net.biases, strict=True), 1, None):
        hidden = torch.sin(HIDDEN_OMEGA * (hidden @ weight[slot] + bias[slot]))
    return hidden @ net.out_weight[slot] + net.out_bias[slot]


# SIREN.


def test_each_slot_is_a_siren_as_published() -> None:
    net, coords = siren(), points()
    expected = torch.stack([one_by_one(net, slot, coords[slot], 20.0) for slot in range(3)])
    torch.testing.assert_close(net(coords), expected, atol=ROUNDING, rtol=ROUNDING)


@pytest.mark.parametrize("in_dim", [1, 2, 4])
def test_the_initialisation_is_the_published_one(in_dim: int) -> None:
    net = siren(in_dim=in_dim, hidden_dim=64)
    bounds = [1 / in_dim, *[math.sqrt(6 / 64) / HIDDEN_OMEGA] * 3]
    for weight, bound in zip([*net.weights, net.out_weight], bounds, strict=True):
        assert 0.8 * bound < float(weight.detach().abs().max()) <= bound
        assert abs(float(weight.detach().mean())) < 0.2 * bound


def test_the_sine_that_is_compiled_is_one_to_the_millionth() -> None:
    turns = torch.linspace(-30, 30, 1_000_001)
    exact = torch.sin(2 * math.pi * turns.double())
    assert float((sine_of_turns(turns) - exact).abs().max()) < 1e-6


def test_inputs_of_hidden_sines_have_unit_scale_at_the_start() -> None:
    """The defining property of the initialisation: the signal neither dies nor explodes with depth."""
    net = siren(hidden_dim=256, num_layers=5, out_dim=1)
    hidden = torch.sin(20 * torch.baddbmm(net.biases[0], points(num_points=200), net.weights[0]))
    for weight in list(net.weights)[1:]:
        before = HIDDEN_OMEGA * hidden @ weight
        assert 0.8 < float(before.detach().std()) < 1.3
        hidden = torch.sin(before)


@pytest.mark.parametrize("num_layers", [1, 2, 5])
def test_the_count_of_parameters_is_that_of_the_formula(num_layers: int) -> None:
    net = siren(num_layers=num_layers)
    assert len(net.weights) == num_layers
    assert count_parameters(net) == siren_parameters(2, 8, num_layers, 2)
    assert sum(parameter.numel() for parameter in net.parameters()) == 3 * count_parameters(net)


@pytest.mark.parametrize(("hidden_dim", "num_layers"), [(1, 1), (3, 2), (8, 5)])
@pytest.mark.parametrize("kind", POINTWISE)
def test_the_count_of_a_kind_is_that_of_its_network(kind: DnaType, hidden_dim: int, num_layers: int) -> None:
    net = make_pointwise(kind, generators(2), in_dim=4, hidden_dim=hidden_dim, num_layers=num_layers, omega=20.0)
    assert count_parameters(net) == pointwise_parameters(kind, 4, hidden_dim, num_layers)


# Kinds.


def sines(net: Siren) -> tuple[float, int, int]:
    return net.omega, net.out_weight.shape[1], len(net.weights)


def test_hierarchical_is_coarse_middle_and_fine() -> None:
    net = HierarchicalDna(generators(), in_dim=4, hidden_dim=256, num_layers=5, omega=30.0)
    assert [sines(part) for part in net.nets] == [(7.5, 128, 3), (30.0, 256, 5), (120.0, 128, 4)]


def test_hierarchical_starts_as_the_mean_of_its_parts() -> None:
    net, coords = pointwise("hierarchical"), points()
    assert isinstance(net, HierarchicalDna)
    parts = torch.cat([part(coords) for part in net.nets], dim=2)
    torch.testing.assert_close(net(coords), parts.mean(dim=2), atol=ROUNDING, rtol=ROUNDING)


def test_hierarchical_mixes_by_softmax() -> None:
    net, coords = pointwise("hierarchical"), points()
    assert isinstance(net, HierarchicalDna)
    with torch.no_grad():
        net.mixture[1, 0] = torch.tensor([0.0, 50.0, 0.0])
    torch.testing.assert_close(net(coords)[1], net.nets[1](coords)[1, :, 0], atol=ROUNDING, rtol=ROUNDING)


def test_adaptive_frequency_stays_between_its_bounds() -> None:
    net = pointwise("adaptive")
    assert isinstance(net, AdaptiveDna)
    with torch.no_grad():
        net.out_weight.mul_(1000)
    frequency = net.frequency(points(num_points=500)).detach()
    assert frequency.min() == pytest.approx(5.0, abs=0.5) and frequency.max() == pytest.approx(80.0, abs=0.5)


def test_adaptive_is_a_siren_at_the_frequency_of_each_point() -> None:
    net, coords = pointwise("adaptive"), points()
    assert isinstance(net, AdaptiveDna)
    omega = net.frequency(coords)
    expected = torch.stack([one_by_one(net.net, slot, coords[slot], omega[slot])[:, 0] for slot in range(3)])
    torch.testing.assert_close(net(coords), expected, atol=ROUNDING, rtol=ROUNDING)


def test_separable_gives_a_factor_for_each_axis() -> None:
    net = separable()
    rows, cols = net(points(num_points=7, dim=1), points(num_points=5, dim=1))
    assert rows.shape == (3, 7, 4) and cols.shape == (3, 5, 4)
    assert (net.rows[0].omega, net.cols[0].omega) == (net.row_omega, net.col_omega) == (20.0, 10.0)
    assert count_parameters(net) == 2 * siren_parameters(1, 8, 2, 4)


def test_branches_on_all_cores_are_those_on_one_forward_and_back() -> None:
    net = SeparableDna(
        generators(2), in_dim=1, hidden_dim=8, num_layers=2, rank=7, num_branches=3, row_omega=9.0, col_omega=20.0
    )
    rows, cols = torch.linspace(-1, 1, 30).expand(2, -1)[..., None], torch.linspace(-1, 1, 50).expand(2, -1)[..., None]
    found = []
    for on_all_cores in (False, True):
        net.zero_grad()
        left, right = net(rows, cols, on_all_cores=on_all_cores)
        (left @ right.mT).sin().sum().backward()
        found.append([left, right, *(parameter.grad.clone() for parameter in net.parameters())])
    assert all(torch.equal(one, all_) for one, all_ in zip(*found, strict=True))


def test_branches_share_the_rank() -> None:
    one = SeparableDna(generators(2), in_dim=1, hidden_dim=6, num_layers=2, rank=7, row_omega=9.0, col_omega=9.0)
    three = SeparableDna(
        generators(2), in_dim=1, hidden_dim=6, num_layers=2, rank=7, num_branches=3, row_omega=9.0, col_omega=9.0
    )
    coords = points(2, num_points=5, dim=1)
    assert three(coords, coords)[0].shape == one(coords, coords)[0].shape == (2, 5, 7)
    torch.testing.assert_close(three(coords, coords)[1][..., 5:], three.cols[2](coords))
    assert count_parameters(three) == 2 * separable_parameters(1, 6, 2, 7, 3)
    assert branch_ranks(7, 3) == [3, 2, 2]


def test_separable_starts_near_zero() -> None:
    rows, cols = separable()(points(num_points=50, dim=1), points(num_points=40, dim=1))
    assert float((rows @ cols.mT).detach().abs().max()) < 0.5


def test_spectral_is_one_siren() -> None:
    net, coords = pointwise("spectral"), points()
    assert isinstance(net, SpectralDna)
    torch.testing.assert_close(net(coords), net.net(coords)[:, :, 0])


# Stacks.


@pytest.mark.parametrize("kind", POINTWISE)
def test_a_slot_does_not_depend_on_its_neighbours(kind: DnaType) -> None:
    coords = points(1)
    alone, among = pointwise(kind, 1), pointwise(kind, 3)
    torch.testing.assert_close(among(coords.expand(3, -1, -1))[:1], alone(coords), atol=ROUNDING, rtol=ROUNDING)


@pytest.mark.parametrize("kind", POINTWISE)
def test_a_slot_has_no_gradient_from_its_neighbours(kind: DnaType) -> None:
    net = pointwise(kind)
    net(points())[1].square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert not parameter.grad[[0, 2]].any(), name
        assert parameter.grad[1].any(), name


def test_a_slot_of_separable_has_no_gradient_from_its_neighbours() -> None:
    net = separable()
    rows, cols = net(points(dim=1), points(dim=1))
    (rows[1] @ cols[1].mT - 1).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert not parameter.grad[[0, 2]].any() and parameter.grad[1].any(), name


@pytest.mark.parametrize("kind", POINTWISE)
def test_the_same_seed_builds_the_same_networks(kind: DnaType) -> None:
    for first, second in zip(pointwise(kind).parameters(), pointwise(kind).parameters(), strict=True):
        assert torch.equal(first, second)


def test_slots_of_different_seeds_differ() -> None:
    assert len({float(value) for value in siren().weights[0].detach()[:, 0, 0]}) == 3


# Mixed precision, as on a GPU.


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", POINTWISE)
def test_pointwise_kinds_are_finite_and_close_in_half_precision(kind: DnaType, dtype: torch.dtype) -> None:
    net, coords = pointwise(kind), points()
    with torch.autocast("cpu", dtype=dtype):
        halved = net(coords)
    halved.float().square().sum().backward()
    torch.testing.assert_close(halved.float(), net(coords), atol=0.15, rtol=0.15)
    assert all(torch.isfinite(p.grad).all() and p.grad.dtype == torch.float32 for p in net.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_separable_is_finite_and_close_in_half_precision(dtype: torch.dtype) -> None:
    net, coords = separable(), points(dim=1)
    with torch.autocast("cpu", dtype=dtype):
        rows, _ = net(coords, coords)
    assert rows.dtype == dtype
    torch.testing.assert_close(rows.float(), net(coords, coords)[0], atol=0.15, rtol=0.15)


def test_neighbouring_coordinates_stay_apart_in_half_precision() -> None:
    """At this frequency neighbours of 4,096 rows are far apart; coordinates rounded to bfloat16 would give noise."""
    coords = torch.linspace(-1, 1, 4096)[None, :, None]
    net = Siren(generators(1), in_dim=1, hidden_dim=8, num_layers=1, out_dim=1, omega=3000.0, output_bound=1.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        halved = net(coords)
    torch.testing.assert_close(halved.float(), net(coords), atol=0.03, rtol=0.03)
