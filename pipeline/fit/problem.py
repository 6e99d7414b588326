"""What the training loop needs of a stack of DNAs: values, coordinates, and a loss.

A problem has S slots, one network each. With scope `tensor` a slot is one tensor or one of its nulls, and all slots
have one shape; with scope `model` a slot is the whole model or one null of it. Values are standardised, so a loss of
1 is the mean predictor and 1 - loss is R2.

S = slots, G = tensors of one shape in a slot, M = rows, N = columns, P = points.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.fit.sizing import NetworkSize
from pipeline.settings import FitSettings
from zoo.tensors import Role, TensorSpec

__all__ = [
    "Draw",
    "Permutable",
    "Problem",
    "Sample",
    "axis_coordinates",
    "depth_coordinate",
    "generator_for",
    "role_coordinate",
]

ROLE_ORDER = list(Role)
LAST_ROLE = ROLE_ORDER.index(Role.OTHER)
"""Has coordinate 1. Roles that came later lie beyond it, so that those before keep their coordinates."""


def depth_coordinate(spec: TensorSpec) -> float:
    """z in [-1, 1]; the middle where depth has no meaning."""
    return 0.0 if spec.depth is None else 2 * spec.depth - 1


def role_coordinate(spec: TensorSpec) -> float:
    """type in [-1, 1], by the place of the role in the closed set; 1.125 for routers."""
    return 2 * ROLE_ORDER.index(spec.role) / LAST_ROLE - 1


def axis_coordinates(length: int, device: torch.device) -> Tensor:
    """(length,) float32, evenly from -1 to 1."""
    return torch.linspace(-1, 1, length, device=device) if length > 1 else torch.zeros(1, device=device)


def generator_for(*entropy: int) -> torch.Generator:
    """A CPU generator whose stream depends on these non-negative integers alone."""
    state = np.random.SeedSequence(entropy).generate_state(2)
    return torch.Generator().manual_seed(int(state[0]) << 31 ^ int(state[1]))


class Draw(Protocol):
    """The random numbers of one step, where the values are. Every step asks the same in the same order."""

    def indices(self, below: int, count: int) -> Tensor:
        """(count,) int64, evenly from [0, below), with repetitions."""

    def share(self, length: int, parts: int) -> Tensor:
        """Some of the indices of an axis of that length, int64: `parts` steps in a row see different ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Some weights of every slot, standardised, and what the networks say of them, each (S, P) float32."""

    values: Tensor
    predicted: Tensor
    parts: Tensor
    """Which tensor of the slot each is of, (P,) int64."""
    weight: float
    """How many weights one of them stands for."""


class Problem(Protocol):
    """What the training loop needs to know."""

    num_slots: int
    steps_per_epoch: int
    """Steps whose mean loss judges a state of the networks."""
    is_sampled: bool
    """Whether such a mean is of some of the weights alone."""

    @property
    def num_parts(self) -> int:
        """Tensors in one slot."""

    def part_size(self, part: int) -> int:
        """Weights of one tensor."""

    def build(self, size: NetworkSize, settings: FitSettings, generators: Sequence[torch.Generator]) -> nn.Module:
        """The stack to train, on the CPU; the problem prepares for networks of that size."""

    def loss(self, net: nn.Module, draw: Draw) -> Tensor:
        """Mean squared error in standardised units, (S,) float32, on this step's weights.

        On a device nothing in it is read back or copied over once it was called the first time.
        """

    def predictions(self, net: nn.Module, part: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Values and predictions of one tensor, chunk by chunk, each (S, points) float32."""

    def sampler(self, seed: int) -> Callable[[nn.Module], tuple[Sample, ...]]:
        """What gives some weights of every tensor, the same at each call, for a small part of the time of a step."""


@runtime_checkable
class Permutable(Protocol):
    """A problem whose rows and columns may be moved along their axes while networks are trained on it."""

    permutations: list[Tensor]
    """Of the rows, then the columns of each block (S, G, length) int64: the index of the canonical matrix at each
    position. They are the state of the problem."""

    def move(self, net: nn.Module) -> None:
        """Move rows and columns to the positions where these networks fit them best."""

    def arrange(self, permutations: Sequence[Tensor]) -> None:
        """Take over the permutations of a problem whose axes were moved, in one whose were not."""

    def permutations_of(self, part: int, slot: int) -> tuple[Tensor, Tensor]:
        """The row (M,) and column (N,) of the canonical tensor `part` at each position in that slot, int64."""
