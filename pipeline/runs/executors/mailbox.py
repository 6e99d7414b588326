"""How the events of tasks on other machines come back: a small actor that holds them until they are fetched."""

from pipeline.events import Event

__all__ = ["Mailbox"]

MOST = 10_000
"""Events held; the oldest are dropped where nobody fetches."""


class Mailbox:
    """An actor of Ray."""

    def __init__(self) -> None:
        self._events: list[Event] = []

    def put(self, event: Event) -> None:
        """Hold one more."""
        self._events = [*self._events[-MOST:], event]

    def take(self) -> list[Event]:
        """All that came since the last time."""
        taken, self._events = self._events, []
        return taken
