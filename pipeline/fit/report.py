"""The fit report: a DNA's errors, and those of its null, of other codes of the same size, of the mean, and the bound.

Tensors are measured one by one (`TensorFit`) and pooled here, over a role or the model, by adding up errors in the
original units: R2 = 1 - sum SSE / sum SST, SST about each tensor's own mean, which the DNA stores too.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from patterndb.records import FitRecord
from pipeline.fit.baselines import ROUNDED_BITS, SVD_WIDTHS, Baseline, Part, explained
from pipeline.fit.bound import gaussian_bound
from pipeline.fit.sizing import MOMENTS
from pipeline.settings import FitSettings

__all__ = [
    "STORED_BITS",
    "Errors",
    "FitCost",
    "Quantised",
    "RatePoint",
    "TensorFit",
    "ceiling",
    "psnr",
    "rate_point",
    "report",
]

STORED_BITS = 32
"""Parameters, means and scales are stored as float32, whatever the precision of the arithmetic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Sums over all weights of a tensor, original units; estimated from `points` of them where that is fewer."""

    points: int
    sse: float
    sae: float
    sape: float
    """Sum of 200 |e| / (|w| + |w_hat|), in %."""
    sse_variance: float = 0.0
    """Sampling variance of `sse`; 0 where every weight was seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantised:
    """A tensor's DNA and its nulls with weights of so many bits."""

    width: int
    bits: float
    """Of the network with its scales (its share by weights where one DNA serves the model), and of the bought means."""
    sse: float
    null_sse: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RatePoint:
    """Tensors together at one width: what is stored, what it explains, and what it may explain at most."""

    network_bits: float
    """Of networks and orders, in all: what another code of the same size may spend."""
    bits_per_weight: float
    """With means and scales at full precision."""
    r2: float
    null_r2: float | None
    ceiling_r2: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorFit:
    """One tensor's DNA and its nulls, measured."""

    name: str
    role: str
    rows: int
    cols: int
    parameters: float
    """Of the tensor's DNA with its mean, its scale and the means that it bought; of one DNA for the model, its share by
    weights."""
    order_bits: float
    std: float
    low: float
    high: float
    errors: Errors
    null_errors: tuple[Errors, ...]
    baseline: Baseline
    null_baselines: tuple[Baseline, ...]
    additive_numbers: int = 0
    """How many row and column means pay."""
    additive_energy: float = 0.0
    """The sum of squares about the mean that these explain."""
    means_null_errors: tuple[Errors, ...] = ()
    """Of the null that keeps the means; empty where none pay: there it says what the other null says."""
    means_null_baselines: tuple[Baseline, ...] = ()
    quantised: tuple[Quantised, ...] = ()
    """At every width that was asked for."""

    @property
    def num_weights(self) -> int:
        return self.rows * self.cols

    @property
    def sst(self) -> float:
        """Sum of squares about the mean."""
        return self.std**2 * self.num_weights

    def nulls(self, *, keep_means: bool) -> list[tuple[Errors, Baseline]]:
        """The draws of its null, or of the one that keeps the means wherever they pay."""
        if keep_means and self.means_null_errors:
            return list(zip(self.means_null_errors, self.means_null_baselines, strict=True))
        return list(zip(self.null_errors, self.null_baselines, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class FitCost:
    """What the fit took, for the report."""

    device: str
    steps: int
    seconds: float


def report(fits: Sequence[TensorFit], settings: FitSettings, cost: FitCost) -> FitRecord:
    """The fit report of these tensors together; `fits` is not empty and all have the same number of nulls."""
    weights = sum(fit.num_weights for fit in fits)
    sst = _positive(sum(fit.sst for fit in fits))
    parameters = sum(fit.parameters for fit in fits)
    order_bits = sum(fit.order_bits for fit in fits) / weights
    bits = parameters * STORED_BITS / weights + order_bits
    errors = _pool(fit.errors for fit in fits)
    mse, mean_mse = errors.sse / weights, sst / weights
    peak = max(fit.high for fit in fits) - min(fit.low for fit in fits)
    r2 = 1 - errors.sse / sst
    is_sampled = errors.points < weights
    half_width = 1.96 * math.sqrt(errors.sse_variance) / sst
    return FitRecord(
        dna_type=settings.dna_type,
        scope=settings.scope,
        order=settings.order,
        precision=settings.precision,
        device=cost.device,
        num_weights=weights,
        parameters=round(parameters),
        bits_per_weight=bits,
        order_bits_per_weight=order_bits,
        r2=r2,
        r2_low=r2 - half_width if is_sampled else None,
        r2_high=r2 + half_width if is_sampled else None,
        sampled_weights=errors.points if is_sampled else None,
        **_comparisons(fits, r2, parameters, sst),
        **_at_bits(fits, ROUNDED_BITS),
        ceiling_r2=ceiling(fits, bits * weights),
        mse=mse,
        rmse=math.sqrt(mse),
        mae=errors.sae / weights,
        smape=errors.sape / weights,
        psnr=psnr(peak, mse),
        peak=peak,
        mean_mse=mean_mse,
        mean_psnr=psnr(peak, mean_mse),
        steps=cost.steps,
        seconds=cost.seconds,
    )


def _comparisons(fits: Sequence[TensorFit], r2: float, parameters: float, sst: float) -> dict[str, Any]:
    """What R2 is compared with: the means', the nulls', and what SVD and the DCT have with as many parameters."""
    budget = parameters - MOMENTS * len(fits)
    nulls, with_means = _null_r2(fits, keep_means=False), _null_r2(fits, keep_means=True)
    svd, svd_nulls = _baseline_r2(fits, lambda baseline: baseline.svd, budget)
    _, svd_means_nulls = _baseline_r2(fits, lambda baseline: baseline.svd, budget, keep_means=True)
    dct, dct_nulls = _baseline_r2(fits, lambda baseline: baseline.dct, budget)
    return {
        "additive_r2": math.fsum(fit.additive_energy for fit in fits) / sst,
        "additive_numbers": sum(fit.additive_numbers for fit in fits),
        "null": "shuffle",
        "num_nulls": len(nulls),
        "null_r2": _mean(nulls),
        "null_r2_std": _std(nulls),
        "gain": r2 - float(np.mean(nulls)) if nulls else None,
        "means_null_r2": _mean(with_means),
        "means_null_r2_std": _std(with_means),
        "gain_beyond_means": r2 - float(np.mean(with_means)) if with_means else None,
        "svd_r2": svd,
        "svd_null_r2": _mean(svd_nulls),
        "svd_gain": svd - float(np.mean(svd_nulls)) if svd_nulls else None,
        "svd_means_null_r2": _mean(svd_means_nulls),
        "dct_r2": dct,
        "dct_null_r2": _mean(dct_nulls),
    }


def _null_r2(fits: Sequence[TensorFit], *, keep_means: bool) -> list[float]:
    """R2 of every draw of a null of these tensors together, about the means of its own matrices."""
    draws = zip(*(fit.nulls(keep_means=keep_means) for fit in fits), strict=False)
    return [
        1 - math.fsum(errors.sse for errors, _ in draw) / _positive(math.fsum(base.energy for _, base in draw))
        for draw in draws
    ]


def rate_point(fits: Sequence[TensorFit], width: int) -> RatePoint | None:
    """The tensors together with weights of `width` bits; None if one of them was not measured so."""
    parts = [part for fit in fits for part in fit.quantised if part.width == width]
    if len(parts) < len(fits):
        return None
    weights, sst = sum(fit.num_weights for fit in fits), _positive(sum(fit.sst for fit in fits))
    network_bits = math.fsum(part.bits for part in parts) + math.fsum(fit.order_bits for fit in fits)
    bits = (network_bits + MOMENTS * STORED_BITS * len(fits)) / weights
    nulls = [
        1 - math.fsum(sse) / _positive(math.fsum(fit.null_baselines[k].energy for fit in fits))
        for k, sse in enumerate(zip(*(part.null_sse for part in parts), strict=False))
    ]
    return RatePoint(
        network_bits=network_bits,
        bits_per_weight=bits,
        r2=1 - math.fsum(part.sse for part in parts) / sst,
        null_r2=_mean(nulls),
        ceiling_r2=ceiling(fits, bits * weights),
    )


def ceiling(fits: Sequence[TensorFit], bits: float) -> float:
    """R2 of the Gaussian bound of these tensors together at so many bits in all."""
    return gaussian_bound([fit.std**2 for fit in fits], [fit.num_weights for fit in fits], bits)


def _at_bits(fits: Sequence[TensorFit], width: int) -> dict[str, Any]:
    """The DNA with weights of `width` bits, and what other codes have with as many bits in all.

    The DNA pays for the order of rows and columns. So does the DCT of the matrix in that order. SVD has the bits of the
    order to spend, as it needs none; at the width of its factors that is best for the tensors together, and so on its
    nulls.
    """
    point = rate_point(fits, width)
    if point is None:
        return {}
    found = {bits: _baseline_r2(fits, _svd_at(bits), point.network_bits) for bits in SVD_WIDTHS}
    best = max(SVD_WIDTHS, key=lambda bits: found[bits][0])
    best_nulls = [max(draw) for draw in zip(*(nulls for _, nulls in found.values()), strict=True)]
    order_bits = math.fsum(fit.order_bits for fit in fits)
    dct, dct_nulls = _baseline_r2(fits, lambda each: each.dct_bits, point.network_bits - order_bits)
    return {
        "bits_per_weight_8bit": point.bits_per_weight,
        "r2_8bit": point.r2,
        "null_r2_8bit": point.null_r2,
        "svd_r2_8bit": found[8][0],
        "svd_null_r2_8bit": _mean(found[8][1]),
        "svd_bits_width": best,
        "svd_bits_r2": found[best][0],
        "svd_bits_null_r2": _mean(best_nulls),
        "dct_bits_r2": dct,
        "dct_bits_null_r2": _mean(dct_nulls),
        "ceiling_r2_8bit": point.ceiling_r2,
    }


def _svd_at(width: int) -> Callable[[Baseline], Sequence[Part]]:
    return lambda baseline: baseline.svd_bits[width]


def _baseline_r2(
    fits: Sequence[TensorFit], curve: Callable[[Baseline], Sequence[Part]], budget: float, *, keep_means: bool = False
) -> tuple[float, list[float]]:
    """R2 that a code reaches within the budget, best split between the tensors, and of every draw of a null; never more
    than 1."""

    def r2_of(baselines: Sequence[Baseline]) -> float:
        total = math.fsum(baseline.energy for baseline in baselines)
        return min(explained([curve(baseline) for baseline in baselines], budget) / _positive(total), 1.0)

    draws = zip(*(fit.nulls(keep_means=keep_means) for fit in fits), strict=False)
    return r2_of([fit.baseline for fit in fits]), [r2_of([baseline for _, baseline in draw]) for draw in draws]


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _std(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _pool(errors: Iterable[Errors]) -> Errors:
    parts = list(errors)
    return Errors(
        points=sum(part.points for part in parts),
        sse=math.fsum(part.sse for part in parts),
        sae=math.fsum(part.sae for part in parts),
        sape=math.fsum(part.sape for part in parts),
        sse_variance=math.fsum(part.sse_variance for part in parts),
    )


def psnr(peak: float, mse: float) -> float:
    """Peak signal-to-noise ratio in dB, infinite for a perfect fit."""
    return 20 * math.log10(_positive(peak)) - 10 * math.log10(mse) if mse > 0 else math.inf


def _positive(value: float) -> float:
    """A constant tensor has no variance and no peak; the smallest float keeps the ratios defined."""
    return max(value, 1e-300)
