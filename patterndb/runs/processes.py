"""Which process a run is, and whether it still lives: by its number on its own machine, by its heartbeat elsewhere."""

import datetime as dt
import getpass
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from dna_zoo.text import printable
from patterndb.records import Invocation

__all__ = ["HEARTBEAT", "LOST_AFTER", "is_gone", "this_process"]

HEARTBEAT = 15.0
"""Seconds between two signs of life."""
LOST_AFTER = 180.0
"""Seconds without one after which a run on another machine counts as lost: longer than a server may be away."""
LONGEST_COMMAND = 10_000
"""Characters of a command line that are kept."""


def this_process(*, command: str | None = None, versions: Mapping[str, str] | None = None) -> Invocation:
    """The process that asks. `command` is to be free of secrets."""
    return Invocation(
        host=printable(socket.gethostname()),
        user=_user(),
        machine=_machine(),
        pid=os.getpid(),
        process_start=_start_of(os.getpid()),
        command=None if command is None else printable(command, longest=LONGEST_COMMAND),
        versions=versions or {},
    )


def is_gone(invocation: Invocation, age: dt.timedelta) -> bool:
    """Whether the process has ended, as far as can be known from here; `age` is that of its last sign of life.

    On the same start of the same machine its number and its start decide. A process that was merely stopped for a while
    is not gone there. A sign of life from the future is of a clock that was set back since: whoever lives gives another
    one soon.
    """
    here = _machine()
    if here is None or here != invocation.machine or invocation.pid is None:
        return abs(age.total_seconds()) > LOST_AFTER
    return invocation.process_start is None or _start_of(invocation.pid) != invocation.process_start


def _user() -> str | None:
    """Who runs it; a container may have a user without a name."""
    with suppress(OSError, KeyError, ImportError):
        return printable(getpass.getuser())
    return None


def _machine() -> str | None:
    """Start of the machine, and space of process numbers; None where the system does not tell."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    return None


def _start_of(pid: int) -> str | None:
    """When the process of that number began, in ticks since the machine did; None if there is none that works."""
    try:
        # The name of the program comes before, in parentheses, and may hold anything.
        state, *fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in ("Z", "X") else fields[18]
