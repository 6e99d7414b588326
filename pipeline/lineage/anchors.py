"""Anchors: tensors whose other axis means the same in every model, so that they tell residual units apart.

Tokens, positions, pixels and labels have fixed indices; norms and biases give each unit one number. Each such tensor
gives every unit of the residual stream some features. U = units, F = features.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.lineage.alignment import Alignment, balanced, sample
from pipeline.lineage.pairing import Link, Pair, residual_link
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

Sides = tuple[Matrix, Matrix]
"""Something of the first model, and the same of the second."""


@dataclass(frozen=True, slots=True)
class Anchors:
    """Features of the units of one residual stream in both models."""

    families: Mapping[str, Sides]
    """Family -> features of both models, (U, F)."""
    signed: bool
    """Whether signs of units are arbitrary; gains of norms, which do not change with them, are left out then."""

    @property
    def num_features(self) -> int:
        return sum(a.shape[1] for a, _ in self.families.values())

    def pooled(self) -> Sides:
        """All families concatenated."""
        return _concatenated(self.families.values())


def collect_anchors(pairs: Iterable[Pair], a: ModelWeights, b: ModelWeights, *, seed: int) -> dict[Link, Anchors]:
    """Pairs of residual streams that correspond, and the anchors of each, those with most features first."""
    pairs = list(pairs)
    matrices = [pair for pair in pairs if pair.a.is_matrix and pair.b.is_matrix]
    known = {link for pair in matrices for axis in ("row", "col") if (link := residual_link(pair, axis=axis))}
    # What a bias adds to is the rows of its module's matrix.
    owners = {_module(pair.a): pair.a for pair in pairs if pair.a.is_matrix}
    found: dict[Link, dict[str, list[Sides]]] = {}
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


def _join(families: Mapping[str, Sequence[Sides]], signed: bool) -> Anchors:
    kept = {name: parts for name, parts in families.items() if not (signed and name == "vectors")}
    return Anchors({name: _concatenated(parts) for name, parts in kept.items()}, signed)


def _concatenated(parts: Iterable[Sides]) -> Sides:
    left, right = zip(*parts, strict=True)
    return np.concatenate(left, axis=1), np.concatenate(right, axis=1)


def with_bridges(
    anchors: Anchors,
    link: Link,
    pairs: Iterable[Pair],
    aligned: Mapping[Link, Alignment],
    a: ModelWeights,
    b: ModelWeights,
) -> Anchors:
    """The anchors, and the projections outside the blocks between this residual stream and aligned ones."""
    found = []
    for pair in pairs:
        if not (pair.a.is_matrix and pair.b.is_matrix and pair.a.block is None):
            continue
        rows, cols = residual_link(pair, axis="row"), residual_link(pair, axis="col")
        if rows is None or cols is None or rows == cols:
            continue
        if cols == link and rows in aligned:
            found.append(_standardised_sides(*aligned[rows].rows(a.load(pair.a), b.load(pair.b))))
        elif rows == link and cols in aligned:
            found.append(_standardised_sides(*aligned[cols].rows(a.load(pair.a).T, b.load(pair.b).T)))
    bridges = [sides for sides in found if sides is not None]
    if not bridges:
        return anchors
    return replace(anchors, families={**anchors.families, "bridges": _concatenated(bridges)})


def _module(spec: TensorSpec) -> str:
    return spec.tensor.rpartition(".")[0]


def _links(pair: Pair, known: set[Link], owners: Mapping[str, TensorSpec]) -> list[Link]:
    """The pairs of residual streams to whose units the tensors give features; empty for tensors that do not anchor."""
    a, b = pair.a, pair.b
    if a.role not in _FAMILIES or a.role is not b.role:
        return []
    if a.role in (Role.NORM, Role.BIAS):
        owner = owners.get(_module(a))
        if a.rows != 1 or b.rows != 1 or (owner is not None and owner.row_axis is not Axis.RESIDUAL):
            return []
    elif a.role is Role.HEAD and a.row_axis not in (Axis.LABEL, Axis.VOCABULARY):
        return []
    own = residual_link(pair, axis="row" if a.role is Role.PATCH_EMBEDDING else "col")
    if own is None:
        return []
    # A vocabulary outside the stacks is shared and anchors both; a tensor inside a stack anchors that one.
    is_shared = a.row_axis is Axis.VOCABULARY and a.block is None and not own[0][0]
    return [link for link in known if link == own or (is_shared and _widths(link) == _widths(own))]


def _widths(link: Link) -> tuple[int, int]:
    return link[0][1], link[1][1]


def _features(pair: Pair, a: ModelWeights, b: ModelWeights, seed: int) -> Sides | None:
    """Standardised features of the units in both models, shape (U, F); None where nothing varies or indices differ."""
    left, right = a.load(pair.a), b.load(pair.b)
    if pair.a.role is Role.PATCH_EMBEDDING:
        if left.shape[1] != right.shape[1]:
            return None
        left, right = left.T, right.T
    elif pair.a.row_axis is Axis.LABEL and len(left) != len(right):
        return None
    rows = sample(min(len(left), len(right)), MAX_ANCHOR_ROWS, seed)
    return _standardised_sides(left[rows], right[rows])


def _standardised_sides(left: Matrix, right: Matrix) -> Sides | None:
    """Both standardised, by unit, `(U, F)`; None where nothing varies in one."""
    one, two = _standardised(left), _standardised(right)
    return None if one is None or two is None else (one.T, two.T)


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
