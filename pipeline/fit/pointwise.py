"""The problem of the pointwise kinds: batches of weights from the flat index of all tensors of a slot.

S = slots, P = points, D = coordinate dims.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from dna_zoo.errors import SettingsError
from pipeline.fit.fused_sirens import FusedSirens, SirenKernel, siren_kernel
from pipeline.fit.networks import PointwiseDna, make_pointwise
from pipeline.fit.problem import Sample, depth_coordinate, generator_for, role_coordinate
from pipeline.fit.sharded_loss import Found, add_up, differentiated, with_gradients
from pipeline.fit.sizing import NetworkSize
from pipeline.settings import FitSettings
from zoo.tensors import TensorSpec

__all__ = ["PointwiseProblem", "compiled"]

PointLosses = Callable[[nn.Module, Tensor], Tensor]

UNITS_PER_SHARD = 1 << 19
"""On a CPU a batch is cut into shards of this many values of the widest layer, a MiB in bfloat16,"""
POINTS_PER_SHARD = 1 << 12
"""and of at most this many points, so that a narrow network is work for more than one core."""
COMPILED_FROM = 5e8
"""Sines of a fit from which on compiling pays: it takes a second or two and saves 5 to 9 ns a sine and core."""
POINTS_PER_CHUNK = 1 << 16
"""Points evaluated at once, over all slots."""
POINTS_PER_EVALUATION = 1 << 20
"""A pointwise DNA is judged on at most this many weights of a tensor; the report then gives an interval."""
POINTS_PER_SAMPLE = 1 << 12
"""Weights that stand for all of a slot while a network is trained."""


def compiled(losses: PointLosses, backend: str = "inductor") -> PointLosses:
    """The losses, forward and back, as kernels that torch's compiler makes of the whole; batches are of one size.

    What is returned raises `SettingsError` when first called where the compiler does not work.
    """
    graph = torch.compile(losses, fullgraph=True, dynamic=False, backend=backend)

    def run(net: nn.Module, index: Tensor) -> Tensor:
        try:
            return graph(net, index)
        except RuntimeError as error:
            if not type(error).__module__.startswith("torch._dynamo"):
                raise
            message = f"`--compile on` was asked for, and torch's compiler failed: {str(error).splitlines()[0]}"
            raise SettingsError(message, hint="Install a C compiler and Triton, or leave `--compile` out.") from error

    return run


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
        self.kernel: SirenKernel | None = None
        self.losses: PointLosses = self.point_losses
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

    def build(self, shape: NetworkSize, settings: FitSettings, generators: Sequence[torch.Generator]) -> nn.Module:
        self.shard_size = min(max(UNITS_PER_SHARD // (self.num_slots * shape.hidden_dim), 1), POINTS_PER_SHARD)
        net = make_pointwise(
            settings.dna_type,
            generators,
            in_dim=4 if self.with_place else 2,
            hidden_dim=shape.hidden_dim,
            num_layers=shape.num_layers,
            omega=settings.omega,
        )
        self.kernel = self._kernel(shape, settings)
        if self.values.device.type == "cuda" and settings.compile == "on":
            self.losses = compiled(self.point_losses)
        return net

    def _kernel(self, shape: NetworkSize, settings: FitSettings) -> SirenKernel | None:
        """Compiled passes, where they are of use and, if that is left open, worth the time to compile them."""
        if self.values.device.type != "cpu" or settings.precision != "bf16" or settings.compile == "off":
            return None
        sines = shape.hidden_dim * shape.num_layers * self.values.numel() * settings.epochs
        if settings.compile == "auto" and sines < COMPILED_FROM:
            return None
        kernel = siren_kernel()
        if kernel is None and settings.compile == "on":
            message = "`--compile on` was asked for, and no C compiler made the passes."
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

    def point_losses(self, net: nn.Module, index: Tensor) -> Tensor:
        """The part of a batch's losses, (S,), that comes from the weights at these flat indices (P,) int64."""
        return (self._evaluate(net, index) - self.values[:, index]).square().sum(dim=1) / self.batch_size

    def loss(self, net: nn.Module, generator: torch.Generator) -> Tensor:
        index = torch.randint(self.num_weights, (self.batch_size,), generator=generator).to(self.values.device)
        has_gradient = torch.is_grad_enabled() and any(parameter.requires_grad for parameter in net.parameters())
        if not (self.is_sharded and has_gradient):
            return self.losses(net, index)
        shards = torch.split(index, self.shard_size)
        if self.kernel is not None:
            return self._fused_loss(self.kernel, cast(PointwiseDna, net), shards)
        parameters = list(net.parameters())
        found, gradients = add_up(differentiated(partial(self.losses, net), parameters), shards)
        return with_gradients(found, parameters, gradients)

    def _fused_loss(self, kernel: SirenKernel, net: PointwiseDna, shards: Sequence[Tensor]) -> Tensor:
        """The losses over all shards. SIRENs and squares are the kernel's, forward and back; torch sees the rest."""
        layers = [siren.layers for siren in net.sirens]
        fused, ratios = FusedSirens(kernel, layers), net.ratios()
        offset = (ratios * torch.cat([siren.out_bias[:, 0] for siren in net.sirens], dim=1)).sum(dim=1)

        def run(shard: Tensor) -> Found:
            coords = self.coordinates(shard)
            omegas = net.frequencies(coords.expand(self.num_slots, -1, -1))
            relative = [
                None if omega is None else omega[..., 0] / siren.omega
                for omega, siren in zip(omegas, net.sirens, strict=True)
            ]
            found = fused.loss(coords, self.values[:, shard], relative, ratios, offset, 1 / self.batch_size)
            inner: Sequence[Tensor] = ()
            if net.frequency_parameters:
                given = [frequency for frequency in relative if frequency is not None]
                inner = torch.autograd.grad(given, net.frequency_parameters, found.frequencies)
            return found.losses, [*found.parameters, found.mixture, found.offset, *inner]

        losses, gradients = add_up(run, shards)
        flat, (of_ratios, of_offset, *inner) = gradients[: len(layers)], gradients[len(layers) :]
        own = [parameter for each in layers for parameter in (*each.weights, *each.biases, each.out_weight)]
        known = {id(parameter) for parameter in (*own, *net.frequency_parameters)}
        outer = [parameter for parameter in net.parameters() if id(parameter) not in known]
        outside = torch.autograd.grad((ratios * of_ratios).sum() + (offset * of_offset).sum(), outer)
        parameters = [*own, *outer, *net.frequency_parameters]
        return with_gradients(losses, parameters, [*fused.parameter_gradients(flat), *outside, *inner])

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
