"""Frames of a residual stream: what its tokens, pixels and positions become in it, and the gains of its norms.

N = width of the stream, K = `NUM_PROJECTIONS`.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt

from pipeline.fingerprint.random_projections import NUM_PROJECTIONS, Frame, flatten, rank_scores, signs
from zoo.tensors import Role, TensorSpec
from zoo.wiring import Stack

__all__ = ["gain_columns", "mapped", "table_frame", "turning_with"]

TOKENS, PIXELS, POSITIONS, MIXING = 1, 2, 3, 5
"""Salts of the probes."""
ROWS_AT_A_TIME = 8192
NORMS_OF_A_BLOCK = 3
"""Norms of a block are told apart up to this number."""

Float32 = npt.NDArray[np.float32]


def table_frame(pieces: Iterable[Float32], spec: TensorSpec) -> Frame:
    """(N, K) of tokens or positions, probed through the rows of a table, or of pixels, through its columns.

    - `pieces`: its rows in the order of the file, some at a time, however many.
    """
    if spec.role is Role.PATCH_EMBEDDING:
        return flatten(np.concatenate([*pieces]).astype(np.float64) @ signs(0, spec.cols, NUM_PROJECTIONS, PIXELS))
    salt = TOKENS if spec.role is Role.TOKEN_EMBEDDING else POSITIONS
    total, asked, answer = np.zeros(spec.cols), np.zeros(NUM_PROJECTIONS), np.zeros((spec.cols, NUM_PROJECTIONS))
    # What is rounded must not depend on the pieces.
    for start, block in zip(range(0, spec.rows, ROWS_AT_A_TIME), _blocks(pieces, ROWS_AT_A_TIME), strict=True):
        rows = block.astype(np.float64)
        probes = signs(start, len(rows), NUM_PROJECTIONS, salt)
        total, asked, answer = total + rows.sum(axis=0), asked + probes.sum(axis=0), answer + rows.T @ probes
    # The mean row is what all models of a kind share most.
    return flatten(answer - np.outer(total / spec.rows, asked))


def _blocks(pieces: Iterable[Float32], size: int) -> Iterator[Float32]:
    """The same rows, `size` at a time; fewer in the last block."""
    held: list[Float32] = []
    missing = size
    for piece in pieces:
        while len(piece) >= missing:
            yield np.concatenate([*held, piece[:missing]])
            held, piece, missing = [], piece[missing:], size
        held.append(piece)
        missing -= len(piece)
    if missing < size:
        yield np.concatenate(held)


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
