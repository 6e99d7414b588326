"""Fixed random projections: the same signs for every model, so that what is projected can be compared.

Indices that mean the same in every copy of a model (tokens, pixels, positions) are projected on K columns of random
signs. Multiplied with a table of embeddings they become a *frame* of the residual stream, (N, K), whose rows move with
the units: the inner product of two frames of one axis depends neither on the order of its units nor on their signs.

N = length of an axis, K = columns of a frame.
"""

import numpy as np
import numpy.typing as npt

from pipeline.arrays import Float64

__all__ = ["NUM_PROJECTIONS", "Frame", "fold", "random_signs", "random_words", "rank_scores", "unit_scale", "whiten"]

NUM_PROJECTIONS = 16
SOFTNESS = 0.1
"""Singular values of a frame below this share of their root mean square stay below one: those directions are the
first to change."""

Frame = Float64

# The finaliser of SplitMix64 (Steele, Lea & Flood 2014), written out, so that no library's new generator ever changes
# a signature.
_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def random_signs(start: int, count: int, width: int, salt: int) -> Frame:
    """Pseudo-random +1 and -1, (count, width): rows `start` to `start + count` of the endless table number `salt`.

    A row depends on its number alone, so that models of different vocabularies get the same signs for shared tokens.
    """
    with np.errstate(over="ignore"):
        rows = np.arange(start, start + count, dtype=np.uint64)[:, None]
        cells = (rows << np.uint64(16)) + np.arange(width, dtype=np.uint64)
        name = _mix(np.full((1, 1), salt, dtype=np.uint64) + _STEP)
        mixed = _mix(np.add(cells, name, dtype=np.uint64))
    return np.where(mixed >> np.uint64(63), 1.0, -1.0)


def random_words(start: int, count: int, salt: int) -> npt.NDArray[np.uint64]:
    """Pseudo-random 64-bit words, (count,): `start` to `start + count` of the endless sequence number `salt`."""
    with np.errstate(over="ignore"):
        name = _mix(np.full(1, salt, dtype=np.uint64) + _STEP)
        return _mix(np.arange(start, start + count, dtype=np.uint64) * _STEP + name)


def fold(name: str) -> int:
    """A number below 2^48 for a name, from which salts are made."""
    folded = 0
    for byte in name.encode():
        folded = (folded * 257 + byte) % (1 << 48)
    return folded


def _mix(z: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * _FIRST
    z = (z ^ (z >> np.uint64(27))) * _SECOND
    return z ^ (z >> np.uint64(31))


def whiten(frame: Frame) -> Frame:
    """The frame (N, K) with singular values near one: `s / sqrt(s^2 + (SOFTNESS * rms(s))^2)` in place of s.

    Otherwise the few large directions that all models of a kind learn would outweigh all others. Zeros stay zeros.
    """
    left, singular, right = np.linalg.svd(frame, full_matrices=False)
    scale = SOFTNESS * np.sqrt(np.mean(singular**2))
    if not scale > 0:
        return np.zeros_like(frame)
    return np.asarray((left * (singular / np.hypot(singular, scale))) @ right)


def unit_scale(values: Frame) -> Frame:
    """The values over their root mean square, flat; zeros stay zeros."""
    flat = values.ravel()
    rms = float(np.sqrt(np.mean(flat**2)))
    return flat / rms if rms > 0 else flat


def rank_scores(values: npt.NDArray[np.floating]) -> Frame:
    """Mid-ranks of a vector (N,), centred, in [-0.5, 0.5], so that no outlier decides alone."""
    flat = values.ravel().astype(np.float64)
    ordered = np.sort(flat)
    below, upto = np.searchsorted(ordered, flat, side="left"), np.searchsorted(ordered, flat, side="right")
    return np.asarray((below + upto) / (2 * len(flat)) - 0.5)
