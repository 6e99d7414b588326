"""Optimisers for stacks: PyTorch's own, slot by slot, and each learns a planted pattern."""

import pytest
import torch
from torch import Tensor

from pipeline.fit.optimisers import StackedMuon, hidden_matrices, make_optimisers, orthogonalise
from pipeline.fit.sizing import NetworkSize
from pipeline.settings import DnaType, FitSettings, Optimizer, preset
from tests.support.fitting import gaussian, low_rank, quick
from tests.support.training import state, trainer, wave

pytestmark = pytest.mark.slow

OPTIMISERS: tuple[Optimizer, ...] = ("sgd", "rmsprop", "adam", "adamw", "muon")
HALF_PRECISION = 0.03
"""PyTorch's Muon orthogonalises in bfloat16, whose rounding of 2^-8 five steps make larger."""


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def polynomial(values: Tensor) -> Tensor:
    """What five Newton-Schulz steps make of singular values."""
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return values


# Muon.


@pytest.mark.parametrize(("shape", "decay"), [((3, 24, 10), 0.3), ((3, 10, 24), 0.0)])
def test_muon_on_a_stack_is_pytorchs_muon_on_each_matrix(shape: tuple[int, ...], decay: float) -> None:
    start, rate = random(*shape), 0.02
    stack, alone = start.clone(), [matrix.clone() for matrix in start]
    ours = StackedMuon([stack], lr=rate, weight_decay=decay, momentum=0.9)
    theirs = torch.optim.Muon(alone, lr=rate, weight_decay=decay, momentum=0.9, adjust_lr_fn="match_rms_adamw")
    for step in range(4):
        stack.grad = random(*shape, seed=step + 1)
        for matrix, gradient in zip(alone, stack.grad, strict=True):
            matrix.grad = gradient.clone()
        ours.step()
        theirs.step()  # type: ignore[no-untyped-call]
    moved, expected = stack - start, torch.stack(alone) - start
    for slot in range(len(start)):
        assert (moved[slot] - expected[slot]).norm() < HALF_PRECISION * expected[slot].norm()


def test_orthogonalising_is_a_polynomial_of_the_singular_values() -> None:
    """Exactly, by a decomposition in float64 that the steps do not take."""
    matrices = random(2, 3, 12, 7)
    left, values, right = torch.linalg.svd(matrices.double(), full_matrices=False)
    values = polynomial(values / values.square().sum(-1, keepdim=True).sqrt())
    expected = (left * values[..., None, :]) @ right
    torch.testing.assert_close(orthogonalise(matrices), expected.float(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(orthogonalise(matrices.mT), expected.float().mT, atol=1e-4, rtol=1e-4)


def test_orthogonalised_matrices_have_singular_values_near_one() -> None:
    values = torch.linalg.svdvals(orthogonalise(random(4, 20, 12) * torch.tensor([1e-6, 1, 50, 1e6]).view(4, 1, 1)))
    assert 0.5 < float(values.min()) and float(values.max()) < 1.3


def test_muon_leaves_a_slot_without_a_gradient_and_does_not_mind_its_neighbours() -> None:
    gradient, moved = random(3, 8, 5), []
    for scale in (1.0, 1e4):
        stack = torch.zeros(3, 8, 5)
        stack.grad = gradient * torch.tensor([1.0, 0.0, scale]).view(3, 1, 1)
        StackedMuon([stack], lr=0.1, weight_decay=0.0, momentum=0.0).step()
        moved.append(stack)
    assert not moved[0][1].any() and moved[0][0].norm() > 0
    torch.testing.assert_close(moved[0][:2], moved[1][:2], atol=1e-7, rtol=0)


def test_muon_refuses_a_closure() -> None:
    with pytest.raises(ValueError, match="`closure`"):
        StackedMuon([torch.zeros(1, 2, 2)], lr=0.1, weight_decay=0.0, momentum=0.0).step(lambda: 0.0)


# Which parameters.


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("separable", {"rows.0.weights.1", "rows.0.out_weight", "cols.0.weights.1", "cols.0.out_weight"}),
        ("spectral", {"net.weights.1", "net.weights.2"}),
        ("hierarchical", {"nets.1.weights.1", "nets.1.weights.2", "nets.2.weights.1"}),
        ("adaptive", {"net.weights.1", "net.weights.2"}),
    ],
)
def test_muon_takes_the_weights_between_units_and_no_others(kind: DnaType, expected: set[str]) -> None:
    layers = 2 if kind == "separable" else 3
    settings = quick(dna_type=kind, optimizer="muon", scope="model")
    net = trainer(settings, gaussian(9, 8), size=NetworkSize(hidden_dim=8, num_layers=layers, rank=3)).net
    taken = {id(parameter) for parameter in hidden_matrices(net)}
    assert {name for name, parameter in net.named_parameters() if id(parameter) in taken} == expected


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_parameter_has_one_optimiser(name: Optimizer) -> None:
    net = trainer(quick(dna_type="adaptive"), gaussian(9, 8)).net
    optimizers = make_optimisers(net, quick(dna_type="adaptive", optimizer=name))
    held = [id(p) for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(parameter) for parameter in net.parameters())


