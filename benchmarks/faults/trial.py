"""One fault and what came of it, and what all kinds of faults have in common."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

__all__ = ["Kind", "Place", "Trial", "Unavailable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One fault."""

    case: str
    """What was done, as the table calls it."""
    wrong: str = ""
    """How the outcome differs from what it must be; empty where it does not."""
    said: str = ""
    """What was printed about the fault."""
    numbers: Mapping[str, float] = field(default_factory=dict)
    """Counts of the trial, which the table adds up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where faults are tried, and how many."""

    folder: Path
    """Empty at first."""
    count: int
    rng: np.random.Generator

    def fresh(self, name: str) -> Path:
        """A path in the folder where nothing is."""
        taken = sum(each.name.startswith(f"{name}-") for each in self.folder.iterdir())
        return self.folder / f"{name}-{taken}"


Kind = Callable[[Place], Iterator[Trial]]


class Unavailable(Exception):
    """This machine does not give what the fault needs; the text says what."""
