"""A trained DNA as integers: what its parameters cost in bits, and the network they decode to.

Rounding every parameter of a sine network to 8 bits ruins it, and nearly all of the harm is done in the first layer: a
frequency that is wrong by a 254th turns the phase at the end of a weight matrix's axis by half a radian and more. So:

- frequencies, the weights that multiply coordinates, have 16 bits: one number a unit and axis, a few of a hundred;
- the bias of a sine unit is a phase, known up to a turn: its 8 bits divide the circle, and need no scale;
- all other weights have 8 bits, symmetric about 0, with a scale of 16 bits for each output unit;
- what steers frequencies (`adaptive`'s gate) or mixes outputs (`hierarchical`) has 16 bits: a handful of numbers.

Nothing is trained again. `benchmarks/rate.py` measures what is lost.

S = stack, I = inputs, O = outputs of a layer.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.fit.networks import HIDDEN_OMEGA, AdaptiveDna, Siren

__all__ = ["STEP_BITS", "Codes", "decoded", "quantise", "scaled", "stored_bits"]

FREQUENCY_BITS = 16
PHASE_BITS = 8
"""Least bits of a phase or an output's bias, of which there are few."""
STEP_BITS = 16
"""A scale is a bfloat16: it has the range of float32, and the codes are chosen after it was rounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Codes:
    """One parameter of a stack as integers: it stands for `codes * steps`."""

    codes: Tensor
    """(S, I, O) int16, of `bits` bits."""
    steps: Tensor
    """float32 (S, 1, O) or (S, 1, 1)."""
    bits: int
    are_steps_stored: bool
    """False where the steps follow from the frequency of the layer."""

    @property
    def values(self) -> Tensor:
        """(S, I, O) float32."""
        return self.codes.float() * self.steps

    @property
    def bits_each(self) -> int:
        """Bits of this parameter in one network of the stack."""
        steps = self.steps[0].numel() if self.are_steps_stored else 0
        return self.codes[0].numel() * self.bits + steps * STEP_BITS


def quantise(net: nn.Module, bits: int = 8) -> dict[str, Codes]:
    """Every parameter of the stack as integers, by name; `bits` (2 to 16) is the width of the weights.

    Frequencies have 16 bits and phases at least 8, whatever the width of the weights.
    """
    found: dict[str, Codes] = {}
    for prefix, module in net.named_modules():
        if isinstance(module, Siren):
            has_phase = not isinstance(net, AdaptiveDna)  # There the first layer's frequency changes with the point.
            parts = _quantise_siren(module, bits, has_phase)
            found |= {f"{prefix}.{name}" if prefix else name: part for name, part in parts}
    return {
        name: found[name] if name in found else scaled(parameter.detach(), FREQUENCY_BITS, dims=(1, 2))
        for name, parameter in net.named_parameters()
    }


@contextmanager
def decoded(net: nn.Module, codes: Mapping[str, Codes]) -> Iterator[nn.Module]:
    """The stack with what the codes stand for in the place of its parameters, which are put back in the end."""
    exact = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
    try:
        _put(net, {name: part.values for name, part in codes.items()})
        yield net
    finally:
        _put(net, exact)


def _put(net: nn.Module, values: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter.copy_(values[name])


def stored_bits(codes: Mapping[str, Codes]) -> int:
    """Bits of one network of the stack, scales among them."""
    return sum(part.bits_each for part in codes.values())


def _quantise_siren(siren: Siren, bits: int, has_phase: bool) -> Iterator[tuple[str, Codes]]:
    """The parameters of one SIREN by name; `has_phase`: whether the first layer has one frequency for all points."""
    phase_bits = max(bits, PHASE_BITS)
    for index, (weight, bias) in enumerate(zip(siren.weights, siren.biases, strict=True)):
        if index == 0:
            yield "weights.0", scaled(weight.detach(), FREQUENCY_BITS, dims=(1, 2))
        else:
            yield f"weights.{index}", scaled(weight.detach(), bits, dims=(1,))
        if index or has_phase:
            yield f"biases.{index}", _phase(bias.detach(), HIDDEN_OMEGA if index else siren.omega, phase_bits)
        else:
            yield "biases.0", scaled(bias.detach(), FREQUENCY_BITS, dims=(1, 2))
    yield "out_weight", scaled(siren.out_weight.detach(), bits, dims=(1,))
    yield "out_bias", scaled(siren.out_bias.detach(), phase_bits, dims=(1, 2))


def scaled(values: Tensor, bits: int, *, dims: tuple[int, ...]) -> Codes:
    """Symmetric about 0, the largest magnitude along `dims` near the end of the range; 0 has the code 0."""
    most = 2 ** (bits - 1) - 1
    # Rounded up, by bfloat16's precision: a step too short would clip the largest weight, at 16 bits by many steps.
    steps = (values.abs().amax(dim=dims, keepdim=True) / most * (1 + 2**-8)).bfloat16().float()
    steps = torch.where(steps > 0, steps, torch.ones_like(steps))
    codes = torch.round(values / steps).clamp(-most, most).to(torch.int16)
    return Codes(codes=codes, steps=steps, bits=bits, are_steps_stored=True)


def _phase(values: Tensor, omega: float, bits: int) -> Codes:
    """The bias of sin(omega (W x + b)): the circle of 2 pi / omega in 2^bits equal steps, codes wrapped about 0."""
    step = 2 * math.pi / omega / 2**bits
    half = 2 ** (bits - 1)
    codes = (torch.round(values / step) + half).remainder(2**bits) - half
    steps = torch.full_like(values[:, :1, :1], step)
    return Codes(codes=codes.to(torch.int16), steps=steps, bits=bits, are_steps_stored=False)
