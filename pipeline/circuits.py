"""Which tensors of a model meet along which axis: stacks of blocks, what feeds them, and the pairs inside a block.

Names and shapes decide, no value is read. What is not recognised is left out: a circuit that is missing costs a little
evidence, one that is wrong would break the invariance.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from zoo.tensors import Axis, Role, TensorKind, TensorSpec

__all__ = ["Attention", "Block", "FeedForward", "Front", "Stack", "find_stacks"]

CONVOLUTIONS = (Role.CONVOLUTION, Role.DEPTHWISE_CONVOLUTION, Role.POINTWISE_CONVOLUTION)
READERS = (Role.ATTENTION_QUERY, Role.ATTENTION_KEY, Role.ATTENTION_VALUE, Role.FFN_IN)
FEWEST_TOKENS = 9
"""Smaller tables are types of segments, classes and masks, not a vocabulary."""
_CROSS = re.compile(r"(?:^|[._])(?:encoder_attn|EncDecAttention|crossattention|cross_attn|cross_attention)(?:[._]|$)")
_SHORTCUT = re.compile(r"(?:^|\.)(?:shortcut|downsample|skip)(?:\.|$)")
_SQUEEZE = re.compile(r"(?:^|\.)(?:se|squeeze\w*|\w*_se)(?:\.|$)")
_FIRST, _LAST = re.compile(r"expan|first_conv"), re.compile(r"reduce|pwl|project_conv|conv_1x1")
_INTEGER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """The projections of one attention module; None for what was not found."""

    query: TensorSpec | None = None
    key: TensorSpec | None = None
    value: TensorSpec | None = None
    output: TensorSpec | None = None
    is_cross: bool = False
    """Whether keys and values read another stack's stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedForward:
    """A pair around hidden units."""

    enter: TensorSpec
    leave: TensorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """What one block holds."""

    depth: float | None
    attentions: tuple[Attention, ...] = ()
    feed_forwards: tuple[FeedForward, ...] = ()
    narrows: tuple[TensorSpec, ...] = ()
    """Maps from the stream onto something narrower that the block works in."""
    merges: tuple[TensorSpec, ...] = ()
    """Maps from the stream, several places of it concatenated, onto the next stage's stream."""
    convolutions: tuple[TensorSpec, ...] = ()
    """Of the main path, in the order of execution."""
    shortcut: TensorSpec | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """What feeds a stack from outside; empty where it goes on from the stack before."""

    table: TensorSpec | None = None
    """Tokens, pixels of a patch, or positions."""
    maps: tuple[TensorSpec, ...] = ()
    convolutions: tuple[TensorSpec, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Blocks one after the other, under one path."""

    path: tuple[str, ...]
    width: int | None
    """Of the residual stream in the first block that reads one."""
    front: Front
    blocks: tuple[Block, ...] = field(default=())


def find_stacks(specs: Sequence[TensorSpec]) -> tuple[Stack, ...]:
    """The stacks in the order of execution."""
    trained = [spec for spec in specs if spec.is_matrix]
    inside: dict[tuple[str, ...], dict[int, list[TensorSpec]]] = {}
    for spec in sorted((s for s in trained if s.block is not None), key=lambda s: (s.block or 0, _natural(s.name))):
        inside.setdefault(_stack_path(spec.name), {}).setdefault(spec.block or 0, []).append(spec)
    outside = _outside(specs)
    return tuple(_stack(path, blocks, outside, list(inside)) for path, blocks in inside.items())


def _outside(specs: Sequence[TensorSpec]) -> list[tuple[str, TensorSpec]]:
    """Every matrix outside the blocks by its name, and by the names of its copies."""
    by_name = {spec.name: spec for spec in specs if spec.is_matrix and spec.block is None}
    copies = [(s.name, by_name[s.tied_to]) for s in specs if s.kind is TensorKind.TIED and s.tied_to in by_name]
    return [*by_name.items(), *((name, spec) for name, spec in copies if "head" not in name)]


def _stack_path(name: str) -> tuple[str, ...]:
    """The path down to the number of the block."""
    parts = name.split(".")
    return tuple(parts[: next(i for i, part in enumerate(parts) if part.isdigit())]) if _numbered(parts) else ()


def _numbered(parts: Sequence[str]) -> bool:
    return any(part.isdigit() for part in parts)


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    """For sorting: numbers by their value."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"[._]", name))


def _stack(
    path: tuple[str, ...],
    blocks: dict[int, list[TensorSpec]],
    outside: Sequence[tuple[str, TensorSpec]],
    paths: Sequence[tuple[str, ...]],
) -> Stack:
    width = next((found for block in blocks.values() if (found := _width(block)) is not None), None)
    fed = [(name, spec) for name, spec in outside if _feeds(name, path, paths)]
    return Stack(
        path=path,
        width=width,
        front=_front(fed, width),
        blocks=tuple(_block(block) for block in blocks.values()),
    )


def _width(block: Sequence[TensorSpec]) -> int | None:
    """Of the stream: what is read, or what a bottleneck widens to again."""
    return max((s.cols for s in block if s.role in READERS), default=None)


def _feeds(name: str, path: tuple[str, ...], paths: Sequence[tuple[str, ...]]) -> bool:
    """Whether what is called `name` lies before the stack, and not inside what leads to another stack alone."""
    parts = tuple(name.split("."))
    common = 0
    while common < min(len(parts), len(path)) and parts[common] == path[common]:
        common += 1
    return not any(other[: common + 1] == parts[: common + 1] for other in paths)


def _front(fed: Sequence[tuple[str, TensorSpec]], width: int | None) -> Front:
    tokens = [s for _, s in fed if s.role is Role.TOKEN_EMBEDDING and s.rows >= FEWEST_TOKENS]
    patches = [s for _, s in fed if s.role is Role.PATCH_EMBEDDING]
    convolutions = [s for _, s in fed if s.role in CONVOLUTIONS and s.depth == 0]
    positions = [s for _, s in fed if s.role is Role.POSITION_EMBEDDING and s.cols == width]
    maps = tuple(s for _, s in fed if s.role is Role.BOTTLENECK and s.row_axis is Axis.RESIDUAL)
    if tokens:
        return Front(table=max(tokens, key=lambda spec: spec.rows), maps=maps)
    if patches:
        return Front(table=patches[0], maps=maps)
    if convolutions:
        return Front(convolutions=_in_order(convolutions), maps=maps)
    return Front(table=positions[0] if positions else None, maps=maps)


def _block(specs: Sequence[TensorSpec]) -> Block:
    convolutions = [s for s in specs if s.role in CONVOLUTIONS and not _SQUEEZE.search(s.name)]
    shortcuts = [s for s in convolutions if _SHORTCUT.search(s.name)]
    bottlenecks = [s for s in specs if s.role is Role.BOTTLENECK]
    return Block(
        depth=specs[0].depth,
        attentions=_attentions(specs),
        feed_forwards=_feed_forwards(specs),
        narrows=tuple(s for s in bottlenecks if s.row_axis is Axis.HIDDEN),
        merges=tuple(s for s in bottlenecks if s.row_axis is s.col_axis is Axis.RESIDUAL),
        convolutions=_in_order([s for s in convolutions if s not in shortcuts]),
        shortcut=shortcuts[0] if len(shortcuts) == 1 else None,
    )


def _in_order(convolutions: Iterable[TensorSpec]) -> tuple[TensorSpec, ...]:
    """Convolutions of a block by what their names say of their place, else by number."""

    def place(spec: TensorSpec) -> tuple[bool, int, tuple[tuple[int, str], ...]]:
        rank = -1 if _FIRST.search(spec.name) else 1 if _LAST.search(spec.name) else 0
        return "downsampl" not in spec.name, rank, _natural(spec.name)

    return tuple(sorted(convolutions, key=place))


def _attentions(specs: Sequence[TensorSpec]) -> tuple[Attention, ...]:
    """One for each query: the key and value beside it, and the output nearest to it by path."""
    found = []
    for query in (s for s in specs if s.role is Role.ATTENTION_QUERY):
        is_cross = bool(_CROSS.search(query.name))
        near = [s for s in specs if bool(_CROSS.search(s.name)) == is_cross]
        key, value, output = (
            _nearest(query, [s for s in near if s.role is role])
            for role in (Role.ATTENTION_KEY, Role.ATTENTION_VALUE, Role.ATTENTION_OUTPUT)
        )
        found.append(Attention(query=query, key=key, value=value, output=output, is_cross=is_cross))
    return tuple(found)


def _feed_forwards(specs: Sequence[TensorSpec]) -> tuple[FeedForward, ...]:
    """Each way in with the way out nearest to it by path; a gated pair has two ways in."""
    leaves = [s for s in specs if s.role is Role.FFN_OUT]
    pairs = ((s, _nearest(s, leaves)) for s in specs if s.role is Role.FFN_IN)
    return tuple(
        FeedForward(enter=enter, leave=leave)
        for enter, leave in pairs
        if leave is not None and enter.rows == leave.cols
    )


def _nearest(spec: TensorSpec, others: Sequence[TensorSpec]) -> TensorSpec | None:
    """The one that shares most of the path; None where two do alike."""

    def shared(other: TensorSpec) -> int:
        count = 0
        for one, two in zip(spec.name.split("."), other.name.split("."), strict=False):
            if one != two:
                break
            count += 1
        return count

    ranked = sorted(others, key=shared, reverse=True)
    if len(ranked) > 1 and shared(ranked[0]) == shared(ranked[1]):
        # Of modules beside each other the one with the shorter name is meant: `output.dense`, not `ffn.0.output.dense`.
        ranked = sorted(ranked, key=lambda other: (-shared(other), other.name.count(".")))
        if ranked[0].name.count(".") == ranked[1].name.count("."):
            return None
    return ranked[0] if ranked else None
