"""The largest resident set of this process since it was last reset, whatever its threads do meanwhile.

Linux keeps that mark (VmHWM) and takes it back where /proc/self/clear_refs may be written to. Where it may not, a
thread looks every few milliseconds, and a peak shorter than that can be missed.
"""

import threading
from pathlib import Path

__all__ = ["PeakMemory", "resident_mib"]

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"
INTERVAL = 0.003
"""Seconds between two looks."""


def resident_mib(field: str = "VmRSS") -> float:
    """A field of /proc/self/status in MiB."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) / 1024


class PeakMemory:
    """`reset()`, then work, then `peak()` in MiB; `method` says how it was measured."""

    def __init__(self) -> None:
        self._largest = 0.0
        self.method = "VmHWM, reset through clear_refs" if self._can_reset() else "sampled every 3 ms"
        if self.is_sampled:
            threading.Thread(target=self._watch, daemon=True).start()

    @property
    def is_sampled(self) -> bool:
        """Whether a thread has to look."""
        return self.method.startswith("sampled")

    def reset(self) -> None:
        """Start again from what is resident now."""
        if self.is_sampled:
            self._largest = resident_mib()
        else:
            CLEAR.write_text(RESET_PEAK)

    def peak(self) -> float:
        """The largest since then."""
        return max(self._largest, resident_mib()) if self.is_sampled else resident_mib("VmHWM")

    @staticmethod
    def _can_reset() -> bool:
        """Whether writing there is allowed and does something: some sandboxes take it and do nothing."""
        ballast = bytearray(64 << 20)
        ballast[::4096] = b"x" * len(ballast[::4096])
        high = resident_mib("VmHWM")
        del ballast
        try:
            CLEAR.write_text(RESET_PEAK)
            return resident_mib("VmHWM") < high - 32
        except (OSError, StopIteration):
            return False

    def _watch(self) -> None:
        pause = threading.Event()
        while not pause.wait(INTERVAL):
            self._largest = max(self._largest, resident_mib())
