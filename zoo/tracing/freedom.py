"""Which signs and scales are free: the solutions of a ledger's equations, modulo 2 and in rational numbers."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from itertools import product

from zoo.tracing.axes import Node
from zoo.tracing.ledger import Field, Ledger, Spot, Unknown, Value, Window

__all__ = ["Scheme", "find_schemes"]

Scheme = Mapping[Unknown, Fraction]
"""Exponent of an index's sign or scale, for each unknown; those that are nothing are left out."""
Row = dict[Unknown, Fraction]
MOST_BLOCKS = 4096


def find_schemes(ledger: Ledger, field: Field, wanted: Iterable[Value]) -> dict[Node, list[Scheme]]:
    """Atom -> independent ways to change sign (or scale) along it, as far as the values `wanted` show them."""
    modulus = 2 if field is Field.SIGN else None
    rows: defaultdict[Node, list[Row]] = defaultdict(list)
    for atom, row in _rows(ledger, field):
        if reduced := _reduce(row, modulus):
            rows[atom].append(reduced)
    unknowns: defaultdict[Node, list[Unknown]] = defaultdict(list)
    for value in wanted:
        for dim in range(len(value.dims)):
            for unknown, atom in ledger.unknowns(Spot(value, dim)):
                unknowns[atom].append(unknown)
    return {atom: _solutions(rows[atom], names, modulus) for atom, names in unknowns.items()}


def _rows(ledger: Ledger, field: Field) -> Iterator[tuple[Node, Row]]:
    for equation in ledger.equations:
        if field in equation.field and equation.terms:
            columns = [list(ledger.unknowns(spot)) for _, spot in equation.terms]
            if len({tuple(atom for _, atom in column) for column in columns}) > 1:
                yield from _none(unknown for column in columns for unknown in column)
                continue
            for found in zip(*columns, strict=True):
                row: Row = defaultdict(Fraction)
                for (coefficient, _), (unknown, _) in zip(equation.terms, found, strict=True):
                    row[unknown] += coefficient
                yield found[0][1], row
    for first, second in ledger.windows:
        yield from _equal(_in_window(ledger, first), _in_window(ledger, second))
    for one, other in ledger.views:
        yield from _equal(_flat(ledger, one), _flat(ledger, other))


def _none(unknowns: Iterable[tuple[Unknown, Node]]) -> Iterator[tuple[Node, Row]]:
    for unknown, atom in unknowns:
        yield atom, {unknown: Fraction(1)}


Places = dict[int, list[tuple[Unknown | None, Node]]]
"""Offset of a block -> its unknowns, None for those of constants."""


def _equal(first: Places, second: Places) -> Iterator[tuple[Node, Row]]:
    for offset in {*first, *second}:
        one, other = first.get(offset, []), second.get(offset, [])
        if [atom for _, atom in one] != [atom for _, atom in other]:
            yield from _none((unknown, atom) for unknown, atom in one + other if unknown is not None)
            continue
        for (left, atom), (right, _) in zip(one, other, strict=True):
            row = {unknown: Fraction(sign) for unknown, sign in ((left, 1), (right, -1)) if unknown is not None}
            if row:
                yield atom, row


def _in_window(ledger: Ledger, window: Window) -> Places:
    found: Places = defaultdict(list)
    value, dim = window.spot.value, window.spot.dim
    for (number, _, offset, place), atom in ledger.unknowns(window.spot):
        if window.start <= offset < window.start + window.length:
            unknown = None if value.is_constant else (number, dim, offset, place)
            found[offset - window.start].append((unknown, atom))
    return found


