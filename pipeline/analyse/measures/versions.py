"""What is asked of whoever takes statistics, and what the answer is."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.additive import WhichMeans
from pipeline.analyse.statistics.clusters import Clusters
from pipeline.arrays import Float32, Float64
from pipeline.nulls import NullKind
from zoo.tensors import TensorSpec

__all__ = ["Found", "Measures", "Version", "which_means"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Version:
    """A matrix of which statistics are taken: that of a tensor, a null, another sample of its rows."""

    spec: TensorSpec
    kinds: tuple[NullKind, ...]
    """Which: those whose null is of this kind."""
    num_rows: int
    """Of the matrix: all of the tensor's, or as many as are sampled."""
    make: Callable[[], Float32]
    """Gives the matrix; called by any thread, once unless memory runs out."""
    is_canonical: bool = False
    """Whether it is in canonical order already. Else it is put into it where a statistic asks for it."""
    singular: Float64 | None = None
    """Its singular values, where they are known."""

    @property
    def needs_order(self) -> bool:
        """Frequencies depend on the order, and where the signs of the rows are arbitrary so do clusters: an order sets
        these signs, and rows of one direction with signs at random are in no cluster."""
        spec = self.spec
        has_signs = spec.row_axis.is_sign_free or spec.free_row_signs
        return ("shuffle" in self.kinds or ("rotate" in self.kinds and has_signs)) and not self.is_canonical


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """What was found in a version."""

    statistics: Mapping[str, float]
    clusters: Clusters | None = None
    """Of its rows, where clusters were asked for."""


class Measures(Protocol):
    """Takes statistics."""

    def groups(self, specs: Sequence[TensorSpec], max_rows: int) -> Iterator[Sequence[TensorSpec]]:
        """Which matrices are analysed together; at most `max_rows` rows of each."""

    def of(self, versions: Sequence[Version]) -> list[Found]:
        """The statistics of versions of matrices of one group, in their order."""


def which_means(spec: TensorSpec) -> WhichMeans:
    """Which means say something: where the signs of the columns are arbitrary a row has no mean, and vice versa."""
    return {
        "rows": not (spec.col_axis.is_sign_free or spec.free_col_signs),
        "cols": not (spec.row_axis.is_sign_free or spec.free_row_signs),
    }
