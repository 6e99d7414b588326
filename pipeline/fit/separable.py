"""The problem of separable DNAs: whole matrices at every step, through products with their factors.

S = slots, G = tensors of one shape in a slot, M = rows, N = columns, D = coordinate dims, K = rank.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.fit.networks import HIDDEN_OMEGA, SeparableDna, separable_parameters
from pipeline.fit.problem import Draw, Sample, generator_for
from pipeline.fit.sizing import NetworkSize
from pipeline.settings import FitSettings

__all__ = [
    "DenseTarget",
    "GridBlock",
    "GridProblem",
    "LowRankTarget",
    "first_omegas",
    "most_directions",
    "permute_axis",
    "scaled_coordinates",
]

INDICES_PER_STEP = 4096
"""An axis of twice this length or more is sampled, so that a step costs no more than this. The steps of an epoch see
all of it, each index once, in an order drawn afresh: the errors of samples that complete each other cancel out."""
EVERY = slice(None)
Indices = Tensor | slice
POINTS_PER_CHUNK = 1 << 20
SAMPLED_LENGTH = 64
"""Rows and columns of a matrix whose crossings stand for all of it while a network is trained."""

LEADING_DIRECTIONS = 48
"""A matrix is trained on in at least this many of its leading singular directions, and in `DIRECTIONS_PER_RANK` for
each rank of its DNA; the rest is next to nothing that a DNA of that rank could hold."""
DIRECTIONS_PER_RANK = 4

LARGEST_NYQUIST_SHARE = 0.2
LOWEST_OMEGA = 10.0

LONGEST_MOVED = 2048
"""Indices of an axis up to this length are moved to new positions at once; the cost grows with the cube of it."""
COMB = 256
"""A longer axis is moved in combs of up to so many positions that lie evenly along all of it. A network is smooth, so
each comb has nearly the choice of positions that the whole axis has, at a cost that grows with the length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GridBlock:
    """Tensors of one shape: values (S, G, M, N) float32, coordinates (G, M, D) and (G, N, D)."""

    values: Tensor
    row_coords: Tensor
    col_coords: Tensor
    movable: tuple[tuple[tuple[bool, bool], ...], ...] = ()
    """For each slot and tensor, whether its rows and its columns may be moved; nothing may where this is empty."""
    directions: Tensor | None = None
    """Leading singular vectors along the shorter axis (S, G, min(M, N), `most_directions`), one a column."""
    means: tuple[Tensor, Tensor] | None = None
    """Row means (S, G, M) and column means (S, G, N) that were taken away, of canonical rows and columns, in units of
    the values; None where there are none."""

    @property
    def sampled_axis(self) -> int:
        """Of `values`: that of which a step sees a part where it is long, the columns (3) or else the rows (2)."""
        rows, cols = self.values.shape[2:]
        return 3 if cols > rows and cols >= 2 * INDICES_PER_STEP else 2

    @property
    def is_sampled(self) -> bool:
        """Whether it is so long."""
        return self.values.shape[self.sampled_axis] >= 2 * INDICES_PER_STEP


def most_directions(rows: int, cols: int) -> int:
    """Singular directions of a matrix that are still cheaper to train on than the matrix itself."""
    return rows * cols // (rows + cols)


def first_omegas(
    shapes: Sequence[tuple[int, ...]], in_dim: int, size: NetworkSize, settings: FitSettings
) -> tuple[float, float]:
    """First-layer frequency of the rows and of the columns, radians per unit of the coordinate.

    - `shapes`: tensors of one shape in a slot, their rows and their columns, block by block.

    A factor of length L and rank K is L K numbers, which networks of P parameters must stand for. Found by
    measurement (`benchmarks/fidelity.py`): the best share of the Nyquist frequency pi L / 2 falls with the square
    of L K / P. A network that can hold nearly everything needs high frequencies, one that cannot must stay with the
    coarse order.
    """
    parameters = separable_parameters(in_dim, **asdict(size))
    found = []
    for axis in (1, 2):
        length = max(shape[axis] for shape in shapes)
        load = size.rank * sum(shape[0] * shape[axis] for shape in shapes) / parameters
        share = min(settings.bandwidth / load**2, LARGEST_NYQUIST_SHARE)
        found.append(max(share * math.pi * length / 2, LOWEST_OMEGA))
    return found[0], found[1]


