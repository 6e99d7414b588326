"""Scale: the size of the weights relative to 1 / sqrt(fan-in).

log2(rms sqrt(C)) of a matrix (R, C): 0 where a row's product with an input of unit variance has unit variance, at any
width (LeCun et al. 1998).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from library.patterns.terms.term import NullName
from library.patterns.views import View

__all__ = ["ScaleTerm"]

Float64 = npt.NDArray[np.float64]
SMALLEST = 1e-12


@dataclass(frozen=True, slots=True)
class ScaleTerm:
    """One number."""

    name: str = "scale"
    null: NullName = "roles"

    def subject(self, view: View) -> str | None:
        return view.subject

    def measure(self, view: View) -> Float64:
        """(1,)."""
        return np.array([np.log2(max(_rms(view.values), SMALLEST) * np.sqrt(view.values.shape[1]))])

    def apply(self, view: View, values: Float64, rng: np.random.Generator) -> View:
        size = 2.0 ** float(values[0]) / np.sqrt(view.values.shape[1])
        return view.with_values(view.values * (size / max(_rms(view.values), SMALLEST)))


def _rms(values: Float64) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
