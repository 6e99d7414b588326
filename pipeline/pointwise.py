"""The problem of the pointwise kinds: batches of weights from the flat index of all tensors of a slot.

S = slots, P = points, D = coordinate dims.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from pipeline.dna import make_pointwise
from pipeline.problem import depth_coordinate, generator_for, role_coordinate
from pipeline.settings import FitSettings
from pipeline.shapes import DnaShape
from zoo.tensors import TensorSpec

__all__ = ["PointwiseProblem"]

POINTS_PER_CHUNK = 1 << 16
"""Points evaluated at once, over all slots."""
POINTS_PER_EVALUATION = 1 << 20
"""A pointwise DNA is judged on at most this many weights of a tensor; the report then gives an interval."""


class PointwiseProblem:
    """Pointwise fitting: batches of weights drawn from the flat index of all tensors of a slot."""

    def __init__(self, values: Tensor, specs: Sequence[TensorSpec], settings: FitSettings, *, with_place: bool) -> None:
        """`values` (S, P) float32: the tensors `specs`, canonical, flattened and concatenated.

        `with_place` adds depth and role to the coordinates (D = 4 in place of 2), for one DNA of many tensors.
        """
        device = values.device
        self.values = values
        self.num_slots, self.num_weights = values.shape
        self.batch_size = min(settings.batch_size, self.num_weights)
        self.steps_per_epoch = math.ceil(self.num_weights / self.batch_size)
        sizes = torch.tensor([spec.num_weights for spec in specs])
        self.ends = torch.cumsum(sizes, 0).to(device)
        self.starts = self.ends - sizes.to(device)
        self.rows = torch.tensor([spec.rows for spec in specs], device=device)
        self.cols = torch.tensor([spec.cols for spec in specs], device=device)
        self.places = torch.tensor([[depth_coordinate(s), role_coordinate(s)] for s in specs], device=device)
        self.with_place = with_place

    @property
    def num_parts(self) -> int:
        return len(self.ends)

    def part_size(self, part: int) -> int:
        return int(self.ends[part] - self.starts[part])

    def build(self, shape: DnaShape, settings: FitSettings, generators: Sequence[torch.Generator]) -> nn.Module:
        return make_pointwise(
            settings.dna_type,
            generators,
            in_dim=4 if self.with_place else 2,
            hidden_dim=shape.hidden_dim,
            num_layers=shape.num_layers,
            omega=settings.omega,
        )

    def coordinates(self, index: Tensor) -> Tensor:
        """Flat indices (P,) int64 -> coordinates (P, D) float32 in [-1, 1]: row, column and, if asked, depth, role."""
        part = torch.searchsorted(self.ends, index, right=True)
        local, cols = index - self.starts[part], self.cols[part]
        row = torch.div(local, cols, rounding_mode="floor")
        x = 2 * row / (self.rows[part] - 1).clamp(min=1) - 1
        y = 2 * (local - row * cols) / (cols - 1).clamp(min=1) - 1
        coords = torch.stack([x, y], dim=1)
        return torch.cat([coords, self.places[part]], dim=1) if self.with_place else coords

    def _evaluate(self, net: nn.Module, index: Tensor) -> Tensor:
        coords = self.coordinates(index).expand(self.num_slots, -1, -1)
        return net(coords).float()  # type: ignore[no-any-return]

    def loss(self, net: nn.Module, generator: torch.Generator) -> Tensor:
        index = torch.randint(self.num_weights, (self.batch_size,), generator=generator).to(self.values.device)
        return (self._evaluate(net, index) - self.values[:, index]).square().mean(dim=1)

    def predictions(self, net: nn.Module, part: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        start, end = int(self.starts[part]), int(self.ends[part])
        index = torch.arange(start, end, device=self.values.device)
        if end - start > POINTS_PER_EVALUATION:
            chosen = torch.randint(start, end, (POINTS_PER_EVALUATION,), generator=generator_for(seed, part))
            index = chosen.to(self.values.device)
        for chunk in torch.split(index, max(POINTS_PER_CHUNK // self.num_slots, 1)):
            yield self.values[:, chunk], self._evaluate(net, chunk)
