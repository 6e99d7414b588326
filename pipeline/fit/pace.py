"""How often a fit stops to look at what it does, and what it leaves to the device until then."""

from dataclasses import dataclass

import torch

__all__ = ["DEVICE", "HOST", "Pace", "pace_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Results at the end do not depend on `check_every` and `captures`; `on_device` draws other random numbers."""

    check_every: int
    """Steps between two looks at losses and norms. In between nothing is read back."""
    on_device: bool
    """Whether the device draws its batches and looks up its learning rate by itself."""
    captures: bool
    """Whether a step becomes a graph that the device runs as a whole."""


HOST = Pace(check_every=1, on_device=False, captures=False)
"""A look at every step costs nothing where the values are in the same memory."""
DEVICE = Pace(check_every=256, on_device=True, captures=True)


def pace_of(device: torch.device) -> Pace:
    """What suits this kind of device."""
    return HOST if device.type == "cpu" else DEVICE
