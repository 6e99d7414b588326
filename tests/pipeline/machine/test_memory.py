"""Memory between stages."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.machine.memory import give_back


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_free_memory_goes_back_to_the_system() -> None:
    # Small arrays come from the heap, which ends at the last of them: the others stay without being asked for.
    arrays = [np.zeros(4096) for _ in range(4096)]
    last = arrays[-1]
    del arrays
    before = resident()
    give_back()
    assert resident() < before - 64 * 2**20 and not last.any()


def resident() -> int:
    """Bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
