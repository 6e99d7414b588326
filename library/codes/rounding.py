"""Plain rounding of weights to a few bits each, with a scale for every group; and the residual of a DNA, rounded so.

A group is a row of a matrix, or as many rows as have `LEAST_GROUP` weights. Its weights, less what they are coded
about, are rounded to 2^k levels that are symmetric about 0 and evenly spaced, the step being the best of a few for the
sum of squared errors. The step is a bfloat16.

Fewer bits than one a weight, or a fraction of one, come from mixing: each group of the model has a width of its own, 0
among them, and `WIDTH_BITS` to say which. Groups of large weights get more.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from library.codes.allocation import allocate
from library.codes.codes import Code, Loader, Spent
from pipeline.fit.quantise import STEP_BITS
from pipeline.fit.report import STORED_BITS
from zoo.tensors import TensorSpec

__all__ = ["PlainRounding", "residual_bits", "rounded_residual"]

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

WIDTHS = (1, 2, 3, 4, 5, 6, 8)
WIDTH_BITS = 3
"""Which of `WIDTHS` a group has, or none."""
LEAST_GROUP = 32
PIECE = 1 << 16
"""Weights that are coded at a time: few enough for the processor's own memory."""
TINY = 1e-30
GAUSSIAN_STEPS = {1: 1.596, 2: 0.996, 3: 0.586, 4: 0.335, 5: 0.188, 6: 0.104, 7: 0.0569, 8: 0.0308}
"""Best step for a normal variable of variance 1 and 2^k even levels (Max 1960, "Quantizing for minimum distortion")."""
STRETCHES = (0.8, 1.0, 1.25, 1.6)
"""Other steps that are tried: tails of weights are lighter or heavier than a normal variable's."""


class PlainRounding(Code):
    """Every weight rounded to the bits of its group, about the mean of its matrix."""

    name = "rounding"

    def __init__(self, specs: Sequence[TensorSpec], load: Loader) -> None:
        self._specs, self._load = specs, load
        tables = [_table(load(spec)) for spec in specs]
        self._ends = np.cumsum([len(bits) for bits, _ in tables])
        self._bits = np.concatenate([bits for bits, _ in tables])
        self._errors = np.concatenate([errors for _, errors in tables])

    def spend(self, budget: float) -> Spent:
        means = STORED_BITS * len(self._specs)
        chosen = allocate(self._bits, self._errors, budget - means)
        matrices = {
            spec.name: _coded(self._load(spec), codes)
            for spec, codes in zip(self._specs, np.split(chosen, self._ends[:-1]), strict=True)
        }
        # Where no group is kept, nothing has to say which.
        bits = means + (float(self._bits[np.arange(len(chosen)), chosen].sum()) if chosen.any() else 0.0)
        widths = sorted({(0, *WIDTHS)[index] for index in chosen})
        return Spent(
            name=self.name, bits=bits, matrices=matrices, detail=f"{_listed(widths)} bits, by group of weights"
        )


def residual_bits(spec: TensorSpec, width: int) -> int:
    """What a residual of so many bits a weight costs, scales included."""
    together = _rows_together(spec.cols)
    return spec.num_weights * width + -(-spec.rows // together) * STEP_BITS


def rounded_residual(residual: Float32, width: int) -> Float32:
    """A residual (R, C) with every weight rounded to `width` bits."""
    parts = [_encode(groups, width).reshape(-1, residual.shape[1]) for groups in _groups(residual)]
    return torch.cat(parts).numpy()


def _rows_together(cols: int) -> int:
    """Rows of a group."""
    return -(-LEAST_GROUP // cols)


def _groups(matrix: Float32) -> list[Tensor]:
    """The groups of a matrix, one a row: (groups, weights), in pieces, and the last rows by themselves."""
    num_rows, num_cols = matrix.shape
    together = _rows_together(num_cols)
    values, whole = torch.from_numpy(np.ascontiguousarray(matrix)), num_rows // together * together
    groups = values[:whole].reshape(-1, together * num_cols)
    rest = values[whole:].reshape(1, -1)
    pieces = torch.split(groups, max(PIECE // groups.shape[1], 1)) if len(groups) else ()
    return [*pieces, *([rest] if rest.numel() else [])]


def _encode(groups: Tensor, width: int) -> Tensor:
    """Groups (N, M) as they are decoded."""
    return _decoded(groups, _best_steps(groups, width)[0], width)


def _best_steps(groups: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The step of each group (N, 1), the best of those that are tried, and its sum of squared errors (N,), float64."""
    if width == 1:  # The best two levels are the mean magnitude.
        steps = [2 * groups.abs().mean(dim=1, keepdim=True)]
    else:
        spread = groups.square().mean(dim=1, keepdim=True).sqrt()
        steps = [spread * (GAUSSIAN_STEPS[width] * stretch) for stretch in STRETCHES]
    steps = [step.bfloat16().float() for step in steps]
    errors = [(_decoded(groups, step, width) - groups).square_().sum(dim=1, dtype=torch.float64) for step in steps]
    least, index = torch.stack(errors).min(dim=0)
    return torch.stack(steps).gather(0, index[None, :, None])[0], least


def _decoded(groups: Tensor, steps: Tensor, width: int) -> Tensor:
    half = 2 ** (width - 1)
    return torch.floor(groups / steps.clamp(min=TINY)).clamp_(-half, half - 1).add_(0.5).mul_(steps)


def _table(matrix: Float32) -> tuple[Float64, Float64]:
    """Bits and errors of every group of a matrix, with no bits and with each width, both (groups, 1 + widths)."""
    bits, errors = [], []
    for groups in _groups(_about_mean(matrix)):
        sizes = [WIDTH_BITS, *(WIDTH_BITS + STEP_BITS + width * groups.shape[1] for width in WIDTHS)]
        bits.append(np.tile(np.array(sizes, dtype=np.float64), (len(groups), 1)))
        without = groups.square().sum(dim=1, dtype=torch.float64)
        errors.append(torch.stack([without, *(_best_steps(groups, width)[1] for width in WIDTHS)], dim=1).numpy())
    return np.concatenate(bits), np.concatenate(errors)


def _coded(matrix: Float32, chosen: npt.NDArray[np.intp]) -> Float32:
    """The matrix with each group at the width of its code."""
    about_mean = _about_mean(matrix)
    parts, start = [], 0
    for groups in _groups(about_mean):
        codes = torch.from_numpy(chosen[start : start + len(groups)])
        coded = torch.zeros_like(groups)
        for code, width in enumerate(WIDTHS, 1):
            here = codes == code
            if bool(here.any()):
                coded[here] = _encode(groups[here], width)
        parts.append(coded.reshape(-1, matrix.shape[1]))
        start += len(groups)
    return np.asarray(torch.cat(parts).numpy() + (matrix.mean(dtype=np.float64)), dtype=np.float32)


def _about_mean(matrix: Float32) -> Float32:
    return matrix - np.float32(matrix.mean(dtype=np.float64))


def _listed(widths: Sequence[int]) -> str:
    *some, last = map(str, widths)
    return f"{', '.join(some)} or {last}" if some else last
