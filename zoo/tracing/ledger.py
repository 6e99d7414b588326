"""What a trace writes down: the axes of every tensor value, and equations between its signs and scales.

Along every atom of an axis a value may change sign, or scale, when the weights behind it do. How it changes is one
unknown for each block and atom of each axis; each operation adds linear equations between unknowns (of exponents:
products add, powers multiply), which `freedom` solves modulo 2 for signs and in rational numbers for scales.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Flag, auto
from typing import Any

from zoo.tracing.axes import Axes, Node

__all__ = ["Equation", "Field", "Ledger", "Spot", "Unknown", "Value", "Window"]


class Field(Flag):
    """What an equation is about."""

    SIGN = auto()
    SCALE = auto()
    BOTH = SIGN | SCALE


@dataclass(eq=False, slots=True)
class Value:
    """A tensor at one moment of the run."""

    number: int
    dims: list[Node]
    parameter: str | None = None
    """Of which it is a view or a copy."""
    is_constant: bool = False
    is_zero: bool = False
    index_of: Node | None = None
    """The axis whose indices the entries are (tokens, chosen experts)."""
    sources: frozenset[str] = frozenset()
    """Matrices of the last product with parameters."""
    note: tuple[Any, ...] = ()
    """What it is in an attention: `("scores", query sources, key sources)`, `("weights", call)`, `("context",)`."""


@dataclass(frozen=True, slots=True)
class Spot:
    """An axis of a value."""

    value: Value
    dim: int


@dataclass(frozen=True, slots=True)
class Window:
    """Indices `start` to before `start + length` of an axis of a value."""

    spot: Spot
    start: int
    length: int


Unknown = tuple[int, int, int, int]
"""Value, axis, offset of the block in the axis, place of the atom in the block."""


@dataclass(frozen=True, slots=True)
class Equation:
    """Sum of coefficient times unknown is zero, for every atom of the (unified) axes."""

    terms: tuple[tuple[int, Spot], ...]
    field: Field


@dataclass(slots=True)
class Ledger:
    """Axes, values and equations of one trace."""

    axes: Axes = field(default_factory=Axes)
    values: list[Value] = field(default_factory=list)
    equations: list[Equation] = field(default_factory=list)
    windows: list[tuple[Window, Window]] = field(default_factory=list)
    views: list[tuple[Value, Value]] = field(default_factory=list)

    def new(self, dims: Sequence[Node], **facts: Any) -> Value:
        """A value with unknowns of its own."""
        value = Value(len(self.values), list(dims), **facts)
        self.values.append(value)
        return value

    def equate(self, *terms: tuple[int, Spot], field: Field = Field.BOTH) -> None:
        """Add an equation; what constants have is known to be nothing."""
        self.equations.append(Equation(tuple(term for term in terms if not term[1].value.is_constant), field))

    def same(self, first: Spot, second: Spot, field: Field = Field.BOTH) -> None:
        """Both change alike; nothing is said where one is zero everywhere, which may change as it likes."""
        if not (first.value.is_zero or second.value.is_zero):
            self.equate((1, first), (-1, second), field=field)

    def nothing(self, value: Value, dims: Sequence[int] | None = None, field: Field = Field.BOTH) -> None:
        """`value` must not change along `dims` (all of them by default)."""
        if value.is_zero:
            return
        for dim in range(len(value.dims)) if dims is None else dims:
            self.equate((1, Spot(value, dim)), field=field)

    def unknowns(self, spot: Spot) -> Iterator[tuple[Unknown, Node]]:
        """The unknowns of an axis and their atoms, once the structure of all axes is known."""
        for block in self.axes.blocks(spot.value.dims[spot.dim]):
            for place, atom in enumerate(block.atoms):
                yield (spot.value.number, spot.dim, block.offset, place), atom
