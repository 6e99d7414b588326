"""Align the residual streams of two models, and find which block of one is which of the other."""

from collections.abc import Callable, Mapping

import numpy as np

from pipeline.lineage.alignment import (
    FILE_ORDER_Z,
    Alignment,
    align,
    assign,
    centred,
    file_order,
    file_order_z,
    unit_rows,
)
from pipeline.lineage.anchors import LEAST_FEATURES, Anchors
from pipeline.lineage.pairing import Group, residual_group
from pipeline.lineage.records import Matrix, ModelWeights
from zoo.tensors import Role, TensorSpec

__all__ = ["Probes", "agreement_of", "align_stream", "match_blocks", "probe_blocks"]

Probes = Mapping[int, tuple[Group, Matrix]]
"""Block -> its stream, and inner products of what its inner units read of each two units of the stream, `(U, U)`."""
Names = Mapping[str, TensorSpec]


def align_stream(anchors: Anchors, agreement: Callable[[Alignment], float]) -> Alignment:
    """The order of the files where one family of anchors bears it out; else the best of what each family suggests.

    `agreement` judges an alignment by weights that took no part in it; it is asked only if there is a choice.
    """
    families = [(anchors.a[name], anchors.b[name]) for name in anchors.a]
    sizes = len(families[0][0]), len(families[0][1])
    families.append(anchors.pooled())
    if max(file_order_z(unit_rows(a), unit_rows(b)) for a, b in families) >= FILE_ORDER_Z:
        return file_order(*sizes)
    candidates = [align(a, b, signed=anchors.signed) for a, b in families if a.shape[1] >= LEAST_FEATURES]
    return candidates[0] if len(candidates) == 1 else max(candidates, key=agreement)


def probe_blocks(blocks: Mapping[int | None, Names], model: ModelWeights) -> Probes:
    """Of every block with a feed-forward pair: a matrix that no order of its inner units changes."""
    probes = {}
    for block, names in blocks.items():
        spec = next((spec for spec in names.values() if spec.role is Role.FFN_IN and spec.is_matrix), None)
        group = residual_group(spec, axis="col") if spec is not None else None
        if block is not None and spec is not None and group is not None:
            read = unit_rows(centred(model.load(spec)))
            probes[block] = (group, read.T @ read)
    return probes


def agreement_of(a: Matrix, b: Matrix, alignment: Alignment) -> float:
    """Correlation of two probes off the diagonal, centred, under an alignment of the stream."""
    left, right = alignment.rows(a[:, alignment.a], b[:, alignment.b])
    if alignment.signs is not None:
        right = right * alignment.signs
    left, right = _off_diagonal(left), _off_diagonal(right)
    norm = float(np.linalg.norm(left) * np.linalg.norm(right))
    return float((left * right).sum()) / norm if norm > 0 else 0.0


def _off_diagonal(matrix: Matrix) -> Matrix:
    matrix = matrix.copy()
    np.fill_diagonal(matrix, (matrix.sum() - np.trace(matrix)) / max(matrix.size - len(matrix), 1))
    return centred(matrix)


def match_blocks(
    a: Probes, b: Probes, streams: Mapping[tuple[Group, Group], Alignment]
) -> tuple[list[tuple[int, int]], float]:
    """Which block is which, of models of different depth, and how well they agree in all."""
    similarity = np.full((len(a), len(b)), -1.0, dtype=np.float32)
    for row, (group_a, left) in enumerate(a.values()):
        for col, (group_b, right) in enumerate(b.values()):
            if (alignment := streams.get((group_a, group_b))) is not None:
                similarity[row, col] = agreement_of(left, right, alignment)
    rows, cols = assign(similarity)
    names_a, names_b = list(a), list(b)
    found = [(names_a[i], names_b[j]) for i, j in zip(rows, cols, strict=True)]
    return found, float(similarity[rows, cols].sum())
