"""Draws the pipeline's events on stderr: bars for long work on a terminal, hardly anything elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from cli.numbers import byte_size, duration
from cli.output import make_console
from dna_zoo.text import printable, without_secrets
from pipeline.events import Event, OnEvent, ignore

__all__ = ["Bars", "make_bars", "progress"]

VERBS = {
    "fetch": "fetching",
    "extract": "reading",
    "order": "ordering",
    "fit": "fitting",
    "analyse": "analysing",
    "persist": "saving",
    "tune": "tuning",
    "evaluate": "evaluating",
}
WHOLE_MODEL = "mine"


@contextmanager
def progress(verbosity: int) -> Iterator[OnEvent]:
    """A callback for the pipeline's events.

    On a terminal: one bar for each stage at work, and a line for each finished model (with `-v`, for each stage).
    Elsewhere: a line for each finished model with `-v`, else nothing. Notes of the pipeline are shown in both cases.
    With `-q`, nothing at all.
    """
    if verbosity < 0:
        yield ignore
        return
    if not sys.stderr.isatty():
        yield _Lines(make_console(stderr=True), verbosity)
        return
    with make_bars(make_console(stderr=True)) as bars:
        yield Bars(bars, verbosity)


class _Lines:
    """Plain lines, for logs."""

    def __init__(self, console: Console, verbosity: int) -> None:
        self._console = console
        self._verbosity = verbosity

    def __call__(self, event: Event) -> None:
        is_end = event.kind in ("done", "reused", "failed") and event.stage == WHOLE_MODEL
        if event.kind == "note" or (is_end and self._verbosity > 0):
            self._console.print(_describe(event), markup=False, soft_wrap=True)


class Bars:
    """One bar a stage."""

    def __init__(self, bars: Progress, verbosity: int) -> None:
        self._bars = bars
        self._verbosity = verbosity
        self._tasks: dict[tuple[str, str], TaskID] = {}

    def __call__(self, event: Event) -> None:
        if event.kind == "note":
            self._bars.console.print(_describe(event), style="yellow", markup=False)
        elif event.stage == WHOLE_MODEL:
            self._whole_model(event)
        elif event.kind in ("start", "progress"):
            self._advance(event)
        else:
            self._end(event)

    def _whole_model(self, event: Event) -> None:
        """The model's last line stays on the screen."""
        if event.kind in ("done", "reused", "failed"):
            for place in [place for place in self._tasks if place[0] == event.model]:
                self._bars.remove_task(self._tasks.pop(place))
            style = "red" if event.kind == "failed" else "green"
            self._bars.console.print(_describe(event), style=style, markup=False)

    def _advance(self, event: Event) -> None:
        place = (event.model, event.stage)
        total = event.total or None
        if place not in self._tasks:
            label = f"{event.model}  {VERBS.get(event.stage, event.stage)}"
            self._tasks[place] = self._bars.add_task(label, total=total, unit=event.unit)
        self._bars.update(self._tasks[place], completed=event.done, total=total, unit=event.unit)

    def _end(self, event: Event) -> None:
        task = self._tasks.pop((event.model, event.stage), None)
        if task is not None:
            self._bars.remove_task(task)
        if self._verbosity > 0:
            self._bars.console.print(_describe(event), style="dim", markup=False)


def _describe(event: Event) -> str:
    """The event in a line."""
    what = {"done": "done", "reused": "already done", "failed": "failed", "note": "note"}.get(event.kind, event.kind)
    stage = "" if event.stage == WHOLE_MODEL else f" {event.stage}"
    ending = f": {event.message}" if event.message else ""
    return printable(without_secrets(f"{event.model}{stage} {what}{ending}"))


class _Amount(ProgressColumn):
    """How far, in the event's unit, and how long it will still take."""

    def render(self, task: Task) -> Text:
        return Text(_amount(task), style="cyan")


def make_bars(console: Console) -> Progress:
    """Bars that vanish when they are done."""

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        _Amount(table_column=Column(no_wrap=True)),
        console=console,
        transient=True,
    )


def _amount(task: Task) -> str:
    """`12.0 MB of 90.9 MB, 8 s left`."""
    if not (task.total or task.completed):
        return ""
    unit = str(task.fields.get("unit", ""))
    end = "" if task.total is None else f" of {_written(task.total, unit)}"
    left = "" if not task.time_remaining or task.finished else f", {duration(round(task.time_remaining))} left"
    return f"{_written(task.completed, unit if not end or unit == 'B' else '')}{end}{left}"


def _written(number: float, unit: str) -> str:
    """The number in its unit."""
    return byte_size(int(number)) if unit == "B" else f"{number:,.0f} {unit}".rstrip()
