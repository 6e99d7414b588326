"""What a kind of hostile input is: a maker that writes one into its own folder, and a trial of what comes of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Kind", "Maker", "Place", "Trial", "Truth", "Wrong"]

Truth = Mapping[str, npt.NDArray[Any]] | None
"""What must be read, by tensor; None where either an answer or a refusal is right."""
Trial = Callable[[], str]
"""Runs the product on what was made: `answered` or `refused`. Raises `Wrong` for anything else that is not right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one input is: a folder that is removed afterwards."""

    root: Path
    is_whole: bool = False
    """Whether models are mined and shown, which costs a second, or read alone."""

    @property
    def model(self) -> Path:
        """The stranger's folder: nothing is written into it."""
        return self.root / "model"

    @property
    def here(self) -> Path:
        """The folder that commands are given in, unless they are given in the home: nothing is written into it."""
        return self.root / "here"

    @property
    def home(self) -> Path:
        """The one folder that is written to."""
        return self.root / "home"


Maker = Callable[[Place, np.random.Generator], Trial]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A generator of inputs."""

    make: Maker
    share: float = 1.0
    """How many of it there are for each of a usual kind."""
    is_quick: bool = True
    """Whether an input takes a tenth of a second rather than seconds."""


class Wrong(Exception):
    """The product did what it must not do."""

    def __init__(self, verdict: str, reason: str) -> None:
        super().__init__(reason)
        self.verdict, self.reason = verdict, reason
