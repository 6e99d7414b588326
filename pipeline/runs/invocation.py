"""A run while it lives: what it is doing, told to the database every few seconds, and how it ended, whatever ended it.

The heartbeat is a thread that writes one row; it touches nothing that a result depends on.
"""

import contextlib
import datetime as dt
import logging
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

from dna_zoo.errors import ConnectionLostError, StoreError
from dna_zoo.text import printable
from patterndb.connection.retry import Patience
from patterndb.records import Activity
from patterndb.runs.processes import HEARTBEAT
from patterndb.store import PatternDatabase
from pipeline.events import Event, OnEvent

__all__ = ["LiveRun", "new_run_name"]

log = logging.getLogger(__name__)
FIRST_PAUSE = 2.0
"""Seconds between the first two beats of a stage; each pause is twice the one before, up to `HEARTBEAT`."""
SHORTEST_PAUSE = 1.0
"""Seconds between two beats where one stage quickly follows another."""
LONGEST_WAIT = 30.0
"""Seconds that the end of a run waits for a beat that is being written."""
LONGEST = 2_000
"""Characters of a message that is kept."""


def new_run_name() -> str:
    """When it began, in UTC, for people; and 24 random bits, so that no two are the same."""
    return f"{dt.datetime.now(dt.UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


class LiveRun:
    """A run that was started in the database. Within it, it beats; what ends it is kept.

    Hand events to `on_event`, which hands them on, and call `finish` at the end. An exception that leaves it ends the
    run: `interrupted` on Ctrl-C and other signals, else `failed`.
    """

    def __init__(self, run: str, database: PatternDatabase, on_event: OnEvent) -> None:
        self.run = run
        self._database = database
        self._hand_on = on_event
        self._began = time.monotonic()
        self._at_work: dict[tuple[str, str], tuple[float, Activity]] = {}
        self._lock = threading.Lock()
        self._news, self._ended = threading.Event(), threading.Event()
        self._heart = threading.Thread(target=self._live, name=f"heartbeat of {run}", daemon=True)
        self._is_finished = False

    def __enter__(self) -> Self:
        self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()
        if error is not None and not self._is_finished:
            self._break_off(error)

    def on_event(self, event: Event) -> None:
        """Note what the event says of a stage at work, and hand it on."""
        self._note(event)
        self._hand_on(event)

    def finish(self, statuses: Sequence[str]) -> None:
        """The run went to its end; its models fared as `statuses` say: `done` or `failed`."""
        self._stop()
        failed = statuses.count("failed")
        status, code = ("done", 0) if not failed else ("failed", 1) if failed == len(statuses) else ("partial", 3)
        self._database.finish_run(self.run, status, code, seconds=self._seconds())
        self._is_finished = True

    def _break_off(self, error: BaseException) -> None:
        if isinstance(error, KeyboardInterrupt):
            signal = str(error.args[0]) if error.args else "SIGINT"
            self._database.finish_run(self.run, "interrupted", 130, seconds=self._seconds(), stopped_by=signal)
            return
        if isinstance(error, ConnectionLostError):  # It was asked again long enough.
            self._database.patience = Patience(attempts=1)
        message = printable(str(error) or type(error).__name__, longest=LONGEST)
        with contextlib.suppress(StoreError):  # What failed may fail again, and is told below.
            self._database.finish_run(self.run, "failed", 1, seconds=self._seconds(), error=message)

    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _note(self, event: Event) -> None:
        if event.stage == "mine" or event.kind == "note":
            return
        place = (event.model, event.stage)
        with self._lock:
            if event.kind in ("done", "reused", "failed"):
                self._at_work.pop(place, None)
                return
            is_new = place not in self._at_work
            since = time.monotonic() if is_new else self._at_work[place][0]
            activity = Activity(
                model=event.model, stage=event.stage, done=event.done, total=event.total, unit=event.unit
            )
            self._at_work[place] = (since, activity)
        if is_new:
            self._news.set()

    def activities(self) -> tuple[Activity, ...]:
        """The stages at work now."""
        now = time.monotonic()
        with self._lock:
            return tuple(replace(activity, seconds=now - since) for since, activity in self._at_work.values())

    def _live(self) -> None:
        """Beat at once when a stage begins, soon after, when it can tell how fast it is, and then from time to time."""
        pause = FIRST_PAUSE
        while not self._ended.is_set():
            is_new = self._news.wait(pause)
            self._news.clear()
            if self._ended.is_set():
                return
            self._beat()
            pause = FIRST_PAUSE if is_new else min(2 * pause, HEARTBEAT)
            self._ended.wait(SHORTEST_PAUSE)

    def _beat(self) -> None:
        try:
            self._database.beat(self.run, self.activities())
        except StoreError as error:  # The next one may get through; results do not depend on it.
            log.info("A heartbeat of %s was not kept: %s", self.run, error)

    def _stop(self) -> None:
        self._ended.set()
        self._news.set()
        self._heart.join(LONGEST_WAIT)
