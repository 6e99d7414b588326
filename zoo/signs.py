"""Arbitrary signs: axes along which flipping signs leaves the function of a network, beyond those of every network.

Inner axes of attention have arbitrary signs in every network (`Axis.is_sign_free`). Other axes depend on what stands
between two matrices. The sign of a unit may be flipped

- under a batch norm, with the norm's running mean and gain, since it divides by a deviation, which has no sign;
- along the residual stream of a stack of layers whose norms subtract no mean (RMS norm), and gains stay as they are;
  outside of stacks that of a tower;
- along the residual streams of MobileBERT, whose norms only scale and shift, with the shifts;
- in the up projection of a gated feed-forward module, whose units are multiplied with the gate's, with the columns of
  the down projection;
- in a kernel that reads one channel each of the matrix before it (state space models), with that matrix;
- in a pooler with tanh, which is odd, with the columns of the head that reads it;
- in the channels between blocks of MobileNetV2, which pass no activation, with the columns of the kernels behind;
- in what leaves a module and is scaled for each channel (LayerScale: ConvNeXt, DINOv2, BEiT), with that scale;
- in the columns of a projection that reads code vectors alone (wav2vec 2), with the code vectors.

An axis wrongly taken as free costs the signature its odd moments there; one missed breaks its invariance. So whatever
names and shapes do not decide is taken as free.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from zoo.blocks import module_of, modules_above, tower_of
from zoo.tensors import CONVOLUTIONS, Axis, Role, TensorHeader, TensorSpec

__all__ = ["HEAD_NORM", "FreeSigns", "find_free_signs", "with_free_signs"]

_TANH_UNITS = re.compile(r"(?:^|\.)(?:pooler(?:\.dense)?|classifier\.dense)\.(?:weight|bias)$")
_GATES = {
    "up_proj": "gate_proj",
    "w3": "w1",
    "v1": "w1",
    "wi_1": "wi_0",
    "ffn_up": "ffn_gate",
    "ffn_up_shexp": "ffn_gate_shexp",
}
"""What is gated -> what gates it, in one module."""
_BOTH = {"Wi": "Wo", "dense_h_to_4h": "dense_4h_to_h"}
"""Gate and up in one matrix (ModernBERT, ChatGLM) -> what leaves the module, which reads half as many units."""
_UP = re.compile(r"(?:^|\.)(?:up_proj|w3|v1|wi_1|ffn_up(?:_shexp)?|Wi)\.weight$|\[up\]$")
HEAD_NORM = re.compile(r"(?:^|[._])(?:q|k|query|key)_(?:norm|layernorm|ln)(?:[._]|$)")
"""Norms inside of heads say nothing of the stream."""
_LAYER_SCALE = re.compile(
    r"^(.*?)(?:layer_scale_parameter|layer_scale([12])\.lambda1|ls([12])\.gamma|(?:gamma|lambda|layer_scale)_([12])|gamma"
    r"|(self_attn|mlp)_layer_scale\.scale)$"
)
"""The block that a scale for each channel belongs to, and whether it is behind the first module of it or the second."""
_READS_CODES = re.compile(r"(?:^|\.)project_q\.weight$")
_SQUEEZED = re.compile(r"(?:^|\.)(?:\w*squeeze_excit\w*|se_module|se)\.")
"""Convolutions that weigh channels: an activation behind each, and no norm."""
_NUMBER = re.compile(r"\.\d+\.")
_MIXER_KERNEL = re.compile(r"(?:^|\.)\w*conv_?1d\.weight$")


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeSigns:
    """Which signs are arbitrary in one checkpoint."""

    batch_norms: frozenset[str]
    """Modules that keep a running mean."""
    residual: frozenset[str]
    """Towers along whose residual stream they are: no norm subtracts a mean, since all are linear or none has a shift
    (RMS norm). What has no tower's name is in the tower with the empty name."""
    stacks: Mapping[str, bool]
    """The same of a stack of layers, by the path above its numbers, for those that have norms of their own."""
    linear_norms: bool
    """Norms only scale and shift."""
    narrow: bool
    """Channels between blocks may pass no activation: there are depthwise kernels and batch norms."""
    gated: frozenset[str]
    """Modules whose hidden units are multiplied with those of a gate."""
    scaled: frozenset[tuple[str, Role]]
    """Blocks, and the role of the projection in them that is scaled for each channel."""


def find_free_signs(headers: Sequence[TensorHeader], config: Mapping[str, Any], norms: frozenset[str]) -> FreeSigns:
    """From the names and shapes of all tensors of a checkpoint, and its `config.json`.

    - `norms`: modules whose `weight` is a vector.
    """
    shifts = {module_of(header.name) for header in headers if header.name.endswith((".bias", ".beta"))}
    batch_norms = frozenset(module_of(h.name) for h in headers if h.name.endswith(".running_mean"))
    is_linear = config.get("model_type") == "mobilebert" and config.get("normalization_type", "no_norm") == "no_norm"
    has_depthwise = any(len(h.shape) == 4 and h.shape[1] == 1 < h.shape[0] for h in headers)
    shifted = frozenset[str]() if is_linear else frozenset(shifts)
    return FreeSigns(
        batch_norms=batch_norms,
        residual=_free_towers({tower_of(h.name) for h in headers}, norms, shifted),
        stacks=_free_stacks(norms, shifted),
        linear_norms=is_linear,
        narrow=bool(batch_norms) and has_depthwise,
        gated=_gated_modules(headers),
        scaled=frozenset(_scaled_projections(headers)),
    )


