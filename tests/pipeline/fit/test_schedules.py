"""Learning rates over a fit: PyTorch's own schedules where it has them, and a plateau for each network by itself."""

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts, LRScheduler, OneCycleLR, ReduceLROnPlateau

from pipeline.fit.optimisers import make_optimisers
from pipeline.fit.schedules import Plateau, learning_rate_at
from pipeline.settings import Optimizer
from tests.support.fitting import gaussian, quick
from tests.support.training import trainer

TOTAL = 210
CPU = torch.device("cpu")


def rates(total: int = TOTAL, **changes: Any) -> list[float]:
    settings = quick(learning_rate=0.3, **changes)
    return [learning_rate_at(step, total, settings) for step in range(total)]


def torch_rates(make: Callable[[torch.optim.Optimizer], LRScheduler], total: int = TOTAL) -> list[float]:
    """What a scheduler of PyTorch's does with a rate of 0.3."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    scheduler, found = make(optimizer), []
    for _ in range(total):
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        with warnings.catch_warnings():  # One cycle has no step after its last.
            warnings.simplefilter("ignore")
            try:
                scheduler.step()
            except ValueError:
                break
    return found


def test_a_constant_rate_is_constant() -> None:
    assert set(rates(schedule="constant")) == {0.3}


def test_the_cosine_warms_up_peaks_and_goes_to_zero() -> None:
    found = rates(1000, schedule="cosine")
    assert found[0] == pytest.approx(0.3 / 50)
    assert max(found) == found[50] == 0.3 and found[:50] == sorted(found[:50])
    assert found[50:] == sorted(found[50:], reverse=True)
    assert found[525] == pytest.approx(0.15) and 0 < found[-1] < 1e-5


def test_restarts_are_those_of_pytorch() -> None:
    expected = torch_rates(lambda optimizer: CosineAnnealingWarmRestarts(optimizer, T_0=TOTAL // 7, T_mult=2))
    assert rates(schedule="cosine-restarts", warmup=0.0) == pytest.approx(expected)


@pytest.mark.parametrize("warmup", [None, 0.05, 0.5])
def test_one_cycle_is_that_of_pytorch(warmup: float | None) -> None:
    share = 0.3 if warmup is None else warmup
    expected = torch_rates(
        lambda o: OneCycleLR(o, max_lr=0.3, total_steps=TOTAL, pct_start=share, cycle_momentum=False)
    )
    assert rates(schedule="one-cycle", warmup=warmup) == pytest.approx(expected)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "cosine-restarts", "plateau"])
def test_any_rate_rises_for_the_share_that_is_asked_for(schedule: str) -> None:
    found = rates(100, schedule=schedule, warmup=0.2)
    assert found[:20] == pytest.approx([0.3 * (step + 1) / 20 for step in range(20)])
    assert found[20] == 0.3 and rates(100, schedule=schedule, warmup=0.0)[0] == 0.3


@pytest.mark.parametrize("total", [1, 3])
@pytest.mark.parametrize("schedule", ["cosine", "cosine-restarts", "one-cycle"])
def test_the_shortest_trainings_have_a_positive_rate(schedule: str, total: int) -> None:
    assert all(0 < rate <= 0.3 for rate in rates(total, schedule=schedule))


# Plateau.


def followed(losses: Sequence[float], patience: int) -> list[float]:
    """What is left of the rate after each loss, by PyTorch's scheduler."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = ReduceLROnPlateau(optimizer, factor=0.5, patience=patience, threshold=1e-4, eps=0.0)
    found = []
    for loss in losses:
        scheduler.step(loss)
        found.append(float(optimizer.param_groups[0]["lr"]))
    return found


def test_each_network_follows_its_own_plateau_as_in_pytorch() -> None:
    series = torch.rand(3, 120, generator=torch.Generator().manual_seed(0)).cumsum(1) / torch.arange(1, 121)
    series[1] = torch.linspace(1, 0.1, 120)
    plateau = Plateau(3, epochs=120, device=CPU)
    found = []
    for losses in series.T:
        plateau.observe(losses)
        found.append(plateau.factors.clone())
    expected = torch.tensor([followed(losses.tolist(), plateau.patience) for losses in series])
    assert torch.equal(torch.stack(found, dim=1), expected)
    assert expected[1, -1] == 1 and expected[0, -1] < 1


def test_its_patience_is_a_fortieth_of_the_epochs() -> None:
    assert [Plateau(1, epochs=epochs, device=CPU).patience for epochs in (1, 10, 400)] == [1, 1, 10]


def test_losses_of_before_a_move_are_no_measure_and_rates_stay() -> None:
    plateau = Plateau(1, epochs=40, device=CPU)
    for loss in (0.1, 0.2, 0.2):
        plateau.observe(torch.tensor([loss]))
    assert float(plateau.factors) == 0.5
    plateau.forget()
    plateau.observe(torch.tensor([0.3]))
    assert float(plateau.best) == pytest.approx(0.3) and float(plateau.factors) == 0.5


@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adam", "adamw", "muon"])
def test_a_shortened_step_is_the_step_at_the_shorter_rate(name: Optimizer) -> None:
    """In a stack of two, the first at half the rate, twice in a row, with all that momenta and averages carry on."""
    full, half = (trainer(quick(optimizer=name, weight_decay=0.1, num_nulls=1), gaussian(6, 5)).net for _ in range(2))
    plateau = Plateau(2, epochs=1, device=CPU)
    plateau.factors = torch.tensor([0.5, 1.0])
    stepped = [(full, 0.02, make_optimisers(full, quick(optimizer=name, weight_decay=0.1)))]
    stepped += [(half, 0.01, make_optimisers(half, quick(optimizer=name, weight_decay=0.1)))]
    for _ in range(2):
        for net, rate, optimizers in stepped:
            before = [parameter.detach().clone() for parameter in net.parameters()]
            for parameter in net.parameters():
                parameter.grad = torch.sin(torch.arange(parameter.numel()).view_as(parameter) + 1.0)
            for optimizer in optimizers:
                optimizer.param_groups[0]["lr"] = rate
                optimizer.step()
            if net is full:
                plateau.shorten(list(net.parameters()), before)
    for mine, theirs in zip(full.parameters(), half.parameters(), strict=True):
        torch.testing.assert_close(mine[0], theirs[0], atol=1e-6, rtol=1e-5)
        assert mine[1].numel() == 1 or not torch.allclose(mine[1], theirs[1], atol=1e-4)


def test_a_factor_of_one_changes_no_bit() -> None:
    plateau, old = Plateau(2, epochs=1, device=CPU), torch.rand(2, 7)
    new = old + 1e-3 * torch.rand(2, 7)
    expected = new.clone()
    plateau.shorten([new], [old])
    assert torch.equal(new, expected)


def test_a_network_that_no_longer_improves_trains_on_at_a_smaller_rate() -> None:
    settings = quick(schedule="plateau", epochs=120, learning_rate=0.2, num_nulls=1, num_moves=0)
    work = trainer(settings, gaussian(6, 6))
    history = work.run().history
    assert work.plateau is not None and math.log2(float(work.plateau.factors.min())) <= -2
    learnt = [point["learning_rate"] for point in history[:-1]]
    assert learnt[0] == 0.2 and learnt == sorted(learnt, reverse=True) and learnt[-1] < 0.1
