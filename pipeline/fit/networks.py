"""DNA: coordinate networks that map the place of a weight to its value.

Four kinds. `spectral`, `hierarchical` and `adaptive` are pointwise: one evaluation a weight. `separable` evaluates rows
and columns apart and multiplies, as a weight matrix is a tensor grid: f(x, y) = sum_k a_k(x) b_k(y) (CoordX, Liang et
al. 2022; SPINN, Cho et al. 2023).

Every module here is a *stack*: S independent networks of one shape trained side by side, the first axis of every
parameter. Tensors of one shape, and each tensor's nulls, share a stack, so that a hundred small fits cost a few large
matrix products.

S = stack, P = points, D = coordinate dims, H = hidden width, K = rank.
"""

import math
from collections.abc import Sequence
from typing import Any, TypedDict, Unpack, cast

import torch
from torch import Tensor, nn

from pipeline.fit.sharded_loss import side_by_side
from pipeline.settings import DnaType

__all__ = [
    "AdaptiveDna",
    "HierarchicalDna",
    "SeparableDna",
    "Siren",
    "SirenShape",
    "SpectralDna",
    "branch_ranks",
    "count_parameters",
    "make_pointwise",
    "pointwise_parameters",
    "pointwise_shapes",
    "separable_parameters",
    "sine_of_turns",
    "siren_parameters",
]

HIDDEN_OMEGA = 30.0
"""Frequency of the hidden layers, and the divisor in their initialisation (Sitzmann et al. 2020, section 3.2)."""
OUTPUT_GAIN = 0.3
"""Bound of a separable factor's last layer times sqrt(H): factors start small, so that the product starts near zero."""


def _uniform(generators: Sequence[torch.Generator], *shape: int, bound: float) -> nn.Parameter:
    """U(-bound, bound) of shape (S, *shape), each slice from its own generator."""
    return nn.Parameter(torch.stack([(torch.rand(shape, generator=g) * 2 - 1) * bound for g in generators]))


SINE = (6.28318323, -41.3414178, 81.5958704, -76.5763787, 41.1886146, -12.2449093)
"""Of r, r^3, ..., r^11 in the polynomial closest to sin(2 pi r) on [-1/2, 1/2]: within 1e-6 in float32."""


def sine_of_turns(turns: Tensor) -> Tensor:
    """sin(2 pi x) as products and sums, float32."""
    rest = turns - turns.round()
    square = rest * rest
    total = square * SINE[-1] + SINE[-2]
    for coefficient in SINE[-3::-1]:
        total = total * square + coefficient
    return total * rest


class _Sine(torch.autograd.Function):
    """sin(omega (x + b)) of a product x (S, P, H) and a bias b (S, 1, H), for torch's compiler.

    It fuses all of this with what is around it. The gradient of b is a product with ones: as a sum over the points it
    would be fused with the gradient of x, which is then computed twice.
    """

    @staticmethod
    def forward(ctx: Any, product: Tensor, bias: Tensor, omega: float) -> Tensor:
        ctx.save_for_backward(product, bias)
        ctx.omega = omega
        return sine_of_turns((product + bias) * (omega / (2 * math.pi)))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        product, bias = ctx.saved_tensors
        cosine = sine_of_turns((product + bias) * (ctx.omega / (2 * math.pi)) + 0.25)
        gradient = (gradients[0] * ctx.omega * cosine).to(product.dtype)
        ones = gradient.new_ones(*gradient.shape[:-1], 1).mT
        return gradient, torch.bmm(ones, gradient).to(bias.dtype), None


def _sines(omega: float | Tensor, bias: Tensor, inputs: Tensor, weight: Tensor) -> Tensor:
    """sin(omega (x W + b)); where it is compiled, by a polynomial."""
    if torch.compiler.is_compiling() and isinstance(omega, float):
        return cast(Tensor, _Sine.apply(torch.bmm(inputs, weight), bias, omega))  # type: ignore[no-untyped-call]
    return torch.sin(omega * torch.baddbmm(bias, inputs, weight))


