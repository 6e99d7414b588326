"""What all tests of a pair of models share: the weights, the aligned residual streams, the wrong orders."""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.lineage.alignment import Alignment
from pipeline.lineage.evidence import Nulls
from pipeline.lineage.pairing import Link, Pair, residual_link
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
    alignments: Mapping[Link, Alignment]
    nulls: Nulls
    seed: int

    def load(self, pair: Pair, axis: str) -> Aligned | None:
        """The pair with its residual axis as columns, `(other axis, U)`, aligned; None if that cannot be."""
        link = residual_link(pair, axis=axis)
        alignment = None if link is None else self.alignments.get(link)
        if link is None or alignment is None:
            return None
        left, right = self.a.load(pair.a), self.b.load(pair.b)
        if axis == "row":
            left, right = left.T, right.T
        left, right = alignment.rows(left.T, right.T)
        return Aligned(left.T, right.T, str(link[0]), alignment)
