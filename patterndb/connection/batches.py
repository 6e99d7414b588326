"""Many things a few at a time."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

__all__ = ["batches"]

Item = TypeVar("Item")


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The items in lists of `size`, the last of which may be shorter (`itertools.batched`, from Python 3.12 on)."""
    rest = iter(items)
    while piece := list(islice(rest, size)):
        yield piece
