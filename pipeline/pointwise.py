"""The problem of the pointwise kinds: batches of weights from the flat index of all tensors of a slot.

S = slots, P = points, D = coordinate dims.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from dna_zoo.errors import SettingsError
from pipeline.dna import Siren, make_pointwise
from pipeline.fused_sine import FusedSirens, SineKernel, compiled_sine_kernel
from pipeline.problem import Sample, depth_coordinate, generator_for, role_coordinate
from pipeline.settings import FitSettings
from pipeline.shapes import DnaShape
from pipeline.sharded_loss import add_up, with_gradients
from zoo.tensors import TensorSpec

__all__ = ["PointwiseProblem"]

UNITS_PER_SHARD = 1 << 19
"""On a CPU a batch is cut into shards of this many values of the widest layer, a MiB in bfloat16."""
COMPILED_FROM = 1e9
"""Sines of a fit from which on compiling the layers pays: it takes a second and saves some nanoseconds a sine."""
POINTS_PER_CHUNK = 1 << 16
"""Points evaluated at once, over all slots."""
POINTS_PER_EVALUATION = 1 << 20
"""A pointwise DNA is judged on at most this many weights of a tensor; the report then gives an interval."""
POINTS_PER_SAMPLE = 1 << 12
"""Weights that stand for all of a slot while a network is trained."""


@contextlib.contextmanager
def _fused(net: nn.Module, kernel: SineKernel | None) -> Iterator[list[tuple[Siren, FusedSirens]]]:
    """The sirens of `net`, with compiled stand-ins meanwhile; none without a kernel."""
    if kernel is None:
        yield []
        return
    sirens = [(module, module.fuse(kernel)) for module in net.modules() if isinstance(module, Siren)]
    try:
        for siren, stand_in in sirens:
            siren.fused = stand_in
        yield sirens
    finally:
        for siren, _ in sirens:
            siren.fused = None


class PointwiseProblem:
    """Pointwise fitting: batches of weights drawn from the flat index of all tensors of a slot."""

    is_sampled = True

    def __init__(self, values: Tensor, specs: Sequence[TensorSpec], settings: FitSettings, *, with_place: bool) -> None:
        """`values` (S, P) float32: the tensors `specs`, canonical, flattened and concatenated.

        `with_place` adds depth and role to the coordinates (D = 4 in place of 2), for one DNA of many tensors.
        """
        device = values.device
        self.values = values
        self.num_slots, self.num_weights = values.shape
        self.batch_size = min(settings.batch_size, self.num_weights)
        self.shard_size = self.batch_size
        self.is_sharded = device.type == "cpu" and settings.precision != "fp16"  # fp16 is scaled on the way back.
        self.kernel: SineKernel | None = None
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
        self.shard_size = max(UNITS_PER_SHARD // (self.num_slots * shape.hidden_dim), 1)
        net = make_pointwise(
            settings.dna_type,
            generators,
            in_dim=4 if self.with_place else 2,
            hidden_dim=shape.hidden_dim,
            num_layers=shape.num_layers,
            omega=settings.omega,
        )
        self.kernel = self._kernel(shape, settings)
        return net

    def _kernel(self, shape: DnaShape, settings: FitSettings) -> SineKernel | None:
        """Compiled sine layers, where they are of use and, if that is left open, worth the time to compile them."""
        if self.values.device.type != "cpu" or settings.precision != "bf16" or settings.compile == "off":
            return None
        sines = shape.hidden_dim * shape.num_layers * self.values.numel() * settings.epochs
        if settings.compile == "auto" and sines < COMPILED_FROM:
            return None
        kernel = compiled_sine_kernel()
        if kernel is None and settings.compile == "on":
            message = "`--compile on` was asked for, and no C compiler made the sine layers."
            raise SettingsError(message, hint="Install one, name it in the variable CC, or use `--compile auto`.")
        return kernel

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

        def losses(shard: Tensor) -> Tensor:
            return (self._evaluate(net, shard) - self.values[:, shard]).square().sum(dim=1) / self.batch_size

        has_gradient = torch.is_grad_enabled() and any(parameter.requires_grad for parameter in net.parameters())
        if not (self.is_sharded and has_gradient):
            return losses(index)
        return self._with_gradients(net, losses, torch.split(index, self.shard_size))

    def _with_gradients(self, net: nn.Module, losses: Callable[[Tensor], Tensor], shards: Sequence[Tensor]) -> Tensor:
        """The losses over all shards, each forward and back at once."""
        with _fused(net, self.kernel) as sirens:
            replaced = {id(parameter) for siren, _ in sirens for parameter in siren.fused_parameters}
            parameters = [parameter for parameter in net.parameters() if id(parameter) not in replaced]
            leaves = [leaf for _, stand_in in sirens for leaf in stand_in.leaves]
            found, gradients = add_up(losses, shards, [*parameters, *leaves])
        known, rest = gradients[: len(parameters)], gradients[len(parameters) :]
        for siren, stand_in in sirens:
            count = len(stand_in.leaves)
            known += stand_in.parameter_gradients(rest[:count])
            parameters += siren.fused_parameters
            rest = rest[count:]
        return with_gradients(found, parameters, known)

    def predictions(self, net: nn.Module, part: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        start, end = int(self.starts[part]), int(self.ends[part])
        index = torch.arange(start, end, device=self.values.device)
        if end - start > POINTS_PER_EVALUATION:
            chosen = torch.randint(start, end, (POINTS_PER_EVALUATION,), generator=generator_for(seed, part))
            index = chosen.to(self.values.device)
        for chunk in torch.split(index, max(POINTS_PER_CHUNK // self.num_slots, 1)):
            yield self.values[:, chunk], self._evaluate(net, chunk)

    def sampler(self, seed: int) -> Callable[[nn.Module], tuple[Sample, ...]]:
        everything = torch.arange(self.num_weights)
        drawn = torch.randint(self.num_weights, (POINTS_PER_SAMPLE,), generator=generator_for(seed))
        index = (everything if self.num_weights <= POINTS_PER_SAMPLE else drawn).to(self.values.device)
        values, parts = self.values[:, index], torch.searchsorted(self.ends, index, right=True)
        weight = self.num_weights / len(index)

        def sample(net: nn.Module) -> tuple[Sample, ...]:
            return (Sample(values=values, predicted=self._evaluate(net, index), parts=parts, weight=weight),)

        return sample
