"""A limit of time that a part of a benchmark keeps, whatever it does."""

import contextlib
import faulthandler
import signal
import sys
import threading
from collections.abc import Iterator

__all__ = ["OutOfTimeError", "end_after", "time_limit"]


class OutOfTimeError(BaseException):
    """No `Exception`: what goes on after a failure, or notes it, is to let this one through."""


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `OutOfTimeError` in there once the time is over: in the main thread, when it next runs Python code."""
    if seconds <= 0:
        raise OutOfTimeError("no time was left for it")
    is_over = False

    def stop(number: int, frame: object) -> None:
        if not is_over:
            raise OutOfTimeError(f"it took more than the {seconds:.3g} s that it has")

    main = threading.main_thread().ident
    assert main is not None and threading.get_ident() == main
    before = signal.signal(signal.SIGUSR1, stop)
    timer = threading.Timer(seconds, signal.pthread_kill, (main, signal.SIGUSR1))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        is_over = True
        timer.cancel()
        timer.join()  # A signal that comes now finds `stop`, which does nothing any more.
        signal.signal(signal.SIGUSR1, before)


@contextlib.contextmanager
def end_after(seconds: float) -> Iterator[None]:
    """End the process if it is still in there then, with a traceback of each thread: for what never comes back from a
    library to Python."""
    faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
