"""What every term of one matrix has."""

from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from library.patterns.views import View

__all__ = ["NullName", "Term"]

Float64 = npt.NDArray[np.float64]
NullName = Literal["shuffle", "roles"]
"""`shuffle`: the same values in random places. `roles`: each lineage's subjects change names with each other, for what
no shuffle changes."""


class Term(Protocol):
    """One property of a matrix."""

    @property
    def name(self) -> str: ...

    @property
    def null(self) -> NullName: ...

    def subject(self, view: View) -> str | None:
        """What the values are kept under; None where the matrix has no such property."""

    def measure(self, view: View) -> Float64:
        """A vector of fixed length for a subject, 0 where the weights are random."""

    def apply(self, view: View, values: Float64, rng: np.random.Generator) -> View:
        """The view of random weights, changed so that `measure` returns about `values`."""
