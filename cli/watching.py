"""A run followed from anywhere: what the database knows of it, as it comes to know it."""

import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from rich.live import Live

from cli.numbers import duration
from cli.output import make_console
from cli.tables import Column, Columns, Table, escaped, make_table
from dna_zoo.text import printable
from patterndb.records import Activity, RunRecord
from patterndb.runs.remaining import seconds_left

if TYPE_CHECKING:
    from patterndb.store import PatternDatabase

__all__ = ["summary", "watch"]

PAUSE = 2.0
"""Seconds between two looks."""
COLUMNS: Columns[Any] = (
    Column("Model", style="cyan", shrinks=True),
    Column("Stage"),
    Column("Done", right=True),
    Column("For", right=True),
)


def watch(database: "PatternDatabase", run: str, *, quiet: bool = False, pause: float = PAUSE) -> RunRecord:
    """Follow the run until it ends, or is lost; its last record. `quiet` prints nothing.

    On a terminal, a table of what is at work stands below a line for all that ended. Elsewhere there are lines alone.
    """
    console, told = make_console(), set[str]()
    is_live = console.is_terminal and not quiet and sys.stdout.isatty()
    with Live(console=console, transient=True) if is_live else nullcontext() as live:
        while True:
            record = database.run(run)
            times = database.stage_times([model.key for model in record.models])
            for line in () if quiet else _news(record, times, told, with_progress=not is_live):
                console.print(line, markup=False, soft_wrap=True)
            if record.status != "running":
                return record
            if live is not None:
                live.update(_at_work(record, times), refresh=True)
            time.sleep(pause)


def summary(record: RunRecord) -> str:
    """`11 done, 1 failed, 3 reused`: what there is of them, the done always."""
    counts = record.counts
    shown = [name for name in ("done", "failed", "reused", "pending") if counts[name] or name == "done"]
    return ", ".join(f"{counts[name]} {name}" for name in shown)


def _news(record: RunRecord, times: Any, told: set[str], *, with_progress: bool) -> Iterator[str]:
    """Lines that were not told yet."""
    for line in _lines(record, times, with_progress=with_progress):
        if line not in told:
            told.add(line)
            yield printable(line)


def _lines(record: RunRecord, times: Any, *, with_progress: bool) -> Iterator[str]:
    """All that can be told of the run."""
    for model in record.models:
        for stage in model.stages:
            if stage.status == "failed":
                yield f"{model.key}: {stage.stage} failed: {stage.error}"
            elif stage.is_reused:
                yield f"{model.key}: {stage.stage} reused"
            else:
                yield f"{model.key}: {stage.stage} done in {_plain(stage.seconds)}"
        if model.status == "failed":
            yield f"{model.key}: failed: {model.error}"
        elif model.status == "done":
            yield f"{model.key}: {'reused' if model.is_reused else 'done'}"
    if record.status != "running":
        yield f"{record.run} {record.status}: {summary(record)}"
    elif with_progress:
        for activity in _going_on(record):
            yield f"{activity.model}: {activity.stage} at work{_how_far(activity)}{_left(record, times)}"


def _going_on(record: RunRecord) -> Iterator[Activity]:
    """What was at work when the run last told, without what has ended since."""
    ended = {(model.key, stage.stage) for model in record.models for stage in model.stages}
    over = {model.key for model in record.models if model.status != "pending"}
    yield from (each for each in record.at_work if each.model not in over and (each.model, each.stage) not in ended)


def _how_far(activity: Activity) -> str:
    if not activity.total:
        return ""
    return f", {activity.done / activity.total:.0%} of {activity.total:,.0f} {activity.unit}".rstrip()


def _left(record: RunRecord, times: Any) -> str:
    left = seconds_left(record, times)
    return "" if left is None else f", about {duration(round(left))} left in all"


def _plain(seconds: float | None) -> str:
    return "unknown time" if seconds is None else duration(seconds)


def _at_work(record: RunRecord, times: Any) -> Table:
    """A row for each stage at work, and one for the run."""
    rows = [
        (
            escaped(each.model),
            escaped(each.stage),
            f"{each.done / each.total:.0%}" if each.total else "",
            duration(round(each.seconds)),
        )
        for each in _going_on(record)
    ]
    rows.append((f"[dim]{summary(record)}{_left(record, times)}[/dim]", "", "", ""))
    return make_table(COLUMNS, rows)