class Siren(nn.Module):
    """S sinusoidal networks: `num_layers` layers sin(omega (W x + b)), then a linear one (Sitzmann et al. 2020).

    Initialised as published: first layer U(-1/D, 1/D), hidden ones U(+-sqrt(6/H)/omega). `output_bound` replaces the
    bound of the linear layer where given. The first layer runs in float32 under autocast too: coordinates of
    neighbouring weights differ by less than bfloat16 resolves.
    """

    def __init__(
        self,
        generators: Sequence[torch.Generator],
        *,
        in_dim: int,
        hidden_dim: int,
        num_layers: int,
        out_dim: int,
        omega: float,
        output_bound: float | None = None,
    ) -> None:
        super().__init__()
        self.omega = omega
        hidden_bound = math.sqrt(6 / hidden_dim) / HIDDEN_OMEGA
        dims = [in_dim] + [hidden_dim] * num_layers
        bounds = [1 / in_dim] + [hidden_bound] * (num_layers - 1)
        self.weights = nn.ParameterList(
            [_uniform(generators, a, b, bound=bound) for a, b, bound in zip(dims, dims[1:], bounds, strict=False)]
        )
        self.biases = nn.ParameterList([_uniform(generators, 1, hidden_dim, bound=1 / math.sqrt(a)) for a in dims[:-1]])
        self.out_weight = _uniform(
            generators, hidden_dim, out_dim, bound=hidden_bound if output_bound is None else output_bound
        )
        self.out_bias = nn.Parameter(torch.zeros(len(generators), 1, out_dim))

    def forward(self, coords: Tensor, omega: Tensor | None = None) -> Tensor:
        """(S, P, D) float32 in [-1, 1] -> (S, P, out_dim); `omega` (S, P, 1) replaces the first layer's frequency."""
        return self.behind_first(self.first(coords, omega))

    def first(self, coords: Tensor, omega: Tensor | None = None) -> Tensor:
        """The units of the first layer, (S, P, H) float32."""
        with torch.autocast(coords.device.type, enabled=False):
            return _sines(self.omega if omega is None else omega, self.biases[0], coords, self.weights[0])

    def behind_first(self, hidden: Tensor) -> Tensor:
        """What the network makes of them, (S, P, out_dim)."""
        for weight, bias in zip(list(self.weights)[1:], list(self.biases)[1:], strict=True):
            hidden = _sines(HIDDEN_OMEGA, bias, hidden, weight)
        return torch.baddbmm(self.out_bias, hidden, self.out_weight)


