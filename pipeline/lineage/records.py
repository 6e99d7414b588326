"""Input and result of comparing the weights of two models."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from zoo.tensors import TensorSpec

__all__ = ["CANNOT_SAY", "LINEAGE_VERSION", "Lineage", "Matrix", "ModelWeights", "RoleEvidence", "Verdict"]

Matrix = npt.NDArray[np.float32]
Verdict = Literal["same lineage", "no evidence", "cannot say"]
CANNOT_SAY: Verdict = "cannot say"
LINEAGE_VERSION = "5"
"""Raised with every change of the results."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelWeights:
    """The weights of a model, read a tensor at a time."""

    specs: Sequence[TensorSpec]
    load: Callable[[TensorSpec], Matrix]
    """Spec -> its matrix view in the file's order, float32, shape `(spec.rows, spec.cols)`."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """`config.json`, for the number of heads; empty where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleEvidence:
    """The held-out weights of one role."""

    role: str
    tensors: int
    weights: int
    """Of the first model, in the tensors that were tested."""
    correlation: float
    z: float | None
    """None where the null has no spread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Whether two models share weights: a correlation and its distribution under wrong alignments."""

    verdict: Verdict
    reason: str
    """One clause: why the verdict is what it is."""
    correlation: float | None = None
    """Over all held-out weights, each tensor centred along both axes; None where nothing could be tested."""
    z: float | None = None
    p: float | None = None
    """(k + 1) / (n + 1), with k of n wrong alignments at this correlation or above: one-sided."""
    num_nulls: int = 0
    tensors: int = 0
    """Tensors tested, of the first model."""
    weights: int = 0
    """Weights in them."""
    in_file_order: bool = False
    """Whether every axis that was aligned turned out to be in the same order in both files."""
    roles: tuple[RoleEvidence, ...] = ()

    @property
    def rank(self) -> tuple[bool, float]:
        """Sort key: the largest z first, models that could not be tested last."""
        return (self.z is None, 0.0 if self.z is None else -self.z)
