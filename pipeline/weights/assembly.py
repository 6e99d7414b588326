"""The tensors of a model, however they are written down: one stored tensor each, or several that stand for one.

Each pass takes all tensors by name and gives them back with what it knows put together: quantised weights turned back
(`quantised`), re-parametrised ones multiplied out (`reparametrised`). What no pass knows stays as it is stored. Values
are computed when they are asked for, one tensor at a time.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Protocol

import numpy as np

from pipeline.arrays import Array, Float32
from zoo.layout import Layout
from zoo.tensors import TensorHeader

__all__ = ["DerivedTensor", "Recipe", "StoredTensor", "Tensor", "TensorFile", "Tensors", "assemble", "entry"]


class TensorFile(Protocol):
    """An open file of weights."""

    def chunks(self, header: TensorHeader, size: int) -> Iterator[Float32]: ...

    def array(self, header: TensorHeader, *, exact: bool = False) -> Array: ...

    def entry(self, header: TensorHeader, index: int) -> Array: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredTensor:
    """A tensor as a file has it."""

    header: TensorHeader
    file: TensorFile
    scheme: str | None = None
    """How it was quantised; None for plain numbers."""
    key: str | None = None
    """What it is called among the stored tensors, where that is not its name in the file."""
    index: int | None = None
    """The entry along the first axis, where this is one of a stack."""

    @property
    def sources(self) -> tuple[str, ...]:
        """The stored tensors it is made of."""
        return (self.key or self.header.name,)

    def array(self) -> Array:
        """All values in the tensor's shape: float32, or the integers that are stored."""
        return self.file.array(self.header) if self.index is None else self.file.entry(self.header, self.index)

    def exact(self) -> Array:
        """As `array` of the whole, but float64 where that is stored: all that a copy of it has to hold."""
        return self.file.array(self.header, exact=True)

    def chunks(self, size: int) -> Iterator[Float32]:
        """The values as float32, flat and in order, `size` at a time; not to be written to."""
        return self.file.chunks(self.header, size)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DerivedTensor:
    """A tensor that is computed of others, each time it is asked for."""

    header: TensorHeader
    parts: "tuple[Tensor, ...]"
    make: Callable[..., Array]
    """From the arrays of the parts to the values, float in the header's shape."""
    scheme: str | None = None
    drops: tuple[str, ...] = ()
    """Stored tensors that are accounted for with it, and not read."""
    is_by_entry: bool = False
    """Whether an entry along the first axis is made of the parts' entries there; a part of one value is for all."""
    layout: Layout | None = None
    """Where a matrix lies in the one stored tensor that it is cut from; None where it is computed."""
    cut: "tuple[Tensor, Layout] | None" = None
    """The stack that it is one entry of, computed itself or not, and where it lies there."""
    split: Callable[[Array], tuple[Array, ...]] | None = None
    """From values of this tensor to parts that make them; None where nothing that a model loads is made of parts."""

    @property
    def sources(self) -> tuple[str, ...]:
        return (*dict.fromkeys(name for part in self.parts for name in part.sources), *self.drops)

    def array(self) -> Float32:
        values = np.asarray(self.make(*(part.array() for part in self.parts)), dtype=np.float32)
        return values.reshape(self.header.shape)

    def exact(self) -> Float32:
        """As `array`: what is computed is float32."""
        return self.array()

    def chunks(self, size: int) -> Iterator[Float32]:
        flat = np.ascontiguousarray(self.array()).reshape(-1)
        for start in range(0, flat.size, size):
            yield flat[start : start + size]


Tensor = StoredTensor | DerivedTensor
Tensors = dict[str, Tensor]
"""By name, in the order of the files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How one tensor of the model is made of stored ones."""

    target: str
    """Its name."""
    shape: tuple[int, ...]
    parts: tuple[str, ...]
    make: Callable[..., Array]
    """From the arrays of the parts, in order, to the values in this shape."""
    drops: tuple[str, ...] = ()
    """Stored tensors that are not needed once it is made."""
    scheme: str | None = None
    is_by_entry: bool = False
    """Whether an entry along the first axis is made of the parts' entries there; a part of one value is for all."""
    split: Callable[[Array], tuple[Array, ...]] | None = None
    """From values to arrays of the parts, in order, where a model loads these."""


def entry(tensor: Tensor, index: int) -> Tensor:
    """One entry along the first axis of a stack (n, ...), read by itself where the file allows it.

    Only its `array` and `sources` are for use: a stored one keeps the header of the whole.
    """
    if isinstance(tensor, StoredTensor):
        return replace(tensor, index=index)
    header = replace(tensor.header, shape=tensor.header.shape[1:])
    if tensor.is_by_entry:
        parts = tuple(entry(part, index) if prod(part.header.shape) > 1 else part for part in tensor.parts)
        return replace(tensor, header=header, parts=parts)
    return replace(tensor, header=header, parts=(tensor,), make=lambda whole: whole[index])


def assemble(tensors: Tensors, find: Callable[[str, Tensors], Recipe | None]) -> Tensors:
    """All tensors, with what each recipe makes in the place of its first part.

    - `find(name, tensors)`: the recipe that this name gives away, if any. No stored tensor goes into two of them.
    """
    made: dict[str, Tensor] = {}
    used: set[str] = set()
    for name in tensors:
        recipe = find(name, tensors)
        if recipe is None or used & {*recipe.parts}:
            continue
        parts = tuple(tensors[part] for part in recipe.parts)
        # Where parts are quantised, so is what they make.
        scheme = recipe.scheme or next((part.scheme for part in parts if part.scheme), None)
        header = TensorHeader(name=recipe.target, shape=recipe.shape, dtype="F32")
        made[name] = DerivedTensor(
            header=header,
            parts=parts,
            make=recipe.make,
            scheme=scheme,
            drops=recipe.drops,
            is_by_entry=recipe.is_by_entry,
            split=recipe.split,
        )
        used.update(recipe.parts, recipe.drops)
    targets = {tensor.header.name for tensor in made.values()}
    found: Tensors = {}
    for name, tensor in tensors.items():
        if name in made:
            found[made[name].header.name] = made[name]
        elif name not in used and name not in targets:
            found[name] = tensor
    return found
