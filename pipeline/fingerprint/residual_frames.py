"""Frames of a residual stream: random projections of its tokens, pixels and positions, and the gains of its norms.

N = width of the residual stream, K = `NUM_PROJECTIONS`.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from pipeline.arrays import Float32
from pipeline.fingerprint.random_projections import NUM_PROJECTIONS, Frame, random_signs, rank_scores, whiten
from zoo.tensors import Role, TensorSpec
from zoo.wiring import Stack

__all__ = ["Float32", "Loader", "blocks", "gain_columns", "mapped", "scaled_by_gains", "table_frame"]

TOKENS, PIXELS, POSITIONS, MIXING = 1, 2, 3, 5
"""Salts of the random signs."""
ROWS_AT_A_TIME = 8192
NORMS_OF_A_BLOCK = 3
"""Columns for the norms of a block: the first, second and third norm have one each."""

Loader = Callable[[TensorSpec], Float32]


def table_frame(pieces: Iterable[Float32], spec: TensorSpec) -> Frame:
    """The frame (N, K) of tokens or positions, which are the rows of a table, or of pixels, which are its columns.

    - `pieces`: its rows in the order of the file, any number at a time.
    """
    if spec.role is Role.PATCH_EMBEDDING:
        return whiten(
            np.concatenate([*pieces]).astype(np.float64) @ random_signs(0, spec.cols, NUM_PROJECTIONS, PIXELS)
        )
    salt = TOKENS if spec.role is Role.TOKEN_EMBEDDING else POSITIONS
    row_sum, sign_sum = np.zeros(spec.cols), np.zeros(NUM_PROJECTIONS)
    projected = np.zeros((spec.cols, NUM_PROJECTIONS))
    # Blocks of one size, so that rounding does not depend on the pieces.
    for start, block in zip(range(0, spec.rows, ROWS_AT_A_TIME), blocks(pieces, ROWS_AT_A_TIME), strict=True):
        rows = block.astype(np.float64)
        signs = random_signs(start, len(rows), NUM_PROJECTIONS, salt)
        row_sum, sign_sum = row_sum + rows.sum(axis=0), sign_sum + signs.sum(axis=0)
        projected = projected + rows.T @ signs
    # Without the mean row, which models of a kind have in common.
    return whiten(projected - np.outer(row_sum / spec.rows, sign_sum))


def blocks(pieces: Iterable[Float32], size: int) -> Iterator[Float32]:
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
    """The frame (M, K) behind a map (M, G N) that reads G positions of the residual stream, concatenated."""
    places = np.split(matrix.astype(np.float64), matrix.shape[1] // len(frame), axis=1)
    if len(places) == 1:
        return whiten(places[0] @ frame)
    width = frame.shape[1]
    mixing = np.split(random_signs(0, len(places) * width, width, MIXING), len(places))
    return whiten(np.sum([place @ frame @ mix for place, mix in zip(places, mixing, strict=True)], axis=0))


def gain_columns(stack: Stack, load: Loader) -> Frame | None:
    """Ranks of gains, (N, 1 + 3 * `NORMS_OF_A_BLOCK`), columns of length 1: norms before the blocks, then by third.

    None where no gain varies. A column without norms is zeros.
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


def scaled_by_gains(frame: Frame, gains: Frame) -> Frame:
    """The frame times each column of gains, mixed, (N, K).

    Where signs of residual units are arbitrary, gains do not change with them, but a frame must.
    """
    width = frame.shape[1]
    mixing = np.split(random_signs(0, gains.shape[1] * width, width, MIXING), gains.shape[1])
    return whiten(np.sum([gain[:, None] * frame @ mix for gain, mix in zip(gains.T, mixing, strict=True)], axis=0))
