"""Progress of the pipeline, as plain events handed to a callback that the caller supplies.

Stages never print. The command line draws these; a test may kill the process in the middle of one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

__all__ = ["Event", "OnEvent", "ignore"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something a stage did."""

    kind: Literal["start", "progress", "done", "reused", "failed", "note"]
    model: str
    stage: str
    """fetch, extract, order, fit, analyse or persist; `mine` for the model as a whole."""
    done: float = 0
    total: float = 0
    """Of `unit`, for `progress`; 0 when unknown."""
    unit: str = ""
    message: str = ""


OnEvent = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The callback for callers that want no progress."""
