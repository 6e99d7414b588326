"""Null models: what a matrix would look like if the thing under test were not there.

Every null keeps the shape, and is processed exactly as the original is. Randomness is passed in; the generators that
`null_rng` makes depend on where a tensor stands in its network, never on its values or on the order of the file, so a
permuted copy of a model gets the same nulls.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypedDict, Unpack

import numpy as np

from pipeline.additive import additive_model
from pipeline.arrays import Float32, Float64
from pipeline.decomposition import singular_values
from zoo.tensors import Role, TensorSpec

__all__ = [
    "NULLS",
    "NullKind",
    "NullModel",
    "Place",
    "gaussian",
    "less_medians",
    "means",
    "null_rng",
    "ordinals_of",
    "place_of",
    "rotate",
    "sample_rng",
    "shuffle",
    "values_to_turn",
]

NullKind = Literal["shuffle", "rotate", "gaussian", "means", "reorder"]


def shuffle(matrix: Float32, rng: np.random.Generator) -> Float32:
    """The matrix's own values (R, C), permuted over all positions: the null of whatever depends on position."""
    return np.ascontiguousarray(rng.permutation(matrix.ravel()).reshape(matrix.shape))


def rotate(matrix: Float32, rng: np.random.Generator, *, cols: bool = True, singular: Float64 | None = None) -> Float32:
    """The same mean row and the same singular values about it, with Haar-random singular vectors: the null of whatever
    goes beyond the mean row and the spectrum.

    Without its mean row kept, a matrix of noise and one common row would differ from its null in that row alone.

    - `cols`: whether column means, which are the mean row, say something. Where the signs of the rows are arbitrary the
      mean row is what they were set to: then the singular values are those of the whole matrix, and no mean is kept.
    - `singular`: `values_to_turn(matrix, cols=cols)`, for a caller who draws more than once.
    """
    num_rows, num_cols = matrix.shape
    values = values_to_turn(matrix, cols=cols) if singular is None else singular
    left = _haar(num_rows, len(values), rng, without_mean=cols)
    right = _haar(num_cols, len(values), rng)
    mean = matrix.mean(axis=0, dtype=np.float64).astype(np.float32) if cols else np.float32(0)
    return np.ascontiguousarray((left * values.astype(np.float32)) @ right.T + mean)


def values_to_turn(matrix: Float32, *, cols: bool = True) -> Float64:
    """The singular values of a matrix (R, C) less its mean row, descending: min(R - 1, C) of them, float64.

    - `cols`: whether there is a mean row to take out; without it min(R, C) values.
    """
    if not cols:
        return singular_values(matrix)
    num_rows, num_cols = matrix.shape
    centred = (matrix - matrix.mean(axis=0, dtype=np.float64)).astype(np.float32)
    return singular_values(centred)[: min(num_rows - 1, num_cols)]


def gaussian(matrix: Float32, rng: np.random.Generator) -> Float32:
    """iid normal values of the same mean and variance: the null of what a shuffle cannot change."""
    mean, std = float(np.mean(matrix, dtype=np.float64)), float(np.std(matrix, dtype=np.float64))
    return rng.standard_normal(matrix.shape, dtype=np.float32) * np.float32(std) + np.float32(mean)


def means(
    matrix: Float32,
    rng: np.random.Generator,
    *,
    rows: bool = True,
    cols: bool = True,
    beyond_medians: Float32 | None = None,
) -> Float32:
    """The same mean, row means and column means, and what is left of the matrix (R, C) permuted over all positions: the
    null of whatever should go beyond the means.

    A permuted residual has means of its own. They are taken out, and what remains is scaled to the residual's sum of
    squares: a null that has more in its means than the matrix would not be exchangeable with it. What is permuted is
    left by medians of rows and columns, not by means: a mean spreads part of a large value over its row and column, and
    in the null, which loses its means a second time, heavy tails would be lighter than in the matrix.

    - `rows`, `cols`: whether row means, and column means, are kept; with neither it is a shuffle.
    - `beyond_medians`: `less_medians` of the matrix, for a caller who draws more than once.
    """
    model = additive_model(matrix, rows=rows, cols=cols)
    residual = model.residual(matrix)
    left = less_medians(matrix, rows=rows, cols=cols) if beyond_medians is None else beyond_medians
    permuted = shuffle(left, rng)
    permuted = additive_model(permuted, rows=rows, cols=cols).residual(permuted)
    energy, kept = (float(np.square(part, dtype=np.float64).sum()) for part in (residual, permuted))
    return model.plus(permuted * np.float32((energy / kept) ** 0.5 if kept else 1.0))


