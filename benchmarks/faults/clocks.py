"""Clocks that jump: back and forth between the stages of a mine, and a heartbeat from the future.

Processes are given another clock, in Python: whatever asks `datetime` or `time` for the time of day is answered by it.
The clock of durations is left alone, as nobody can set it.
"""

import datetime as dt
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle, islice
from pathlib import Path

from sqlalchemy import update

from benchmarks.faults.commands import run
from benchmarks.faults.subject import difference, kept_in, mine_words, url_of, write_tiny_model
from benchmarks.faults.trial import Place, Trial
from patterndb.records import Invocation
from patterndb.row_digests import keep_row_digests
from patterndb.runs.processes import this_process
from patterndb.store import PatternDatabase
from patterndb.tables import RUNS

__all__ = ["set_clock", "try_clocks"]

HOUR, YEAR = 3600.0, 365 * 86400.0
JUMPS = {"an hour back": -HOUR, "ten years back": -10 * YEAR, "ten years ahead": 10 * YEAR}
SLACK = 60.0
"""Seconds by which durations may be longer than what was measured outside."""


class _Clock:
    """The clock of a process."""

    def __init__(self, jump: Callable[[int], float]) -> None:
        self._jump, self._asked = jump, 0
        self._real = time.time

    def time(self) -> float:
        self._asked += 1
        return self._real() + self._jump(self._asked)


def set_clock(jump: Callable[[int], float]) -> None:
    """Give this process another clock, for good: `jump` is how far it is off, when it is asked for the nth time."""
    clock, real = _Clock(jump), dt.datetime

    class OfTheSameKind(type):
        """Times that were made before, or by others, are such times too."""

        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, real)

    class Datetime(real, metaclass=OfTheSameKind):  # type: ignore[valid-type,misc]
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:
            return real.fromtimestamp(clock.time(), tz)

    dt.datetime = Datetime  # type: ignore[misc]
    time.time = clock.time


def _after(number: int, jump: float, asked: int) -> float:
    """The clock jumps when it is asked for the time of day so often."""
    return jump if asked > number else 0.0


def try_clocks(place: Place) -> Iterator[Trial]:
    """So many jumps at moments of their own, and the heartbeats."""
    model = write_tiny_model(place.fresh("model"), seed=1)
    home = place.fresh("home")
    ended = run(*mine_words(model), home=home)
    assert ended.code == 0, ended.err
    expected = kept_in(home)
    for case, jump in islice(cycle(JUMPS.items()), place.count):
        home = place.fresh("home")
        began = time.monotonic()
        before = partial(set_clock, partial(_after, int(place.rng.integers(0, 45)), jump))
        ended = run(*mine_words(model), home=home, before=before)
        took = time.monotonic() - began
        wrong = f"exit code {ended.code}: {ended.said[-500:]}" if ended.code else difference(kept_in(home), expected)
        yield Trial(case=f"the clock jumps {case} in a mine", wrong=wrong or _wrong_times(home, took))
        yield Trial(case=f"mined again after a jump of {case}", wrong=_wrong_order(home, model, jump))
    yield from _heartbeats(place)


def _wrong_times(home: Path, took: float) -> str:
    """What is wrong with the durations and the state of the only run."""
    with PatternDatabase.open(url_of(home), create=False) as database:
        (found,) = database.runs()
    seconds = [found.seconds or 0.0, *(stage.seconds or 0.0 for model in found.models for stage in model.stages)]
    is_right = found.status == "done" and all(0 <= each <= took + SLACK for each in seconds)
    return "" if is_right else f"{found.status}, took {seconds} of {took:.1f} s"


def _wrong_order(home: Path, model: Path, jump: float) -> str:
    """Mine again with other settings, the clock set as it was after the jump, then where it was before: each time the
    newest run comes first, and its pattern is the current one."""
    for seed, off in (("7", jump), ("8", 0.0)):
        before = partial(set_clock, partial(_after, 0, off))
        ended = run(*mine_words(model), "--seed", seed, home=home, before=before)
        if ended.code:
            return f"exit code {ended.code}: {ended.said[-500:]}"
        with PatternDatabase.open(url_of(home), create=False) as database:
            latest, current = database.runs()[0], database.load_pattern(model.name)
        if latest.request["settings"]["seed"] != int(seed):
            return f"the run with seed {seed} is not the first"
        if current.settings["seed"] != int(seed):
            return f"the pattern of seed {seed} is not the current one"
    return ""


def _heartbeats(place: Place) -> Iterator[Trial]:
    """Of runs that were last heard of in the future, because the clock was set back since."""
    here = this_process()
    elsewhere = Invocation(host="elsewhere", machine="another", pid=1, process_start="1")
    gone = Invocation(host=here.host, machine=here.machine, pid=2**22 + 1, process_start="1")
    for case, invocation, off, status in (
        ("that lives here", here, 10 * YEAR, "running"),
        ("that is gone from here", gone, 10 * YEAR, "lost"),
        ("elsewhere, an hour ahead", elsewhere, HOUR, "lost"),
        ("elsewhere, ten years ahead", elsewhere, 10 * YEAR, "lost"),
        ("elsewhere, a minute ahead", elsewhere, 60.0, "running"),
    ):
        folder = place.fresh("heartbeat")
        folder.mkdir()
        with PatternDatabase.open(url_of(folder)) as database:
            database.start_run("run-1", {}, invocation=invocation)
            told = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=off)
            with database._writing() as connection:
                connection.execute(update(RUNS).values(heartbeat=told))
                keep_row_digests(connection, RUNS)
            found = database.run("run-1").status
        wrong = "" if found == status else f"it is {found}, not {status}"
        yield Trial(case="a heartbeat from the future", wrong=wrong and f"{case}: {wrong}")
