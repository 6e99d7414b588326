"""Weight matching: the change of one network's weights, its function unchanged, that brings them nearest to another's.

Coordinate descent over groups of axes: with all other groups fixed, the best order of one is a linear assignment
(Ainsworth et al. 2023, "Git Re-Basin: Merging models modulo permutation symmetries", algorithm 1). Beyond it: signs,
heads matched by the best match of their dimensions, rotations within heads, and a start from axes whose order means the
same in both models (tokens, positions, pixels, labels).

A = the reference, B = the network to be changed; L = indices of the groups around a nested one, N = units.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np
from scipy.optimize import linear_sum_assignment

from library.surgery.symmetry import Arrays, Change, Doubles, Indices, Network, Part
from zoo.tracing.axes import Node
from zoo.tracing.derive import Group

__all__ = ["Match", "match"]

MOST_SWEEPS = 40
LEAST_GAIN = 1e-10
"""A step that adds less than this share of the weights' squared norm is none."""
Scores = dict[tuple[int, ...], Doubles]
"""Which signs flip a term -> inner products of units of A with units of B, `(L, N, N)`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """How B is changed to lie near A."""

    change: Change
    before: float
    """Cosine of all matched weights of A and B as they are, in [-1, 1]."""
    after: float
    """The same after the change."""


def match(network: Network, a: Arrays, b: Arrays, *, names: Sequence[str], turns: bool = True) -> Match:
    """The best change that is found for B, from two starts: the order of the files, and the axes with a meaning.

    - `names`: tensors that count: trained ones that both have, of one shape. Others follow.
    - `turns`: whether dimensions within heads may be rotated, not only permuted and flipped.
    """
    matcher = _Matcher(network, a, b, frozenset(names), turns=turns)
    scale = float(np.sqrt(matcher.norm(a) * matcher.norm(b))) or 1.0
    before = matcher.total(Change())
    found = [matcher.descend(start) for start in (Change(), matcher.anchored())]
    change, after = max(found, key=lambda each: each[1])
    return Match(change=change, before=before / scale, after=after / scale)


class _Matcher:
    """The weights of a pair, and the steps of the descent."""

    def __init__(self, network: Network, a: Arrays, b: Arrays, names: frozenset[str], *, turns: bool) -> None:
        self.network, self.a, self.b, self.names = network, a, b, names
        free = {group.atom: group for group in network.free}
        self.inner: dict[Node, list[Group]] = defaultdict(list)
        for group in network.free:
            for outer in group.nested_in:
                self.inner[outer].append(group)
        joint = {atom for atom, inner in self.inner.items() if atom in free and self._is_joint(free[atom], inner)}
        together = {group.atom for atom in joint for group in self.inner[atom]}
        # Heads whose dimensions depend on other groups too stay where they are.
        self.steps = [
            group
            for group in network.free
            if group.atom not in together and (group.atom in joint or not self.inner.get(group.atom))
        ]
        self.joint = joint
        self.turned = {group.atom for group in network.free if turns and network.can_turn(group)}

    @staticmethod
    def _is_joint(group: Group, inner: Sequence[Group]) -> bool:
        return not group.nested_in and all(each.nested_in == (group.atom,) for each in inner)

    def norm(self, arrays: Arrays) -> float:
        """Of all weights that count, squared."""
        return float(sum(np.vdot(arrays[name], arrays[name]) for name in self.names))

    def total(self, change: Change, names: Sequence[str] | None = None) -> float:
        """The inner product of A and the changed B."""
        chosen = self.names if names is None else self.names.intersection(names)
        changed = ((name, self.network.changed(name, self.b[name], change)) for name in sorted(chosen))
        return float(sum(np.vdot(self.a[name], values) for name, values in changed))

    def descend(self, change: Change) -> tuple[Change, float]:
        """Match one group after the other until none gains; the change, and the inner product reached."""
        least = LEAST_GAIN * (self.norm(self.a) * self.norm(self.b)) ** 0.5
        for _ in range(MOST_SWEEPS):
            gains = False
            for group in self.steps:
                touched = self._touched(group)
                new = self._matched(group, change, None)
                if self.total(new, touched) > self.total(change, touched) + least:
                    change, gains = new, True
            if not gains:
                break
        return change, self.total(change)

    def anchored(self) -> Change:
        """Groups matched one after the other, each by those tensors alone whose other axes are known already.

        The group with the largest share of such weights comes next.
        """
        change = Change()
        own = {group.atom for group in self.steps} | {inner.atom for atom in self.joint for inner in self.inner[atom]}
        known = set(self.network.groups) - own
        left = list(self.steps)
        while left:
            group = max(left, key=lambda each: self._share_known(each, known))
            if self._share_known(group, known) == 0:
                break
            change = self._matched(group, change, known)
            known |= {group.atom, *self._inside(group)}
            left.remove(group)
        return change

    def _inside(self, group: Group) -> tuple[Node, ...]:
        return tuple(inner.atom for inner in self.inner[group.atom]) if group.atom in self.joint else ()

    def _touched(self, group: Group) -> list[str]:
        groups = [group, *(self.inner[group.atom] if group.atom in self.joint else ())]
        return [name for each in groups for name in self.network.members(each)]

    def _share_known(self, group: Group, known: set[Node]) -> float:
        own = {group.atom, *self._inside(group)}
        sizes = [0.0, 0.0]
        for name in self.names.intersection(self._touched(group)):
            for part in self.network.parts[name]:
                if own.intersection(part.atoms):
                    is_known = known.issuperset(atom for atom in part.atoms if atom not in own)
                    sizes[is_known] += prod(part.shape)
        return sizes[1] / max(sum(sizes), 1.0)

    def _matched(self, group: Group, change: Change, known: set[Node] | None) -> Change:
        """`change` with the best order of `group`; by the parts whose other groups are `known`, or by all."""
        if group.atom in self.joint:
            return self._matched_heads(group, change, known)
        scores: Scores = {}
        for part, left, right, place in self._terms(group, change, known):
            leads = self.network.leads(part, place)
            found = _products(left, right, leads, (place,))
            parity = self.network.parity(group, part, place)
            scores[parity] = scores.get(parity, 0) + found
        new = change.copy()
        if scores:
            lead = tuple(self.network.groups[atom].size for atom in group.nested_in)
            solved = [_solve(_at(scores, number), self.network.schemes(group)) for number in range(prod(lead))]
            self._keep(new, group, lead, [order for _, order, _ in solved], [signs for _, _, signs in solved])
        return new

    def _keep(
        self, change: Change, group: Group, lead: tuple[int, ...], orders: list[Indices], signs: list[list[Doubles]]
    ) -> None:
        shape = (*lead, group.size)
        change.orders[group.atom] = np.stack(orders).reshape(shape)
        flips = range(len(self.network.schemes(group)))
        change.signs[group.atom] = tuple(np.stack([each[k] for each in signs]).reshape(shape) for k in flips)

    def _terms(
        self, group: Group, change: Change, known: set[Node] | None, inside: Group | None = None
    ) -> Iterator[tuple[Part, Doubles, Doubles, int]]:
        """Every part that `group` runs through, of A and of B, where B is changed along all axes but that one.

        - `inside`: a group nested in it, whose axis stays too; without one, parts with such an axis are left out.
        """
        own = {group.atom, *self._inside(group)}
        for name in self.network.members(group):
            for part in self.network.parts[name] if name in self.names else ():
                nested = [place for place, atom in enumerate(part.atoms) if atom in own - {group.atom}]
                wanted = [place for place in nested if inside is not None and part.atoms[place] == inside.atom]
                if known is not None and not known.issuperset(set(part.atoms) - own):
                    continue
                if nested != wanted or len(nested) != (inside is not None):
                    continue
                for place in (place for place, atom in enumerate(part.atoms) if atom == group.atom):
                    if known is not None and part.atoms.count(group.atom) > 1:
                        continue
                    right = self.network.moved(part, part.of(self.b[name]), change, but=(place, *nested))
                    yield part, part.of(self.a[name]), right, place

    def _matched_heads(self, group: Group, change: Change, known: set[Node] | None) -> Change:
        """Heads and their dimensions together: how alike two heads are is the best match of their dimensions."""
        total = np.zeros((group.size, group.size))
        for _, left, right, place in self._terms(group, change, known):
            total += _products(left, right, [], (place,))[0]
        found = {}
        for inner in self.inner[group.atom]:
            scores: Scores = {}
            for part, left, right, place in self._terms(group, change, known, inner):
                own = part.atoms.index(inner.atom)
                parity = self.network.parity(inner, part, own)
                scores[parity] = scores.get(parity, 0) + _pairs(left, right, place, own)
            if scores:
                pairs = [self._solve_inner(inner, _at(scores, number)) for number in range(group.size**2)]
                total += np.array([value for value, _, _ in pairs]).reshape(total.shape)
                found[inner.atom] = inner, pairs
        new = change.copy()
        order = linear_sum_assignment(total, maximize=True)[1]
        new.orders[group.atom] = order
        for atom, (inner, pairs) in found.items():
            chosen = [pairs[head * group.size + other] for head, other in enumerate(order)]
            if atom in self.turned:
                new.turns[atom] = np.stack([turn for _, turn, _ in chosen])
            else:
                self._keep(new, inner, (group.size,), [o for _, o, _ in chosen], [s for _, _, s in chosen])
        return new

    def _solve_inner(self, inner: Group, scores: Scores) -> tuple[float, Indices, list[Doubles]]:
        if inner.atom not in self.turned:
            return _solve(scores, self.network.schemes(inner))
        # The orthogonal matrix with the largest inner product (Schoenemann 1966): U V^T of the singular vectors.
        left, values, right = np.linalg.svd(sum(scores.values()))
        return float(values.sum()), left @ right, []


def _products(left: Doubles, right: Doubles, leads: Sequence[int], places: Sequence[int]) -> Doubles:
    """Inner products of units along `places`, one matrix for each index of `leads`, `(L, N, N)`."""
    first = [*leads, *places]
    order = [*first, *(place for place in range(left.ndim) if place not in first)]
    shape = prod(left.shape[lead] for lead in leads), prod(left.shape[place] for place in places), -1
    if left.ndim == len(first):
        shape = (*shape[:2], 1)
    one, two = (side.transpose(order).reshape(shape) for side in (left, right))
    found: Doubles = one @ two.transpose(0, 2, 1)
    return found


def _pairs(left: Doubles, right: Doubles, heads: int, inner: int) -> Doubles:
    """Inner products of dimensions of every head of A with those of every head of B, `(H * H, N, N)`."""
    num_heads, size = left.shape[heads], left.shape[inner]
    found = _products(left, right, [], (heads, inner)).reshape(num_heads, size, num_heads, size)
    return found.transpose(0, 2, 1, 3).reshape(-1, size, size)


def _at(scores: Scores, number: int) -> Scores:
    return {parity: values[number] for parity, values in scores.items()}


def _solve(scores: Scores, schemes: Sequence[object]) -> tuple[float, Indices, list[Doubles]]:
    """The assignment and signs with the largest sum: the sum, the order, one vector for each scheme."""
    choices = np.array(list(product((0, 1), repeat=len(schemes))), dtype=np.int64)
    options = np.stack(
        [sum(values * (-1.0) ** int(np.dot(parity, choice)) for parity, values in scores.items()) for choice in choices]
    )
    best = options.max(axis=0)
    rows, order = linear_sum_assignment(best, maximize=True)
    chosen = choices[options.argmax(axis=0)[rows, order]]
    return float(best[rows, order].sum()), order, [1.0 - 2.0 * chosen[:, k] for k in range(len(schemes))]