def less_medians(matrix: Float32, *, rows: bool, cols: bool) -> Float32:
    """A matrix less its row medians, and then less the column medians of that."""
    left = matrix - np.median(matrix, axis=1, keepdims=True) if rows else matrix
    return left - np.median(left, axis=0) if cols else left


NullModel = Callable[[Float32, np.random.Generator], Float32]

NULLS: Mapping[NullKind, NullModel] = {
    "shuffle": shuffle,
    "rotate": rotate,
    "gaussian": gaussian,
    "means": means,
}


STREAMS: Mapping[NullKind | Literal["sample"], int] = {
    "shuffle": 0,
    "rotate": 1,
    "gaussian": 2,
    "sample": 3,
    "means": 4,
    "reorder": 5,
}
"""What keeps the random numbers of one kind apart from those of another; a number once given stays."""


class Place(TypedDict):
    """Where a tensor stands in its network."""

    role: int
    """Index of the role in its closed set."""
    block: int | None
    ordinal: int
    """Rank of the tensor's name among those of the same role, block and shape."""
    shape: tuple[int, ...]


def ordinals_of(specs: Sequence[TensorSpec]) -> dict[str, int]:
    """Rank of each tensor's name among those of the same role, block and shape."""
    seen: dict[object, int] = defaultdict(int)
    ordinals = {}
    for spec in sorted(specs, key=lambda item: item.name):
        place = (spec.role, spec.block, spec.rows, spec.cols)
        ordinals[spec.name] = seen[place]
        seen[place] += 1
    return ordinals


def place_of(spec: TensorSpec, ordinal: int) -> Place:
    """The place of a tensor, given its rank among those like it (`ordinals_of`)."""
    role, shape = list(Role).index(spec.role), (spec.rows, spec.cols)
    return {"role": role, "block": spec.block, "ordinal": ordinal, "shape": shape}


def null_rng(kind: NullKind, draw: int, *, seed: int, **place: Unpack[Place]) -> np.random.Generator:
    """The generator of draw number `draw` of a null, for one tensor."""
    return _rng(STREAMS[kind], draw, seed, place)


def sample_rng(draw: int, *, seed: int, **place: Unpack[Place]) -> np.random.Generator:
    """The generator of sample number `draw` of a tensor's rows: independent of those of the nulls."""
    return _rng(STREAMS["sample"], draw, seed, place)


def _rng(stream: int, draw: int, seed: int, place: Place) -> np.random.Generator:
    block = 0 if place["block"] is None else place["block"] + 1
    return np.random.default_rng([seed, place["role"], block, place["ordinal"], *place["shape"], stream, draw])


def _haar(size: int, count: int, rng: np.random.Generator, *, without_mean: bool = False) -> Float32:
    """`count` orthonormal columns (size, count) uniform on the Stiefel manifold.

    Q of the factorisation G = Q R of a Gaussian matrix is Haar if R's diagonal is positive (Mezzadri 2007, eq. 5.11).
    A tall G is so well conditioned that the Cholesky factor of its Gram matrix is R, at half the price.

    - `without_mean`: among columns whose sum is 0, a space of dimension size - 1, which must be at least `count`.
    """
    normal = rng.standard_normal((size, count), dtype=np.float32)
    if without_mean:
        normal -= normal.mean(axis=0)
    if size >= 2 * count:
        factor = np.linalg.cholesky((normal.T @ normal).astype(np.float64))
        return normal @ np.linalg.inv(factor).T.astype(np.float32)
    q, r = np.linalg.qr(normal)
    signs = np.where(np.diagonal(r) < 0, np.float32(-1), np.float32(1))
    return np.asarray(q * signs, dtype=np.float32)
