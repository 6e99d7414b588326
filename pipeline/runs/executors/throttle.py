"""Fewer events of progress, where each of them is sent to another process."""

import time

from pipeline.events import Event, OnEvent

__all__ = ["throttled"]

INTERVAL = 0.2
"""Seconds between two events of progress of one stage: what a bar on a terminal can show."""


def throttled(on_event: OnEvent) -> OnEvent:
    """Hand on every event but progress that comes soon after other progress of that stage and is not its end."""
    last: dict[tuple[str, str], float] = {}

    def hand_on(event: Event) -> None:
        place, now = (event.model, event.stage), time.monotonic()
        if event.kind == "progress":
            is_end = event.total > 0 and event.done >= event.total
            if not is_end and now - last.get(place, -INTERVAL) < INTERVAL:
                return
            last[place] = now
        on_event(event)

    return hand_on
