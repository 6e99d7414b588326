"""What is watched of a GPU: seconds, memory, and how often the host waits for it."""

import gc
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch

from pipeline.machine.devices import give_back_cached


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds until the device has done it."""
    wait: Callable[[], object] = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    started = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - started


def reset_peak(device: torch.device) -> None:
    """Count from here, without what nothing holds any more."""
    if device.type == "cuda":
        gc.collect()
        give_back_cached(device)
        torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: torch.device) -> int | None:
    """Allocated at once since `reset_peak`; None where nobody counts."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def waits_of(work: Callable[[], object]) -> dict[str, Any]:
    """How often the host waits for CUDA in there, and where."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            work()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return {
        "waits": len(caught),
        "where": sorted({f"{each.filename}:{each.lineno}: {each.message}" for each in caught}),
    }


def tell_waits(what: str, found: dict[str, Any], of: str) -> None:
    """Print them."""
    print(f"  {what:14}{found['waits']} in {of}")
    for line in found["where"]:
        print(f"    {line}")
