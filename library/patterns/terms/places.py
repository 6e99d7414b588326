"""Places: how the weights at the places of a real axis go together.

The second moments over kernel positions (Trockman, Willmott & Kolter 2022, "Understanding the covariance structure of
convolutional filters"), and over the positions of a table of position embeddings: S = X X^T / samples of a matrix X
(places, samples), scaled to a mean diagonal of 1, less the identity. No order or rotation of channels or of the
residual stream changes S. It is kept apart for each number of places; at another one, `axis` speaks.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from library.patterns.terms.term import NullName
from library.patterns.views import View

__all__ = ["PlacesTerm"]

Float64 = npt.NDArray[np.float64]
LARGEST = 256
"""Places up to which their pairs are kept: 16 x 16."""
LEAST = 1e-9


@dataclass(frozen=True, slots=True)
class PlacesTerm:
    """The second moments over all pairs of places, flat."""

    name: str = "places"
    null: NullName = "shuffle"

    def subject(self, view: View) -> str | None:
        if not 1 < view.num_places <= LARGEST:
            return None
        size = "x".join(map(str, view.kernel)) if view.kernel else str(view.num_places)
        return f"{view.subject}/{size}"

    def measure(self, view: View) -> Float64:
        """(places^2,)."""
        moments = _moments(view.by_place())
        return np.asarray((moments - np.eye(len(moments))).ravel())

    def apply(self, view: View, values: Float64, rng: np.random.Generator) -> View:
        size = view.num_places
        wanted = values.reshape(size, size) + np.eye(size)
        # Fresh weights: what earlier terms did to the places would count twice.
        noise = rng.standard_normal(view.by_place().shape)
        return view.from_places(_root(wanted) @ noise)


def _moments(by_place: Float64) -> Float64:
    moments = by_place @ by_place.T
    return np.asarray(moments * (len(moments) / max(float(np.trace(moments)), LEAST)))


def _root(moments: Float64) -> Float64:
    """The symmetric square root; averages of second moments have no negative eigenvalues but by rounding."""
    values, vectors = np.linalg.eigh((moments + moments.T) / 2)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)
