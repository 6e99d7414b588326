"""Memory between stages, and how much a stage took."""

import ctypes
import functools
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Peak", "give_back", "measured_peak"]

PROCESS = Path("/proc/self")
FORGET_PEAK = "5"
"""What Linux takes as: begin again to look for the largest resident size."""


@dataclass(slots=True)
class Peak:
    """The most memory that was taken; None where it is not known."""

    memory_bytes: int | None = None
    """Of this process, with all that it held before."""
    gpu_bytes: int | None = None
    """Of the GPU, by what is computed here; None without one."""


@contextmanager
def measured_peak() -> Iterator[Peak]:
    """Measures until its end. Of a process that measures twice at the same time, the later measurement counts."""
    peak = Peak()
    is_known = False
    with suppress(OSError):
        (PROCESS / "clear_refs").write_text(FORGET_PEAK)
        is_known = True
    _reset_gpu()
    yield peak
    if is_known:
        peak.memory_bytes = _largest_resident()
    peak.gpu_bytes = _gpu_peak()


def _largest_resident() -> int | None:
    with suppress(OSError):
        found = re.search(r"^VmHWM:\s+(\d+) kB", (PROCESS / "status").read_text(), flags=re.MULTILINE)
        return int(found[1]) * 1024 if found else None
    return None


def _reset_gpu() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()


def _gpu_peak() -> int | None:
    torch = sys.modules.get("torch")
    return int(torch.cuda.max_memory_allocated()) if torch is not None and torch.cuda.is_initialized() else None


def give_back() -> None:
    """Return free memory to the system, where the C library can.

    glibc keeps it for later, hundreds of MiB after a fit. The next stage asks for arrays of other sizes, so its memory
    would be added to that.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@functools.cache
def _trim() -> Callable[[int], int] | None:
    """glibc's `malloc_trim`; None where there is none (musl, macOS, Windows)."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):
        return None
