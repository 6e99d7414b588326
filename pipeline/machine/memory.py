"""Memory between stages, and how much a stage took."""

import ctypes
import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Peak", "give_back", "measured_peak"]

STATM = Path("/proc/self/statm")
"""Where Linux tells the resident pages of a process, as the second number."""
PERIOD = 0.02
"""Seconds between two looks."""


@dataclass(slots=True)
class Peak:
    """The most memory that was seen; None where it is not known."""

    memory_bytes: int | None = None
    """Of this process, with all that it held before."""
    gpu_bytes: int | None = None
    """Of the GPU, by what is computed here; None without one."""

    def look(self) -> None:
        """Take in what is held now."""
        self.memory_bytes = _larger(self.memory_bytes, _resident())
        self.gpu_bytes = _larger(self.gpu_bytes, _on_gpu())


@contextmanager
def measured_peak() -> Iterator[Peak]:
    """Looks again and again until its end, from a thread of its own.

    The system's own mark of the peak is not used: to forget an older one would take it from whoever measures as well.
    """
    peak, is_over = Peak(), threading.Event()

    def watch() -> None:
        while not is_over.wait(PERIOD):
            peak.look()

    peak.look()
    thread = threading.Thread(target=watch, name="memory", daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        is_over.set()
        thread.join()
        peak.look()


def _larger(one: int | None, other: int | None) -> int | None:
    return max((each for each in (one, other) if each is not None), default=None)


def _resident() -> int | None:
    with suppress(OSError, ValueError, IndexError):
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return None


def _on_gpu() -> int | None:
    torch = sys.modules.get("torch")
    is_used = torch is not None and hasattr(torch, "cuda") and torch.cuda.is_initialized()
    return int(torch.cuda.memory_allocated()) if torch is not None and is_used else None


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
