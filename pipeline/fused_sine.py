"""A stack of SIRENs forward and back on a CPU in bfloat16, with the sine layers in C.

Torch takes a pass over memory for each of scale, bias, sine, cosine and product. Here a sine layer is one pass forward,
which leaves sine and cosine, and one back, which leaves the gradients of angle and bias. The matrix products stay
torch's: they run on the bfloat16 units of the CPU where it has any. Widths are padded with zeros to whole vectors.

S = stack, P = points, D = coordinate dims, H = hidden width, padded.
"""

import ctypes
import functools
import logging
import math
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["FusedSirens", "SineKernel", "compiled_sine_kernel"]

log = logging.getLogger(__name__)

LANES = 16
"""Widths are padded to a multiple of this, as `sine.c` takes them."""
FLAGS = ("-O3", "-fPIC", "-shared")
TARGETS = (("-march=native",), ())
"""Tried in turn, as not every compiler knows the first."""
SIGNATURES = {
    "first_forward": (3, 6),
    "hidden_forward": (2, 3),
    "out_forward": (2, 3),
    "out_backward": (2, 7),
    "hidden_backward": (2, 3),
    "first_backward": (3, 8),
}
"""How many sizes and how many arrays each function takes."""


class SineKernel:
    """The functions of `sine.c`, called with sizes and tensors; None is a null pointer."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._functions = {}
        for name, (num_sizes, num_arrays) in SIGNATURES.items():
            function = getattr(library, name)
            function.restype = None
            function.argtypes = [ctypes.c_long] * num_sizes + [ctypes.c_void_p] * num_arrays
            self._functions[name] = function

    def run(self, name: str, *arguments: int | Tensor | None) -> None:
        """Call the function; tensors are contiguous. The interpreter's lock is free meanwhile."""
        self._functions[name](*(a.data_ptr() if isinstance(a, Tensor) else a for a in arguments))


