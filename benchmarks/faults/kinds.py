"""The kinds of faults, and how many of each are tried."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.faults.clocks import try_clocks
from benchmarks.faults.full_disk import try_full_disks, try_limits
from benchmarks.faults.kills import try_kills
from benchmarks.faults.no_locks import try_no_locks
from benchmarks.faults.read_only import try_read_only
from benchmarks.faults.restarts import try_restarts
from benchmarks.faults.trial import Kind
from benchmarks.faults.writers import try_writers_on_postgresql, try_writers_on_sqlite

__all__ = ["KINDS", "Tried"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A kind of fault."""

    tries: Kind
    full: int
    small: int
    """How many, in full and in the tests."""


KINDS: Mapping[str, Tried] = {
    "full-disk": Tried(tries=try_full_disks, full=16, small=1),
    "file-limit": Tried(tries=try_limits, full=16, small=2),
    "read-only": Tried(tries=try_read_only, full=20, small=4),
    "no-locks": Tried(tries=try_no_locks, full=5, small=2),
    "clocks": Tried(tries=try_clocks, full=9, small=1),
    "kills": Tried(tries=try_kills, full=200, small=4),
    "writers": Tried(tries=try_writers_on_sqlite, full=4, small=1),
    "servers": Tried(tries=try_restarts, full=50, small=2),
    "server-writers": Tried(tries=try_writers_on_postgresql, full=4, small=1),
}
