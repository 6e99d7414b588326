"""Loss and gradients of a stack of pointwise DNAs on a CPU in bfloat16, in one pass of C.

Torch takes a pass over memory for each of scale, bias, sine, cosine and product. `sirens.c` takes a few hundred points
through all layers, forward and back, so that nothing leaves the cache; its products run on the CPU's matrix unit (AMX)
where there is one. Widths are padded with zeros.

S = stack, P = points, D = coordinate dims, N = networks of a DNA, H = hidden width, padded.
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
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["TARGETS", "Found", "FusedSirens", "Layers", "SirenKernel", "compile_kernel", "siren_kernel"]

log = logging.getLogger(__name__)

BLOCK = 32
"""Widths are padded to a multiple of this, as `sirens.c` takes them."""
MOST_NETWORKS = 4
"""In one DNA."""
FLAGS = ("-O3", "-fPIC", "-shared")
TARGETS = (("-march=native",), ("-march=native", "-mno-amx-bf16"), ())
"""Tried in turn: not every compiler knows the first, and not every system lets a process use the matrix unit."""


class _Network(ctypes.Structure):
    """`Network` of `sirens.c`."""

    _fields_ = (
        ("width", ctypes.c_long),
        ("num_layers", ctypes.c_long),
        *((name, ctypes.c_void_p) for name in ("parameters", "packed", "frequency", "gradients", "grad_frequency")),
    )


class SirenKernel:
    """The functions of `sirens.c`, called with sizes and tensors. The interpreter's lock is free meanwhile."""

    def __init__(self, library: ctypes.CDLL) -> None:
        long, pointer, single = ctypes.c_long, ctypes.c_void_p, ctypes.c_float
        self._waves = library.waves
        self._waves.argtypes, self._waves.restype = [long, *[pointer] * 3], None
        self._pack_weight = library.pack_weight
        self._pack_weight.argtypes, self._pack_weight.restype = [long, long, pointer, single, pointer], None
        self._unpack_gradient = library.unpack_gradient
        self._unpack_gradient.argtypes, self._unpack_gradient.restype = [long, long, pointer, single, pointer], None
        self._room_for = library.room_for
        self._room_for.argtypes, self._room_for.restype = [long, pointer], long
        self._loss = library.loss
        self._loss.argtypes = [*[long] * 3, *[pointer] * 4, single, single, *[pointer] * 3]
        self._loss.restype = ctypes.c_double
        self._memory = threading.local()

    def waves(self, turns: Tensor) -> tuple[Tensor, Tensor]:
        """Sine and derivative by the angle, bfloat16, of angles in turns, float32, a multiple of 16 of them."""
        sine, slope = (torch.empty_like(turns, dtype=torch.bfloat16) for _ in range(2))
        self._waves(turns.numel(), turns.data_ptr(), sine.data_ptr(), slope.data_ptr())
        return sine, slope

    def pack_weight(self, weight: Tensor, scale: float, packed: Tensor) -> None:
        """(size, size) float32 -> (2, H, H) bfloat16 as the products take it: `weight * scale`, and its transpose."""
        weight = weight.contiguous()
        self._pack_weight(len(weight), packed.shape[-1], weight.data_ptr(), scale, packed.data_ptr())

    def unpack_gradient(self, blocks: Tensor, scale: float, gradient: Tensor) -> None:
        """The gradient of such a weight, (size, size) float32, from that of `weight * scale`, (H * H,) in blocks."""
        size, width = len(gradient), math.isqrt(len(blocks))
        self._unpack_gradient(size, width, blocks.data_ptr(), scale, gradient.data_ptr())

    def loss(
        self,
        networks: Sequence[_Network],
        coords: Tensor,
        values: Tensor,
        mixture: Tensor,
        offset: float,
        scale: float,
        grad_mixture: Tensor,
        grad_offset: Tensor,
    ) -> float:
        """The sum of squares of `offset + sum_n mixture[n] y_n - values`; adds its gradients times `scale`."""
        array = (_Network * len(networks))(*networks)
        room = self._room(self._room_for(len(networks), ctypes.addressof(array)))
        given = (t.data_ptr() for t in (coords, values, mixture))
        found = (t.data_ptr() for t in (grad_mixture, grad_offset, room))
        sizes = (*coords.shape, len(networks), ctypes.addressof(array))
        return float(self._loss(*sizes, *given, offset, scale, *found))

    def _room(self, num_bytes: int) -> Tensor:
        """Memory to work in, this thread's own: memory fresh from the system costs more than the arithmetic on it."""
        room: Tensor | None = getattr(self._memory, "room", None)
        if room is None or len(room) < num_bytes:
            room = self._memory.room = torch.empty(num_bytes, dtype=torch.uint8)
        return room


