"""How far the values that a network gives are from those of a tensor, point by point, in original units."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipeline.fit.problem import Problem
from pipeline.fit.report import Errors
from pipeline.fit.versions import Measured

__all__ = ["point_errors"]

WIDEST = 1e6
"""Standard deviation of a tensor from which on, and below the reciprocal of which, errors are taken in float64."""


def point_errors(problem: Problem, net: nn.Module, part: int, known: Sequence[Measured], seed: int) -> list[Errors]:
    """Errors of part `part` of every slot, original units; `known`: of that part, slot by slot."""
    device = next(net.parameters()).device
    # Fourth powers of what is far from 1 leave the range of float32.
    is_ordinary = all(1 / WIDEST < each.units.scale < WIDEST for each in known)
    kind = torch.float32 if is_ordinary else torch.float64
    std = torch.tensor([each.units.scale for each in known], device=device, dtype=kind)[:, None]
    mean = torch.tensor([each.units.mean for each in known], device=device, dtype=kind)[:, None]
    sums = torch.zeros(4, problem.num_slots, dtype=torch.float64, device=device)
    points = 0
    with torch.no_grad():
        for values, predicted in problem.predictions(net, part, seed):
            sums += _error_sums(values * std + mean, predicted * std + mean)
            points += values.shape[1]
    size = problem.part_size(part)
    fourth = sums[3] / points - (sums[0] / points).square()
    variance = (size**2 * fourth / points).clamp(min=0) if points < size else torch.zeros_like(fourth)
    scaled = (sums[:3] * (size / points)).tolist()
    return [
        Errors(points=points, sse=sse, sae=sae, sape=sape, sse_variance=spread)
        for sse, sae, sape, spread in zip(*scaled, variance.tolist(), strict=True)
    ]


def _error_sums(values: Tensor, predicted: Tensor) -> Tensor:
    """Sums over points (S, P) of e^2, |e|, 200 |e| / (|w| + |w_hat|) and e^4, float64 (4, S)."""
    error = (predicted - values).abs()
    least = 1e-30 if values.dtype == torch.float32 else 1e-60
    percent = 200 * error / (values.abs() + predicted.abs()).clamp(min=least)
    squares = error.square()
    parts = [squares, error, percent, squares.square()]
    return torch.stack([part.sum(dim=1, dtype=torch.float64) for part in parts])
