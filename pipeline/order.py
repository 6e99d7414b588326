"""Order: a canonical form of each weight matrix.

The index order of neurons, heads, channels and tokens is a symmetry of the network, so in file order a matrix shows no
pattern along its axes. Seriation puts similar rows next to each other. The order depends on the values alone, not on
the order in the file, so a copy with permuted axes (and, where the architecture allows it, flipped signs) has the same
canonical form. Everything that depends on position, its null included, is measured on that form.

R = rows, C = columns, K = features.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load, save

from dna_zoo.files import whole_file
from pipeline.arrays import Float32, Float64, Indices
from pipeline.decomposition import Spectrum, decompose
from zoo.tensors import Axis, TensorSpec

__all__ = [
    "EVERY_ROW",
    "NUM_FEATURES",
    "ORDER_FILE",
    "ORDER_PARTS",
    "ORDER_VERSION",
    "CanonicalOrder",
    "Rows",
    "canonicalise",
    "canonicalise_pieces",
    "chain_leaves",
    "raw_order",
    "read_orders",
    "restore",
    "seriate",
    "seriate_tensor",
    "write_orders",
]

ORDER_VERSION = "2"
NUM_FEATURES = 16
"""Leading singular directions that rows and columns are compared in; the rest of a trained matrix is close to noise."""
LARGEST_CHAIN = 4096
"""Axes up to this length are chained in one piece (a length^2 table of cosines in float64, at most 128 MiB)."""
LEAF = 256
WHOLE_TILES = 16
CHUNK = 8192
"""Rows that are here in float64 at a time."""
PIECE = 512
"""Rows permuted at a time."""
RELATIVE_ZERO = 1e-6
"""Directions below this share of the leading one are rounding of float32 values, which must not decide an order."""

EVERY_ROW = slice(None)
ORDER_FILE = "order.safetensors"
"""What the order stage leaves."""
ORDER_PARTS = ("rows", "cols", "row_signs", "col_signs")
"""Arrays of an order that are kept, where it has them."""

Rows = Indices | slice


@dataclass(frozen=True, slots=True, kw_only=True)
class CanonicalOrder:
    """Which row and column of the file stands where, and with which sign.

    - `rows`, `cols`: int32, shapes (R,) and (C,): `canonical[i, j] = file[rows[i], cols[j]]` times the signs.
    - `row_signs`, `col_signs`: int8 of +1 and -1 in canonical order, or None where signs are not free.
    - `sorted_rows`, `sorted_cols`: False where that axis stays in file order, which costs nothing to store.
    """

    rows: npt.NDArray[np.int32]
    cols: npt.NDArray[np.int32]
    row_signs: npt.NDArray[np.int8] | None = None
    col_signs: npt.NDArray[np.int8] | None = None
    sorted_rows: bool = True
    sorted_cols: bool = True

    @property
    def bits(self) -> float:
        """What it costs to store: log2(R!) + log2(C!) for the sorted axes, one bit for each free sign."""
        total = 0.0
        for perm, signs, is_sorted in (
            (self.rows, self.row_signs, self.sorted_rows),
            (self.cols, self.col_signs, self.sorted_cols),
        ):
            total += math.lgamma(len(perm) + 1) / math.log(2) if is_sorted else 0.0
            total += len(perm) if signs is not None else 0
        return total


def write_orders(path: Path, orders: Mapping[str, CanonicalOrder]) -> None:
    """Keep the orders of matrices by name."""
    arrays = {
        f"{name}/{part}": values
        for name, order in orders.items()
        for part in ORDER_PARTS
        if (values := getattr(order, part)) is not None
    }
    # `save_file` would hide a full disk behind an error of its own.
    with whole_file(path) as made:
        made.write_bytes(save(arrays))


def read_orders(path: Path, specs: Iterable[TensorSpec]) -> dict[str, CanonicalOrder]:
    """The orders that were kept of these matrices, by name; raises `KeyError` for one that is not there."""
    arrays = load(path.read_bytes())
    return {
        spec.name: CanonicalOrder(
            rows=arrays[f"{spec.name}/rows"],
            cols=arrays[f"{spec.name}/cols"],
            row_signs=arrays.get(f"{spec.name}/row_signs"),
            col_signs=arrays.get(f"{spec.name}/col_signs"),
            sorted_rows=spec.row_axis.is_permutable,
            sorted_cols=spec.col_axis.is_permutable,
        )
        for spec in specs
    }


def raw_order(num_rows: int, num_cols: int) -> CanonicalOrder:
    """File order: nothing moved, nothing to store."""
    return CanonicalOrder(
        rows=np.arange(num_rows, dtype=np.int32),
        cols=np.arange(num_cols, dtype=np.int32),
        sorted_rows=False,
        sorted_cols=False,
    )


def seriate_tensor(matrix: Float32, spec: TensorSpec, spectrum: Spectrum | None = None) -> CanonicalOrder:
    """The canonical order of `spec`'s matrix, or of a null of it, under the symmetries that the spec names."""
    return seriate(
        matrix,
        row_axis=spec.row_axis,
        col_axis=spec.col_axis,
        free_row_signs=spec.free_row_signs,
        free_col_signs=spec.free_col_signs,
        spectrum=spectrum,
    )


