"""Ends of a long command from outside, so that it ends in order."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["ended_in_order"]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
AGAIN = 5.0
"""Seconds after which a command that has not ended is interrupted again; until then further signals are not heard."""


@contextmanager
def ended_in_order() -> Iterator[None]:
    """Within it Ctrl-C, SIGTERM and SIGHUP raise `KeyboardInterrupt`, which holds the signal's name.

    Signals right after the first do not. So what the command writes as it ends, such as that its run was interrupted,
    is written whole. An interrupt may get lost, where a library swallows it as it is imported: it is raised again. To
    be used in the main thread.
    """
    last, first = -AGAIN, ""

    def end(number: int, frame: Any) -> None:
        nonlocal last, first
        if time.monotonic() - last >= AGAIN or number == signal.SIGALRM:
            last = time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, AGAIN)
            first = first or signal.Signals(number).name
            raise KeyboardInterrupt(first)

    # A process started by `nohup` ignores SIGHUP, and goes on doing so.
    heard = [each for each in SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]
    before = {each: signal.signal(each, end) for each in (*heard, signal.SIGALRM)}
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for each, handler in before.items():
            signal.signal(each, handler)
