"""Other checkpoints of the same function: the symmetries of a network, drawn at random.

`permuted` redraws every arbitrary order and sign, `rescaled_units` the scale of units behind a ReLU, `rotated_heads`
the basis inside each head. All read the tables of `symmetries` and return a new state dict for the same class; the
model stays as it is. What a model computes is what comes out of its head: bare hidden states come out permuted.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from transformers import PreTrainedModel

from symmetries import FAMILIES, RESIDUAL, Axis, Family, Parts

__all__ = ["permuted", "rescaled_units", "rotated_heads"]

State = dict[str, torch.Tensor]
Action = Callable[[torch.Tensor, int, Axis], torch.Tensor]
"""(tensor, dimension, what it runs along) -> the tensor moved along that dimension."""

_LARGEST_FACTOR = 4.0


def permuted(model: PreTrainedModel, *, generator: torch.Generator, signs: bool = True) -> State:
    """A state that computes what `model` computes, every arbitrary order redrawn and, with `signs`, every free sign.

    Orders: the residual stream, heads, the units inside each head (one order for query and key, one for value and
    output), inner units of feed-forward pairs, channels with their batch statistics. Raises KeyError for a `model_type`
    without a table and ValueError for a tensor without a rule.
    """
    layout = _layout(model)
    orders, flips = _draw(layout, model, generator, signs)

    def move(tensor: torch.Tensor, dim: int, axis: Axis) -> torch.Tensor:
        moved = tensor.index_select(dim, orders[axis.space]) if axis.space else tensor
        for name in axis.signs if signs else ():
            moved = _scaled(moved, dim, flips[name])
        return moved

    return _moved(model, layout, move)


def rescaled_units(model: PreTrainedModel, generator: torch.Generator) -> State:
    """A state that computes what `model` computes, each unit behind a ReLU scaled: c times what writes it, 1 / c times
    what reads it, c log-uniform in [1/4, 4]. Raises ValueError where the activation is no ReLU.
    """
    activation = getattr(model.config, FAMILIES[model.config.model_type].activation)
    if activation != "relu":
        raise ValueError(f"Units may only be scaled behind a ReLU, not behind {activation!r}.")
    layout = _layout(model)
    factors: State = {}
    for _, size, axis in _parts(layout, model):
        if axis.power and axis.space not in factors:
            exponents = torch.rand(size, generator=generator, dtype=torch.float64) * 2 - 1
            factors[axis.space] = torch.exp(exponents * math.log(_LARGEST_FACTOR))

    def scale(tensor: torch.Tensor, dim: int, axis: Axis) -> torch.Tensor:
        return _scaled(tensor, dim, factors[axis.space] ** axis.power) if axis.power else tensor

    return _moved(model, layout, scale)


def rotated_heads(model: PreTrainedModel, generator: torch.Generator) -> State:
    """A state that computes what `model` computes, with another orthonormal basis inside each head: Haar-random, one
    for query and key, one for value and output. No family here has rotary positions, which would forbid the first.
    """
    layout = _layout(model)
    bases: State = {}
    num_heads = getattr(model.config, "num_attention_heads", 1)
    for _, size, axis in _parts(layout, model):
        if axis.heads and axis.space not in bases:
            bases[axis.space] = _haar(num_heads, size // num_heads, generator)

    def rotate(tensor: torch.Tensor, dim: int, axis: Axis) -> torch.Tensor:
        if not axis.heads:
            return tensor
        bases_of_heads = torch.block_diag(*bases[axis.space])
        turned = tensor.movedim(dim, -1).double() @ bases_of_heads
        return turned.movedim(-1, dim).to(tensor.dtype)

    return _moved(model, layout, rotate)


Layout = dict[str, tuple[Parts, ...]]
"""Name of a tensor -> what its leading axes run along; joined spaces have one name."""


def _layout(model: PreTrainedModel) -> Layout:
    family = FAMILIES[model.config.model_type]
    roots = _roots(family.joins(model))
    return {name: _axes_of(name, family, roots) for name in model.state_dict()}


def _axes_of(name: str, family: Family, roots: dict[str, str]) -> tuple[Parts, ...]:
    for rule in family.rules:
        if match := rule.pattern.fullmatch(name):
            named = [[axis.named(match.groupdict()) for axis in parts] for parts in rule.axes]
            return tuple(tuple(_joined(axis, roots) for axis in parts) for parts in named)
    raise ValueError(f"No rule says what the axes of {name!r} run along.")


def _joined(axis: Axis, roots: dict[str, str]) -> Axis:
    signs = tuple(roots.get(name, name) for name in axis.signs)
    return replace(axis, space=roots.get(axis.space, axis.space), signs=signs)


def _roots(joins: Iterator[tuple[str, str]]) -> dict[str, str]:
    """Name of a space -> the one name of all it is joined with."""
    roots: dict[str, str] = {}
    for first, second in joins:
        kept, gone = roots.setdefault(first, first), roots.setdefault(second, second)
        roots = {name: kept if root == gone else root for name, root in roots.items()}
    return roots


def _parts(layout: Layout, model: PreTrainedModel) -> Iterator[tuple[str, int, Axis]]:
    """(tensor, length, what it runs along) of every part of every axis that is not fixed, in order of the state."""
    for name, tensor in model.state_dict().items():
        for length, parts in zip(tensor.shape, layout[name], strict=False):
            yield from ((name, length // len(parts), axis) for axis in parts if axis.space)


def _draw(layout: Layout, model: PreTrainedModel, generator: torch.Generator, signs: bool) -> tuple[State, State]:
    """Space -> its new order, int64; name of signs -> +1 and -1, float64."""
    orders: State = {}
    flips: State = {}
    num_heads = getattr(model.config, "num_attention_heads", 1)
    # The order of the residual stream, which all layers share, is drawn after that of each layer.
    for _, size, axis in sorted(_parts(layout, model), key=lambda part: part[2].space == RESIDUAL):
        if axis.heads and axis.heads not in orders:
            orders[axis.heads] = torch.randperm(num_heads, generator=generator)
        if axis.space not in orders:
            orders[axis.space] = _order(size, orders.get(axis.heads), generator)
        for name in axis.signs if signs else ():
            if name not in flips:
                flips[name] = torch.randint(0, 2, (size,), generator=generator).double() * 2 - 1
    return orders, flips


def _order(size: int, heads: torch.Tensor | None, generator: torch.Generator) -> torch.Tensor:
    """A random order of `size` units; with `heads`, the heads in that order and the units of each in one of its own."""
    if heads is None:
        return torch.randperm(size, generator=generator)
    width = size // len(heads)
    return torch.cat([head * width + torch.randperm(width, generator=generator) for head in heads])


def _moved(model: PreTrainedModel, layout: Layout, action: Action) -> State:
    """The state with `action` taken on every part of every axis."""
    state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    for name, axes in layout.items():
        for dim, parts in enumerate(axes[: state[name].dim()]):
            pieces = state[name].chunk(len(parts), dim)
            moved = [action(piece, dim, axis) for piece, axis in zip(pieces, parts, strict=True)]
            state[name] = torch.cat(moved, dim)
    return state


def _scaled(tensor: torch.Tensor, dim: int, factors: torch.Tensor) -> torch.Tensor:
    shape = [1] * tensor.dim()
    shape[dim] = -1
    return tensor * factors.to(tensor.dtype).view(shape)


def _haar(count: int, size: int, generator: torch.Generator) -> torch.Tensor:
    """`count` Haar-random orthogonal matrices, float64 (count, size, size): Q of a Gaussian, R's diagonal positive."""
    q, r = torch.linalg.qr(torch.randn(count, size, size, generator=generator, dtype=torch.float64))
    return q * torch.sign(torch.diagonal(r, dim1=1, dim2=2))[:, None, :]
