"""The algebra of axes: union-find over axes that may be products (reshapes) and sums (concatenations) of others.

A *node* is an axis of some size. Two nodes that are unified have their indices in common, one to one. A node without
structure is an *atom*: any permutation of its indices is a symmetry, unless it is fixed. Structure only ever grows: to
cut a node in two, or to split it in factors, refines it wherever it occurs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product
from math import prod

import numpy as np
from numpy.typing import NDArray

__all__ = ["Axes", "Block", "Node"]

Node = int


@dataclass(frozen=True, slots=True)
class Block:
    """A part of an axis that is a pure product of atoms."""

    atoms: tuple[Node, ...]
    positions: NDArray[np.intp]
    """Places in the axis; one dimension for each atom."""

    @property
    def offset(self) -> int:
        return int(self.positions.flat[0])


class Axes:
    """All nodes of one trace."""

    def __init__(self) -> None:
        self._size: list[int] = []
        self._parent: list[Node] = []
        self._factors: dict[Node, tuple[Node, ...]] = {}
        self._terms: dict[Node, tuple[Node, ...]] = {}
        self._fixed: set[Node] = set()
        self._blocks: dict[Node, list[Block]] = {}
        """What `blocks` has found since the structure last grew."""

    def atom(self, size: int, *, fixed: bool = False) -> Node:
        """A new axis without structure."""
        node = len(self._size)
        self._size.append(size)
        self._parent.append(node)
        if fixed and size > 1:
            self._fixed.add(node)
        return node

    def find(self, node: Node) -> Node:
        """The node that stands for all that `node` is unified with."""
        while self._parent[node] != node:
            self._parent[node] = node = self._parent[self._parent[node]]
        return node

    def size(self, node: Node) -> int:
        return self._size[node]

    def is_fixed(self, atom: Node) -> bool:
        """Whether the order of the indices is real."""
        return self.find(atom) in self._fixed

    def product(self, nodes: Sequence[Node]) -> Node:
        """The axis that runs through all of `nodes`, the last one fastest."""
        factors = tuple(node for node in nodes if self.size(node) > 1)
        if len(factors) == 1:
            return factors[0]
        node = self.atom(prod(self.size(factor) for factor in factors))
        if factors:
            self._factors[node] = factors
        return node

    def sum(self, nodes: Sequence[Node]) -> Node:
        """One axis behind the other."""
        terms = tuple(node for node in nodes if self.size(node) > 0)
        if len(terms) == 1:
            return terms[0]
        node = self.atom(sum(self.size(term) for term in terms))
        if terms:
            self._terms[node] = terms
        return node

    def fix(self, node: Node) -> None:
        """Say that the order of the indices is real."""
        node = self.find(node)
        for part in self._factors.get(node, ()) + self._terms.get(node, ()):
            self.fix(part)
        if node not in self._factors and node not in self._terms and self.size(node) > 1:
            self._fixed.add(node)

    def unify(self, first: Node, second: Node) -> None:
        """Say that index i of one axis is index i of the other.

        Raises `ValueError` for different sizes.
        """
        first, second = self.find(first), self.find(second)
        if first == second:
            return
        if self.size(first) != self.size(second):
            raise ValueError(f"Axes of sizes {self.size(first)} and {self.size(second)} cannot be one.")
        if self.size(first) < 2:
            return
        if self._is_atom(first):
            self._bind(first, second)
        elif self._is_atom(second):
            self._bind(second, first)
        else:
            self._match(first, second)
            first, second = self.find(first), self.find(second)
            if first != second:
                self._parent[second] = first
                self._blocks.clear()

    def cut(self, node: Node, at: int) -> tuple[Node, Node]:
        """The parts of an axis before and from index `at` on."""
        node = self.find(node)
        size = self.size(node)
        if at <= 0 or at >= size:
            empty = self.atom(0)
            return (empty, node) if at <= 0 else (node, empty)
        if node in self._factors:
            return self._cut_product(node, at)
        if node in self._terms:
            return self._cut_sum(node, at)
        fixed = node in self._fixed
        left, right = self.atom(at, fixed=fixed), self.atom(size - at, fixed=fixed)
        self._fixed.discard(node)
        self._terms[node] = (left, right)
        self._blocks.clear()
        return left, right

    def slice(self, node: Node, start: int, stop: int) -> Node:
        """The part from `start` to before `stop`."""
        return self.cut(self.cut(node, stop)[0], start)[1]

    def split(self, node: Node, outer: int) -> tuple[Node, Node]:
        """Factors of sizes `outer` and the rest."""
        node = self.find(node)
        inner = self.size(node) // outer
        if outer == 1:
            return self.atom(1), node
        if inner == 1:
            return node, self.atom(1)
        if node in self._factors:
            taken = self.view([node], [outer, inner])
            return taken[0], taken[1]
        if node in self._terms:
            return self._split_sum(node, outer)
        fixed = node in self._fixed
        parts = self.atom(outer, fixed=fixed), self.atom(inner, fixed=fixed)
        self._fixed.discard(node)
        self._factors[node] = parts
        self._blocks.clear()
        return parts

    def view(self, nodes: Sequence[Node], shape: Sequence[int]) -> list[Node]:
        """The axes after a reshape to `shape`; all fixed where factors and shape have no common refinement."""
        if 0 in shape:
            return [self.atom(size) for size in shape]
        queue = [factor for node in nodes for factor in self._flat(node)]
        taken: list[Node] = []
        for wanted in shape:
            mine: list[Node] = []
            rest = wanted
            while rest > 1:
                factor = queue.pop(0)
                size = self.size(factor)
                if rest % size == 0:
                    mine += [factor]
                    rest //= size
                elif size % rest == 0:
                    outer, inner = self.split(factor, rest)
                    mine += [outer]
                    queue[:0] = self._flat(inner)
                    rest = 1
                else:
                    for node in nodes:
                        self.fix(node)
                    return [self.atom(size, fixed=True) for size in shape]
            taken.append(self.product(mine))
        return taken

    def atoms(self, node: Node) -> list[Node]:
        """The atoms of an axis, as often as they occur."""
        node = self.find(node)
        parts = self._factors.get(node) or self._terms.get(node)
        if parts is None:
            return [node] if self.size(node) > 1 else []
        return [atom for part in parts for atom in self.atoms(part)]

    def blocks(self, node: Node) -> list[Block]:
        """The axis as parts that are pure products; not to be written to."""
        node = self.find(node)
        if node not in self._blocks:
            self._blocks[node] = self._find_blocks(node)
        return self._blocks[node]

    def _find_blocks(self, node: Node) -> list[Block]:
        if self.size(node) == 0:
            return []
        if node in self._terms:
            found, offset = [], 0
            for term in self._terms[node]:
                found += [Block(block.atoms, block.positions + offset) for block in self.blocks(term)]
                offset += self.size(term)
            return found
        if node in self._factors:
            parts = [(self.size(factor), self.blocks(factor)) for factor in self._factors[node]]
            sized = ([(size, block) for block in blocks] for size, blocks in parts)
            return [reduce(_outer, combination)[1] for combination in product(*sized)]
        atoms = (node,) if self.size(node) > 1 else ()
        return [Block(atoms, np.arange(self.size(node)).reshape([self.size(atom) for atom in atoms]))]

    def _is_atom(self, node: Node) -> bool:
        return node not in self._factors and node not in self._terms

    def _bind(self, atom: Node, other: Node) -> None:
        self._parent[atom] = other
        self._blocks.clear()
        if atom in self._fixed:
            self.fix(other)

    def _match(self, first: Node, second: Node) -> None:
        """Unify the parts of two axes with structure."""
        if first in self._factors and second in self._factors:
            self._match_products(first, second)
            return
        summed, other = (first, second) if first in self._terms else (second, first)
        for term in self._terms[summed]:
            piece, other = self.cut(other, self.size(term))
            self.unify(term, piece)

    def _match_products(self, first: Node, second: Node) -> None:
        queues = self._flat(first), self._flat(second)
        while queues[0] and queues[1]:
            one, two = (queue.pop(0) for queue in queues)
            small = min(self.size(one), self.size(two))
            if self.size(one) % small or self.size(two) % small:
                self.fix(first)
                self.fix(second)
                return
            heads = []
            for queue, node in zip(queues, (one, two), strict=True):
                if self.size(node) > small:
                    node, rest = self.split(node, small)
                    queue[:0] = self._flat(rest)
                heads.append(node)
            self.unify(*heads)

    def _flat(self, node: Node) -> list[Node]:
        node = self.find(node)
        if node in self._factors:
            return [factor for part in self._factors[node] for factor in self._flat(part)]
        return [node] if self.size(node) > 1 else []

    def _cut_sum(self, node: Node, at: int) -> tuple[Node, Node]:
        left: list[Node] = []
        right: list[Node] = []
        for term in self._terms[node]:
            before, behind = self.cut(term, at)
            left.append(before)
            right.append(behind)
            at -= self.size(before)
        return self.sum(left), self.sum(right)

    def _cut_product(self, node: Node, at: int) -> tuple[Node, Node]:
        first, *others = self._factors[node]
        rest = self.product(others)
        whole, part = divmod(at, self.size(rest))
        before, behind = self.cut(first, whole)
        if part == 0:
            return self.product([before, rest]), self.product([behind, rest])
        behind = self.cut(behind, 1)[1]
        left, right = self.cut(rest, part)
        first_terms = [self.product([before, rest])] if self.size(before) else []
        last_terms = [self.product([behind, rest])] if self.size(behind) else []
        return self.sum([*first_terms, left]), self.sum([right, *last_terms])

    def _split_sum(self, node: Node, outer: int) -> tuple[Node, Node]:
        inner = self.size(node) // outer
        if any(self.size(term) % inner for term in self._terms[node]):
            self.fix(node)
            return self.atom(outer, fixed=True), self.atom(inner, fixed=True)
        parts = [self.split(term, self.size(term) // inner) for term in self._terms[node]]
        for part in parts[1:]:
            self.unify(parts[0][1], part[1])
        return self.sum([part[0] for part in parts]), parts[0][1]


def _outer(first: tuple[int, Block], second: tuple[int, Block]) -> tuple[int, Block]:
    (size, one), (other, two) = first, second
    positions = one.positions.reshape((*one.positions.shape, *(1,) * two.positions.ndim)) * other + two.positions
    return size * other, Block(one.atoms + two.atoms, positions)
