"""What every tensor of a checkpoint is, from names, shapes and dtypes alone; no value is read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from zoo.blocks import Place, module_of, place_tensors
from zoo.config import text_in
from zoo.fused import Part, gate_and_up, parts_of
from zoo.matching import Met, rules_of
from zoo.rules import BUFFER_RULES, FusedRule, Rule
from zoo.signs import FreeSigns, find_free_signs, with_free_signs
from zoo.tensors import EMBEDDINGS, FLOATING, Axis, Role, TensorHeader, TensorKind, TensorSpec
from zoo.ties import find_ties
from zoo.tracing.agreement import resolved
from zoo.tracing.traced import TracedTensor, TracedWiring

__all__ = ["describe_tensors"]

_CONV1D_TYPES = frozenset({"gpt2", "openai-gpt", "imagegpt", "decision_transformer", "clvp", "clvp_decoder"})
_GAINS = frozenset({"weight", "gamma"})
"""What the multiplying vector of a norm is called; `gamma` in checkpoints from before 2019."""

COLOURS, MOST_COLOURS = 3, 12
"""Channels of a picture, and of one from a satellite."""


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    """What the tensors of one file have to be read together for."""

    config: Mapping[str, Any]
    has_conv1d: bool
    norms: frozenset[str]
    """Modules whose `weight` is a vector: they normalise or scale."""
    ties: Mapping[str, str]
    places: Mapping[str, Place]
    signs: FreeSigns
    has_experts: bool
    traced: Mapping[str, TracedTensor]
    """What the code of the architecture says, by name; empty where it was not asked."""
    rules: Mapping[str, Met]
    """By name, the rules that it meets."""
    buffers: frozenset[int]
    """Places among `BUFFER_RULES` of those whose `requires` some name meets."""


def describe_tensors(
    headers: Sequence[TensorHeader],
    config: Mapping[str, Any] | None = None,
    *,
    shared: Mapping[str, str] | None = None,
    wiring: TracedWiring | None = None,
) -> tuple[TensorSpec, ...]:
    """A spec for every tensor, in the order of `headers`; a fused projection gives one for each part.

    - `headers`: all tensors of the checkpoint, of all its shards: blocks are counted and copies found among them.
    - `config`: the model's `config.json`. Without it names and shapes decide alone.
    - `shared`: name -> first name of the same storage, where the reader can tell (`.bin`); wins over names.
    - `wiring`: of the architecture, traced from its code. It speaks where names say nothing of a matrix, and decides
      where they say otherwise (`zoo.tracing.agreement`).

    What neither knows has role `other` if it is a matrix, and `norm` or `bias` if it is a vector.
    """
    config = config or {}
    rules = {header.name: rules_of(_stem(header.name)) for header in headers}
    norms = frozenset(module_of(h.name) for h in headers if len(h.shape) == 1 and _parameter(h.name) in _GAINS)
    checkpoint = _Checkpoint(
        config=config,
        has_conv1d=_has_conv1d(headers, config),
        norms=norms,
        ties=find_ties(headers, config, shared or {}),
        places=place_tensors((header.name for header in headers), config, wiring.stacks if wiring else ()),
        signs=find_free_signs(headers, config, norms),
        has_experts=any("expert" in header.name for header in headers),
        traced=wiring.find(headers) if wiring else {},
        rules=rules,
        buffers=_met_buffers(rules),
    )
    return tuple(spec for header in headers for spec in _describe(header, checkpoint))


def _describe(header: TensorHeader, checkpoint: _Checkpoint) -> tuple[TensorSpec, ...]:
    """By its name and the trace: that speaks alone where the name says nothing of a matrix."""
    specs = _describe_by_name(header, checkpoint)
    traced = checkpoint.traced.get(header.name)
    if traced is not None and len(specs) == 1 and specs[0].kind is TensorKind.WEIGHT:
        if specs[0].role is Role.OTHER and min(specs[0].rows, specs[0].cols) > 1:
            return _by_tracing(specs[0], traced)
    named = tuple(with_free_signs(spec, checkpoint.signs) for spec in specs)
    return named if traced is None else tuple(resolved(spec, traced) for spec in named)


def _by_tracing(spec: TensorSpec, traced: TracedTensor) -> tuple[TensorSpec, ...]:
    """The matrix with what the trace says of it; one spec for each part along its rows."""
    found = replace(
        spec,
        role=traced.role,
        row_axis=traced.row_axis,
        col_axis=traced.col_axis,
        free_row_signs=traced.free_row_signs,
        free_col_signs=traced.free_col_signs,
    )
    if spec.block is None and traced.role in EMBEDDINGS:
        found = replace(found, depth=0.0)
    if traced.transposed and not spec.transposed:
        found = replace(found, rows=spec.cols, cols=spec.rows, transposed=True)
    size, rest = divmod(found.rows, traced.parts)
    if rest or traced.parts == 1:
        return (found,)
    parts = (Part(traced.role, str(i), i * size, (i + 1) * size) for i in range(traced.parts))
    free = traced.free_parts or (traced.free_row_signs,) * traced.parts
    return tuple(
        replace(_part(found, part), row_axis=traced.row_axis, free_row_signs=is_free)
        for part, is_free in zip(parts, free, strict=True)
    )


def _describe_by_name(header: TensorHeader, checkpoint: _Checkpoint) -> tuple[TensorSpec, ...]:
    buffer = _buffer_role(header, checkpoint)
    if buffer is not None:
        rows = Axis.POSITION if buffer is Role.POSITION_EMBEDDING else Axis.RESIDUAL
        return (replace(_plain(header, checkpoint), role=buffer, row_axis=rows, kind=TensorKind.BUFFER),)
    if len(header.shape) == 2:
        known = checkpoint.rules[header.name].fused
        fused = known or gate_and_up(_stem(header.name), header.shape[0], checkpoint.config)
        if fused is not None:
            return _split(header, fused, checkpoint)
    spec = _with_role(header, checkpoint)
    original = checkpoint.ties.get(header.name)
    return (spec if original is None else replace(spec, kind=TensorKind.TIED, tied_to=original),)


def _buffer_role(header: TensorHeader, checkpoint: _Checkpoint) -> Role | None:
    """The role of a tensor that was never trained; None for one that was.

    Integers are known by dtype, never by name.
    """
    if header.dtype not in FLOATING:
        return Role.OTHER
    rule = checkpoint.rules[header.name].buffer
    if rule is None or rule.ndim not in (None, len(header.shape)):
        return None
    return rule.role if BUFFER_RULES.index(rule) in checkpoint.buffers else None


def _met_buffers(rules: Mapping[str, Met]) -> frozenset[int]:
    """Places among `BUFFER_RULES` of those that apply to some tensor and whose `requires` some name meets."""
    used = {BUFFER_RULES.index(met.buffer) for met in rules.values() if met.buffer is not None}
    return frozenset(place for place in used if any(BUFFER_RULES[place].requires.search(_stem(name)) for name in rules))


def _with_role(header: TensorHeader, checkpoint: _Checkpoint) -> TensorSpec:
    if _is_kernel(header):
        return _as_kernel(_plain(header, checkpoint), header, checkpoint.rules[header.name].kernel)
    rule = checkpoint.rules[header.name].matrix
    rows, _ = _matrix_shape(header)
    # A projection of three dimensions or more is stacked or split by head: its rows are not the rule's.
    if rule is not None and rule.role is Role.ROUTER and (rows == 1 or not checkpoint.has_experts):
        rule = None
    if rule is not None and (_num_axes(header) <= 2 or rule.role in EMBEDDINGS):
        return _by_rule(header, rule, checkpoint)
    return _plain(header, checkpoint, role=Role.OTHER if rows > 1 else _vector_role(header.name, checkpoint))


def _plain(header: TensorHeader, checkpoint: _Checkpoint, **known: Any) -> TensorSpec:
    """The spec before anything but `known` is known of it. Made at once: of a spec that is changed all is copied."""
    rows, cols = _matrix_shape(header)
    place = checkpoint.places[header.name]
    values = {"rows": rows, "cols": cols, "role": Role.OTHER, "block": place.block, "depth": place.depth, **known}
    return TensorSpec(name=header.name, tensor=header.name, dtype=header.dtype, **values)


def _by_rule(header: TensorHeader, rule: Rule, checkpoint: _Checkpoint) -> TensorSpec:
    known: dict[str, Any] = {"role": rule.role, "row_axis": rule.row_axis, "col_axis": rule.col_axis}
    is_outside = checkpoint.places[header.name].block is None
    if is_outside and rule.role in EMBEDDINGS:
        known["depth"] = 0.0
    if is_outside and rule.role is Role.HEAD:
        known["depth"] = 1.0
    rows, cols = _matrix_shape(header)
    # A head of tokens has more rows than columns; RemBERT has a map of this name, stored as usual.
    if (rule.transposed and cols > rows) or (rule.conv1d and checkpoint.has_conv1d):
        known |= {"rows": cols, "cols": rows, "transposed": True}
    return _plain(header, checkpoint, **known)


def _as_kernel(spec: TensorSpec, header: TensorHeader, rule: Rule | None) -> TensorSpec:
    """A convolution: by name where it reads an image, else by the shape (out, in per group, kernel...)."""
    is_image = len(header.shape) > 3
    # Between stages are kernels of the same names that read channels.
    if rule is not None and not (is_image and header.shape[1] > MOST_COLOURS):
        return replace(spec, role=rule.role, row_axis=rule.row_axis, col_axis=rule.col_axis)
    spec = replace(spec, row_axis=Axis.CHANNEL, col_axis=Axis.CHANNEL)
    if prod(header.shape[2:]) == 1:
        return replace(spec, role=Role.POINTWISE_CONVOLUTION)
    if header.shape[1] == 1:
        # One input channel a group: the columns are the positions of the kernel and nothing else.
        return replace(spec, role=Role.DEPTHWISE_CONVOLUTION, col_axis=Axis.POSITION)
    reads_pixels = is_image and header.shape[1] == COLOURS
    return replace(spec, role=Role.CONVOLUTION, col_axis=Axis.POSITION if reads_pixels else Axis.CHANNEL)


def _split(header: TensorHeader, rule: FusedRule, checkpoint: _Checkpoint) -> tuple[TensorSpec, ...]:
    """One spec for each part along the out dimension; a single one of role `other` where parts cannot be separated."""
    whole = replace(_plain(header, checkpoint), row_axis=Axis.ATTENTION, col_axis=Axis.RESIDUAL)
    if rule.conv1d and checkpoint.has_conv1d:
        whole = replace(whole, rows=whole.cols, cols=whole.rows, transposed=True)
    parts = parts_of(header.name, whole.rows, whole.cols, rule, checkpoint.config)
    specs = tuple(_part(whole, part) for part in parts) or (whole,)
    original = checkpoint.ties.get(header.name)
    if original is None or checkpoint.rules[original].fused is not rule:
        return specs
    if parts_of(original, whole.rows, whole.cols, rule, checkpoint.config) != parts:
        return specs  # Heads of its own: no part is a copy of one there.
    copies = (original + spec.name.removeprefix(header.name) for spec in specs)
    return tuple(replace(s, kind=TensorKind.TIED, tied_to=of) for s, of in zip(specs, copies, strict=True))


def _part(whole: TensorSpec, part: Part) -> TensorSpec:
    size = part.stop - part.start
    return replace(
        whole,
        name=f"{whole.name}[{part.label}]",
        role=part.role,
        rows=size * (whole.rows // part.period if part.period else 1),
        row_slice=(part.start, part.stop),
        row_period=part.period,
        row_axis=Axis.HIDDEN if part.role is Role.FFN_IN else Axis.ATTENTION,
    )


def _has_conv1d(headers: Sequence[TensorHeader], config: Mapping[str, Any]) -> bool:
    """Whether projections are stored `(in, out)`: GPT-2's family does, and without a configuration the shape tells."""
    if kind := text_in(config, "model_type"):
        return kind in _CONV1D_TYPES
    fused = [h.shape for h in headers if _stem(h.name).endswith("attn.c_attn") and len(h.shape) == 2]
    return any(cols == 3 * rows for rows, cols in fused)