def test_without_hidden_layers_muon_is_adamw() -> None:
    net = trainer(quick(dna_type="spectral"), gaussian(9, 8), size=NetworkSize(hidden_dim=8, num_layers=1)).net
    (optimizer,) = make_optimisers(net, quick(dna_type="spectral", optimizer="muon"))
    assert type(optimizer) is torch.optim.AdamW


@pytest.mark.parametrize(("name", "momentum"), [("sgd", 0.9), ("rmsprop", 0.0), ("muon", 0.95)])
def test_momentum_and_decay_go_where_they_belong(name: Optimizer, momentum: float) -> None:
    net = trainer(quick(), gaussian(9, 8)).net
    for given, expected in ((None, momentum), (0.5, 0.5)):
        optimizers = make_optimisers(net, quick(optimizer=name, momentum=given, weight_decay=0.2))
        assert optimizers[0].param_groups[0]["momentum"] == expected
        assert {optimizer.param_groups[0]["weight_decay"] for optimizer in optimizers} == {0.2}


# They train.


def own_rate(name: Optimizer, **changes: object) -> FitSettings:
    """The quick preset at the rate that it has for the optimiser."""
    return preset("quick", optimizer=name, num_nulls=0, **changes)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_optimiser_learns_a_planted_wave_at_its_own_rate(name: Optimizer) -> None:
    assert 1 - trainer(own_rate(name, epochs=100), wave()).run().losses[0] > 0.99


@pytest.mark.parametrize("name", ["sgd", "muon"])
def test_an_optimiser_learns_a_pointwise_wave_at_its_own_rate(name: Optimizer) -> None:
    settings = own_rate(name, dna_type="spectral", precision="fp32", epochs=60, batch_size=120, omega=6.0)
    assert 1 - trainer(settings, wave()).run().losses[0] > 0.95


@pytest.mark.parametrize("name", ["adam", "muon"])
def test_an_optimiser_trains_a_slot_as_it_would_alone(name: Optimizer) -> None:
    alone = trainer(own_rate(name, epochs=20, num_moves=0), low_rank(12, 10, 2)).run()
    among = trainer(own_rate(name, epochs=20, num_moves=0), low_rank(12, 10, 2), 100 * gaussian(12, 10)).run()
    assert among.losses[0] == pytest.approx(alone.losses[0], abs=1e-4)


@pytest.mark.parametrize("name", ["adam", "muon"])
def test_a_rerun_gives_the_same_bits(name: Optimizer) -> None:
    first, second = (trainer(own_rate(name, epochs=6), gaussian(9, 8)) for _ in range(2))
    assert first.run() == second.run()
    assert all(torch.equal(value, state(second.net)[key]) for key, value in state(first.net).items())
