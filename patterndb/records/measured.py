"""What is measured: statistics, fits, and what they are of (a tensor, a role, a signature)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

__all__ = ["CLASS_MEANING", "FitRecord", "RoleRecord", "SignatureRecord", "Statistic", "TensorRecord"]

CLASS_MEANING = "Winning class: smooth, structured, noisy, sparse or dense; empty where none was given."


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistic:
    """A measured value and its null (`pipeline.analyse.evidence`)."""

    name: Annotated[str, "Name of the statistic."]
    value: Annotated[float, "The statistic's value, in its own unit."]
    null: Annotated[str | None, "Null: shuffle, means, rotate, gaussian or reorder; empty for a description."] = None
    num_nulls: Annotated[int, "Number of draws of the null."] = 0
    null_mean: Annotated[float | None, "Mean over the draws of its null, in the statistic's unit."] = None
    null_std: Annotated[float | None, "Standard deviation over the draws of its null, in the statistic's unit."] = None
    z: Annotated[
        float | None, "(value - null mean) / null standard deviation; empty with fewer than two nulls or no spread."
    ] = None
    p: Annotated[
        float | None,
        "Two-sided p-value: the doubled rank of the value among itself and the draws of its null, or among"
        " recombinations of the values and draws of several tensors.",
    ] = None
    low: Annotated[
        float | None, "Lower end of the 95 % interval over the choice of rows; empty where all rows were used."
    ] = None
    high: Annotated[
        float | None, "Upper end of the 95 % interval over the choice of rows; empty where all rows were used."
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRecord:
    """The fit report of one set of tensors: a DNA, its null, SVD at its size, the mean predictor and the bound.

    The database's columns, the exported columns `fit_...` and the keys `fit....` of docs/json.md follow from it.
    """

    dna_type: Annotated[str, "Kind of DNA: separable, spectral, hierarchical or adaptive."]
    scope: Annotated[str, "tensor: one DNA for each tensor; model: one for all."]
    order: Annotated[str, "Order of rows and columns in the fit: raw (as in the file) or seriated (canonical)."]
    precision: Annotated[str, "Arithmetic that the fit was trained in: fp32, bf16 or fp16."]
    device: Annotated[str, "Device of the fit."]
    num_weights: Annotated[int, "Weights that the fit stands for."]
    parameters: Annotated[int, "Parameters of the DNA: of its networks, and the mean and scale of each tensor."]
    bits_per_weight: Annotated[
        float, "All that must be stored, in bits per weight: parameters at their precision, permutations, signs."
    ]
    order_bits_per_weight: Annotated[float, "Share of permutations and signs in `bits_per_weight`."]
    r2: Annotated[float, "R2 of the fit on the original weights; 1 is perfect, 0 what the mean gives."]
    r2_low: Annotated[float | None, "Lower end of the 95 % interval of `r2`, where it was taken on a sample."] = None
    r2_high: Annotated[float | None, "Upper end of the 95 % interval of `r2`, where it was taken on a sample."] = None
    sampled_weights: Annotated[int | None, "Weights in that sample; empty if `r2` is over all."] = None
    additive_r2: Annotated[
        float | None,
        "R2 of the additive model: of the row means and column means that pay for themselves; 0 where none do.",
    ] = None
    additive_numbers: Annotated[int | None, "How many means these are."] = None
    null: Annotated[str, "Null model that the same fit was put through."] = "shuffle"
    num_nulls: Annotated[int, "Number of draws of the null that were fitted."] = 0
    null_r2: Annotated[float | None, "Mean R2 of the fits of the null."] = None
    null_r2_std: Annotated[float | None, "Standard deviation of the R2 of the null's fits."] = None
    gain: Annotated[float | None, "Gain over the null: `r2` - `null_r2`."] = None
    means_null_r2: Annotated[
        float | None,
        "Mean R2 of the fits of the null that keeps row and column means; the same as `null_r2` where no means pay.",
    ] = None
    means_null_r2_std: Annotated[float | None, "Standard deviation of the R2 of these fits."] = None
    gain_beyond_means: Annotated[
        float | None, "Structure gain: `r2` - `means_null_r2`, what is beyond the means and beyond chance."
    ] = None
    svd_r2: Annotated[
        float,
        "R2 of truncated SVD with as many parameters, between whole ranks interpolated; it may buy the means first.",
    ]
    svd_null_r2: Annotated[float | None, "R2 of that SVD on the null."] = None
    svd_gain: Annotated[float | None, "`svd_r2` - `svd_null_r2`."] = None
    svd_means_null_r2: Annotated[float | None, "R2 of that SVD on the null that keeps the means."] = None
    dct_r2: Annotated[
        float | None,
        "R2 of the largest coefficients of the cosine transform, a place and a value each, with as many parameters.",
    ] = None
    dct_null_r2: Annotated[float | None, "R2 of those on the null."] = None
    ceiling_r2: Annotated[
        float,
        "The most R2 that a code of so many bits has on independent Gaussian weights with these tensors' variances.",
    ]
    bits_per_weight_8bit: Annotated[
        float | None,
        "`bits_per_weight` with the DNA's weights at 8 bits, scales counted; empty in old fits.",
    ] = None
    r2_8bit: Annotated[float | None, "R2 of that DNA."] = None
    null_r2_8bit: Annotated[float | None, "Mean R2 of the null's DNAs at 8 bits."] = None
    svd_r2_8bit: Annotated[
        float | None,
        "R2 of truncated SVD with factors at 8 bits and as many bits in all, those of the DNA's order included.",
    ] = None
    svd_null_r2_8bit: Annotated[float | None, "R2 of that SVD on the null."] = None
    svd_bits_width: Annotated[
        int | None, "Bits of a number, 8, 6, 4 or 3, at which that SVD holds most with as many bits in all."
    ] = None
    svd_bits_r2: Annotated[float | None, "R2 of truncated SVD at that width."] = None
    svd_bits_null_r2: Annotated[float | None, "R2 of that SVD on the null, at the width that is best there."] = None
    dct_bits_r2: Annotated[
        float | None,
        "R2 of the largest coefficients of the cosine transform of the matrix in the DNA's order, with as many bits in"
        " all, those of the order included.",
    ] = None
    dct_bits_null_r2: Annotated[float | None, "R2 of those on the null."] = None
    ceiling_r2_8bit: Annotated[float | None, "`ceiling_r2` at `bits_per_weight_8bit`."] = None
    mse: Annotated[float, "Mean squared error, in squared units of the weights."]
    rmse: Annotated[float, "Root mean squared error, in units of the weights."]
    mae: Annotated[float, "Mean absolute error, in units of the weights."]
    smape: Annotated[float, "Symmetric mean absolute percentage error, 0 to 200 %."]
    psnr: Annotated[float, "Peak signal-to-noise ratio in dB, for the peak `peak`."]
    peak: Annotated[float, "max - min of the original weights."]
    mean_mse: Annotated[float, "Mean squared error of the mean predictor (each tensor's own mean)."]
    mean_psnr: Annotated[float, "PSNR of the mean predictor in dB: what explaining nothing scores."]
    steps: Annotated[int, "Optimiser steps of the fit."]
    seconds: Annotated[float, "Time of the fit in seconds."]

    @property
    def strictest_null_r2(self) -> float | None:
        """Of the null that keeps the means; fits of older versions have the other alone."""
        return self.null_r2 if self.means_null_r2 is None else self.means_null_r2

    @property
    def strictest_gain(self) -> float | None:
        """Over that null."""
        return self.gain if self.gain_beyond_means is None else self.gain_beyond_means


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRecord:
    """One tensor of a pattern: what it is, its statistics, its fit."""

    name: Annotated[str, "Name of the tensor in the file, with [query] and the like for a part of a fused one."]
    role: Annotated[str, "What the tensor does in its network."]
    block: Annotated[int | None, "Index of its block in execution order, from 0; empty outside the blocks."]
    depth: Annotated[
        float | None, "(block + 0.5) / number of blocks; 0 for embeddings, 1 for heads, empty without meaning."
    ]
    rows: Annotated[int, "Rows of its matrix view; 1 for vectors."]
    cols: Annotated[int, "Columns of its matrix view."]
    num_weights: Annotated[int, "rows times cols."]
    pattern_class: Annotated[str | None, CLASS_MEANING] = None
    class_scores: Mapping[str, float] = field(default_factory=dict)
    fit: FitRecord | None = None
    statistics: tuple[Statistic, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleRecord:
    """All tensors of one role together."""

    role: Annotated[str, "What the tensors do in their network."]
    tensors: Annotated[int, "Number of tensors."]
    weights: Annotated[int, "Number of weights in them."]
    pattern_class: Annotated[str | None, CLASS_MEANING] = None
    fit: FitRecord | None = None
    """None for roles that are not fitted (norms, biases)."""
    statistics: tuple[Statistic, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureRecord:
    """A model as a fixed-length float32 vector; `values[i]` is None where the model has nothing for a dimension."""

    version: str
    names: tuple[str, ...]
    values: tuple[float | None, ...]
    z: tuple[float | None, ...] = ()
    p: tuple[float | None, ...] = ()
