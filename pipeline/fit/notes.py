"""What the device writes down for the host between two checks, read in one copy.

S = slots, R = rows, W = width of a row.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["GRADIENT", "LOSS", "ROWS", "Notes", "Read"]

LOSS, GRADIENT = 0, 1
"""What is watched, in the order in which a step makes it."""
WATCHED = ("loss", "gradient norm")
ROWS = 128
"""Points of the history that fit between two checks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """The notes as the host has them."""

    diverged: tuple[int, str, int] | None
    """Step, what and slot of the first number that was not finite."""
    best_step: int
    rows: tuple[Sequence[float], ...]
    """In the order in which they were written."""


class Notes:
    """Float64, so that steps are exact. Written without a branch; nothing is read but by `read`."""

    def __init__(self, num_slots: int, width: int, device: torch.device) -> None:
        self.num_slots, self.width, self.head = num_slots, width, len(WATCHED) * num_slots + 1
        self.buffer = torch.zeros(self.head + ROWS * width, dtype=torch.float64, device=device)
        self.first = self.buffer[: self.head - 1].view(len(WATCHED), num_slots)
        """The step at which each slot's loss and gradient were first not finite, (2, S)."""
        self.first.fill_(math.inf)
        self.best_step = self.buffer[self.head - 1]
        """The last step at which any slot improved, ()."""
        self.rows = self.buffer[self.head :].view(ROWS, width)
        self.row = torch.zeros(1, dtype=torch.int64, device=device)

    def watch(self, what: int, values: Tensor, now: Tensor) -> None:
        """Note `now` for the slots whose value (S,) is not finite, unless they have an earlier step."""
        first = self.first[what]
        torch.minimum(first, torch.where(values.isfinite(), math.inf, now.double()), out=first)

    def improved(self, better: Tensor, now: Tensor) -> None:
        """Note `now` if any slot is `better` (S,) bool."""
        self.best_step.copy_(torch.where(better.any(), now.double(), self.best_step))

    def write(self, row: Sequence[Tensor]) -> None:
        """A row of the history, of W values in all."""
        self.rows.index_copy_(0, self.row, torch.cat([part.flatten().double() for part in row])[None])
        self.row.add_(1)

    def read(self, num_rows: int) -> Read:
        """All of it, of which `num_rows` rows were written since the last time."""
        values = self.buffer[: self.head + num_rows * self.width].cpu().tolist()
        self.row.zero_()
        steps, size = values[: self.head - 1], self.width
        place = min(range(len(steps)), key=lambda place: (steps[place], place))
        what, slot = divmod(place, self.num_slots)
        return Read(
            diverged=None if math.isinf(steps[place]) else (int(steps[place]), WATCHED[what], slot),
            best_step=int(values[self.head - 1]),
            rows=tuple(values[self.head + n * size : self.head + (n + 1) * size] for n in range(num_rows)),
        )
