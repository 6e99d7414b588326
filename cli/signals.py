"""Ends of a long command from outside: the first signal ends it in order, a second one cannot end that."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["ended_in_order"]

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextmanager
def ended_in_order() -> Iterator[None]:
    """Within it Ctrl-C, SIGTERM and SIGHUP raise `KeyboardInterrupt` once; those that follow are ignored.

    What the command then writes, such as that its run was interrupted, is written whole. To be used in the main thread.
    """

    def end(number: int, frame: Any) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    # A process started by `nohup` ignores SIGHUP, and goes on doing so.
    before = {each: signal.getsignal(each) for each in SIGNALS if signal.getsignal(each) is not signal.SIG_IGN}
    for each in before:
        signal.signal(each, end)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
