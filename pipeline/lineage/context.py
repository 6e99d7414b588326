"""What all tests of a pair of models share: the weights, the aligned residual streams, the wrong orders."""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.lineage.alignment import Alignment
from pipeline.lineage.evidence import Nulls
from pipeline.lineage.pairing import Group, Pair, residual_group
from pipeline.lineage.records import Matrix, ModelWeights

__all__ = ["Aligned", "Context"]


@dataclass(frozen=True, slots=True)
class Aligned:
    """A tensor of both models, one axis in the order of the first model's units that have a partner."""

    a: Matrix
    b: Matrix
    axis: str
    """Names the axis, for its wrong orders."""
    alignment: Alignment


@dataclass(frozen=True, slots=True)
class Context:
    """A pair of models, and how their residual streams are aligned."""

    a: ModelWeights
    b: ModelWeights
    alignments: Mapping[tuple[Group, Group], Alignment]
    nulls: Nulls
    seed: int

    def alignment(self, pair: Pair, axis: str) -> Alignment | None:
        """The alignment of the residual stream along an axis of the pair, None where there is none."""
        group_a, group_b = residual_group(pair.a, axis=axis), residual_group(pair.b, axis=axis)
        return None if group_a is None or group_b is None else self.alignments.get((group_a, group_b))

    def load(self, pair: Pair, axis: str) -> Aligned | None:
        """The pair with its residual axis as columns, `(other axis, U)`, aligned; None if that cannot be."""
        alignment = self.alignment(pair, axis)
        if alignment is None:
            return None
        left, right = self.a.load(pair.a), self.b.load(pair.b)
        if axis == "row":
            left, right = left.T, right.T
        name = str(residual_group(pair.a, axis=axis))
        left, right = alignment.rows(left.T, right.T)
        return Aligned(left.T, right.T, name, alignment)
