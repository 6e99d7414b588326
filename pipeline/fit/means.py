"""The means of a matrix's rows and columns: whether they pay, which of them a DNA buys, and how they are stored.

A mean row of C numbers may hold most of a large table. A DNA that had to learn it, and SVD, which pays a whole rank for
it, would pass it off as structure; so it is bought first, by the DNA and by what it is compared with.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from pipeline.additive import AdditiveModel, additive_model
from pipeline.arrays import Float32, Float64
from pipeline.fit.quantise import scaled
from pipeline.fit.sizing import MOMENTS
from pipeline.settings import FitSettings

__all__ = ["MeanSets", "Units", "affordable", "allowance", "paying", "units_of"]

MEANS_BITS = (8, 16)
RELATIVE_ZERO = 1e-7
"""What is left of a matrix below this share of its spread is rounding of float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanSets:
    """A choice between a matrix's row means and its column means, each a set: all of them or none."""

    rows: bool = False
    cols: bool = False

    @property
    def is_empty(self) -> bool:
        return not (self.rows or self.cols)

    def numbers(self, num_rows: int, num_cols: int) -> int:
        """How many means these are in a matrix of that shape."""
        return self.rows * num_rows + self.cols * num_cols

    def of(self, model: AdditiveModel) -> AdditiveModel:
        """The additive model with these sets alone."""
        return AdditiveModel(
            mean=model.mean,
            rows=model.rows if self.rows else np.zeros_like(model.rows),
            cols=model.cols if self.cols else np.zeros_like(model.cols),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Units:
    """What turns a network's output into weights: w[i, j] = mean + rows[i] + cols[j] + scale * output[i, j]."""

    mean: float
    scale: float
    rows: Float32 | None = None
    """(R,), on the grid on which they are stored; None where they were not bought."""
    cols: Float32 | None = None
    """(C,) likewise."""
    bits: int = 0
    """What `rows` and `cols` cost to store, with a scale of 16 bits for each."""

    @property
    def numbers(self) -> int:
        return sum(len(means) for means in (self.rows, self.cols) if means is not None)

    def outputs(self, matrix: Float32) -> Float32:
        """What a network is to give for this matrix (R, C), float32: standardised."""
        left = matrix - self.mean
        if self.rows is not None:
            left -= self.rows[:, None]
        if self.cols is not None:
            left -= self.cols
        return (left / (self.scale or 1.0)).astype(np.float32)


def paying(model: AdditiveModel, sst: float) -> MeanSets:
    """Which sets of means shorten the description of a matrix with that sum of squares about its mean.

    A set of k means pays where N / 2 log2(before / after) > k / 2 log2(N), with the sums of squares before and after it
    is taken away (Schwarz 1978; Rissanen 1978): N Gaussian values at any fixed precision cost 1/2 log2 of their
    variance each, and a mean, which is known no better than to its standard error, 1/2 log2(N) bits. The set with the
    larger share goes first. In noise a set explains k / N of the squares, which saves k / 2 log2(e) bits: it never
    pays. The mean of a single value is that value, and never pays.
    """
    num_rows, num_cols = len(model.rows), len(model.cols)
    size, found, left = num_rows * num_cols, {"rows": False, "cols": False}, sst
    sets = [("rows", model.row_energy, num_rows, num_cols), ("cols", model.col_energy, num_cols, num_rows)]
    for name, energy, count, others in sorted(sets, key=lambda each: -each[1]):
        if others < 2 or left <= 0:
            continue
        after = max(left - energy, RELATIVE_ZERO**2 * sst)
        if size * math.log2(left / after) > count * math.log2(size):
            found[name], left = True, after
    return MeanSets(**found)


def allowance(settings: FitSettings, num_weights: int, slot_weights: int) -> float:
    """Numbers that a tensor's means may take: its share, by weights, of the budget of its network."""
    return min(settings.budget * slot_weights, settings.max_parameters) * num_weights / slot_weights - MOMENTS


def affordable(sets: MeanSets, model: AdditiveModel, allowed: float) -> MeanSets:
    """Those of the sets that a DNA buys: the most energy for a number first, as far as `allowed` numbers go.

    A set that pays holds at least ln(N) / N of the squares with a number. A DNA of 1 % that holds a tenth of a matrix
    holds 10 / N, and less with its next one; so what pays is worth buying. The network may learn the others.
    """
    num_rows, num_cols = len(model.rows), len(model.cols)
    offers = [("rows", sets.rows, model.row_energy, num_rows), ("cols", sets.cols, model.col_energy, num_cols)]
    bought = {"rows": False, "cols": False}
    for name, pays, _, count in sorted(offers, key=lambda each: -each[2] / each[3]):
        if pays and count <= allowed:
            bought[name], allowed = True, allowed - count
    return MeanSets(**bought)


def units_of(matrix: Float32, sets: MeanSets, mean: float, std: float) -> Units:
    """The units of a matrix (R, C) of that mean and population standard deviation, its DNA having bought `sets`."""
    if sets.is_empty:
        return Units(mean=mean, scale=std)
    model = sets.of(additive_model(matrix))
    left = max(std**2 * matrix.size - model.row_energy - model.col_energy, 0.0)
    rows, row_bits = _stored(model.rows, matrix.shape[1], left) if sets.rows else (None, 0)
    cols, col_bits = _stored(model.cols, matrix.shape[0], left) if sets.cols else (None, 0)
    units = Units(mean=mean, scale=1.0, rows=rows, cols=cols, bits=row_bits + col_bits)
    scale = float(units.outputs(matrix).std(dtype=np.float64))
    return Units(mean=mean, scale=max(scale, RELATIVE_ZERO * std), rows=rows, cols=cols, bits=units.bits)


def _stored(means: Float64, others: int, left: float) -> tuple[Float32, int]:
    """The means, each of `others` values, as they are stored, and their bits: at the width, of `MEANS_BITS`, with which
    they and the squares that are `left` beside their rounding take fewer bits."""
    values = torch.from_numpy(means.astype(np.float32))[None, :, None]
    lengths = []
    for width in MEANS_BITS:
        codes = scaled(values, width, dims=(1, 2))
        stored = codes.values[0, :, 0].numpy()
        lost = others * float(np.square(stored - means).sum())
        size = len(means) * others
        lengths.append((codes.bits_each + size / 2 * math.log2(max(left + lost, 1e-300)), stored, codes.bits_each))
    _, stored, bits = min(lengths, key=lambda each: each[0])
    return stored, bits