def scaled_coordinates(coords: Tensor, omega: float) -> Tensor:
    """Coordinates (..., D) as a network of this first-layer frequency takes them; depth and role have a handful of
    values, so they go in at a low frequency."""
    scale = torch.ones(coords.shape[-1], device=coords.device)
    scale[1:] = HIDDEN_OMEGA / omega
    return coords * scale


class _FixedProduct(torch.autograd.Function):
    """matrix @ right, with the gradient of `right` alone, from a contiguous transposed copy.

    The product with a transposed view is three times slower on a CPU than with the copy.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, transposed: Tensor, right: Tensor) -> Tensor:
        ctx.save_for_backward(transposed)
        return torch.matmul(matrix, right)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[None, None, Tensor]:
        (transposed,) = ctx.saved_tensors
        return None, None, torch.matmul(transposed, gradients[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseTarget:
    """Matrices W (S, G, M, N) to be fitted, and their transposed copies unless rows are sampled."""

    values: Tensor
    transposed: Tensor | None

    @classmethod
    def of(cls, values: Tensor, *, is_sampled: bool) -> "DenseTarget":
        return cls(values=values, transposed=None if is_sampled else values.mT.contiguous())

    def permuted(self, axis: int, permutation: Tensor) -> "DenseTarget":
        """With its rows (axis 2) or columns (axis 3) in the order of `permutation` (S, G, length)."""
        return DenseTarget.of(permute_axis(self.values, axis, permutation), is_sampled=self.transposed is None)

    def inner(self, left: Tensor, right: Tensor, rows: Indices, cols: Indices) -> Tensor:
        """<A, W B> (S, G) of the factors A (S, G, M, K) and B (S, G, N, K), over these rows and columns of W."""
        values = self.values[:, :, rows][..., cols]
        transposed = values.mT if self.transposed is None else self.transposed
        product = _FixedProduct.apply(values, transposed, right.to(values.dtype)).float()  # type: ignore[no-untyped-call]
        return torch.sum(left.float() * product, dim=(2, 3))


@dataclass(frozen=True, slots=True, kw_only=True)
class LowRankTarget:
    """Matrices W ~ U V^T in R leading singular directions: U (S, G, M, R), V (S, G, N, R), and transposed copies."""

    left: Tensor
    right: Tensor
    left_transposed: Tensor
    right_transposed: Tensor

    @classmethod
    def of(cls, values: Tensor, directions: Tensor, precision: torch.dtype) -> "LowRankTarget":
        """Of W (S, G, M, N) float32, given its leading singular vectors along the shorter axis."""
        is_tall = values.shape[2] >= values.shape[3]
        short = directions.contiguous()
        long = (values if is_tall else values.mT) @ short
        left, right = (long, short) if is_tall else (short, long)
        return cls._from(left.to(precision), right.to(precision))

    @classmethod
    def _from(cls, left: Tensor, right: Tensor) -> "LowRankTarget":
        return cls(
            left=left,
            right=right,
            left_transposed=left.mT.contiguous(),
            right_transposed=right.mT.contiguous(),
        )

    def permuted(self, axis: int, permutation: Tensor) -> "LowRankTarget":
        """With its rows (axis 2) or columns (axis 3) in the order of `permutation` (S, G, length)."""
        if axis == 2:
            return LowRankTarget._from(permute_axis(self.left, 2, permutation), self.right)
        return LowRankTarget._from(self.left, permute_axis(self.right, 2, permutation))

    def inner(self, left: Tensor, right: Tensor, rows: Indices, cols: Indices) -> Tensor:
        """<A, W B> (S, G) of the factors A (S, G, M, K) and B (S, G, N, K), over these rows and columns of W."""
        of_left, of_right = (
            _FixedProduct.apply(transposed[..., chosen], known[:, :, chosen], factor.to(known.dtype)).float()  # type: ignore[no-untyped-call]
            for known, transposed, factor, chosen in (
                (self.left, self.left_transposed, left, rows),
                (self.right, self.right_transposed, right, cols),
            )
        )
        return torch.sum(of_left * of_right, dim=(2, 3))


def permute_axis(values: Tensor, axis: int, permutation: Tensor) -> Tensor:
    """`values` (S, G, M, N) with its rows (axis 2) or columns (axis 3) in the order of `permutation` (S, G, length)."""
    index = permutation[..., None] if axis == 2 else permutation[..., None, :]
    return values.gather(axis, index.expand_as(values).to(values.device))


class GridProblem:
    """Separable fitting: whole matrices at every step, for the price of a few products with the factors.

    |W - A B^T|^2 = |W|^2 - 2 <A, W B> + <A^T A, B^T B>, so neither the product nor the residual is ever formed. In the
    middle term W stands for its leading singular directions, where that is cheaper: a DNA holds next to nothing of the
    others. It is judged on all of W.
    """

    def __init__(self, blocks: Sequence[GridBlock], *, precision: torch.dtype = torch.float32) -> None:
        self.blocks = tuple(blocks)
        self.precision = precision
        self.num_slots = blocks[0].values.shape[0]
        self.weights = sum(math.prod(block.values.shape[1:]) for block in blocks)
        longest = max(max(block.values.shape[2:]) for block in blocks)
        self.is_sampled = any(block.is_sampled for block in blocks)
        self.steps_per_epoch = math.ceil(longest / INDICES_PER_STEP) if self.is_sampled else 1
        self.targets: tuple[DenseTarget | LowRankTarget, ...] = tuple(
            DenseTarget(values=block.values.to(precision), transposed=None) for block in blocks
        )
        self.energies = [block.values.square().sum(dim=5 - block.sampled_axis) for block in blocks]
        self.permutations = [
            torch.arange(length).expand(*block.values.shape[:2], length)
            for block in blocks
            for length in block.values.shape[2:]
        ]

    @property
    def num_parts(self) -> int:
        return sum(block.values.shape[1] for block in self.blocks)

    def build(self, size: NetworkSize, settings: FitSettings, generators: Sequence[torch.Generator]) -> SeparableDna:
        self.targets = tuple(self._target(block, size.rank) for block in self.blocks)
        in_dim = self.blocks[0].row_coords.shape[-1]
        shapes = [tuple(block.values.shape[1:]) for block in self.blocks]
        row_omega, col_omega = first_omegas(shapes, in_dim, size, settings)
        return SeparableDna(generators, in_dim=in_dim, row_omega=row_omega, col_omega=col_omega, **asdict(size))

    def _target(self, block: GridBlock, rank: int) -> DenseTarget | LowRankTarget:
        """What the loss needs of the block's matrices, the cheaper of the two."""
        rows, cols = block.values.shape[2:]
        count = max(LEADING_DIRECTIONS, DIRECTIONS_PER_RANK * rank)
        if block.directions is not None and count * (rows + cols) < rows * cols:
            return LowRankTarget.of(block.values, block.directions[..., :count], self.precision)
        return DenseTarget.of(block.values.to(self.precision), is_sampled=block.is_sampled)

    def _factors(
        self, net: nn.Module, block: GridBlock, rows: Indices = EVERY, cols: Indices = EVERY
    ) -> tuple[Tensor, Tensor]:
        """A (S, G, M, K) and B (S, G, N, K) at these rows and columns of every matrix."""
        assert isinstance(net, SeparableDna)
        row_coords, col_coords = block.row_coords[:, rows], block.col_coords[:, cols]
        left, right = net(
            self._flat(row_coords, net.row_omega),
            self._flat(col_coords, net.col_omega),
            on_all_cores=block.is_sampled and block.values.device.type == "cpu",
        )
        sizes = (self.num_slots, len(row_coords), -1, left.shape[-1])
        return left.reshape(sizes), right.reshape(sizes)

    def _flat(self, coords: Tensor, omega: float) -> Tensor:
        """Coordinates (G, L, D) of every tensor and slot (S, G L, D)."""
        return scaled_coordinates(coords, omega).reshape(1, -1, coords.shape[-1]).expand(self.num_slots, -1, -1)

    def loss(self, net: nn.Module, draw: Draw) -> Tensor:
        error = torch.zeros(self.num_slots, device=self.energies[0].device)
        for block, target, energy in zip(self.blocks, self.targets, self.energies, strict=True):
            rows: Indices = EVERY
            cols: Indices = EVERY
            scale = 1.0
            if block.is_sampled:
                length = block.values.shape[block.sampled_axis]
                chosen = draw.share(length, self.steps_per_epoch)
                rows, cols = (chosen, EVERY) if block.sampled_axis == 2 else (EVERY, chosen)
                energy, scale = energy[:, :, chosen], length / len(chosen)
            left, right = self._factors(net, block, rows, cols)
            with torch.autocast(energy.device.type, enabled=False):
                inner = target.inner(left, right, rows, cols)
                left, right = left.float(), right.float()
                grams = ((left.mT @ left) * (right.mT @ right)).sum(dim=(2, 3))
                squares = (energy.sum(dim=2) - 2 * inner + grams).sum(dim=1)
            error = error + squares * scale  # A sample of an axis stands for all of it.
        return error / self.weights

    def move(self, net: nn.Module) -> None:
        """Move rows and columns to the positions where these networks fit them best, one axis after the other.

        The order of an axis is free, and it is stored in any case: seriation puts similar indices side by side,
        this puts each index where the network is nearest. Optimal assignments never make the error larger.
        """
        with torch.no_grad():
            for number in range(len(self.blocks)):
                for axis in (2, 3):
                    left, right = self._factors(net, self.blocks[number])
                    if bool(left.isfinite().all()) and bool(right.isfinite().all()):
                        self._permute(number, axis, self._assign(number, axis, left.float(), right.float()))

    def _assign(self, number: int, axis: int, left: Tensor, right: Tensor) -> Tensor:
        """For every position of that axis (S, G, length) the index that belongs there."""
        from scipy.optimize import linear_sum_assignment

        block, (own, other) = self.blocks[number], (left, right) if axis == 2 else (right, left)
        length = own.shape[2]
        found = torch.arange(length).repeat(*own.shape[:2], 1)
        num_combs = 1 if length <= LONGEST_MOVED else -(-length // COMB)
        for slot, flags in enumerate(block.movable):
            for tensor, movable in enumerate(flags):
                if not movable[axis - 2]:
                    continue
                values = block.values[slot, tensor] if axis == 2 else block.values[slot, tensor].T
                factor, partner = own[slot, tensor], other[slot, tensor]
                squares, products = ((factor @ (partner.T @ partner)) * factor).sum(dim=1), values @ partner
                for first in range(num_combs):
                    comb = slice(first, None, num_combs)
                    # |w - p B^T|^2 of row w at the position of p, less |w|^2.
                    costs = squares[comb] - 2 * products[comb] @ factor[comb].T
                    indices, positions = linear_sum_assignment(costs.double().cpu().numpy())
                    found[slot, tensor, comb][torch.from_numpy(positions)] = (
                        torch.from_numpy(indices) * num_combs + first
                    )
        return found

    def _permute(self, number: int, axis: int, permutation: Tensor) -> None:
        """Put the rows (axis 2) or columns (axis 3) of a block into the order of `permutation` (S, G, length)."""
        block, known = self.blocks[number], 2 * number + axis - 2
        blocks, targets = list(self.blocks), list(self.targets)
        directions, shorter_axis = block.directions, 3 if block.values.shape[2] >= block.values.shape[3] else 2
        if directions is not None and axis == shorter_axis:
            directions = permute_axis(directions, 2, permutation)
        values = permute_axis(block.values, axis, permutation)
        blocks[number] = replace(block, values=values, directions=directions)
        targets[number] = targets[number].permuted(axis, permutation)
        self.blocks, self.targets = tuple(blocks), tuple(targets)
        self.permutations[known] = self.permutations[known].gather(2, permutation)
        if axis == block.sampled_axis:
            self.energies[number] = self.energies[number].gather(2, permutation.to(block.values.device))

    def arrange(self, permutations: Sequence[Tensor]) -> None:
        """Take over the permutations of a problem whose axes were moved, in one whose were not."""
        for known, permutation in enumerate(permutations):
            self._permute(known // 2, known % 2 + 2, permutation.cpu())

    def permutations_of(self, part: int, slot: int) -> tuple[Tensor, Tensor]:
        """The row (M,) and column (N,) of the canonical tensor `part` at each position in that slot, int64."""
        number, index = self._find(part)
        return self.permutations[2 * number][slot, index], self.permutations[2 * number + 1][slot, index]

    def _find(self, part: int) -> tuple[int, int]:
        """The block that the tensor `part` is in, and its place there."""
        for number, block in enumerate(self.blocks):
            count = block.values.shape[1]
            if part < count:
                return number, part
            part -= count
        raise IndexError(part)

    def part_size(self, part: int) -> int:
        return math.prod(self.blocks[self._find(part)[0]].values.shape[2:])

    def _means_in_place(self, number: int) -> tuple[Tensor, Tensor]:
        """Row means (S, G, M, 1) and column means (S, G, 1, N) of a block where its rows and columns are now."""
        rows, cols = (
            means.gather(2, self.permutations[2 * number + axis].to(means.device))
            for axis, means in enumerate(self.blocks[number].means or ())
        )
        return rows[..., None], cols[..., None, :]

    def predictions(self, net: nn.Module, part: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        number, index = self._find(part)
        whole, own = self.blocks[number], slice(index, index + 1)
        block = GridBlock(
            values=whole.values[:, own], row_coords=whole.row_coords[own], col_coords=whole.col_coords[own]
        )
        left, right = self._factors(net, block)
        means = None if whole.means is None else self._means_in_place(number)
        step = max(POINTS_PER_CHUNK // (block.values.shape[3] * self.num_slots), 1)
        for start in range(0, block.values.shape[2], step):
            rows = slice(start, start + step)
            values, predicted = block.values[:, 0, rows], left[:, 0, rows].float() @ right[:, 0].float().mT
            if means is not None:
                expected = means[0][:, index, rows] + means[1][:, index]
                values, predicted = values + expected, predicted + expected
            yield values.flatten(1), predicted.flatten(1)

    def sampler(self, seed: int) -> Callable[[nn.Module], tuple[Sample, ...]]:
        generator, device = generator_for(seed), self.energies[0].device
        picks = [
            [torch.randperm(n, generator=generator)[:SAMPLED_LENGTH].to(device) for n in block.values.shape[2:]]
            for block in self.blocks
        ]

        known: list[tuple[GridBlock | None, Tensor, Tensor]] = [(None, torch.empty(0), torch.empty(0))] * len(picks)

        def taken(number: int, block: GridBlock, rows: Tensor, cols: Tensor) -> tuple[Tensor, Tensor]:
            """The chosen weights (S, P), and what the means say of them."""
            values = block.values[:, :, rows[:, None], cols]
            if block.means is None:
                return values.flatten(1), torch.zeros((), device=device)
            of_rows, of_cols = self._means_in_place(number)
            expected = of_rows[:, :, rows] + of_cols[..., cols]
            return (values + expected).flatten(1), expected

        def sample(net: nn.Module) -> tuple[Sample, ...]:
            found, before = [], 0
            for number, (block, (rows, cols)) in enumerate(zip(self.blocks, picks, strict=True)):
                if known[number][0] is not block:
                    known[number] = block, *taken(number, block, rows, cols)
                left, right = self._factors(net, block, rows, cols)
                count, points = block.values.shape[1], len(rows) * len(cols)
                found.append(
                    Sample(
                        values=known[number][1],
                        predicted=(left.float() @ right.float().mT + known[number][2]).flatten(1),
                        parts=torch.arange(before, before + count, device=device).repeat_interleave(points),
                        weight=math.prod(block.values.shape[2:]) / points,
                    )
                )
                before += count
            return tuple(found)

        return sample
