"""Which tensor of one model corresponds to which of the other: by name inside the block, else by role."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from zoo.tensors import EMBEDDINGS, Axis, Role, TensorKind, TensorSpec
from zoo.wiring import num_shared

__all__ = [
    "Group",
    "Link",
    "Pair",
    "by_block",
    "pair_specs",
    "residual_group",
    "residual_link",
    "same_name_and_shape",
]

Group = tuple[str, int]
"""A residual stream: `decoder` or nothing for any other, and its width."""
Link = tuple[Group, Group]
"""A residual stream of each model."""
Names = Mapping[str, TensorSpec]
"""Name inside the block -> spec."""

_CROSS = frozenset({"encoder_attn", "encdecattention", "crossattention", "cross_attention"})
_ENCODER_READERS = (Role.ATTENTION_KEY, Role.ATTENTION_VALUE)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two tensors that correspond, one of each model."""

    a: TensorSpec
    b: TensorSpec


def by_block(specs: Iterable[TensorSpec]) -> dict[int | None, dict[str, TensorSpec]]:
    """Block -> the trained tensors in it by their names inside the block; None for those outside."""
    trained = sorted((spec for spec in specs if spec.kind is TensorKind.WEIGHT), key=_block_number)
    return {block: _shortened(list(members), block) for block, members in groupby(trained, key=lambda s: s.block)}


def _block_number(spec: TensorSpec) -> int:
    return -1 if spec.block is None else spec.block


def _shortened(specs: Sequence[TensorSpec], block: int | None) -> dict[str, TensorSpec]:
    """The specs by their names without the leading components that all share."""
    paths = [spec.name.split(".") for spec in specs]
    shared = 0 if block is None else num_shared(*(path[:-1] for path in paths))
    return {".".join(path[shared:]): spec for path, spec in zip(paths, specs, strict=True)}


def pair_specs(a: Names, b: Names) -> list[Pair]:
    """Pairs of one role: equal names, then names of which one ends in the other, then matrices by their order."""
    pairs = []
    rest_a, rest_b = dict(a), dict(b)
    for name in a:
        found = next((other for other in _same(name, rest_b) if rest_b[other].role is a[name].role), None)
        if found is not None:
            pairs.append(Pair(rest_a.pop(name), rest_b.pop(found)))
    for role in Role:
        left, right = _ordered(rest_a, role), _ordered(rest_b, role)
        if len(left) == len(right):
            pairs += [Pair(x, y) for x, y in zip(left, right, strict=True)]
    return pairs


def _same(name: str, others: Iterable[str]) -> list[str]:
    """The name itself, then names of which one ends in the other."""
    ends = [other for other in others if other.endswith(f".{name}") or name.endswith(f".{other}")]
    return [name, *ends] if name in others else ends


def _ordered(rest: Names, role: Role) -> list[TensorSpec]:
    """The matrices of a role that have no pair by name: embeddings from the largest, the others by name."""
    found = [(name, spec) for name, spec in rest.items() if spec.role is role and spec.is_matrix]
    return [spec for _, spec in sorted(found, key=lambda x: (-x[1].rows if role in EMBEDDINGS else 0, x[0]))]


def same_name_and_shape(a: Iterable[TensorSpec], b: Iterable[TensorSpec]) -> list[Pair]:
    """The trained tensors that both models have under one name and in one shape, by name."""
    others = {spec.name: spec for spec in b if spec.kind is TensorKind.WEIGHT}
    trained = sorted((spec for spec in a if spec.kind is TensorKind.WEIGHT), key=lambda spec: spec.name)
    pairs = [Pair(spec, others[spec.name]) for spec in trained if spec.name in others]
    return [pair for pair in pairs if (pair.a.rows, pair.a.cols) == (pair.b.rows, pair.b.cols)]


def residual_group(spec: TensorSpec, *, axis: str) -> Group | None:
    """The residual stream along the `row` or `col` axis of a spec; None if that axis is something else.

    The narrow side of a bottleneck outside the blocks is one too: that of the embeddings.
    """
    kind, width = (spec.row_axis, spec.rows) if axis == "row" else (spec.col_axis, spec.cols)
    is_embedded = kind is Axis.HIDDEN and spec.role is Role.BOTTLENECK and spec.block is None
    if kind is not Axis.RESIDUAL and not is_embedded:
        return None
    path = spec.name.lower().split(".")
    # Keys and values of cross-attention read the encoder's residual stream.
    reads_encoder = axis == "col" and spec.role in _ENCODER_READERS and any(word in _CROSS for word in path)
    return ("decoder" if "decoder" in path[:-2] and not reads_encoder else "", width)


def residual_link(pair: Pair, *, axis: str) -> Link | None:
    """The residual streams along the `row` or `col` axis of both tensors; None unless both have one."""
    a, b = residual_group(pair.a, axis=axis), residual_group(pair.b, axis=axis)
    return None if a is None or b is None else (a, b)