def seriate(
    matrix: Float32,
    *,
    row_axis: Axis = Axis.HIDDEN,
    col_axis: Axis = Axis.HIDDEN,
    free_row_signs: bool = False,
    free_col_signs: bool = False,
    spectrum: Spectrum | None = None,
) -> CanonicalOrder:
    """The canonical order of `matrix`, float32 (R, C), finite.

    - `free_row_signs`, `free_col_signs`: whether signs are free along an axis whose kind does not say so.
    - `spectrum`: of the matrix, with `NUM_FEATURES` directions, where it is needed for more than the order.

    Each permutable axis becomes a chain: from its vector of largest norm, always on to the vector with the largest
    cosine not yet taken (largest absolute cosine where signs are free), seen in the leading `NUM_FEATURES` singular
    directions. Axes longer than `LARGEST_CHAIN` are first cut by principal directions into leaves, then chained.
    All comparisons are float64, so rounding does not decide between neighbours; of equal ones the largest comes first.
    """
    row_features, col_features = _features(matrix, spectrum or decompose(matrix, NUM_FEATURES))
    rows, row_signs = _order_axis(row_features, row_axis, row_axis.is_sign_free or free_row_signs)
    cols, col_signs = _order_axis(col_features, col_axis, col_axis.is_sign_free or free_col_signs)
    row_signs, col_signs = _fix_global_sign(matrix, rows, row_signs, cols, col_signs)
    return CanonicalOrder(
        rows=rows,
        cols=cols,
        row_signs=row_signs,
        col_signs=col_signs,
        sorted_rows=row_axis.is_permutable,
        sorted_cols=col_axis.is_permutable,
    )


def canonicalise(matrix: Float32, order: CanonicalOrder) -> Float32:
    """`matrix` (R, C) in its canonical form, a new float32 array."""
    return canonicalise_pieces((matrix[start : start + PIECE] for start in range(0, len(matrix), PIECE)), order)


def canonicalise_pieces(pieces: Iterable[Float32], order: CanonicalOrder, rows: Rows = EVERY_ROW) -> Float32:
    """The same of a matrix (R, C) whose rows come some at a time: it is never here in both orders.

    - `rows`: numbers of different canonical rows; the others are not kept. All of them unless it is given.
    """
    chosen = order.rows[rows]
    row_signs = None if order.row_signs is None else order.row_signs[rows]
    inverse = np.full(len(order.rows), -1)
    inverse[chosen] = np.arange(len(chosen))
    out = np.empty((len(chosen), len(order.cols)), dtype=np.float32)
    start = 0
    for piece in pieces:
        targets = inverse[start : start + len(piece)]
        start += len(piece)
        is_kept = targets >= 0
        targets, permuted = targets[is_kept], piece[is_kept][:, order.cols]
        if row_signs is not None:
            permuted = permuted * row_signs[targets, None]
        if order.col_signs is not None:
            permuted = permuted * order.col_signs[None, :]
        out[targets] = permuted
    return out


def restore(canonical: Float32, order: CanonicalOrder) -> Float32:
    """The inverse of `canonicalise`: back to file order and file signs."""
    values = canonical
    if order.row_signs is not None:
        values = values * order.row_signs[:, None]
    if order.col_signs is not None:
        values = values * order.col_signs[None, :]
    out = np.empty_like(values, dtype=np.float32)
    out[np.ix_(order.rows, order.cols)] = values
    return out


def _features(matrix: Float32, spectrum: Spectrum) -> tuple[Float64, Float64]:
    """Rows (R, K) and columns (C, K) in the leading singular directions, each scaled by the singular values.

    Inner products between rows of the result are those of the truncated matrix, whatever basis the factorisation chose,
    so they do not depend on the order or sign of the other axis.
    """
    is_wide = matrix.shape[0] < matrix.shape[1]
    tall = matrix.T if is_wide else matrix
    singular = spectrum.singular[:NUM_FEATURES]
    keep = max(int(np.sum(singular > RELATIVE_ZERO * singular[0])), 1)
    vectors, singular = spectrum.directions[:, :keep], singular[:keep]
    long = np.concatenate(
        [tall[start : start + CHUNK].astype(np.float64) @ vectors for start in range(0, len(tall), CHUNK)]
    )
    short = vectors * singular
    return (short, long) if is_wide else (long, short)


