"""The problem of the pointwise kinds: batches of weights from the flat index of all tensors of a slot.

S = slots, P = points, D = coordinate dims.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from pipeline.fit.compiling import PointLosses, compiled, pays_to_compile
from pipeline.fit.networks import make_pointwise
from pipeline.fit.problem import Draw, Sample, depth_coordinate, generator_for, role_coordinate
from pipeline.fit.sharded_loss import Found, add_up, differentiated, with_gradients
from pipeline.fit.sizing import NetworkSize
from pipeline.settings import FitSettings
from zoo.tensors import TensorSpec

__all__ = ["PointwiseProblem"]

UNITS_PER_SHARD = 1 << 19
"""On a CPU a batch is cut into shards of this many values of the widest layer, a MiB in bfloat16,"""
POINTS_PER_SHARD = 1 << 12
"""and of at most this many points, so that a narrow network is work for more than one core."""
POINTS_PER_CHUNK = 1 << 16
"""Points evaluated at once, over all slots."""
POINTS_PER_EVALUATION = 1 << 20
"""A pointwise DNA is judged on at most this many weights of a tensor; the report then gives an interval."""
POINTS_PER_SAMPLE = 1 << 12
"""Weights that stand for all of a slot while a network is trained."""


class PointwiseProblem:
    """Pointwise fitting: batches of weights drawn from the flat index of all tensors of a slot."""

    is_sampled = True

    def __init__(
        self,
        values: Tensor,
        specs: Sequence[TensorSpec],
        settings: FitSettings,
        *,
        with_place: bool,
        means: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        """`values` (S, P) float32: the tensors `specs`, canonical, flattened and concatenated.

        - `with_place` adds depth and role to the coordinates (D = 4 in place of 2), for one DNA of many tensors.
        - `means`: row means and column means of all tensors, concatenated (S, rows) and (S, cols), in the units of the
          values, from which they were taken away.
        """
        device = values.device
        self.values = values
        self.num_slots, self.num_weights = values.shape
        self.batch_size = min(settings.batch_size, self.num_weights)
        self.shard_size = self.batch_size
        self.is_sharded = device.type == "cpu" and settings.precision != "fp16"  # fp16 is scaled on the way back.
        self.is_to_compile = self.must_compile = False
        self.full_shard_losses: PointLosses = self.point_losses
        self.steps_per_epoch = math.ceil(self.num_weights / self.batch_size)
        self.sizes = tuple(spec.num_weights for spec in specs)
        sizes = torch.tensor(self.sizes)
        self.ends = torch.cumsum(sizes, 0).to(device)
        self.starts = self.ends - sizes.to(device)
        self.rows = torch.tensor([spec.rows for spec in specs], device=device)
        self.cols = torch.tensor([spec.cols for spec in specs], device=device)
        self.tensor_coords = torch.tensor([[depth_coordinate(s), role_coordinate(s)] for s in specs], device=device)
        self.with_place, self.means = with_place, means
        self.first_rows, self.first_cols = (torch.cumsum(count, 0) - count for count in (self.rows, self.cols))

    @property
    def num_parts(self) -> int:
        return len(self.sizes)

    def part_size(self, part: int) -> int:
        return self.sizes[part]

    def build(self, size: NetworkSize, settings: FitSettings, generators: Sequence[torch.Generator]) -> nn.Module:
        sines = size.hidden_dim * size.num_layers * self.values.numel() * settings.epochs
        pays = settings.compile == "auto" and pays_to_compile(self.values.device.type, sines)
        self.must_compile = settings.compile == "on"
        self.is_to_compile = self.must_compile or pays
        self.shard_size = self._shard_size(size)
        return make_pointwise(
            settings.dna_type,
            generators,
            in_dim=4 if self.with_place else 2,
            hidden_dim=size.hidden_dim,
            num_layers=size.num_layers,
            omega=settings.omega,
        )

    def _shard_size(self, size: NetworkSize) -> int:
        """Points of a shard; where they are compiled, all shards but perhaps a small last one are of one size."""
        if not self.is_sharded:
            return self.batch_size
        most = min(max(UNITS_PER_SHARD // (self.num_slots * size.hidden_dim), 1), POINTS_PER_SHARD)
        if not self.is_to_compile:
            return most
        halvings = max(math.ceil(math.log2(self.batch_size / most)), 0)
        return max(self.batch_size >> halvings, 1)

    def coordinates(self, index: Tensor) -> Tensor:
        """Flat indices (P,) int64 -> coordinates (P, D) float32 in [-1, 1]: row, column and, if asked, depth, role."""
        part, row, col = self._places(index)
        x = 2 * row / (self.rows[part] - 1).clamp(min=1) - 1
        y = 2 * col / (self.cols[part] - 1).clamp(min=1) - 1
        coords = torch.stack([x, y], dim=1)
        return torch.cat([coords, self.tensor_coords[part]], dim=1) if self.with_place else coords

    def _places(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tensor, row and column, (P,) int64 each, at these flat indices (P,)."""
        part = torch.searchsorted(self.ends, index, right=True)
        local, cols = index - self.starts[part], self.cols[part]
        row = torch.div(local, cols, rounding_mode="floor")
        return part, row, local - row * cols

    def _complete(self, values: Tensor, index: Tensor) -> Tensor:
        """Values (S, P) at these flat indices, with the means that were taken away."""
        if self.means is None:
            return values
        part, row, col = self._places(index)
        return values + self.means[0][:, self.first_rows[part] + row] + self.means[1][:, self.first_cols[part] + col]

    def _evaluate(self, net: nn.Module, index: Tensor) -> Tensor:
        coords = self.coordinates(index).expand(self.num_slots, -1, -1)
        return net(coords).float()  # type: ignore[no-any-return]

    def point_losses(self, net: nn.Module, index: Tensor) -> Tensor:
        """The part of a batch's losses, (S,), that comes from the weights at these flat indices (P,) int64."""
        return (self._evaluate(net, index) - self.values[:, index]).square().sum(dim=1) / self.batch_size

    def loss(self, net: nn.Module, draw: Draw) -> Tensor:
        index = draw.indices(self.num_weights, self.batch_size)
        if not (torch.is_grad_enabled() and any(parameter.requires_grad for parameter in net.parameters())):
            return self.point_losses(net, index)
        if self.is_to_compile:
            self._compile(net, index[: self.shard_size])
        if not self.is_sharded:
            return self.full_shard_losses(net, index)
        parameters = list(net.parameters())
        found, gradients = self._passes(net, torch.split(index, self.shard_size), self._shard_losses)
        return with_gradients(found, parameters, gradients)

    def _shard_losses(self, net: nn.Module, shard: Tensor) -> Tensor:
        return (self.full_shard_losses if len(shard) == self.shard_size else self.point_losses)(net, shard)

    def _passes(self, net: nn.Module, shards: Sequence[Tensor], losses: PointLosses) -> Found:
        """Forward and back through the shards."""
        run = differentiated(partial(losses, net), list(net.parameters()))
        return add_up(run, shards) if self.is_sharded else run(shards[0])

    def _compile(self, net: nn.Module, shard: Tensor) -> None:
        """Have the losses compiled, once, in the thread that calls them later: torch compiles anew for another."""
        self.is_to_compile = False
        self.full_shard_losses = compiled(
            self.point_losses, lambda losses: self._passes(net, [shard], losses), must=self.must_compile
        )

    def predictions(self, net: nn.Module, part: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        start = sum(self.sizes[:part])
        end = start + self.sizes[part]
        index = torch.arange(start, end, device=self.values.device)
        if end - start > POINTS_PER_EVALUATION:
            chosen = torch.randint(start, end, (POINTS_PER_EVALUATION,), generator=generator_for(seed, part))
            index = chosen.to(self.values.device)
        for chunk in torch.split(index, max(POINTS_PER_CHUNK // self.num_slots, 1)):
            values = self._complete(self.values[:, chunk], chunk)
            yield values, self._complete(self._evaluate(net, chunk), chunk)

    def sampler(self, seed: int) -> Callable[[nn.Module], tuple[Sample, ...]]:
        everything = torch.arange(self.num_weights)
        drawn = torch.randint(self.num_weights, (POINTS_PER_SAMPLE,), generator=generator_for(seed))
        index = (everything if self.num_weights <= POINTS_PER_SAMPLE else drawn).to(self.values.device)
        values, parts = self._complete(self.values[:, index], index), torch.searchsorted(self.ends, index, right=True)
        weight = self.num_weights / len(index)

        def sample(net: nn.Module) -> tuple[Sample, ...]:
            return (
                Sample(
                    values=values,
                    predicted=self._complete(self._evaluate(net, index), index),
                    parts=parts,
                    weight=weight,
                ),
            )

        return sample
