"""One trial in a process of its own, so that its peak memory is its own, and a crash costs one trial."""

import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.numpy import load_file

from pipeline.fit.report import report
from pipeline.fit.stage import fit
from pipeline.settings import FitSettings
from zoo.tensors import TensorSpec

__all__ = ["Job", "Outcome", "run_job"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a trial fits."""

    specs: tuple[TensorSpec, ...]
    matrices: Path
    """safetensors: the canonical matrix of each, by name."""
    order_bits: Mapping[str, float]
    settings: FitSettings
    device: str
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a trial measured."""

    gain: float
    """Structure gain: R2 less that of the nulls that keep the means, fitted alike."""
    r2: float
    null_r2: float
    svd_gain: float
    """Of truncated SVD with as many parameters."""
    parameters: int
    seconds: float
    """Of the fit, nulls included; not of starting the process."""
    weights_per_second: float
    """Weights fitted, those of the nulls included, over `seconds`."""
    peak_bytes: int
    """Of the fit: resident memory above the most that starting the process took, so 0 for a fit that needs less; on a
    GPU, what was allocated there."""


def run_job(job: Job) -> Outcome:
    """Fit, and measure quality, throughput and memory. Raises `FitDivergedError`."""
    matrices = load_file(job.matrices)
    # The first optimiser of a process imports for seconds; that is no part of the fit.
    torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
    before = _peak_bytes()
    started = time.perf_counter()
    with TemporaryDirectory() as directory:
        result = fit(
            job.specs,
            lambda spec: matrices[spec.name],
            job.settings,
            order_bits=job.order_bits,
            device=job.device,
            seed=job.seed,
            directory=Path(directory),
        )
    seconds = time.perf_counter() - started
    assert result is not None
    found = report(result.tensors, job.settings, result.cost)
    gain, null, svd_null = found.gain_beyond_means, found.means_null_r2, found.svd_means_null_r2
    assert gain is not None and null is not None and svd_null is not None
    on_gpu = torch.cuda.max_memory_allocated() if job.device.startswith("cuda") else None
    return Outcome(
        gain=gain,
        r2=found.r2,
        null_r2=null,
        svd_gain=found.svd_r2 - svd_null,
        parameters=found.parameters,
        seconds=seconds,
        weights_per_second=sum(spec.num_weights for spec in job.specs) * (1 + job.settings.num_nulls) / seconds,
        peak_bytes=_peak_bytes() - before if on_gpu is None else on_gpu,
    )


def _peak_bytes() -> int:
    """The largest resident memory of this process so far."""
    # Linux counts in KiB, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
