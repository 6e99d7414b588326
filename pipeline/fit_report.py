"""The fit report: a DNA's errors beside its null's, truncated SVD's at the same size, the mean's, and the bound.

Tensors are measured one by one (`TensorFit`) and pooled here, over a role or the model, by adding up errors in the
original units: R2 = 1 - sum SSE / sum SST, SST about each tensor's own mean, which the DNA stores too.
"""

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from patterndb.records import FitRecord
from pipeline.settings import FitSettings

__all__ = ["MOMENTS", "Errors", "FitCost", "TensorFit", "report", "svd_explained"]

STORED_BITS = 32
"""Parameters, means and scales are stored as float32, whatever the precision of the arithmetic."""
MOMENTS = 2
"""Mean and scale of a tensor."""


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
class TensorFit:
    """One tensor's DNA and its nulls, measured."""

    name: str
    role: str
    rows: int
    cols: int
    parameters: float
    """Of the tensor's DNA with its mean and scale; its share by weights where one DNA serves the model."""
    order_bits: float
    std: float
    low: float
    high: float
    errors: Errors
    null_errors: tuple[Errors, ...]
    energies: tuple[float, ...]
    """Squared singular values of the centred tensor, descending, original units."""
    null_energies: tuple[tuple[float, ...], ...]

    @property
    def num_weights(self) -> int:
        return self.rows * self.cols

    @property
    def sst(self) -> float:
        """Sum of squares about the mean."""
        return self.std**2 * self.num_weights

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "TensorFit":
        """The inverse of `as_dict`."""
        return cls(
            **data
            | {
                "errors": Errors(**data["errors"]),
                "null_errors": tuple(Errors(**errors) for errors in data["null_errors"]),
                "energies": tuple(data["energies"]),
                "null_energies": tuple(tuple(energies) for energies in data["null_energies"]),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FitCost:
    """What the fit took, for the report."""

    device: str
    steps: int
    seconds: float


def svd_explained(tensors: Sequence[tuple[int, int, Sequence[float]]], parameters: float) -> float:
    """Sum of squares that truncated SVDs of these tensors explain with `parameters` numbers in all.

    - `tensors`: (rows, cols, squared singular values descending) each.

    A rank costs rows + cols numbers (the singular value goes into a factor). Ranks are bought where a number explains
    most, which is the best split between tensors; the last one is bought in part (linear interpolation).
    """
    heap = [(-e[0] / (m + n), index, 0) for index, (m, n, e) in enumerate(tensors) if len(e)]
    heapq.heapify(heap)
    explained, left = 0.0, float(parameters)
    while heap and left > 0:
        _, index, rank = heapq.heappop(heap)
        rows, cols, energies = tensors[index]
        share = min(left / (rows + cols), 1.0)
        explained += share * energies[rank]
        left -= rows + cols
        if rank + 1 < len(energies):
            heapq.heappush(heap, (-energies[rank + 1] / (rows + cols), index, rank + 1))
    return explained


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
        **_beside(fits, r2, parameters, sst),
        ceiling_r2=1 - 2 ** (-2 * bits),
        mse=mse,
        rmse=math.sqrt(mse),
        mae=errors.sae / weights,
        smape=errors.sape / weights,
        psnr=_psnr(peak, mse),
        peak=peak,
        mean_mse=mean_mse,
        mean_psnr=_psnr(peak, mean_mse),
        steps=cost.steps,
        seconds=cost.seconds,
    )


def _beside(fits: Sequence[TensorFit], r2: float, parameters: float, sst: float) -> dict[str, Any]:
    """What stands beside R2: the null's, SVD's, and SVD's null's, the last two with the same number of parameters."""
    budget = parameters - MOMENTS * len(fits)
    num_nulls = min(len(fit.null_errors) for fit in fits)
    nulls = [1 - sum(fit.null_errors[k].sse for fit in fits) / sst for k in range(num_nulls)]
    svd = _svd_r2([(f.rows, f.cols, f.energies) for f in fits], budget)
    svd_nulls = [_svd_r2([(f.rows, f.cols, f.null_energies[k]) for f in fits], budget) for k in range(num_nulls)]
    return {
        "null": "shuffle",
        "num_nulls": num_nulls,
        "null_r2": float(np.mean(nulls)) if nulls else None,
        "null_r2_std": float(np.std(nulls, ddof=1)) if num_nulls > 1 else None,
        "gain": r2 - float(np.mean(nulls)) if nulls else None,
        "svd_r2": svd,
        "svd_null_r2": float(np.mean(svd_nulls)) if svd_nulls else None,
        "svd_gain": svd - float(np.mean(svd_nulls)) if svd_nulls else None,
    }


def _svd_r2(tensors: Sequence[tuple[int, int, Sequence[float]]], parameters: float) -> float:
    """What `svd_explained` gives as a share of all there is, never more than 1."""
    total = math.fsum(energy for _, _, energies in tensors for energy in energies)
    return min(svd_explained(tensors, parameters) / _positive(total), 1.0)


def _pool(errors: Iterable[Errors]) -> Errors:
    parts = list(errors)
    return Errors(
        points=sum(part.points for part in parts),
        sse=math.fsum(part.sse for part in parts),
        sae=math.fsum(part.sae for part in parts),
        sape=math.fsum(part.sape for part in parts),
        sse_variance=math.fsum(part.sse_variance for part in parts),
    )


def _psnr(peak: float, mse: float) -> float:
    """Peak signal-to-noise ratio in dB, infinite for a perfect fit."""
    return 20 * math.log10(_positive(peak)) - 10 * math.log10(mse) if mse > 0 else math.inf


def _positive(value: float) -> float:
    """A constant tensor has no variance and no peak; the smallest float keeps the ratios defined."""
    return max(value, 1e-300)
