"""Vectors: mean and spread of biases, and of the scales and shifts of norms, relative to how they start (0, 1, 0)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from library.patterns.views import View
from zoo.tensors import Role

__all__ = ["VECTORS", "VectorsTerm"]

Float64 = npt.NDArray[np.float64]
VECTORS = "vectors"


@dataclass(frozen=True, slots=True)
class VectorsTerm:
    """The mean less its start, and the standard deviation."""

    name: str = VECTORS

    def measure(self, view: View) -> Float64:
        """(2,)."""
        return np.array([view.values.mean() - _start(view), view.values.std()])

    def apply(self, view: View, values: Float64, rng: np.random.Generator) -> View:
        noise = rng.standard_normal(view.values.shape)
        noise -= noise.mean()
        noise /= max(float(noise.std()), 1e-12)
        return view.with_values(_start(view) + values[0] + max(float(values[1]), 0.0) * noise)


def _start(view: View) -> float:
    return 1.0 if view.subject == f"{Role.NORM}.weight" else 0.0
