"""Input and result of comparing the weights of two models."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from pipeline.arrays import Float32
from zoo.tensors import TensorSpec

__all__ = [
    "CANNOT_SAY",
    "LINEAGE_VERSION",
    "SAME_LINEAGE",
    "Lineage",
    "Matrix",
    "ModelWeights",
    "RoleEvidence",
    "Side",
    "Verdict",
]

Matrix = Float32
Verdict = Literal["the same file", "the same weights", "same lineage", "no evidence", "cannot say"]
Side = Literal["a", "b"]
CANNOT_SAY: Verdict = "cannot say"
SAME_LINEAGE: Verdict = "same lineage"
LINEAGE_VERSION = "8"
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
    """(k + 1) / (n + 1), with k of n wrong alignments at this correlation or above: one-sided. Of chance alone: models
    of a kind that share no weights have smaller ones than that (docs/lineage.md), so no page shows it."""
    num_nulls: int = 0
    tensors: int = 0
    """Tensors tested, of the first model."""
    weights: int = 0
    """Weights in them."""
    in_file_order: bool = False
    """Whether every axis that was aligned turned out to be in the same order in both files."""
    roles: tuple[RoleEvidence, ...] = ()
    older: str | None = None
    """The model that came first, `a` or `b`, and of mined models its key; None where the weights do not tell."""
    direction: str | None = None
    """One clause: why, or that the weights do not tell; None without the verdict *same lineage*."""
    direction_error: float | None = None
    """Of an answer: the largest share of wrong ones that the population allows (95 %)."""

    @property
    def is_related(self) -> bool:
        """Whether the verdict is that the models share weights."""
        return self.verdict not in ("no evidence", CANNOT_SAY)

    @property
    def rank(self) -> tuple[int, float]:
        """Sort key: the same file, the same weights, then the largest z first, models that could not be tested last."""
        if self.z is not None:
            return (2, -self.z)
        return (get_args(Verdict).index(self.verdict), 0.0)