def _branches(hidden_dim: int, num_layers: int) -> tuple[tuple[int, int], ...]:
    """Width and layers of a hierarchical DNA's coarse, middle and fine SIREN."""
    half = max(hidden_dim // 2, 1)
    return (half, max(num_layers - 2, 1)), (hidden_dim, num_layers), (half, max(num_layers - 1, 1))


def _gate_width(hidden_dim: int) -> int:
    """Width of the network that predicts an adaptive DNA's frequency."""
    return max(hidden_dim // 4, 1)


class SirenShape(TypedDict):
    """What a pointwise DNA is made from, whatever its kind: coordinates, width, sine layers, first-layer frequency."""

    in_dim: int
    hidden_dim: int
    num_layers: int
    omega: float


class SpectralDna(nn.Module):
    """One SIREN of frequency `omega`: coordinates (S, P, D) -> values (S, P), as in all pointwise kinds."""

    def __init__(self, generators: Sequence[torch.Generator], **shape: Unpack[SirenShape]) -> None:
        super().__init__()
        self.net = Siren(generators, out_dim=1, **shape)

    def forward(self, coords: Tensor) -> Tensor:
        return cast(Tensor, self.net(coords).squeeze(-1))


class HierarchicalDna(nn.Module):
    """Three SIRENs, coarse to fine, mixed by a learned softmax.

    Coarse: omega/4, half the width, two layers fewer. Middle: omega, full. Fine: 4 omega, half the width, one fewer.
    """

    def __init__(self, generators: Sequence[torch.Generator], **shape: Unpack[SirenShape]) -> None:
        super().__init__()
        in_dim, omega, branches = shape["in_dim"], shape["omega"], _branches(shape["hidden_dim"], shape["num_layers"])
        self.nets = nn.ModuleList(
            Siren(generators, in_dim=in_dim, hidden_dim=width, num_layers=layers, out_dim=1, omega=frequency)
            for frequency, (width, layers) in zip((omega / 4, omega, 4 * omega), branches, strict=True)
        )
        self.mixture = nn.Parameter(torch.zeros(len(generators), 1, len(branches)))

    def forward(self, coords: Tensor) -> Tensor:
        ratios = torch.softmax(self.mixture[:, 0], dim=-1)[:, None]
        return (torch.cat([net(coords) for net in self.nets], dim=-1) * ratios).sum(-1)


class AdaptiveDna(nn.Module):
    """A SIREN whose first-layer frequency a small network predicts at each point, between omega/4 and 4 omega."""

    def __init__(self, generators: Sequence[torch.Generator], **shape: Unpack[SirenShape]) -> None:
        super().__init__()
        self.low, self.high = shape["omega"] / 4, 4 * shape["omega"]
        in_dim, width = shape["in_dim"], _gate_width(shape["hidden_dim"])
        self.net = Siren(generators, out_dim=1, **shape)
        self.in_weight = _uniform(generators, in_dim, width, bound=1 / math.sqrt(in_dim))
        self.in_bias = _uniform(generators, 1, width, bound=1 / math.sqrt(in_dim))
        self.out_weight = _uniform(generators, width, 1, bound=1 / math.sqrt(width))
        self.out_bias = nn.Parameter(torch.zeros(len(generators), 1, 1))

    def frequency(self, coords: Tensor) -> Tensor:
        """(S, P, D) -> (S, P, 1) float32."""
        with torch.autocast(coords.device.type, enabled=False):
            hidden = torch.tanh(torch.baddbmm(self.in_bias, coords, self.in_weight))
            gate = torch.sigmoid(torch.baddbmm(self.out_bias, hidden, self.out_weight))
        return self.low + (self.high - self.low) * gate

    def forward(self, coords: Tensor) -> Tensor:
        return cast(Tensor, self.net(coords, self.frequency(coords)).squeeze(-1))


class SeparableDna(nn.Module):
    """Rows and columns apart: W ~ A B^T, A = a(rows), B = b(columns) with `rank` columns each.

    a and b are `num_branches` SIRENs side by side, each with its share of the columns: as many parameters in narrow
    networks are trained in fewer steps than in wide ones.
    """

    def __init__(
        self,
        generators: Sequence[torch.Generator],
        *,
        in_dim: int,
        hidden_dim: int,
        num_layers: int,
        rank: int,
        row_omega: float,
        col_omega: float,
        num_branches: int = 1,
    ) -> None:
        super().__init__()
        self.row_omega, self.col_omega = row_omega, col_omega
        self.rows, self.cols = (
            nn.ModuleList(
                Siren(
                    generators,
                    in_dim=in_dim,
                    hidden_dim=hidden_dim,
                    num_layers=num_layers,
                    out_dim=width,
                    omega=omega,
                    output_bound=OUTPUT_GAIN / math.sqrt(hidden_dim),
                )
                for width in branch_ranks(rank, num_branches)
            )
            for omega in (row_omega, col_omega)
        )

    def forward(self, row_coords: Tensor, col_coords: Tensor, *, on_all_cores: bool = False) -> tuple[Tensor, Tensor]:
        """Row coordinates (S, M, D) and column coordinates (S, N, D) -> factors (S, M, K) and (S, N, K).

        `on_all_cores` shares the branches out to the cores; the result is the same.
        """
        sirens, count = [*self.rows, *self.cols], len(self.rows)
        coords = [row_coords] * count + [col_coords] * len(self.cols)
        if on_all_cores:
            parts = side_by_side(sirens, coords)
        else:
            parts = tuple(siren(points) for siren, points in zip(sirens, coords, strict=True))
        return torch.cat(parts[:count], dim=-1), torch.cat(parts[count:], dim=-1)


def branch_ranks(rank: int, num_branches: int) -> list[int]:
    """`rank` columns shared out to the branches, as evenly as possible."""
    return [rank // num_branches + (branch < rank % num_branches) for branch in range(num_branches)]


POINTWISE: dict[str, type[SpectralDna] | type[HierarchicalDna] | type[AdaptiveDna]] = {
    "spectral": SpectralDna,
    "hierarchical": HierarchicalDna,
    "adaptive": AdaptiveDna,
}


def make_pointwise(dna_type: DnaType, generators: Sequence[torch.Generator], **shape: Unpack[SirenShape]) -> nn.Module:
    """A stack of len(generators) pointwise DNAs of the kind named."""
    return POINTWISE[dna_type](generators, **shape)


def siren_parameters(in_dim: int, hidden_dim: int, num_layers: int, out_dim: int) -> int:
    """Parameters of one SIREN of that shape."""
    first = in_dim * hidden_dim + hidden_dim
    return first + (num_layers - 1) * (hidden_dim + 1) * hidden_dim + (hidden_dim + 1) * out_dim


def separable_parameters(in_dim: int, hidden_dim: int, num_layers: int, rank: int, num_branches: int) -> int:
    """Parameters of one axis of a separable DNA of that shape."""
    return sum(siren_parameters(in_dim, hidden_dim, num_layers, width) for width in branch_ranks(rank, num_branches))


def pointwise_shapes(dna_type: DnaType, hidden_dim: int, num_layers: int) -> tuple[tuple[int, int], ...]:
    """Width and sine layers of each SIREN of a pointwise DNA."""
    return _branches(hidden_dim, num_layers) if dna_type == "hierarchical" else ((hidden_dim, num_layers),)


def pointwise_parameters(dna_type: DnaType, in_dim: int, hidden_dim: int, num_layers: int) -> int:
    """Parameters of one pointwise DNA of that kind and shape."""
    if dna_type == "hierarchical":
        branches = _branches(hidden_dim, num_layers)
        return sum(siren_parameters(in_dim, width, layers, 1) for width, layers in branches) + len(branches)
    gate = (in_dim + 2) * _gate_width(hidden_dim) + 1 if dna_type == "adaptive" else 0
    return siren_parameters(in_dim, hidden_dim, num_layers, 1) + gate


def count_parameters(stack: nn.Module) -> int:
    """Parameters of one network of a stack."""
    return sum(parameter[0].numel() for parameter in stack.parameters())
