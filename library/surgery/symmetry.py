"""Changes of a network's weights that leave its function: permutations, signs and rotations of groups of axes.

A group of axes (`zoo.tracing.derive.Group`) runs through several tensors; a change moves its indices in all of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from zoo.tracing.axes import Node
from zoo.tracing.derive import Derivation, Group, Kind

__all__ = ["Arrays", "Change", "Doubles", "Indices", "Network", "Part"]

Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Arrays = Mapping[str, Doubles]
"""Name of a tensor -> its values."""
MATCHED = (Kind.RESIDUAL, Kind.HEADS, Kind.WITHIN_HEAD, Kind.HIDDEN, Kind.CHANNEL)
"""Kinds of groups whose order is arbitrary; that of tokens and labels is not, since they have a meaning."""
MOST_SCHEMES = 4


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a tensor whose axes are pure products of groups."""

    number: int
    """Of the tensor's value in the trace."""
    places: tuple[Indices, ...]
    """For each axis of the tensor, the indices in it."""
    atoms: tuple[Node, ...]
    spots: tuple[tuple[int, int, int], ...]
    """For each atom: axis, offset of its block and number within the block."""
    shape: tuple[int, ...]

    def of(self, array: Doubles) -> Doubles:
        """This part of a tensor, one axis for each atom."""
        found: Doubles = array[np.ix_(*self.places)].reshape(self.shape)
        return found

    def put(self, array: Doubles, part: Doubles) -> None:
        """Write this part into a tensor."""
        array[np.ix_(*self.places)] = part.reshape([len(place) for place in self.places])


@dataclass(slots=True)
class Change:
    """An element of the symmetry group; what is not named stays as it is.

    Axes in front are those of the groups a group is nested in (the heads, for dimensions within heads).
    """

    orders: dict[Node, Indices] = field(default_factory=dict)
    """Group -> `(..., size)`: index i comes from index `orders[i]`."""
    signs: dict[Node, tuple[Doubles, ...]] = field(default_factory=dict)
    """Group -> for each of its sign schemes +1 or -1, `(..., size)`, applied behind the order."""
    turns: dict[Node, Doubles] = field(default_factory=dict)
    """Group -> orthogonal matrices `(..., size, size)`, in place of order and signs."""

    def copy(self) -> "Change":
        """Another that may be changed apart."""
        return Change(dict(self.orders), dict(self.signs), dict(self.turns))


class Network:
    """What a trace knows about a network, as parts of tensors and the groups that may be matched."""

    def __init__(self, derivation: Derivation) -> None:
        self.derivation = derivation
        self.groups: Mapping[Node, Group] = {group.atom: group for group in derivation.groups}
        self.parts = {name: tuple(_parts(derivation, name)) for name in derivation.parameters}
        shown = {
            atom
            for value in derivation.outputs
            if value is not None
            for dim in value.dims
            for atom in derivation.axes.atoms(dim)
        }
        self.free = tuple(
            group
            for group in derivation.groups
            # What a model returns has an order that somebody reads.
            if group.can_permute and group.kind in MATCHED and group.atom not in shown
        )
        """Groups whose order is arbitrary."""

    def members(self, group: Group) -> tuple[str, ...]:
        """The tensors that a group runs through."""
        return tuple(dict.fromkeys(member.parameter for member in group.members))

    def schemes(self, group: Group) -> tuple[Any, ...]:
        """The independent sign flips of a group that are tried; none for heads, whose dimensions have their own."""
        return () if group.kind is Kind.HEADS else group.signs[:MOST_SCHEMES]

    def parity(self, group: Group, part: Part, place: int) -> tuple[int, ...]:
        """For each sign scheme of a group, whether it flips this axis of this part."""
        key = (part.number, *part.spots[place])
        return tuple(int(scheme.get(key, 0)) % 2 for scheme in self.schemes(group))

    def can_turn(self, group: Group) -> bool:
        """Whether every orthogonal map of a group leaves the function.

        True for dimensions within heads whose signs and scales are free in every tensor they run through: what stands
        between these tensors is then bilinear, as in `q k^T`. Any function of single values would fix one of the two.
        """
        if group.kind is not Kind.WITHIN_HEAD or len(group.signs) != 1:
            return False
        spots = {
            (part.number, *part.spots[place])
            for name in self.members(group)
            for part in self.parts[name]
            for place, atom in enumerate(part.atoms)
            if atom == group.atom
        }
        return spots <= group.signs[0].keys() and any(spots <= scheme.keys() for scheme in group.scales)

    def changed(self, name: str, array: Doubles, change: Change) -> Doubles:
        """A tensor after a change."""
        new = array.copy()
        for part in self.parts[name]:
            part.put(new, self.moved(part, part.of(array), change))
        return new

    def moved(self, part: Part, values: Doubles, change: Change, *, but: Sequence[int] = ()) -> Doubles:
        """A part after a change, except along the axes `but`."""
        places = [place for place in range(len(part.atoms)) if place not in but]
        turned = [place for place in places if part.atoms[place] in change.turns]
        grid = list(np.ogrid[tuple(slice(size) for size in part.shape)])
        ordered = [place for place in places if part.atoms[place] in change.orders]
        if ordered:
            index = [
                self._order(part, grid, place, change) if place in ordered else grid[place]
                for place in range(len(grid))
            ]
            values = values[tuple(index)]
        for place in places:
            atom = part.atoms[place]
            for flips, signs in zip(self._flips(part, place), change.signs.get(atom, ()), strict=False):
                if flips:
                    values = values * signs[(*self._outside(part, grid, place), grid[place])]
        for place in turned:
            values = self._turned(part, values, place, change.turns[part.atoms[place]])
        return values

    def leads(self, part: Part, place: int) -> list[int]:
        """The axes of a part of the groups that the one at `place` is nested in."""
        found = []
        for outer in self.groups[part.atoms[place]].nested_in:
            places = [number for number, atom in enumerate(part.atoms) if atom == outer]
            # Where a group occurs twice, the occurrence just before counts.
            found.append(max((number for number in places if number < place), default=places[0]))
        return found

    def _flips(self, part: Part, place: int) -> tuple[int, ...]:
        group = self.groups.get(part.atoms[place])
        return () if group is None else self.parity(group, part, place)

    def _outside(self, part: Part, grid: Sequence[Any], place: int) -> list[Any]:
        return [grid[lead] for lead in self.leads(part, place)]

    def _order(self, part: Part, grid: Sequence[Any], place: int, change: Change) -> Any:
        return change.orders[part.atoms[place]][(*self._outside(part, grid, place), grid[place])]

    def _turned(self, part: Part, values: Doubles, place: int, turns: Doubles) -> Doubles:
        letters = [chr(ord("a") + number) for number in range(values.ndim)]
        leads = [letters[lead] for lead in self.leads(part, place)]
        old, new = letters[place], "z"
        out = [new if number == place else letter for number, letter in enumerate(letters)]
        found: Doubles = np.einsum(f"{''.join(leads)}{new}{old},{''.join(letters)}->{''.join(out)}", turns, values)
        return found


def _parts(derivation: Derivation, name: str) -> Iterator[Part]:
    axes, value = derivation.axes, derivation.parameters[name]
    for blocks in product(*(axes.blocks(node) for node in value.dims)):
        atoms = tuple(atom for block in blocks for atom in block.atoms)
        spots = tuple(
            (dim, block.offset, number) for dim, block in enumerate(blocks) for number in range(len(block.atoms))
        )
        places = tuple(block.positions.reshape(-1) for block in blocks)
        yield Part(value.number, places, atoms, spots, tuple(axes.size(atom) for atom in atoms))