@functools.cache
def siren_kernel() -> SirenKernel | None:
    """`sirens.c` compiled for this machine, in one or two seconds, once a process. None where no C compiler does it."""
    for target in TARGETS:
        kernel = compile_kernel(target)
        if kernel is not None:
            return kernel
    log.info("No C compiler makes the networks' passes; pointwise DNAs do without.")
    return None


def compile_kernel(target: Sequence[str]) -> SirenKernel | None:
    """The same with a compiler's flags for one kind of machine; None if it fails or this machine is of another."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        library = Path(directory) / "sirens.so"
        command = [compiler, *FLAGS, *target, str(Path(__file__).with_name("sirens.c")), "-o", str(library)]
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            return None
        loaded = ctypes.CDLL(str(library))
    return SirenKernel(loaded) if loaded.prepare() else None


class Layers(NamedTuple):
    """The parameters of a stack of SIRENs of one output, but for the last bias."""

    scales: tuple[float, ...]
    """What each layer's angles are multiplied with, in radians."""
    weights: tuple[Tensor, ...]
    """(S, D, H), then (S, H, H), not padded."""
    biases: tuple[Tensor, ...]
    """(S, 1, H)."""
    out_weight: Tensor
    """(S, H, 1)."""


class Found(NamedTuple):
    """A loss over points and its gradients, all float32."""

    losses: Tensor
    """(S,)."""
    parameters: list[Tensor]
    """For each network (S, its padded parameters), see `FusedSirens.parameter_gradients`."""
    mixture: Tensor
    """(S, N)."""
    offset: Tensor
    """(S,)."""
    frequencies: list[Tensor]
    """For each network that was given its points' frequencies, (S, P)."""


