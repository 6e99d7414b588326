"""The part of the fingerprint that needs no roles: tensors of one name and shape, compared in the order of the file.

What is not recognised has no symmetry that is known, so nothing is searched for. Each matrix W (M, N) is centred and
scaled: columns to mean 0 and standard deviation 1, then rows to mean 0 and length 1. Means and outlying columns are
alike in unrelated models, and few numbers must not decide. Its entries are then summed in D buckets,

    s_b = sum over i, j with h(i, j) = b of g(i, j) W_ij,

h a random bucket and g a random sign of each entry, fixed by the name and the shape (count sketch: Charikar, Chen &
Farach-Colton 2002). Cosines are kept, up to noise of 1 / sqrt(D), whatever the matrices look like; where names or
shapes differ only the noise is left. The whole is the sum over all matrices of n^(1/4) s / |W|, n = (M - 1) (N - 1):
more entries are better evidence, but not in proportion.

Whether two models have tensors in common at all shows in `keys`: the smallest of their names' random numbers, by
several draws (MinHash: Broder 1997). Two models that have a share J of their tensors in common agree in a share J of
these.

M, N = rows and columns of a matrix, D = `NUM_SUMS`, S = `NUM_KEYS`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.fingerprint.random_projections import Frame, fold, random_words, unit_scale
from pipeline.fingerprint.residual_frames import Float32, blocks
from zoo.tensors import TensorSpec

__all__ = ["NUM_KEYS", "NUM_SUMS", "NamedTensors", "measure_named_tensors"]

NUM_SUMS = 256
NUM_KEYS = 32
FEWEST_ENTRIES = 2048
"""With fewer, unrelated models would correlate by more than the noise of a sketch."""
ENTRIES_AT_A_TIME = 1 << 17
ENTRIES, KEYS = 7, 8
"""Salts of the random numbers."""
KEY_BITS = 24
"""As many as a float32 keeps."""

PieceLoader = Callable[[TensorSpec], Iterable[Float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedTensors:
    """The matrices of a model by name, shape and order of the file."""

    keys: Frame
    """(S,) in [0, 1), exact in float32. Models that are equal in one have a tensor's name and shape in common."""
    sums: Frame
    """(D,), root mean square 1: only its direction means something."""


def measure_named_tensors(specs: Sequence[TensorSpec], pieces: PieceLoader) -> NamedTensors | None:
    """The matrices of a model by name; None where they have fewer than `FEWEST_ENTRIES` entries.

    - `pieces(spec)`: the matrix in the order of the file, float32 (rows, cols), some rows at a time. Called twice.
    """
    keys, sums, num_entries = np.ones(NUM_KEYS), np.zeros(NUM_SUMS), 0
    for spec in specs:
        if not spec.is_matrix:
            continue
        salt = fold(f"{spec.name} {spec.rows}x{spec.cols}") << 8
        sketch, num_rows = _sketch(spec, pieces, salt + ENTRIES)
        if not num_rows:
            continue
        size = (spec.rows - 1) * (spec.cols - 1)
        num_entries += size
        sums += sketch * size**0.25 / np.sqrt(num_rows)
        keys = np.minimum(keys, (random_words(0, NUM_KEYS, salt + KEYS) >> np.uint64(64 - KEY_BITS)) / 2.0**KEY_BITS)
    return NamedTensors(keys=keys, sums=unit_scale(sums)) if num_entries >= FEWEST_ENTRIES else None


def _sketch(spec: TensorSpec, pieces: PieceLoader, salt: int) -> tuple[Frame, int]:
    """The sums (D,) of the centred and scaled matrix, and its number of rows of length 1; the others are 0."""
    height = max(ENTRIES_AT_A_TIME // spec.cols, 1)
    mean, scale = _column_moments(blocks(pieces(spec), height), spec)
    sums, num_rows, start = np.zeros(NUM_SUMS), 0, 0
    for block in blocks(pieces(spec), height):
        rows = (block - mean) / scale
        rows -= rows.mean(axis=1, keepdims=True)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        is_known = lengths > 0
        rows /= np.where(is_known, lengths, 1.0)
        words = random_words(start, rows.size, salt)
        signed = np.where(words >> np.uint64(63), rows.ravel(), -rows.ravel())
        sums += np.bincount((words % np.uint64(NUM_SUMS)).astype(np.intp), signed, NUM_SUMS)
        num_rows, start = num_rows + int(is_known.sum()), start + rows.size
    return sums, num_rows


def _column_moments(rows: Iterable[Float32], spec: TensorSpec) -> tuple[Frame, Frame]:
    """Mean and standard deviation of each column (N,); 1 in place of 0."""
    total, squares = np.zeros(spec.cols), np.zeros(spec.cols)
    for block in rows:
        values = block.astype(np.float64)
        total, squares = total + values.sum(axis=0), squares + (values**2).sum(axis=0)
    mean = total / spec.rows
    variance = squares / spec.rows - mean**2
    return mean, np.sqrt(np.where(variance > 1e-12 * squares / spec.rows, variance, 1.0))
