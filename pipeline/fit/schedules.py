"""Learning rates over the steps of a fit.

    constant         the same throughout
    cosine           half a cosine down to 0
    cosine-restarts  three of them, each twice as long as the one before (Loshchilov & Hutter 2017, T_mult = 2)
    one-cycle        up from a 25th and down to next to nothing, on cosines (Smith & Topin 2018); momentum stays
    plateau          constant, and halved for a network that has stopped improving

All but the last depend on the step alone. A linear warm-up goes before each but `one-cycle`, which rises anyway.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.settings import FitSettings

__all__ = ["Plateau", "learning_rate_at", "learning_rates"]

WARMUP = {"constant": 0.0, "cosine": 0.05, "cosine-restarts": 0.05, "one-cycle": 0.3, "plateau": 0.0}
"""Share of the steps that the rate rises for, where the settings do not say."""
CYCLES = ((0.0, 1 / 7), (1 / 7, 3 / 7), (3 / 7, 1.0))
"""Begin and end of the cosines with restarts, as shares of what follows the warm-up."""
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = 1 / 25 / 1e4
"""First and last rate of one cycle over the largest; PyTorch's defaults."""
PLATEAU_FACTOR = 0.5
PLATEAU_SHARE = 1 / 40
"""Share of the epochs, at least one epoch, that a network's rate outlasts without improvement."""
PLATEAU_THRESHOLD = 1e-4
"""Relative improvement that counts as one; PyTorch's default."""


def learning_rate_at(step: int, total: int, settings: FitSettings) -> float:
    """The rate at step `step`, from 0, of `total`; of `plateau` what it is before any network's is halved."""
    share = WARMUP[settings.schedule] if settings.warmup is None else settings.warmup
    if settings.schedule == "one-cycle":
        return settings.learning_rate * _one_cycle(step, total, share)
    warmup = max(int(share * total), 1) if share else 0
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    done, length = step - warmup, max(total - warmup, 1)
    if settings.schedule == "cosine":
        return settings.learning_rate * _half_cosine(done, length)
    if settings.schedule == "cosine-restarts":
        begin, end = next(cycle for cycle in CYCLES if done / length < cycle[1] or cycle[1] == 1)
        return settings.learning_rate * _half_cosine(done / length - begin, end - begin)
    return settings.learning_rate


def learning_rates(total: int, settings: FitSettings, device: torch.device) -> Tensor:
    """The rates of all steps, (total,), for a device to look up: in float32, which CUDA's optimisers ask for."""
    rates = [learning_rate_at(step, total, settings) for step in range(total)]
    return torch.tensor(rates, dtype=torch.float32, device=device)


def _half_cosine(done: float, length: float) -> float:
    """From 1 to 0 while `done` goes from 0 to `length`."""
    return 0.5 * (1 + math.cos(math.pi * done / length))


def _one_cycle(step: int, total: int, share: float) -> float:
    """As `torch.optim.lr_scheduler.OneCycleLR` on cosines, over its largest rate."""
    top, last = share * total - 1, total - 1
    if step <= top:
        return 1 - (1 - ONE_CYCLE_START) * _half_cosine(step, top) if top > 0 else 1.0
    return ONE_CYCLE_END + (1 - ONE_CYCLE_END) * _half_cosine(step - top, last - top)


class Plateau:
    """Cuts the rate of each network of a stack by itself: its neighbours do not influence it.

    As `torch.optim.lr_scheduler.ReduceLROnPlateau` on the losses of epochs, slot by slot. All of it stays where it is
    on the device, and is written without a branch.
    """

    def __init__(self, num_slots: int, *, epochs: int, device: torch.device) -> None:
        """`epochs`: how many the fit has, at most."""
        self.patience = max(round(PLATEAU_SHARE * epochs), 1)
        self.factors = torch.ones(num_slots, device=device)
        """What is left of each network's rate, (S,)."""
        self.best = torch.full((num_slots,), math.inf, device=device)
        self.bad_epochs = torch.zeros(num_slots, device=device)

    def observe(self, losses: Tensor) -> None:
        """Take in the mean losses of an epoch, (S,)."""
        better = losses < self.best * (1 - PLATEAU_THRESHOLD)
        self.best.copy_(torch.where(better, losses, self.best))
        waited = torch.where(better, 0.0, self.bad_epochs + 1)
        is_stuck = waited > self.patience
        self.factors.copy_(torch.where(is_stuck, self.factors * PLATEAU_FACTOR, self.factors))
        self.bad_epochs.copy_(torch.where(is_stuck, 0.0, waited))

    def forget(self) -> None:
        """Losses from now on do not compare with those before; the rates stay."""
        self.best.fill_(math.inf)
        self.bad_epochs.zero_()

    def shorten(self, parameters: Sequence[Tensor], before: Sequence[Tensor]) -> None:
        """Take back from a step at the full rate, which led from `before` to `parameters` (S, ...), what is too much.

        A step of every optimiser here is its rate times something that does not depend on it, so this is the step at
        each network's own rate.
        """
        with torch.no_grad():
            for parameter, old in zip(parameters, before, strict=True):
                share = self.factors.view(-1, *[1] * (parameter.ndim - 1))
                torch.lerp(old, parameter, share, out=parameter)

    def state_dict(self) -> dict[str, Tensor]:
        """What a resumed fit needs."""
        return {"factors": self.factors, "best": self.best, "bad_epochs": self.bad_epochs}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on where `state` was taken."""
        for name, known in self.state_dict().items():
            known.copy_(state[name])
