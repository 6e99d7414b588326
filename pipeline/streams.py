"""Frames of a residual stream: what its tokens, pixels and positions become in it, and the gains of its norms.

N = width of the stream, K = `NUM_PROBES`.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pipeline.circuits import Stack
from pipeline.probes import NUM_PROBES, Frame, flatten, rank_scores, signs
from zoo.tensors import Role, TensorSpec

__all__ = ["gain_columns", "mapped", "table_frame", "turning_with"]

TOKENS, PIXELS, POSITIONS, MIXING = 1, 2, 3, 5
"""Salts of the probes."""
ROWS_AT_A_TIME = 8192
NORMS_OF_A_BLOCK = 3
"""Norms of a block are told apart up to this number."""

Float32 = npt.NDArray[np.float32]


def table_frame(matrix: Float32, role: Role) -> Frame:
    """(N, K) of tokens or positions, probed through the rows of `matrix`, or of pixels, through its columns."""
    if role is Role.PATCH_EMBEDDING:
        return flatten(matrix.astype(np.float64) @ signs(0, matrix.shape[1], NUM_PROBES, PIXELS))
    salt = TOKENS if role is Role.TOKEN_EMBEDDING else POSITIONS
    num_rows, width = matrix.shape
    total, asked, answer = np.zeros(width), np.zeros(NUM_PROBES), np.zeros((width, NUM_PROBES))
    for start in range(0, num_rows, ROWS_AT_A_TIME):
        rows = matrix[start : start + ROWS_AT_A_TIME].astype(np.float64)
        probes = signs(start, len(rows), NUM_PROBES, salt)
        total, asked, answer = total + rows.sum(axis=0), asked + probes.sum(axis=0), answer + rows.T @ probes
    # The mean row is what all models of a kind share most.
    return flatten(answer - np.outer(total / num_rows, asked))


def mapped(matrix: Float32, frame: Frame) -> Frame:
    """The frame behind a map (M, G N) that reads G places of the stream, concatenated: (M, K)."""
    places = np.split(matrix.astype(np.float64), matrix.shape[1] // len(frame), axis=1)
    if len(places) == 1:
        return flatten(places[0] @ frame)
    width = frame.shape[1]
    mixing = np.split(signs(0, len(places) * width, width, MIXING), len(places))
    return flatten(np.sum([place @ frame @ mix for place, mix in zip(places, mixing, strict=True)], axis=0))


def gain_columns(stack: Stack, load: Callable[[TensorSpec], Float32]) -> Frame | None:
    """Gains by rank, unit columns: of the norms before the blocks, and `NORMS_OF_A_BLOCK` in each third of the depth.

    None where there is no gain that varies. A place without norms is a column of zeros.
    """
    if stack.width is None:
        return None
    columns = np.zeros((stack.width, 1 + 3 * NORMS_OF_A_BLOCK))
    for spec in stack.front.gains:
        columns[:, 0] += rank_scores(load(spec))
    for block in stack.blocks:
        third = min(int((block.depth or 0) * 3), 2)
        for place, spec in enumerate(block.gains):
            columns[:, 1 + NORMS_OF_A_BLOCK * third + place % NORMS_OF_A_BLOCK] += rank_scores(load(spec))
    norms = np.linalg.norm(columns, axis=0)
    return columns / np.where(norms > 0, norms, 1.0) if columns.any() else None


def turning_with(frame: Frame, gains: Frame) -> Frame:
    """`frame` times the gains, mixed, (N, K): gains do not turn with a stream that is free in sign, but this does."""
    width = frame.shape[1]
    mixing = np.split(signs(0, gains.shape[1] * width, width, MIXING), gains.shape[1])
    return flatten(np.sum([gain[:, None] * frame @ mix for gain, mix in zip(gains.T, mixing, strict=True)], axis=0))