def _flat(ledger: Ledger, value: Value) -> Places:
    """The unknowns of all axes by offset in the flattened tensor."""
    sizes = [ledger.axes.size(dim) for dim in value.dims]
    blocks = [ledger.axes.blocks(dim) for dim in value.dims]
    found: Places = {}
    for count, combination in enumerate(product(*blocks)):
        if count > MOST_BLOCKS:
            break
        offset, unknowns = 0, []
        for dim, (block, size) in enumerate(zip(combination, sizes, strict=True)):
            offset = offset * size + block.offset
            for place, atom in enumerate(block.atoms):
                unknown = None if value.is_constant else (value.number, dim, block.offset, place)
                unknowns.append((unknown, atom))
        found[offset] = unknowns
    return found


def _reduce(row: Row, modulus: int | None) -> Row:
    if modulus is None:
        return {unknown: factor for unknown, factor in row.items() if factor}
    return {unknown: Fraction(1) for unknown, factor in row.items() if factor % modulus}


def _solutions(rows: list[Row], names: list[Unknown], modulus: int | None) -> list[Scheme]:
    """A basis of the solutions, projected on `names`."""
    same, rows = _united(rows, modulus)
    pivots: dict[Unknown, Row] = {}
    shown = {same.find(name) for name in names}
    # Unknowns that nobody asks for are eliminated first; short rows first keep all others short.
    for row in sorted(rows, key=len):
        current = _substitute(row, pivots, modulus)
        if current:
            pivot = min(current, key=lambda unknown: (unknown in shown, -unknown[0], unknown))
            factor = current.pop(pivot)
            pivots[pivot] = {unknown: -value / factor for unknown, value in current.items()}
    known = {unknown: _substitute(same.row({unknown: Fraction(1)}), pivots, modulus) for unknown in shown}
    solved = {name: known[same.find(name)] for name in names}
    free = sorted({unknown for row in solved.values() for unknown in row})
    schemes = [{name: row[unknown] for name, row in solved.items() if row.get(unknown)} for unknown in free]
    return [scheme for scheme in schemes if scheme]


NOTHING: Unknown = (-1, -1, -1, -1)
"""Stands for all unknowns that are zero."""


class _Classes:
    """Unknowns that are equal, by union-find: most equations say no more."""

    def __init__(self) -> None:
        self._parent: dict[Unknown, Unknown] = {}

    def find(self, unknown: Unknown) -> Unknown:
        """The one that stands for all that are equal to it."""
        parent = self._parent
        while (above := parent.get(unknown, unknown)) != unknown:
            parent[unknown] = unknown = parent.get(above, above)
        return unknown

    def unite(self, first: Unknown, second: Unknown) -> None:
        # The smaller number stands for both, so that nothing depends on the order of the equations.
        small, large = sorted((self.find(first), self.find(second)))
        if small != large:
            self._parent[large] = small

    def row(self, row: Row) -> Row:
        """The same equation, each unknown replaced by the one that stands for it."""
        found: Row = {}
        for unknown, factor in row.items():
            one = self.find(unknown)
            if one != NOTHING:
                found[one] = found.get(one, Fraction(0)) + factor
        return found


def _united(rows: list[Row], modulus: int | None) -> tuple[_Classes, list[Row]]:
    """Which unknowns are equal or zero, and the equations that say more than that, among those left."""
    same = _Classes()
    left = rows
    while True:
        rest = []
        for row in left:
            current = _reduce(same.row(row), modulus)
            first, *others = current or (NOTHING,)
            if not others:
                same.unite(first, NOTHING)
            elif len(others) == 1 and (modulus == 2 or not sum(current.values())):
                same.unite(first, others[0])
            else:
                rest.append(current)
        if len(rest) == len(left):
            return same, rest
        left = rest


def _substitute(row: Row, pivots: Mapping[Unknown, Row], modulus: int | None) -> Row:
    """`row` without any pivot."""
    current = dict(row)
    while found := next((unknown for unknown in current if unknown in pivots), None):
        factor = current.pop(found)
        for unknown, value in pivots[found].items():
            current[unknown] = current.get(unknown, Fraction(0)) + factor * value
        current = _reduce(current, modulus)
    return current
