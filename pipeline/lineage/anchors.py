"""Anchors: tensors whose other axis means the same in every model, so that they tell residual units apart.

Tokens, positions, pixels and labels have fixed indices; norms and biases give each unit one number. Each such tensor
gives every unit of the residual stream some features. U = units, F = features.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pipeline.lineage.alignment import Alignment, balanced
from pipeline.lineage.pairing import Group, Pair, residual_group
from pipeline.lineage.records import Matrix, ModelWeights
from zoo.tensors import Axis, Role, TensorSpec

__all__ = ["LEAST_FEATURES", "MAX_ANCHOR_ROWS", "Anchors", "collect_anchors", "with_bridges"]

MAX_ANCHOR_ROWS = 2048
"""Rows taken of an embedding, the same of both models."""
LEAST_FEATURES = 8
"""Fewer features cannot tell units apart."""
_CLIP = 4.0
"""Standard deviations: most networks have a few units that are far outliers and would decide alone."""

_FAMILIES: Mapping[Role, str] = {
    Role.TOKEN_EMBEDDING: "tokens",
    Role.POSITION_EMBEDDING: "positions",
    Role.PATCH_EMBEDDING: "pixels",
    Role.HEAD: "labels",
    Role.NORM: "vectors",
    Role.BIAS: "vectors",
}


@dataclass(frozen=True, slots=True)
class Anchors:
    """Features of the units of one residual stream in both models, by family."""

    a: Mapping[str, Matrix] = field(default_factory=dict)
    """Family -> (U of the first model, F)."""
    b: Mapping[str, Matrix] = field(default_factory=dict)
    signed: bool = False
    """Whether signs of units are arbitrary; gains of norms, which do not change with them, are left out then."""

    @property
    def num_features(self) -> int:
        return sum(matrix.shape[1] for matrix in self.a.values())

    def pooled(self) -> tuple[Matrix, Matrix]:
        """All families concatenated."""
        names = list(self.a)
        return np.concatenate([self.a[n] for n in names], axis=1), np.concatenate([self.b[n] for n in names], axis=1)


def collect_anchors(
    pairs: Iterable[Pair], a: ModelWeights, b: ModelWeights, *, seed: int
) -> dict[tuple[Group, Group], Anchors]:
    """Pairs of residual streams that correspond, and the anchors of each, those with most features first."""
    pairs = list(pairs)
    known = {link for pair in pairs for link in _residual_links(pair)}
    owners = _owners(pairs)
    found: dict[tuple[Group, Group], dict[str, list[tuple[Matrix, Matrix]]]] = {}
    signed = set()
    for pair in pairs:
        for link in _links(pair, known, owners):
            if pair.a.is_matrix and (pair.a.free_col_signs or pair.b.free_col_signs):
                signed.add(link)
            features = _features(pair, a, b, seed)
            if features is not None:
                found.setdefault(link, {}).setdefault(_FAMILIES[pair.a.role], []).append(features)
    joined = {link: _join(found.get(link, {}), link in signed) for link in sorted(known)}
    return dict(sorted(joined.items(), key=lambda item: -item[1].num_features))


def _join(families: Mapping[str, Sequence[tuple[Matrix, Matrix]]], signed: bool) -> Anchors:
    kept = {name: parts for name, parts in families.items() if not (signed and name == "vectors")}
    sides = [
        {name: np.concatenate([pair[side] for pair in parts], axis=1) for name, parts in kept.items()}
        for side in (0, 1)
    ]
    return Anchors(sides[0], sides[1], signed)


def with_bridges(
    anchors: Anchors,
    link: tuple[Group, Group],
    pairs: Iterable[Pair],
    aligned: Mapping[tuple[Group, Group], Alignment],
    a: ModelWeights,
    b: ModelWeights,
) -> Anchors:
    """The anchors, and the projections outside the blocks between this residual stream and aligned ones."""
    found = []
    for pair in pairs:
        if not (pair.a.is_matrix and pair.b.is_matrix and pair.a.block is None):
            continue
        rows, cols = _link(pair, "row"), _link(pair, "col")
        if rows is None or cols is None or rows == cols:
            continue
        if cols == link and rows in aligned:
            found.append(aligned[rows].rows(a.load(pair.a), b.load(pair.b)))
        elif rows == link and cols in aligned:
            found.append(aligned[cols].rows(a.load(pair.a).T, b.load(pair.b).T))
    features = [
        (x, y)
        for left, right in found
        if (x := _standardised(left)) is not None
        if (y := _standardised(right)) is not None
    ]
    if not features:
        return anchors
    bridges = [np.concatenate([pair[side].T for pair in features], axis=1) for side in (0, 1)]
    return replace(anchors, a={**anchors.a, "bridges": bridges[0]}, b={**anchors.b, "bridges": bridges[1]})


def _link(pair: Pair, axis: str) -> tuple[Group, Group] | None:
    group_a, group_b = residual_group(pair.a, axis=axis), residual_group(pair.b, axis=axis)
    return None if group_a is None or group_b is None else (group_a, group_b)


def _residual_links(pair: Pair) -> Iterator[tuple[Group, Group]]:
    """The pairs of residual streams along the axes of two matrices."""
    if not (pair.a.is_matrix and pair.b.is_matrix):
        return
    yield from filter(None, (_link(pair, axis) for axis in ("row", "col")))


def _owners(pairs: Sequence[Pair]) -> dict[str, TensorSpec]:
    """Module -> its matrix in the first model; what a bias adds to is the matrix's rows."""
    return {pair.a.tensor.rpartition(".")[0]: pair.a for pair in pairs if pair.a.is_matrix}