def _vector_role(name: str, checkpoint: _Checkpoint) -> Role:
    parameter = _parameter(name)
    is_bias = parameter in {"bias", "beta"} or parameter.endswith("_bias") or parameter.startswith("bias_")
    return Role.BIAS if is_bias and module_of(name) not in checkpoint.norms else Role.NORM


def _is_kernel(header: TensorHeader) -> bool:
    """Four dimensions (two of the image) without leading ones, or three in a module called a convolution."""
    if len(header.shape) < 3 or header.shape[0] == 1:
        return False
    return len(header.shape) > 3 or "conv" in header.name


def _num_axes(header: TensorHeader) -> int:
    """Dimensions without leading ones: a stack of one is no stack."""
    sizes = list(header.shape)
    while len(sizes) > 2 and sizes[0] == 1:
        sizes.pop(0)
    return len(sizes)


def _matrix_shape(header: TensorHeader) -> tuple[int, int]:
    """(rows, cols) of the view as stored: the first axis against all others; one row for a vector or a scalar."""
    shape = header.shape
    if len(shape) > 2 and not _is_kernel(header):
        shape = tuple(size for size in shape if size != 1)
    return (1, prod(shape)) if len(shape) < 2 else (shape[0], prod(shape[1:]))


def _stem(name: str) -> str:
    return name.removesuffix(".weight")


def _parameter(name: str) -> str:
    return name.rpartition(".")[2]
