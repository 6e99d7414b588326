"""Proof by running: every symmetry that was derived is applied at random, and the outputs must follow.

And the other way round: what the derivation forbids must change the outputs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import inf, isfinite
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zoo.tracing.axes import Axes, Block, Node
from zoo.tracing.derive import Derivation, Group, Kind, Member, followed, output_tensors
from zoo.tracing.ledger import Value
from zoo.tracing.sizes import KEPT_TOKENS

__all__ = ["KEPT_TOKENS", "TOLERANCE", "Proof", "prove"]

TOLERANCE = 1e-9
"""Largest difference of outputs in float64, relative to the largest of their numbers."""
CHANGED = 1e-7
"""Outputs that differ by so much have changed."""
EPSILON = float(np.finfo(np.float64).eps)
ROUNDINGS = 10.0
"""Times the change of the outputs that one unit in the last place of each weight makes: a model that amplifies rounding
cannot be held to less."""


@dataclass(slots=True)
class Proof:
    """What came out."""

    error: float
    """Of all symmetries at once."""
    sign_error: float
    scale_error: float
    checked: int = 0
    """Changes that the derivation forbids and that were tried."""
    missed: list[str] = field(default_factory=list)
    """Those that did not change any output: symmetries that the derivation does not know."""
    rounding: float = 0.0
    """Change of the outputs by rounding; looked at where an error is above `TOLERANCE` and no change yet."""

    @property
    def worst(self) -> float:
        errors = (self.error, self.sign_error, self.scale_error)
        return max(errors) if all(map(isfinite, errors)) else inf

    @property
    def holds(self) -> bool:
        return self.worst <= max(TOLERANCE, min(ROUNDINGS * self.rounding, CHANGED))


@dataclass(slots=True)
class _Change:
    """A random element of the symmetry group."""

    orders: dict[Node, NDArray[np.intp]] = field(default_factory=dict)
    """Atom -> indices; axes in front are those of the groups it is nested in."""
    factors: dict[int, list[tuple[tuple[int, int, int], float, NDArray[np.float64]]]] = field(default_factory=dict)
    """Number of a value -> axis, offset and place of an atom; the exponent there; the factor of each index."""
    nests: Mapping[Node, tuple[Node, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Lone:
    """One member of a group, to be permuted without the others."""

    group: Group
    member: Member

    @property
    def parameter(self) -> str:
        return self.member.parameter

    @property
    def what(self) -> str:
        return f"{self.parameter} axis {self.member.axis} ({self.group.kind}, {self.group.size})"

    def permuted(self, tensor: Tensor, rng: np.random.Generator) -> Tensor:
        """With the indices in another order."""
        size = self.group.size
        positions = np.moveaxis(self.member.block.positions, self.member.place, 0)
        order = np.roll(np.arange(size), 1) if size < 4 else rng.permutation(size)
        index = np.arange(tensor.shape[self.member.axis])
        index[positions.reshape(-1)] = positions[order].reshape(-1)
        return tensor.index_select(self.member.axis, torch.from_numpy(index))

    def with_noise(self, tensor: Tensor, rng: np.random.Generator) -> Tensor:
        """With other values in this part."""
        chosen = torch.from_numpy(self.member.block.positions.reshape(-1))
        noise = torch.from_numpy(rng.standard_normal(tensor.shape)).index_select(self.member.axis, chosen)
        return tensor.index_add(self.member.axis, chosen, noise)


def prove(
    derivation: Derivation,
    model: nn.Module,
    run: Callable[[], Any],
    *,
    tokens: Sequence[Tensor],
    rng: np.random.Generator,
    tries: int = 24,
) -> Proof:
    """Try the symmetries of `derivation` on the model itself, which is left as it was."""
    tensors = followed(model)
    before = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    expected = _run(run)
    ids = [tensor.clone() for tensor in tokens]

    def error_of(change: _Change) -> float:
        _set(
            tensors,
            {name: _applied(derivation.axes, derivation.parameters[name], before[name], change) for name in before},
        )
        _set_tokens(derivation, tokens, ids, change)
        found = _run(run)
        pairs = zip(expected, derivation.outputs, strict=True)
        wanted = [old if value is None else _applied(derivation.axes, value, old, change) for old, value in pairs]
        return _difference(found, wanted)

    def matters(lone: _Lone) -> bool:
        """Whether this part of a parameter has any effect: the bias of keys, for one, has none behind a softmax."""
        _set(tensors, {**before, lone.parameter: lone.with_noise(before[lone.parameter], rng)})
        return _difference(_run(run), expected) >= CHANGED

    try:
        moved = _random_change(derivation, rng)
        flipped = _random_change(derivation, rng, kind="signs")
        scaled = _random_change(derivation, rng, kind="scales")
        proof = Proof(error_of(moved), error_of(flipped), error_of(scaled))
        _set_tokens(derivation, tokens, ids, _Change())
        if TOLERANCE < proof.worst < CHANGED:
            _set(tensors, {name: _rounded(tensor, rng) for name, tensor in before.items()})
            proof.rounding = _difference(_run(run), expected)
        for lone in _forbidden(derivation, rng, tries):
            _set(tensors, {**before, lone.parameter: lone.permuted(before[lone.parameter], rng)})
            proof.checked += 1
            if _difference(_run(run), expected) < CHANGED and matters(lone):
                proof.missed.append(lone.what)
        return proof
    finally:
        _set(tensors, before)
        _set_tokens(derivation, tokens, ids, _Change())


def _run(run: Callable[[], Any]) -> list[Tensor]:
    with torch.no_grad():
        return [tensor.detach().clone() for tensor in output_tensors(run())]


def _set(tensors: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(values[name])


def _rounded(tensor: Tensor, rng: np.random.Generator) -> Tensor:
    """With one unit in the last place more or less in each number."""
    return tensor * torch.from_numpy(np.asarray(1 + rng.choice([-EPSILON, EPSILON], tuple(tensor.shape))))


def _set_tokens(derivation: Derivation, tokens: Sequence[Tensor], ids: Sequence[Tensor], change: _Change) -> None:
    """Rename the tokens as the rows of their embedding have moved."""
    for tensor, old in zip(tokens, ids, strict=True):
        node = None if derivation.tokens is None else derivation.axes.find(derivation.tokens)
        if node is not None and node in change.orders:
            names = torch.from_numpy(np.argsort(change.orders[node]))
            tensor.copy_(names[old])
        else:
            tensor.copy_(old)


def _difference(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    worst = 0.0
    for one, other in zip(found, wanted, strict=True):
        if one.shape != other.shape:
            return float("inf")
        if one.numel():
            scale = float(other.nan_to_num(0, 0, 0).abs().max()) or 1.0
            apart = (one - other).abs()
            apart = torch.where(one == other, 0.0, apart)
            worst = max(worst, float(apart.nan_to_num(torch.inf).max()) / scale)
    return worst


def _random_change(derivation: Derivation, rng: np.random.Generator, kind: str = "") -> _Change:
    """Permutations of everything that may be permuted; or signs, or scales, of everything that is free."""
    axes = derivation.axes
    change = _Change(nests={group.atom: group.nested_in for group in derivation.groups})
    for group in derivation.groups:
        lead = [axes.size(atom) for atom in group.nested_in]
        if not kind and group.can_permute:
            change.orders[group.atom] = _orders(group, lead, rng)
        for scheme in getattr(group, kind) if kind else ():
            shape = (*lead, group.size)
            factors = rng.choice([-1.0, 1.0], shape) if kind == "signs" else np.exp2(rng.integers(-1, 2, shape))
            for (number, *spot), exponent in scheme.items():
                entry = (spot[0], spot[1], spot[2]), float(exponent), factors
                change.factors.setdefault(number, []).append(entry)
    return change


def _orders(group: Group, lead: Sequence[int], rng: np.random.Generator) -> NDArray[np.intp]:
    kept = KEPT_TOKENS if group.kind is Kind.VOCABULARY else 0
    rows = np.tile(np.arange(group.size), (*lead, 1))
    rows[..., kept:] = rng.permuted(rows[..., kept:], axis=-1)
    return rows


def _applied(axes: Axes, value: Value, tensor: Tensor, change: _Change) -> Tensor:
    """The tensor after the change, part by part."""
    if not tensor.ndim or not tensor.numel():
        return tensor
    old = tensor.numpy()
    new = old.copy()
    for blocks in product(*(axes.blocks(node) for node in value.dims)):
        places = np.ix_(*(block.positions.reshape(-1) for block in blocks))
        atoms = [atom for block in blocks for atom in block.atoms]
        shape = [axes.size(atom) for atom in atoms]
        part = old[places].reshape(shape)
        grid = list(np.ogrid[tuple(slice(size) for size in shape)])
        part = part[tuple(_moved(change, atoms, grid, place) for place in range(len(atoms)))] if atoms else part
        part = part * _factor(change, value, blocks, atoms, grid)
        new[places] = part.reshape(new[places].shape)
    return torch.from_numpy(new)


def _moved(change: _Change, atoms: Sequence[Node], grid: Sequence[Any], place: int) -> Any:
    atom = atoms[place]
    if atom not in change.orders:
        return grid[place]
    return change.orders[atom][(*_outside(change, atoms, grid, place), grid[place])]


def _outside(change: _Change, atoms: Sequence[Node], grid: Sequence[Any], place: int) -> list[Any]:
    """Indices of the groups that an atom is nested in; where one occurs twice, of the one just before the atom."""
    found = []
    for outer in change.nests.get(atoms[place], ()):
        places = [number for number, atom in enumerate(atoms) if atom == outer]
        found.append(grid[max((number for number in places if number < place), default=places[0])])
    return found


def _factor(change: _Change, value: Value, blocks: Sequence[Block], atoms: Sequence[Node], grid: Sequence[Any]) -> Any:
    """What a part of a value is multiplied by."""
    result: Any = 1.0
    if value.number not in change.factors:
        return result
    spots = [(dim, block.offset, number) for dim, block in enumerate(blocks) for number in range(len(block.atoms))]
    for spot, exponent, factors in change.factors[value.number]:
        if spot in spots:
            place = spots.index(spot)
            result = result * factors[(*_outside(change, atoms, grid, place), grid[place])] ** exponent
    return result


def _forbidden(derivation: Derivation, rng: np.random.Generator, tries: int) -> list[_Lone]:
    """Permutations of one axis of one parameter alone: of a group with other members, or of an axis of real order."""
    found = []
    for group in derivation.groups:
        if group.kind is Kind.UNUSED or (group.can_permute and len(group.members) < 2):
            continue
        found += [_Lone(group, member) for member in group.members]
    return [found[number] for number in rng.permutation(len(found))[:tries]]
