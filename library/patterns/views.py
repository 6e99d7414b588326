"""A tensor as the terms of a shared pattern see it: its values, which of its axes are real, and what it is called."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import numpy.typing as npt

from zoo.tensors import CONVOLUTIONS, Axis, Role, TensorKind, TensorSpec

__all__ = ["View", "ViewLoader", "matrix_views", "vector_views"]

Float64 = npt.NDArray[np.float64]
ViewLoader = Callable[[TensorSpec], npt.NDArray[np.float32]]
"""Reads the matrix view (rows, cols) of a spec."""
KERNELS = (*CONVOLUTIONS, Role.PATCH_EMBEDDING)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """One matrix, or one vector of one row."""

    subject: str
    """What tensors of this kind are called in a pattern: the role; for heads with the row axis, for vectors with the
    role of the matrix that they belong to and `weight` or `bias`."""
    spec: TensorSpec
    values: Float64
    """(R, C)."""
    kernel: tuple[int, ...] = ()
    """The sizes of a convolution kernel."""
    entries: npt.NDArray[np.intp] | None = None
    """Of a vector that belongs to several fused matrices: which of its entries are this matrix's."""

    @property
    def num_places(self) -> int:
        """Places along its real axis: positions of a kernel or of a sequence; 0 without one."""
        if self.kernel:
            return prod(self.kernel)
        is_table = self.spec.row_axis is Axis.POSITION and self.spec.col_axis is Axis.RESIDUAL
        return self.values.shape[0] if is_table else 0

    def by_place(self) -> Float64:
        """The values with the real axis first: (places, samples)."""
        if not self.kernel:
            return self.values
        return np.ascontiguousarray(self.values.reshape(-1, self.num_places).T)

    def from_places(self, by_place: Float64) -> "View":
        """With other values, given as `by_place` returns them."""
        values = by_place.T.reshape(self.values.shape) if self.kernel else by_place
        return replace(self, values=np.ascontiguousarray(values))

    def with_values(self, values: Float64) -> "View":
        return replace(self, values=values)


def matrix_views(
    specs: Sequence[TensorSpec], load: ViewLoader, shape_of: Callable[[str], tuple[int, ...]]
) -> Iterator[View]:
    """Every trained matrix whose role is known, in the order of `specs`.

    - `shape_of(tensor)`: the shape in the file.
    """
    for spec in specs:
        if spec.kind is TensorKind.WEIGHT and spec.rows > 1 and spec.cols > 1 and spec.role is not Role.OTHER:
            kernel = _kernel(spec, shape_of(spec.tensor))
            yield View(subject=_subject(spec), spec=spec, values=load(spec).astype(np.float64), kernel=kernel)


def vector_views(specs: Sequence[TensorSpec], load: ViewLoader) -> Iterator[View]:
    """Every trained vector; one of several fused matrices gives a view for each of them."""
    owners: dict[str, list[TensorSpec]] = {}
    for spec in specs:
        if spec.rows > 1 and spec.kind is not TensorKind.BUFFER:
            owners.setdefault(spec.tensor, []).append(spec)
    for spec in specs:
        if spec.kind is TensorKind.WEIGHT and spec.rows == 1:
            values = load(spec).astype(np.float64)
            for subject, entries in _parts(spec, owners):
                own = values if entries is None else values[:, entries]
                yield View(subject=subject, spec=spec, values=own, entries=entries)


def _subject(spec: TensorSpec) -> str:
    return f"{spec.role}/{spec.row_axis}" if spec.role is Role.HEAD else str(spec.role)


def _kernel(spec: TensorSpec, shape: tuple[int, ...]) -> tuple[int, ...]:
    kernel = shape[2:] if spec.role in KERNELS else ()
    return kernel if prod(kernel) > 1 and spec.cols % prod(kernel) == 0 else ()


def _parts(spec: TensorSpec, owners: dict[str, list[TensorSpec]]) -> list[tuple[str, npt.NDArray[np.intp] | None]]:
    """What a vector is called, and which of its entries; a bias is called after its matrix."""
    module, _, parameter = spec.name.rpartition(".")
    kind = "bias" if parameter in ("beta", "bias") or parameter.endswith("_bias") else "weight"
    if spec.role is not Role.BIAS:
        return [(f"{spec.role}.{kind}", None)]
    found = owners.get(f"{module}.{parameter.replace('bias', 'weight')}".lstrip("."), [])
    parts = [(f"{_subject(owner)}.bias", _rows_of(owner, spec.cols)) for owner in found]
    return [(subject, entries) for subject, entries in parts if entries is not None] or [("bias", None)]


def _rows_of(owner: TensorSpec, size: int) -> npt.NDArray[np.intp] | None:
    """Which entries of a bias of `size` belong to the rows of its matrix; None where they cannot."""
    rows = np.arange(size)
    if owner.row_slice is None:
        return rows if owner.rows == size else None
    period = owner.row_period or size
    start, stop = owner.row_slice
    within = rows % period
    chosen = rows[(within >= start) & (within < stop)]
    return chosen if len(chosen) == owner.rows else None
