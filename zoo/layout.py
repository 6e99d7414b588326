"""Where a matrix view lies in the tensor that a file stores: what leads from the view back to the file."""

from dataclasses import dataclass

from zoo.tensors import TensorSpec

__all__ = ["Layout"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The place of a matrix (rows, cols) in a stored tensor.

    The view is taken in this order: the entry `entry` along the first axis of a stack, axes of length 1 dropped and
    the rest transposed if `transposed`, rows `row_slice` of all or of every `row_period`, then the shape (rows, cols).
    """

    tensor: str
    """Name in the file."""
    shape: tuple[int, ...]
    """Of the whole tensor in the file."""
    dtype: str
    """As safetensors names it; F32 for what is computed from other stored tensors (quantised, weight norm)."""
    transposed: bool = False
    row_slice: tuple[int, int] | None = None
    row_period: int | None = None
    entry: int | None = None
    entries: int | None = None
    """How many entries lie one after the other along the first axis, where a stack has no axis for them alone."""

    @property
    def is_part(self) -> bool:
        """Whether the stored tensor holds more than this matrix."""
        return self.row_slice is not None or self.entry is not None

    @classmethod
    def of(cls, spec: TensorSpec, shape: tuple[int, ...]) -> "Layout":
        """Of a spec whose tensor has this shape in the file."""
        return cls(
            tensor=spec.tensor,
            shape=shape,
            dtype=spec.dtype,
            transposed=spec.transposed,
            row_slice=spec.row_slice,
            row_period=spec.row_period,
        )
