"""Who takes the statistics: the one place where the kind of device decides."""

from pipeline.analyse.measures.host import OnHost
from pipeline.analyse.measures.versions import Measures

__all__ = ["measures_on"]


def measures_on(device: str) -> Measures:
    """numpy on a CPU, PyTorch on any other device."""
    if device == "cpu":
        return OnHost()
    import torch  # Here: mining on a CPU needs none of it for its statistics.

    from pipeline.analyse.measures.device import OnDevice

    return OnDevice(torch.device(device))
