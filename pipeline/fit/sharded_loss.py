"""A loss over many points in shards: each goes forward and straight back, several at a time. Networks side by side.

What is shared out does not depend on the number of cores, and gradients are added up in order, so neither does the
result.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.machine.parallel import num_cores

__all__ = ["Found", "add_up", "differentiated", "side_by_side", "with_gradients"]


Found = tuple[Tensor, Sequence[Tensor]]
"""A loss (S,) and its gradients."""


def add_up(run: Callable[[Tensor], Found], shards: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """The sums of the losses and gradients that `run` finds for the shards, gradients in float32.

    `run` is called from several threads, each with PyTorch's operations on one thread of their own.
    """
    total: Tensor | None = None
    gradients: list[Tensor] = []
    # In the pool on a single core too: under the autocast of the calling thread the last bits come out otherwise.
    for found, parts in _pool(num_cores()).map(run, shards):
        if total is None:
            total, gradients = found, [part.float() for part in parts]
            continue
        total = total + found
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.add_(part)
    assert total is not None
    return total, gradients


def differentiated(losses: Callable[[Tensor], Tensor], leaves: Sequence[Tensor]) -> Callable[[Tensor], Found]:
    """What finds `losses(shard)` (S,) and its gradients in `leaves`, under the autocast of this moment."""
    device = leaves[0].device.type
    is_on, dtype = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)

    def run(shard: Tensor) -> Found:
        with torch.enable_grad(), torch.autocast(device, dtype=dtype, enabled=is_on):
            found = losses(shard)
        return found.detach(), torch.autograd.grad(found.sum(), leaves)

    return run


def with_gradients(losses: Tensor, parameters: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
    """`losses` (S,) as a function of the stack's `parameters` (S, ...), whose gradients are known already."""
    known: Tensor = _KnownGradients.apply(losses, gradients, *parameters)  # type: ignore[no-untyped-call]
    return known


class _KnownGradients(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, losses: Tensor, gradients: Sequence[Tensor], *parameters: Tensor) -> Tensor:
        ctx.save_for_backward(*gradients)
        return losses.clone()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Any, ...]:
        (slots,) = upstream
        if bool((slots == 1).all()):
            return None, None, *ctx.saved_tensors
        return None, None, *(g * slots.view(-1, *[1] * (g.ndim - 1)) for g in ctx.saved_tensors)


def side_by_side(nets: Sequence[nn.Module], inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """What each network gives for its input, which has no gradient; several networks at a time, forward and back."""
    device = inputs[0].device.type
    is_on, dtype = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
    has_gradient = torch.is_grad_enabled()

    def run(net: nn.Module, points: Tensor) -> Tensor:
        with torch.set_grad_enabled(has_gradient), torch.autocast(device, dtype=dtype, enabled=is_on):
            found: Tensor = net(points)
            return found

    outputs = list(_pool(num_cores()).map(run, nets, inputs))
    if not has_gradient:
        return tuple(outputs)
    leaves = [list(net.parameters()) for net in nets]
    known: tuple[Tensor, ...] = _SideBySide.apply(outputs, leaves, *itertools.chain(*leaves))  # type: ignore[no-untyped-call]
    return known


class _SideBySide(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, outputs: Sequence[Tensor], leaves: Sequence[Sequence[Tensor]], *_: Tensor) -> Any:
        ctx.outputs, ctx.leaves = outputs, leaves
        return tuple(output.detach() for output in outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        found = _pool(num_cores()).map(torch.autograd.grad, ctx.outputs, ctx.leaves, gradients)
        return None, None, *itertools.chain(*found)


@functools.cache
def _pool(num_threads: int) -> ThreadPoolExecutor:
    """Threads that stay, for a step is too short to start its own."""
    return ThreadPoolExecutor(num_threads, "shard", initializer=torch.set_num_threads, initargs=(1,))
