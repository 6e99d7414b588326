"""What one input may take and do: seconds, memory, files, processes and connections."""

import contextlib
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

__all__ = ["SECONDS", "SPARE_MIB", "Hung", "Watched", "limited", "peak_mib", "reset_peak", "watched"]

SECONDS = 10
"""The most that one input may take."""
SPARE_MIB = 500
"""Memory that is allowed beyond twice the file."""
HARD_MIB = 6_000
"""Private memory at which the system says no, so that an input costs its worker and not the machine."""
HARMLESS = ("/dev/null", "/dev/tty", "/dev/urandom", "/proc/self/")
PASSING = tuple(os.path.join(tempfile.gettempdir(), each) for each in ("dna-zoo-", "torchinductor_"))
"""How folders begin that are gone when a command ends, and torch's own for what it compiles."""
FONTS = "fc-list"
"""What matplotlib asks for the fonts of the machine, where it has no list of them yet."""
OWN_MODULE = "zoo.tracing.of_config"
"""What the product starts a process for: a model's class is built in it, by the code of transformers alone."""


class Hung(BaseException):
    """The input took too long."""


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise `Hung` after so many seconds of this process's work, or twelve times as many on the clock."""

    fired: list[int] = []

    def stop(number: int, frame: Any) -> None:
        fired.append(number)
        raise Hung

    before = {each: signal.signal(each, stop) for each in (signal.SIGALRM, signal.SIGPROF)}
    signal.setitimer(signal.ITIMER_REAL, 12 * seconds)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
        # Whatever was on the way may have taken it for Ctrl-C.
        if fired:
            raise Hung
    except Exception:
        if fired:
            raise Hung from None
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        for each, handler in before.items():
            signal.signal(each, handler)


def peak_mib() -> float:
    """The largest resident set of this process since `reset_peak`."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def reset_peak() -> None:
    """Count anew from what is resident now; where the system has no such thing, the peak stays the process's."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def limit_memory() -> None:
    """Have the system refuse what would take the machine's memory."""
    resource.setrlimit(resource.RLIMIT_DATA, (HARD_MIB << 20, resource.getrlimit(resource.RLIMIT_DATA)[1]))


@dataclass(slots=True)
class Watched:
    """What was done while an input was judged that must not be."""

    allowed: tuple[str, ...] = ()
    """Folders that may be written to."""
    is_on: bool = False
    found: list[str] = field(default_factory=list)


_WATCHED = Watched()


@contextlib.contextmanager
def watched(*allowed: Path) -> Iterator[Watched]:
    """See what Python's own audit events tell, of this process, until the block ends."""
    if not getattr(sys, "_hostile_watch", False):
        sys.addaudithook(_see)
        sys._hostile_watch = True  # type: ignore[attr-defined]  # A hook cannot be taken off again.
    _WATCHED.allowed = tuple(os.path.realpath(each) for each in allowed)
    _WATCHED.found, _WATCHED.is_on = [], True
    try:
        yield _WATCHED
    finally:
        _WATCHED.is_on = False


def _see(event: str, arguments: tuple[Any, ...]) -> None:
    if not _WATCHED.is_on:
        return
    said = _forbidden(event, arguments)
    if said and len(_WATCHED.found) < 5:
        _WATCHED.found.append(said)


def _forbidden(event: str, arguments: tuple[Any, ...]) -> str:
    """What of an event must not be; empty where it may."""
    if event == "open":
        path, _, flags = arguments
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        return f"wrote {path!r}" if writes and not isinstance(path, int) and not _may_write(path) else ""
    if event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod"):
        paths = arguments[:2] if event in ("os.rename", "os.link", "os.symlink") else arguments[:1]
        paths = paths[-1:] if event == "os.symlink" else paths
        wrong = [each for each in paths if isinstance(each, str | bytes | os.PathLike) and not _may_write(each)]
        return f"{event} {wrong[0]!r}" if wrong else ""
    if event == "subprocess.Popen":
        command = list(arguments[1]) if not isinstance(arguments[1], str) else [arguments[1]]
        return "" if OWN_MODULE in command or command[0] == FONTS else f"started {command!r}"
    if event == "sqlite3.connect":
        return _opened(os.fsdecode(arguments[0]))
    if event in ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "pty.spawn", "ctypes.dlopen"):
        return f"{event} {arguments!r}"[:200] if event != "ctypes.dlopen" else ""
    if event == "socket.connect":
        address = arguments[1]
        is_near = not isinstance(address, tuple) or str(address[0]) in ("127.0.0.1", "::1", "localhost")
        return "" if is_near else f"connected to {address!r}"
    return ""


def _opened(database: str) -> str:
    """What of a database that SQLite opens must not be: it makes files that Python tells nothing of."""
    path, _, settings = database.removeprefix("file://").partition("?")
    is_read_alone = any(each in settings for each in ("mode=ro", "immutable=1", "mode=memory"))
    return "" if is_read_alone or path in ("", ":memory:") or _may_write(unquote(path)) else f"opened {path!r}"


def _may_write(path: Any) -> bool:
    text = os.fsdecode(path)
    if text.startswith((*HARMLESS, *PASSING)):
        return True
    real = os.path.realpath(text)
    return real.startswith(HARMLESS) or any(real == each or real.startswith(f"{each}/") for each in _WATCHED.allowed)
