"""The random numbers of the steps of a fit: which weights a step sees, by seed and step alone.

On the host they come from a generator of PyTorch's and are copied to where the values are. On the device they are a
function of seed, step and place (a counter-based generator): nothing is copied, and nothing of the host is asked. Both
draw from the same distribution; their numbers differ.
"""

import functools
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from pipeline.fit.problem import Draw, generator_for

__all__ = ["DeviceDraws", "Draws", "HostDraws", "splitmix64"]

GOLDEN, FIRST, SECOND = (
    int(np.uint64(value).astype(np.int64)) for value in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)
"""The constants of SplitMix64 (Steele, Lea & Flood 2014, figure 17), as the int64 of the same bits."""
STREAMS = 1 << 16
"""Draws that one step may make."""
POSITIVE = (1 << 63) - 1


class Draws(Protocol):
    """What gives each step its draw."""

    def at(self, step: int, now: Tensor) -> Draw:
        """Of that step, which the host knows by its number and the device as `now` () int64."""


@dataclass(slots=True)
class HostDraws:
    """From a CPU generator a step, copied to `device`."""

    seed: int
    device: torch.device
    stock: dict[int, list[Tensor]] = field(default_factory=lambda: defaultdict(list))
    """Shares of an epoch that no step has seen yet, by the number of the question."""

    def at(self, step: int, now: Tensor) -> Draw:
        return _HostDraw(self, step)


class _HostDraw:
    def __init__(self, draws: HostDraws, step: int) -> None:
        self.draws, self.step, self.num_shares = draws, step, 0

    @functools.cached_property
    def generator(self) -> torch.Generator:
        """Made when it is needed: a separable fit of short axes never does."""
        return generator_for(self.draws.seed, self.step)

    def indices(self, below: int, count: int) -> Tensor:
        return torch.randint(below, (count,), generator=self.generator).to(self.draws.device)

    def share(self, length: int, parts: int) -> Tensor:
        """Of `parts` steps together, each index once."""
        stock = self.draws.stock[self.num_shares]
        self.num_shares += 1
        if not stock:
            stock.extend(torch.randperm(length, generator=self.generator).tensor_split(parts))
        return stock.pop().to(self.draws.device)


@dataclass(frozen=True, slots=True)
class DeviceDraws:
    """From SplitMix64 at counters that seed, step and the number of the question choose."""

    seed: int

    def at(self, step: int, now: Tensor) -> Draw:
        return _DeviceDraw(self.seed, now)


class _DeviceDraw:
    def __init__(self, seed: int, now: Tensor) -> None:
        low, high = np.random.SeedSequence(seed).generate_state(2)
        self.key, self.now, self.stream = int(np.uint64(int(high) << 32 | int(low)).astype(np.int64)), now, 0

    def indices(self, below: int, count: int) -> Tensor:
        return (self._bits(self.now, count) & POSITIVE) % below

    def share(self, length: int, parts: int) -> Tensor:
        """All of one number, so that every step has the same shapes: `length` % `parts` indices sit an epoch out."""
        epoch, part = torch.div(self.now, parts, rounding_mode="floor"), self.now % parts
        order, count = torch.argsort(self._bits(epoch, length)), length // parts
        return order[part * count + torch.arange(count, device=self.now.device)]

    def _bits(self, moment: Tensor, count: int) -> Tensor:
        """(count,) int64 that are new at every moment and every question."""
        start = splitmix64(moment * STREAMS + self.stream, self.key)
        self.stream += 1
        return splitmix64(torch.arange(count, device=moment.device), start)


def splitmix64(place: Tensor, state: int | Tensor) -> Tensor:
    """The number at each place (from 0) of the sequence of SplitMix64 from `state`, 64 bits as int64.

    Products and sums wrap, as those of unsigned numbers do.
    """
    bits = (place + 1) * GOLDEN + state
    bits = (bits ^ _shifted(bits, 30)) * FIRST
    bits = (bits ^ _shifted(bits, 27)) * SECOND
    return bits ^ _shifted(bits, 31)


def _shifted(bits: Tensor, by: int) -> Tensor:
    """To the right, filled with zeros: int64 alone would fill with its sign."""
    return (bits >> by) & ((1 << (64 - by)) - 1)
