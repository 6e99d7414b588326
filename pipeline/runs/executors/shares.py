"""The share of a machine that one worker may use: so many cores, and one GPU or whatever there is."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.machine.parallel import CORES

__all__ = ["Share", "shares_of", "take_share", "visible_gpus"]

GPUS = "CUDA_VISIBLE_DEVICES"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one worker may use."""

    cores: int
    gpu: str | None = None
    """As CUDA numbers it; None leaves what is visible as it is."""

    @property
    def environment(self) -> Mapping[str, str]:
        """What a new process must find, before anything numeric is imported."""
        threads = dict.fromkeys((CORES, *THREADS), str(self.cores))
        return threads if self.gpu is None else threads | {GPUS: self.gpu}


def shares_of(num_workers: int, *, num_cores: int, gpus: Sequence[str] = ()) -> tuple[Share, ...]:
    """The machine divided: cores evenly, at least one each, and GPUs in turn.

    A worker sees one GPU alone and calls it `cuda`, so that the settings of a model do not tell which GPU it had.
    """
    cores = max(num_cores // num_workers, 1)
    return tuple(Share(cores=cores, gpu=gpus[each % len(gpus)] if gpus else None) for each in range(num_workers))


def visible_gpus() -> tuple[str, ...]:
    """The GPUs that this process may use, as CUDA numbers them."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    named = [each.strip() for each in os.environ.get(GPUS, "").split(",") if each.strip()]
    return tuple(named[:count]) if len(named) >= count else tuple(str(each) for each in range(count))


def take_share(cores: int) -> None:
    """Hold this process, which may have computed before, to so many cores."""
    os.environ.update(Share(cores=cores).environment)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(cores)
