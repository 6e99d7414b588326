"""The most memory that this process had."""

import sys

__all__ = ["peak_bytes"]


def peak_bytes() -> int:
    """Resident, from the start of the process; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows.
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024
