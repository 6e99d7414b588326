"""How many matrices are on a device at once, what happens where they are too many, and how they are read back."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from dna_zoo.errors import SettingsError
from pipeline.arrays import Float64
from pipeline.machine.devices import SHARE_OF_FREE, free_bytes, give_back_cached

__all__ = ["STACK_BYTES", "halved_if_too_large", "most_in_a_stack", "read", "version_bytes"]

log = logging.getLogger(__name__)

STACK_BYTES = 256 << 20
"""Matrices are drawn and measured together up to this much float32; as many again are drawn meanwhile."""
BYTES_OF_ENTRIES = 72
"""Of each entry of a matrix: it and its canonical form in float32, copies in float64 for sums and squares."""
BYTES_OF_SQUARES = 48
"""Of each entry of a Gram matrix: it, its eigenvectors, what the solver works on, the leading ones."""
BYTES_OF_COSINES = 8

Item = TypeVar("Item")
Result = TypeVar("Result")


def version_bytes(rows: int, cols: int) -> int:
    """What a matrix of a stack holds at its peak: a count of what is allocated, not a measurement."""
    squares, cosines = min(rows, cols) ** 2, max(rows, cols) ** 2
    return BYTES_OF_ENTRIES * rows * cols + BYTES_OF_SQUARES * squares + BYTES_OF_COSINES * cosines


def most_in_a_stack(rows: int, cols: int, device: torch.device) -> int:
    """Matrices of that shape that go together, at least one."""
    most, free = STACK_BYTES // (4 * rows * cols), free_bytes(device)
    if free is not None:
        most = min(most, int(SHARE_OF_FREE * free) // version_bytes(rows, cols))
    return max(most, 1)


def halved_if_too_large(
    items: Sequence[Item], work: Callable[[Sequence[Item]], list[Result]], device: torch.device, name: str
) -> list[Result]:
    """`work(items)`, or where the device has too little memory for it, that of each half, and of theirs.

    Raises `SettingsError` where there is nothing to halve.
    """
    try:
        return work(items)
    except torch.OutOfMemoryError as error:
        if len(items) == 1:
            raise SettingsError(
                f"{device} has too little memory to analyse {name}.", hint="Use `--device cpu`."
            ) from error
    log.warning("%s has too little memory for %d versions of %s: they are halved.", device, len(items), name)
    give_back_cached(device)
    middle = len(items) // 2
    halves = (items[:middle], items[middle:])
    return [result for half in halves for result in halved_if_too_large(half, work, device, name)]


def read(found: Mapping[str, Tensor]) -> dict[str, Float64]:
    """Numbers of each matrix of a stack by name, (B,) or (B, ...), as (B, width) float64 on the host: one copy."""
    flat = {name: values.reshape(len(values), -1).double() for name, values in found.items()}
    values = torch.cat([*flat.values()], dim=1).cpu().numpy()
    ends = np.cumsum([part.shape[1] for part in flat.values()])[:-1]
    return dict(zip(flat, np.split(values, ends, axis=1), strict=True))