@functools.cache
def compiled_sine_kernel() -> SineKernel | None:
    """Compile `sine.c` for this machine, in about a second, once a process. None where no C compiler does it."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        log.info("There is no C compiler; pointwise DNAs do without compiled sine layers.")
        return None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        library = Path(directory) / "sine.so"
        for target in TARGETS:
            command = [compiler, *FLAGS, *target, str(Path(__file__).with_name("sine.c")), "-o", str(library)]
            if subprocess.run(command, capture_output=True, check=False).returncode == 0:
                return SineKernel(ctypes.CDLL(str(library)))
    log.info("%s does not compile the sine layers; pointwise DNAs do without.", compiler)
    return None


class FusedSirens:
    """What a stack of SIRENs of one output computes, within bfloat16's precision, with the parameters of one moment.

    Calling it gives the stack's predictions, differentiable in `leaves`: copies of the parameters, padded, scaled by
    the frequencies and rounded, made once for all the points they are to meet.
    """

    def __init__(
        self,
        kernel: SineKernel,
        *,
        scales: Sequence[float],
        weights: Sequence[Tensor],
        biases: Sequence[Tensor],
        out_weight: Tensor,
    ) -> None:
        """`scales`: what each layer's angles are multiplied with. Parameters (S, ...) as `Siren` has them."""
        self.kernel, self.scales = kernel, tuple(scale / (2 * math.pi) for scale in scales)  # Angles are in turns.
        self.width = out_weight.shape[1]
        pad = -self.width % LANES
        with torch.no_grad():
            first, *hidden = (weight * scale for weight, scale in zip(weights, self.scales, strict=True))
            stacks = [
                F.pad(first, (0, pad)),
                *(F.pad(weight, (0, pad, 0, pad)).to(torch.bfloat16) for weight in hidden),
                *(F.pad(bias[:, 0] * scale, (0, pad)) for bias, scale in zip(biases, self.scales, strict=True)),
                F.pad(out_weight[..., 0], (0, pad)),
            ]
        self.slots = [
            [leaf.requires_grad_() for leaf in slot] for slot in zip(*(s.unbind() for s in stacks), strict=True)
        ]

    @property
    def leaves(self) -> list[Tensor]:
        """What the predictions are differentiable in, slot by slot."""
        return [leaf for slot in self.slots for leaf in slot]

    def __call__(self, coords: Tensor, frequency: Tensor | None) -> Tensor:
        """Coordinates (S, P, D) float32 -> (S, P, 1) float32, less the last bias; `frequency` (S, P, 1) multiplies the
        angles of the first layer."""
        own = [None] * len(coords) if frequency is None else frequency[..., 0].unbind()
        parts = [
            _FusedSiren.apply(self.kernel, coords[slot], own[slot], *leaves)  # type: ignore[no-untyped-call]
            for slot, leaves in enumerate(self.slots)
        ]
        return torch.stack(parts)[..., None]

    def parameter_gradients(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """From gradients of `leaves` to those of weights, biases and last weight, (S, ...) float32."""
        per_slot, layers = len(self.slots[0]), len(self.scales)
        stacks = [torch.stack(tuple(gradients[kind::per_slot])).float() for kind in range(per_slot)]
        first, *hidden = stacks[:layers]
        weights = [first[..., : self.width], *(weight[:, : self.width, : self.width] for weight in hidden)]
        biases = [bias[:, None, : self.width] for bias in stacks[layers:-1]]
        scaled = [part * scale for part, scale in zip([*weights, *biases], self.scales * 2, strict=True)]
        return [*scaled, stacks[-1][:, : self.width, None]]


class _Buffers(threading.local):
    """Matrices that were used and may be used again, thread by thread: memory fresh from the system costs more than the
    arithmetic on it."""

    def __init__(self) -> None:
        self.free: dict[tuple[int, int], list[Tensor]] = {}

    def take(self, shape: tuple[int, int]) -> Tensor:
        """A bfloat16 matrix with anything in it."""
        free = self.free.get(shape)
        return free.pop() if free else torch.empty(shape, dtype=torch.bfloat16)

    def give(self, *matrices: Tensor) -> None:
        """Back for use by this thread."""
        for matrix in matrices:
            self.free.setdefault((matrix.shape[0], matrix.shape[1]), []).append(matrix)


_BUFFERS = _Buffers()


class _FusedSiren(torch.autograd.Function):
    """One network: coordinates (P, D), frequencies (P,) or None, first weight (D, H), hidden weights (H, H) bfloat16,
    biases (H,) and last weight (H,) -> (P,)."""

    @staticmethod
    def forward(ctx: Any, kernel: SineKernel, coords: Tensor, frequency: Tensor | None, *leaves: Tensor) -> Tensor:
        layers = len(leaves) // 2
        coords, frequency = coords.contiguous(), None if frequency is None else frequency.contiguous()
        shape = (len(coords), leaves[-1].shape[0])
        waves = [(_BUFFERS.take(shape), _BUFFERS.take(shape)) for _ in range(layers)]
        first = (coords, leaves[0], leaves[layers], frequency, *waves[0])
        kernel.run("first_forward", shape[0], coords.shape[1], shape[1], *first)
        for layer in range(1, layers):
            sine, slope = waves[layer]
            torch.mm(waves[layer - 1][0], leaves[layer], out=slope)
            kernel.run("hidden_forward", *shape, leaves[layers + layer], slope, sine)
        out = torch.empty(shape[0])
        kernel.run("out_forward", *shape, waves[-1][0], leaves[-1], out)
        ctx.kernel, ctx.waves, ctx.shape = kernel, waves, shape
        ctx.save_for_backward(coords, frequency, *leaves)
        return out

    @staticmethod
    def backward(ctx: Any, *grad_outs: Any) -> tuple[Any, ...]:
        kernel, waves, shape = ctx.kernel, ctx.waves, ctx.shape
        coords, frequency, *leaves = ctx.saved_tensors
        layers = len(leaves) // 2
        grad_leaves: list[Any] = [None if leaf.dtype == torch.bfloat16 else torch.zeros_like(leaf) for leaf in leaves]
        grad, below = _BUFFERS.take(shape), _BUFFERS.take(shape)
        last = (leaves[-1], *waves[-1], grad, grad_leaves[-1], grad_leaves[-2])
        kernel.run("out_backward", *shape, grad_outs[0].contiguous(), *last)
        for layer in range(layers - 1, 0, -1):
            sine, slope = waves[layer - 1]
            grad_leaves[layer] = torch.mm(sine.T, grad)
            torch.mm(grad, leaves[layer].T, out=below)
            grad, below = below, grad
            kernel.run("hidden_backward", *shape, slope, grad, grad_leaves[layers + layer - 1])
        grad_frequency = None if frequency is None else torch.empty_like(frequency)
        grad_leaves[layers].zero_()  # A point's own frequency changes what the first biases get.
        first = (
            coords,
            leaves[0],
            leaves[layers],
            frequency,
            grad,
            grad_leaves[0],
            grad_leaves[layers],
            grad_frequency,
        )
        kernel.run("first_backward", shape[0], coords.shape[1], shape[1], *first)
        _BUFFERS.give(grad, below, *(matrix for pair in waves for matrix in pair))
        ctx.waves = None
        return None, None, grad_frequency, *grad_leaves
