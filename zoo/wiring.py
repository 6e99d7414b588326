"""Wiring: which tensors of a model meet along which axis, as stacks of blocks and the pairs of tensors inside a block.

Names and shapes decide; no value is read. Unrecognised tensors are left out: a missing pair costs a little evidence, a
wrong one would break the invariance of the fingerprint.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from zoo.signs import HEAD_NORM
from zoo.tensors import CONVOLUTIONS, Axis, Role, TensorKind, TensorSpec

__all__ = ["Attention", "Block", "FeedForward", "Front", "Stack", "find_gains", "find_stacks", "num_shared"]

READERS = (Role.ATTENTION_QUERY, Role.ATTENTION_KEY, Role.ATTENTION_VALUE, Role.FFN_IN)
FEWEST_TOKENS = 9
"""Smaller tables are segment types, classes or masks, not a vocabulary."""
_CROSS = re.compile(r"(?:^|[._])(?:encoder_attn|EncDecAttention|crossattention|cross_attn|cross_attention)(?:[._]|$)")
_SHORTCUT = re.compile(r"(?:^|\.)(?:shortcut|downsample|skip)(?:\.|$)")
_SQUEEZE = re.compile(r"(?:^|\.)(?:se|squeeze\w*|\w*_se)(?:\.|$)")
_FIRST, _LAST = re.compile(r"expan|first_conv"), re.compile(r"reduce|pwl|project_conv|conv_1x1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """The projections of one attention module; None for what was not found."""

    query: TensorSpec
    key: TensorSpec | None
    value: TensorSpec | None
    output: TensorSpec | None
    is_cross: bool
    """Whether keys and values read the residual stream of another stack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedForward:
    """The two matrices around the hidden units of a feed-forward module."""

    enter: TensorSpec
    leave: TensorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The tensors of one block."""

    depth: float | None
    attentions: tuple[Attention, ...]
    feed_forwards: tuple[FeedForward, ...]
    narrows: tuple[TensorSpec, ...]
    """Maps from the residual stream to a narrower one inside the block."""
    merges: tuple[TensorSpec, ...]
    """Maps from several concatenated positions of the residual stream to that of the next stage."""
    convolutions: tuple[TensorSpec, ...]
    """Of the main path, in the order of execution."""
    shortcut: TensorSpec | None
    gains: tuple[TensorSpec, ...]
    """Of norms along the residual stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """The tensors in front of a stack; empty where it continues the stack before."""

    table: TensorSpec | None = None
    """Of tokens, or of the pixels of a patch."""
    positions: TensorSpec | None = None
    convolutions: tuple[TensorSpec, ...] = ()
    maps: tuple[TensorSpec, ...] = ()
    """Maps that may stand between a table and the residual stream."""
    gains: tuple[TensorSpec, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Consecutive blocks under one path."""

    path: tuple[str, ...]
    width: int | None
    """Width of the residual stream that enters the blocks; None for stacks of convolutions."""
    goes_on: bool
    """Whether the stack before ends in the residual stream of this one."""
    is_sign_free: bool
    """Whether signs along the residual stream are arbitrary."""
    front: Front
    blocks: tuple[Block, ...]


def find_stacks(specs: Sequence[TensorSpec]) -> tuple[Stack, ...]:
    """The stacks in the order of execution."""
    trained = [spec for spec in specs if spec.kind is TensorKind.WEIGHT]
    inside: dict[tuple[str, ...], dict[int, list[TensorSpec]]] = {}
    for spec in sorted((s for s in trained if s.block is not None), key=lambda s: (s.block or 0, _natural(s.name))):
        inside.setdefault(_stack_path(spec.name), {}).setdefault(spec.block or 0, []).append(spec)
    outside = _outside(specs)
    return tuple(_stack(path, blocks, outside, list(inside)) for path, blocks in inside.items())


def find_gains(specs: Sequence[TensorSpec]) -> dict[str, TensorSpec]:
    """Name of a kernel -> the gain of the norm right behind it."""
    norms = {spec.name: spec for spec in specs if spec.role is Role.NORM and spec.rows == 1}
    kernels = [spec for spec in specs if spec.role in CONVOLUTIONS]
    found = ((spec, next((n for n in _norm_names(spec.name) if n in norms), None)) for spec in kernels)
    return {spec.name: norms[name] for spec, name in found if name is not None and norms[name].cols == spec.rows}


def num_shared(*paths: Sequence[str]) -> int:
    """The number of leading components that all paths share."""
    return len(list(takewhile(lambda components: len(set(components)) == 1, zip(*paths, strict=False))))


def _norm_names(kernel: str) -> Iterator[str]:
    """Possible names of the norm behind a convolution."""
    *parents, module, parameter = kernel.split(".")
    if module.isdigit():
        names = [str(int(module) + 1)]
    else:
        names = [module.replace("convolution", "normalization"), module.replace("conv", "bn")]
        names += [module.replace("conv", "norm"), "normalization", "norm", "bn", "layer_norm"]
    return (".".join([*parents, name, parameter]) for name in names if name != module)


def _outside(specs: Sequence[TensorSpec]) -> list[tuple[str, TensorSpec]]:
    """Every tensor outside the blocks under its name and the names of its copies."""
    by_name = {spec.name: spec for spec in specs if spec.kind is TensorKind.WEIGHT and spec.block is None}
    # Copies as output embedding are left out, since they feed no block.
    copies = [s for s in specs if s.kind is TensorKind.TIED and s.role is Role.TOKEN_EMBEDDING]
    return [*by_name.items(), *((s.name, by_name[s.tied_to]) for s in copies if s.tied_to in by_name)]


def _stack_path(name: str) -> tuple[str, ...]:
    """The path above the number of the block; empty without a number."""
    parts = name.split(".")
    return tuple(parts[: next((i for i, part in enumerate(parts) if part.isdigit()), 0)])


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    """Sort key: numbers by their value."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"[._]", name))


def _stack(
    path: tuple[str, ...],
    blocks: Mapping[int, Sequence[TensorSpec]],
    outside: Sequence[tuple[str, TensorSpec]],
    paths: Sequence[tuple[str, ...]],
) -> Stack:
    readers = _readers(next(iter(blocks.values())))
    width = max((spec.cols for spec in readers), default=None)
    fed = [spec for name, spec in outside if _feeds(name, path, paths)]
    before = paths[paths.index(path) - 1] if paths.index(path) else None
    return Stack(
        path=path,
        width=width,
        goes_on=before is not None and (before[:-1] == path[:-1] or "feature_extractor" in before),
        is_sign_free=any(spec.free_col_signs for spec in readers),
        front=_front(fed, width),
        blocks=tuple(_block(block, width) for block in blocks.values()),
    )


def _is_convolutional(block: Sequence[TensorSpec]) -> bool:
    """Whether the block is a path of convolutions; blocks of attention may have some, but keep a residual stream."""
    roles = {spec.role for spec in block}
    return not roles.isdisjoint(CONVOLUTIONS) and Role.ATTENTION_QUERY not in roles


def _readers(block: Sequence[TensorSpec]) -> list[TensorSpec]:
    """Matrices that read the residual stream entering the stack; none where a path of convolutions comes first."""
    if _is_convolutional(block):
        return []
    return [spec for spec in block if spec.role in READERS and spec.is_matrix]


def _feeds(name: str, path: tuple[str, ...], paths: Sequence[tuple[str, ...]]) -> bool:
    """Whether the tensor `name` is in front of the stack, and not inside a module that leads to another stack only."""
    parts = tuple(name.split("."))
    common = num_shared(parts, path)
    return not any(other[: common + 1] == parts[: common + 1] for other in paths)


def _front(fed: Sequence[TensorSpec], width: int | None) -> Front:
    tokens = [s for s in fed if s.role is Role.TOKEN_EMBEDDING and s.rows >= FEWEST_TOKENS]
    patches = [s for s in fed if s.role is Role.PATCH_EMBEDDING and s.is_matrix]
    positions = [s for s in fed if s.role is Role.POSITION_EMBEDDING and s.is_matrix]
    table = max(tokens, key=lambda spec: spec.rows) if tokens else patches[0] if patches else None
    convolutions = [s for s in fed if s.role in CONVOLUTIONS and s.depth == 0]
    return Front(
        table=table,
        positions=positions[0] if positions and width is not None else None,
        convolutions=_in_order(convolutions) if table is None else (),
        maps=tuple(s for s in fed if s.role is Role.BOTTLENECK and s.row_axis is Axis.RESIDUAL),
        gains=_residual_gains((s for s in fed if s.depth == 0), width),
    )


def _block(specs: Sequence[TensorSpec], width: int | None) -> Block:
    is_path = _is_convolutional(specs)
    convolutions = [s for s in specs if is_path and s.role in CONVOLUTIONS and not _SQUEEZE.search(s.name)]
    shortcuts = [s for s in convolutions if _SHORTCUT.search(s.name)]
    bottlenecks = [s for s in specs if s.role is Role.BOTTLENECK and s.is_matrix]
    return Block(
        depth=specs[0].depth,
        attentions=_attentions(specs),
        feed_forwards=_feed_forwards(specs),
        narrows=tuple(s for s in bottlenecks if s.row_axis is Axis.HIDDEN),
        merges=tuple(s for s in bottlenecks if s.row_axis is s.col_axis is Axis.RESIDUAL),
        convolutions=_in_order(s for s in convolutions if s not in shortcuts),
        shortcut=shortcuts[0] if len(shortcuts) == 1 else None,
        gains=_residual_gains(specs, width) if not is_path else (),
    )


def _residual_gains(specs: Iterable[TensorSpec], width: int | None) -> tuple[TensorSpec, ...]:
    """Gains of norms along the residual stream, by name."""
    norms = (s for s in specs if s.role is Role.NORM and s.rows == 1 and s.cols == width)
    return tuple(s for s in norms if not s.name.endswith(("bias", "beta")) and not HEAD_NORM.search(s.name))


def _in_order(convolutions: Iterable[TensorSpec]) -> tuple[TensorSpec, ...]:
    """Convolutions of a block in execution order: by words in their names, else by number."""

    def place(spec: TensorSpec) -> tuple[bool, int, tuple[tuple[int, str], ...]]:
        rank = -1 if _FIRST.search(spec.name) else 1 if _LAST.search(spec.name) else 0
        return "downsampl" not in spec.name, rank, _natural(spec.name)

    return tuple(sorted(convolutions, key=place))


def _attentions(specs: Sequence[TensorSpec]) -> tuple[Attention, ...]:
    """One for each query, with the key, value and output nearest to it by path."""
    found = []
    for query in (s for s in specs if s.role is Role.ATTENTION_QUERY and s.is_matrix):
        is_cross = bool(_CROSS.search(query.name))
        near = [s for s in specs if s.is_matrix and bool(_CROSS.search(s.name)) == is_cross]
        key, value, output = (
            _nearest(query, [s for s in near if s.role is role])
            for role in (Role.ATTENTION_KEY, Role.ATTENTION_VALUE, Role.ATTENTION_OUTPUT)
        )
        found.append(Attention(query=query, key=key, value=value, output=output, is_cross=is_cross))
    return tuple(found)


def _feed_forwards(specs: Sequence[TensorSpec]) -> tuple[FeedForward, ...]:
    """Each entering matrix with the leaving matrix nearest to it by path.

    Signs of hidden units are free on both sides or on none: the gate of a gated module keeps its signs where the other
    two matrices may flip theirs together, so that only these are a pair.
    """
    leaves = [s for s in specs if s.role is Role.FFN_OUT and s.is_matrix]
    pairs = [(s, _nearest(s, leaves)) for s in specs if s.role is Role.FFN_IN and s.is_matrix]
    return tuple(FeedForward(enter=i, leave=o) for i, o in pairs if o is not None and _is_pair(i, o))


def _is_pair(enter: TensorSpec, leave: TensorSpec) -> bool:
    return enter.rows == leave.cols and enter.free_row_signs == leave.free_col_signs


def _nearest(spec: TensorSpec, others: Sequence[TensorSpec]) -> TensorSpec | None:
    """The tensor that shares most of the path, of several the one with the shortest; None in a tie.

    So of the modules in one block `output.dense` is chosen before `ffn.0.output.dense`.
    """

    def rank(other: TensorSpec) -> tuple[int, int]:
        return -num_shared(spec.name.split("."), other.name.split(".")), other.name.count(".")

    ranked = sorted(others, key=rank)
    if len(ranked) > 1 and rank(ranked[0]) == rank(ranked[1]):
        return None
    return ranked[0] if ranked else None