def _free_towers(towers: set[str], norms: frozenset[str], shifted: Collection[str]) -> frozenset[str]:
    """Towers without a norm of their stream that has a shift; and those without norms, if there is such a tower."""
    own = [norm for norm in norms if not HEAD_NORM.search(norm)]
    held = {tower_of(norm) for norm in own if norm in shifted}
    known = {tower_of(norm) for norm in own}
    return frozenset(known - held | (towers - known if known - held else set[str]()))


def _free_stacks(norms: frozenset[str], shifted: Collection[str]) -> dict[str, bool]:
    """Path of a stack -> whether none of the norms in its layers has a shift: what is outside may be another stream."""
    own = [norm for norm in norms if _stack_of(norm) and not HEAD_NORM.search(norm)]
    held = {_stack_of(norm) for norm in own if norm in shifted}
    return {stack: stack not in held for stack in map(_stack_of, own)}


def _stack_of(name: str) -> str:
    """The path above the first number; empty without one."""
    number = _NUMBER.search(name)
    return name[: number.start()] if number else ""


def _gated_modules(headers: Sequence[TensorHeader]) -> frozenset[str]:
    shapes = {header.name.removesuffix(".weight"): header.shape for header in headers if len(header.shape) == 2}
    found = {module_of(name) for name in shapes if name.endswith("gate_up_proj")}
    for name, shape in shapes.items():
        module, _, last = name.rpartition(".")
        prefix = f"{module}." if module else ""
        if last in _GATES and f"{prefix}{_GATES[last]}" in shapes:
            found.add(module)
        if last in _BOTH and shape[0] == 2 * shapes.get(f"{prefix}{_BOTH[last]}", (0, 0))[1] > 0:
            found.add(module)
    return frozenset(found)


def _scaled_projections(headers: Sequence[TensorHeader]) -> Iterator[tuple[str, Role]]:
    for header in headers:
        found = _LAYER_SCALE.match(header.name) if len(header.shape) == 1 else None
        if found and found[1].endswith("."):
            place = next((number for number in found.groups()[1:] if number), None)
            yield found[1][:-1], Role.ATTENTION_OUTPUT if place in ("1", "self_attn") else Role.FFN_OUT


def with_free_signs(spec: TensorSpec, found: FreeSigns) -> TensorSpec:
    """`spec` with `free_row_signs` and `free_col_signs`."""
    rows, cols = _rows_are_free(spec, found), _cols_are_free(spec, found)
    if (rows, cols) == (spec.free_row_signs, spec.free_col_signs):
        return spec
    return replace(spec, free_row_signs=rows, free_col_signs=cols)


def _rows_are_free(spec: TensorSpec, found: FreeSigns) -> bool:
    if _SQUEEZED.search(spec.name):
        return False
    if spec.role in CONVOLUTIONS:
        is_mixers = spec.role is Role.DEPTHWISE_CONVOLUTION and _MIXER_KERNEL.search(spec.name) is not None
        return bool(found.batch_norms) or is_mixers
    if found.scaled and any((module, spec.role) in found.scaled for module in modules_above(spec.name)):
        return True
    if spec.role is Role.FFN_IN and _UP.search(spec.name) and _parent(spec.tensor) in found.gated:
        return True
    return _is_free_residual(spec, spec.row_axis, found) or _TANH_UNITS.search(spec.name) is not None


def _cols_are_free(spec: TensorSpec, found: FreeSigns) -> bool:
    if spec.role is Role.NORM:
        return found.linear_norms or module_of(spec.name) in found.batch_norms
    if _SQUEEZED.search(spec.name):
        return False
    if spec.role in CONVOLUTIONS:
        return found.narrow and spec.col_axis is Axis.CHANNEL
    if _READS_CODES.search(spec.name):
        return True
    if spec.role is Role.FFN_OUT and _parent(spec.tensor) in found.gated:
        return True
    is_label_head = spec.role is Role.HEAD and spec.row_axis is Axis.LABEL
    return _is_free_residual(spec, spec.col_axis, found) or is_label_head


def _is_free_residual(spec: TensorSpec, axis: Axis, found: FreeSigns) -> bool:
    # The narrow side of a bottleneck is a residual stream too.
    is_residual = axis is Axis.RESIDUAL or (axis is Axis.HIDDEN and spec.role is Role.BOTTLENECK)
    if not (is_residual and spec.is_matrix):
        return False
    of_stack = found.stacks.get(_stack_of(spec.name)) if found.stacks else None
    return bool(found.residual) and tower_of(spec.name) in found.residual if of_stack is None else of_stack


def _parent(name: str) -> str:
    """The module that a projection belongs to."""
    return module_of(name.removesuffix(".weight"))
