"""The decoder: from the networks of a DNA back to values, a piece at a time, so that memory stays bounded.

M = rows, N = columns, P = points, D = coordinate dims, K = rank.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.arrays import Float32
from pipeline.dna.contents import DnaContents, KeptNetwork, KeptTensor
from pipeline.fit.networks import SeparableDna, make_pointwise
from pipeline.fit.problem import axis_coordinates, generator_for
from pipeline.fit.separable import scaled_coordinates
from pipeline.settings import FitSettings

__all__ = ["Decoder", "axis_samples", "build_network"]

PRODUCTS_PER_PIECE = 1 << 20
POINTS_PER_PIECE = 1 << 15
"""Values of a piece: of a separable DNA, whose values are a product, and of a pointwise one, evaluated one by one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decoder:
    """The function of one tensor, f(x, y) at its own depth and role, in the units of its weights."""

    net: nn.Module
    """A stack of the tensor's one network."""
    tensor: KeptTensor
    is_shared: bool
    """Whether depth and role are coordinates."""

    @classmethod
    def of(cls, contents: DnaContents, tensor: KeptTensor) -> "Decoder":
        net = build_network(contents.networks[tensor.network], contents.settings, tensor.slot)
        return cls(net=net, tensor=tensor, is_shared=contents.settings.scope == "model")

    @property
    def is_separable(self) -> bool:
        return isinstance(self.net, SeparableDna)

    def samples(self) -> Iterator[tuple[slice, Float32]]:
        """The whole tensor in the order of the DNA: some rows, and their values, float32 (rows, N)."""
        rows, cols = (
            axis_samples(length, self.is_separable) for length in (self.tensor.spec.rows, self.tensor.spec.cols)
        )
        return self.grid(rows, cols, row_means=self.tensor.row_means, col_means=self.tensor.col_means)

    def grid(
        self,
        rows: Tensor,
        cols: Tensor,
        *,
        row_means: Float32 | None = None,
        col_means: Float32 | None = None,
        depth: float | None = None,
    ) -> Iterator[tuple[slice, Float32]]:
        """Values at the crossings of row coordinates (M,) and column coordinates (N,), some rows at a time.

        - `row_means` (M,), `col_means` (N,): at these coordinates; none are added where they are None;
        - `depth`: in place of the tensor's own, as a coordinate in [-1, 1].
        """
        known = self.tensor
        with torch.no_grad():
            for piece, outputs in self.outputs(rows, cols, depth):
                values: Float32 = outputs.numpy() * np.float32(known.scale) + np.float32(known.mean)
                if row_means is not None:
                    values += row_means[piece, None]
                if col_means is not None:
                    values += col_means
                yield piece, values

    def outputs(self, rows: Tensor, cols: Tensor, depth: float | None = None) -> Iterator[tuple[slice, Tensor]]:
        """What the network itself says at the crossings, standardised, float32 (rows, N) at a time."""
        return self._products(rows, cols, depth) if self.is_separable else self._points(rows, cols, depth)

    def coordinates(self, values: Tensor, depth: float | None = None) -> Tensor:
        """Coordinates (P, d) along the axes, with depth and role behind them where the network takes them."""
        if not self.is_shared:
            return values
        place = torch.tensor([self.tensor.place[0] if depth is None else depth, self.tensor.place[1]])
        return torch.cat([values, place.expand(len(values), -1)], dim=1)

    def factors(self, rows: Tensor, cols: Tensor, depth: float | None = None) -> tuple[Tensor, Tensor]:
        """The factors (M, K) and (N, K) of a separable DNA at row coordinates (M,) and column coordinates (N,)."""
        assert isinstance(self.net, SeparableDna)
        left, right = self.net(
            scaled_coordinates(self.coordinates(rows[:, None], depth), self.net.row_omega)[None],
            scaled_coordinates(self.coordinates(cols[:, None], depth), self.net.col_omega)[None],
        )
        return left[0], right[0]

    def _products(self, rows: Tensor, cols: Tensor, depth: float | None) -> Iterator[tuple[slice, Tensor]]:
        left, right = self.factors(rows, cols, depth)
        for piece in _pieces(len(rows), PRODUCTS_PER_PIECE // max(len(cols), 1)):
            yield piece, left[piece] @ right.mT

    def _points(self, rows: Tensor, cols: Tensor, depth: float | None) -> Iterator[tuple[slice, Tensor]]:
        for piece in _pieces(len(rows), POINTS_PER_PIECE // max(len(cols), 1)):
            own = rows[piece]
            points = torch.cartesian_prod(own, cols).reshape(-1, 2)
            coords = self.coordinates(points, depth)
            found = [self.net(part[None])[0] for part in torch.split(coords, POINTS_PER_PIECE)]
            yield piece, torch.cat(found).reshape(len(own), len(cols))


def _pieces(length: int, size: int) -> Iterator[slice]:
    step = max(size, 1)
    return (slice(start, start + step) for start in range(0, length, step))


def axis_samples(length: int, is_separable: bool) -> Tensor:
    """(length,) float32: where the weights of an axis lie in [-1, 1], to the last bit as in training."""
    if is_separable:
        return axis_coordinates(length, torch.device("cpu"))
    return 2 * torch.arange(length) / max(length - 1, 1) - 1


def build_network(kept: KeptNetwork, settings: FitSettings, slot: int) -> nn.Module:
    """One network of a stack, as a stack of one, on the CPU."""
    generators, size = [generator_for(0)], kept.size
    net: nn.Module
    if settings.dna_type == "separable":
        assert kept.row_omega is not None and kept.col_omega is not None
        net = SeparableDna(
            generators, in_dim=kept.in_dim, row_omega=kept.row_omega, col_omega=kept.col_omega, **asdict(size)
        )
    else:
        net = make_pointwise(
            settings.dna_type,
            generators,
            in_dim=kept.in_dim,
            hidden_dim=size.hidden_dim,
            num_layers=size.num_layers,
            omega=settings.omega,
        )
    net.load_state_dict({name: value[slot : slot + 1] for name, value in kept.state.items()})
    return net.requires_grad_(False)