class FusedSirens:
    """A stack of DNAs of N SIRENs each, with the parameters of one moment: scaled, padded, rounded and laid out as
    `sirens.c` takes them, once for all the points they are to meet."""

    def __init__(self, kernel: SirenKernel, networks: Sequence[Layers]) -> None:
        assert len(networks) <= MOST_NETWORKS
        self.kernel = kernel
        self.networks = networks
        with torch.no_grad():
            self._parameters = [_laid_out(layers) for layers in networks]
            self._packed = [self._pack(layers) for layers in networks]

    def _pack(self, layers: Layers) -> Tensor:
        """(S, layers - 1, 2, H, H) bfloat16."""
        stack, width = len(layers.out_weight), _padded_width(layers)
        packed = torch.empty(stack, len(layers.weights) - 1, 2, width, width, dtype=torch.bfloat16)
        for layer, (weights, scale) in enumerate(zip(layers.weights[1:], _in_turns(layers)[1:], strict=True)):
            for slot, weight in enumerate(weights):
                self.kernel.pack_weight(weight, scale, packed[slot, layer])
        return packed

    def loss(
        self,
        coords: Tensor,
        values: Tensor,
        frequencies: Sequence[Tensor | None],
        mixture: Tensor,
        offset: Tensor,
        scale: float,
    ) -> Found:
        """`scale` times the sum over the points of (offset + sum_n mixture_n y_n - value)^2, and its gradients.

        `coords` (P, D) and `values` (S, P) float32; `frequencies`: for each network (S, P), what its first angles are
        multiplied with, or None; `mixture` (S, N), `offset` (S,).
        """
        coords, values, mixture = coords.contiguous(), values.contiguous(), mixture.detach().contiguous()
        given = [None if f is None else f.detach().contiguous() for f in frequencies]
        found = Found(
            losses=torch.empty(len(values)),
            parameters=[torch.zeros(len(values), sum(_sizes(layers))) for layers in self.networks],
            mixture=torch.zeros_like(mixture),
            offset=torch.zeros(len(values)),
            frequencies=[torch.empty_like(frequency) for frequency in given if frequency is not None],
        )
        for slot, shift in enumerate(offset.tolist()):
            structures = self._structures(slot, given, found)
            gradients = found.mixture[slot], found.offset[slot]
            squares = self.kernel.loss(structures, coords, values[slot], mixture[slot], shift, scale, *gradients)
            found.losses[slot] = squares * scale
        return found

    def _structures(self, slot: int, frequencies: Sequence[Tensor | None], found: Found) -> list[_Network]:
        """The networks of a slot as `sirens.c` takes them."""
        grad_frequencies = iter(found.frequencies)
        structures = []
        for n, (layers, frequency) in enumerate(zip(self.networks, frequencies, strict=True)):
            arrays = [self._parameters[n], self._packed[n], frequency, found.parameters[n]]
            arrays.append(None if frequency is None else next(grad_frequencies))
            pointers = [None if array is None else array[slot].data_ptr() for array in arrays]
            structures.append(_Network(_padded_width(layers), len(layers.weights), *pointers))
        return structures

    def parameter_gradients(self, found: Sequence[Tensor]) -> list[Tensor]:
        """`Found.parameters` as gradients of each network's weights, biases and last weight, shaped like them."""
        return [
            part for layers, flat in zip(self.networks, found, strict=True) for part in self._take_apart(layers, flat)
        ]

    def _take_apart(self, layers: Layers, flat: Tensor) -> list[Tensor]:
        """Gradients (S, parameters) by parameter, without the padding and in their own scale."""
        scales, width, stack = _in_turns(layers), _padded_width(layers), len(layers.out_weight)
        own, depth = layers.out_weight.shape[1], len(scales)
        first, *rest = torch.split(flat, _sizes(layers), dim=1)
        biases, last, hidden = rest[:depth], rest[depth], rest[depth + 1 :]
        weights = [torch.empty(stack, own, own) for _ in hidden]
        for blocks, scale, weight in zip(hidden, scales[1:], weights, strict=True):
            for slot in range(stack):
                self.kernel.unpack_gradient(blocks[slot], scale, weight[slot])
        return [
            first.view(stack, -1, width)[..., :own] * scales[0],
            *weights,
            *(bias[:, None, :own] * scale for bias, scale in zip(biases, scales, strict=True)),
            last[:, :own, None],
        ]


def _padded_width(layers: Layers) -> int:
    return -(-layers.out_weight.shape[1] // BLOCK) * BLOCK


def _in_turns(layers: Layers) -> list[float]:
    """The scales for angles in turns."""
    return [scale / (2 * math.pi) for scale in layers.scales]


def _sizes(layers: Layers) -> list[int]:
    """Parameters of one network in the order of `sirens.c`: first weight, biases, last weight, hidden weights."""
    width, depth = _padded_width(layers), len(layers.weights)
    return [layers.weights[0].shape[1] * width, *[width] * depth, width, *[width * width] * (depth - 1)]


def _laid_out(layers: Layers) -> Tensor:
    """(S, parameters) in that order, without the hidden weights, which are packed apart."""
    scales, stack = _in_turns(layers), len(layers.out_weight)
    pad = (0, _padded_width(layers) - layers.out_weight.shape[1])
    parts = [
        layers.weights[0] * scales[0],
        *(bias * scale for bias, scale in zip(layers.biases, scales, strict=True)),
        layers.out_weight[..., 0],
    ]
    return torch.cat([F.pad(part, pad).reshape(stack, -1) for part in parts], dim=1)