def _links(pair: Pair, known: set[tuple[Group, Group]], owners: Mapping[str, TensorSpec]) -> list[tuple[Group, Group]]:
    """The pairs of residual streams to whose units the tensors give features; empty for tensors that do not anchor."""
    a, b = pair.a, pair.b
    if a.role not in _FAMILIES or a.role is not b.role:
        return []
    if a.role in (Role.NORM, Role.BIAS):
        owner = owners.get(a.tensor.rpartition(".")[0])
        if a.rows != 1 or b.rows != 1 or (owner is not None and owner.row_axis is not Axis.RESIDUAL):
            return []
    elif a.role is Role.HEAD and a.row_axis not in (Axis.LABEL, Axis.VOCABULARY):
        return []
    axis = "row" if a.role is Role.PATCH_EMBEDDING else "col"
    group_a, group_b = residual_group(a, axis=axis), residual_group(b, axis=axis)
    if group_a is None or group_b is None:
        return []
    # A vocabulary outside the stacks is shared and anchors both; a tensor inside a stack anchors that one.
    is_shared = a.row_axis is Axis.VOCABULARY and a.block is None and not group_a[0]
    widths = (group_a[1], group_b[1])
    return [
        link
        for link in known
        if (link[0][1], link[1][1]) == widths and (is_shared or (link[0][0], link[1][0]) == (group_a[0], group_b[0]))
    ]


def _features(pair: Pair, a: ModelWeights, b: ModelWeights, seed: int) -> tuple[Matrix, Matrix] | None:
    """Standardised features of the units in both models, shape (U, F); None where nothing varies or indices differ."""
    left, right = a.load(pair.a), b.load(pair.b)
    if pair.a.role is Role.PATCH_EMBEDDING:
        if left.shape[1] != right.shape[1]:
            return None
        left, right = left.T, right.T
    elif pair.a.row_axis is Axis.LABEL and len(left) != len(right):
        return None
    rows = _shared_rows(min(len(left), len(right)), seed)
    sides = (_standardised(left[rows]), _standardised(right[rows]))
    return None if any(side is None for side in sides) else (sides[0].T, sides[1].T)  # type: ignore[union-attr]


def _shared_rows(count: int, seed: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    if count <= MAX_ANCHOR_ROWS:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, MAX_ANCHOR_ROWS, replace=False))


def _standardised(values: Matrix) -> Matrix | None:
    """Features by unit, `(F, U)`, of standard deviation 1; None where nothing varies.

    Matrices are balanced and vectors clipped, since a few outliers would decide alone.
    """
    is_vector = len(values) == 1
    values = values - values.mean(axis=1, keepdims=True) if is_vector else balanced(values)
    spread = float(values.std())
    if not spread > 1e-12:
        return None
    values = values / np.float32(spread)
    return values.clip(-_CLIP, _CLIP) if is_vector else values
