"""Torch's compiler for the losses of pointwise DNAs, and what happens where it does not work."""

import functools
import logging
from collections.abc import Callable
from types import FunctionType, MethodType

import torch
from torch import Tensor, nn

from dna_zoo.errors import SettingsError

__all__ = ["PointLosses", "compiled", "pays_to_compile"]

log = logging.getLogger(__name__)

PointLosses = Callable[[nn.Module, Tensor], Tensor]
"""(net, flat indices (P,) int64) -> losses (S,)."""

COMPILED_FROM = {"cpu": 1e10, "cuda": 1e12}
"""Sines of a fit from which on compiling pays. On a CPU it takes 10 to 20 s and saves about 4 ns a sine and core; the
figure for CUDA is an estimate."""


def pays_to_compile(device: str, num_sines: float) -> bool:
    """Whether a fit with so many sines on that type of device gains more time than compiling takes."""
    return num_sines >= COMPILED_FROM.get(device, float("inf"))


def compiled(
    losses: PointLosses, first_pass: Callable[[PointLosses], object], *, must: bool, backend: str = "inductor"
) -> PointLosses:
    """`losses` as torch compiles them, forward and back, for batches of one size; unchanged if the compiler fails.

    `first_pass` goes forward and back through what it is given, which is when torch compiles. With `must` a compiler
    that fails is a `SettingsError`.
    """
    try:
        graph: PointLosses = torch.compile(
            _copied(losses), fullgraph=True, dynamic=False, backend=backend, options=_options(backend)
        )
        first_pass(graph)
    except Exception as error:  # Torch raises many kinds: no compiler, one that fails, a system that it does not know.
        first_pass(losses)  # What fails without the compiler too is no fault of the compiler.
        reason = _reason(error)
        if must:
            message = f"`--compile on` was asked for, and torch's compiler failed: {reason}"
            raise SettingsError(
                message, hint="Install a C++ compiler (for CUDA also Triton), or leave `--compile` out."
            ) from error
        _tell_once(reason)
        return losses
    return graph


def _copied(losses: PointLosses) -> PointLosses:
    """The same with code of its own: torch keeps at most eight graphs of one code, and a model has more stacks."""
    assert isinstance(losses, MethodType)
    function = losses.__func__
    return MethodType(FunctionType(function.__code__.replace(), function.__globals__), losses.__self__)


def _reason(error: Exception) -> str:
    """What went wrong, in one line; torch wraps what its backend raised."""
    cause = getattr(error, "inner_exception", error)
    return next(iter(str(cause).splitlines()), "") or type(cause).__name__


def _options(backend: str) -> dict[str, str | int | bool | Callable[..., object]] | None:
    """One thread a graph: the shards of a batch are what is shared out."""
    return {"cpp.threads": 1} if backend == "inductor" else None


@functools.cache
def _tell_once(reason: str) -> None:
    log.info("Torch's compiler does not work here, so pointwise DNAs are trained without it: %s", reason)