def _order_axis(
    features: Float64, axis: Axis, sign_free: bool
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int8] | None]:
    """Permutation of one axis, and signs where they are free."""
    count = len(features)
    if not axis.is_permutable:
        return np.arange(count, dtype=np.int32), None
    norms = np.linalg.norm(features, axis=1)
    unit = features / np.maximum(norms, 1e-300)[:, None]
    by_norm = np.argsort(-norms, kind="stable")
    if count <= LARGEST_CHAIN:
        perm = by_norm[_chain(unit[by_norm], 0, sign_free=sign_free)]
    else:
        perm = by_norm[chain_leaves(unit[by_norm], sign_free=sign_free)]
    if not sign_free:
        return perm.astype(np.int32), None
    steps = np.sign(np.einsum("ik,ik->i", unit[perm[1:]], unit[perm[:-1]]))
    steps[steps == 0] = 1
    return perm.astype(np.int32), np.concatenate([[1], np.cumprod(steps)]).astype(np.int8)


def _chain(unit: Float64, start: int, *, sign_free: bool) -> npt.NDArray[np.int64]:
    """Greedy nearest-neighbour chain over unit vectors (N, K), N <= `LARGEST_CHAIN`; returns a permutation (N,).

    The vectors come by descending norm, so that the first of equal neighbours is the largest.
    """
    # numpy computes half of a product with its own transpose and mirrors it, which takes several times as long as all
    # of it. The whole has the same bits where no edge of the table is computed apart; ties must not change.
    cosines = unit @ (unit.T.copy() if len(unit) % WHOLE_TILES == 0 else unit.T)
    if sign_free:
        np.abs(cosines, out=cosines)
    perm = np.empty(len(unit), dtype=np.int64)
    taken = np.zeros(len(unit))
    current = start
    for position in range(len(unit)):
        perm[position] = current
        taken[current] = -np.inf
        current = int(np.argmax(cosines[current] + taken))
    return perm


def chain_leaves(unit: Float64, *, sign_free: bool) -> npt.NDArray[np.int64]:
    """Permutation (N,) of a long axis: median cuts along principal directions, then a chain through each leaf.

    A node's halves are visited nearer half first, seen from the end of the chain so far, so the result depends neither
    on the order of the input nor on the sign of the principal direction.
    """
    if sign_free:  # Fold every vector onto one side, so that opposite ones fall into the same leaf.
        leading = unit @ np.linalg.eigh(unit.T @ unit)[1][:, -1]
        unit = unit * np.where(leading < 0, -1.0, 1.0)[:, None]
    pieces: list[npt.NDArray[np.int64]] = []
    stack = [np.arange(len(unit))]
    tail: Float64 | None = None
    while stack:
        node = stack.pop()
        if len(node) > LEAF:
            stack.extend(_halves(unit, node, tail))
            continue
        node = np.sort(node)  # By descending norm again.
        vectors = unit[node]
        start = int(np.argmax(vectors @ (vectors.mean(axis=0) if tail is None else tail)))
        pieces.append(node[_chain(vectors, start, sign_free=sign_free)])
        tail = unit[pieces[-1][-1]]
    return np.concatenate(pieces)


def _halves(
    unit: Float64, node: npt.NDArray[np.int64], tail: Float64 | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The two halves of `node` by its principal direction, the one to visit first last (it goes on a stack)."""
    vectors = unit[node]
    centred = vectors - vectors.mean(axis=0)
    direction = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    heights = centred @ direction
    if float(np.sum(heights**3)) < 0:  # An eigenvector comes with either sign; an odd node must not be cut by it.
        heights = -heights
    ranked = np.argsort(heights, kind="stable")
    low, high = node[ranked[: len(node) // 2]], node[ranked[len(node) // 2 :]]
    low_is_first = tail is None or float(unit[low].mean(axis=0) @ tail) >= float(unit[high].mean(axis=0) @ tail)
    return (high, low) if low_is_first else (low, high)


def _fix_global_sign(
    matrix: Float32,
    rows: npt.NDArray[np.int32],
    row_signs: npt.NDArray[np.int8] | None,
    cols: npt.NDArray[np.int32],
    col_signs: npt.NDArray[np.int8] | None,
) -> tuple[npt.NDArray[np.int8] | None, npt.NDArray[np.int8] | None]:
    """Flip a whole signed axis, if need be, so that the canonical matrix has a sum of at least 0."""
    if row_signs is None and col_signs is None:
        return None, None
    row_vector = np.zeros(len(rows)) + 1.0
    col_vector = np.zeros(len(cols)) + 1.0
    if row_signs is not None:
        row_vector[rows] = row_signs
    if col_signs is not None:
        col_vector[cols] = col_signs
    sums = np.zeros(len(cols))
    for start in range(0, len(rows), CHUNK):
        chunk = slice(start, start + CHUNK)
        sums += row_vector[chunk] @ matrix[chunk].astype(np.float64)
    if float(sums @ col_vector) >= 0:
        return row_signs, col_signs
    if row_signs is not None:
        return -row_signs, col_signs
    assert col_signs is not None
    return row_signs, -col_signs
