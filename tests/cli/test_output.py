"""Numbers as people read them, JSON without NaN, and progress that is silent where nobody looks."""

import io
import json
import math

import pytest
from rich.console import Console

from cli import numbers
from cli.output import Format, Output, plain_json
from cli.progress import Bars, make_bars, progress
from cli.tables import Column, make_table
from pipeline.events import Event


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (numbers.fixed(0.0834), "0.083"),
        (numbers.fixed(-0.0001), "0.000"),
        (numbers.fixed(None), numbers.UNKNOWN),
        (numbers.fixed(math.nan), numbers.UNKNOWN),
        (numbers.fixed(math.inf), "∞"),
        (numbers.signed(2.25), "+2.2"),
        (numbers.z_score(2.25, 8), "+2.2"),
        (numbers.z_score(2.25, 7), numbers.UNKNOWN),
        (numbers.z_score(-3513.0, 8), "<-100"),
        (numbers.p_value(0.0001), "<0.001"),
        (numbers.count(22_713_216), "22,713,216"),
        (numbers.byte_size(90_868_376), "90.9 MB"),
        (numbers.byte_size(3_200_000_000), "3.20 GB"),
        (numbers.duration(0.44), "0.4 s"),
        (numbers.duration(59.9), "1 min 00 s"),
        (numbers.duration(185.0), "3 min 05 s"),
        (numbers.duration(7440.0), "2 h 04 min"),
    ],
)
def test_numbers_are_written_alike(written: str, expected: str) -> None:
    assert written == expected


def test_json_has_null_for_numbers_that_are_not_finite(capsys: pytest.CaptureFixture[str]) -> None:
    Output(Format.JSON).result(lambda: {"a": math.nan, "b": (math.inf, 1.5)}, bare=(), draw=list)
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5]}


def test_plain_json_leaves_everything_else_alone() -> None:
    value = {"text": "x", "none": None, "list": [1, True, {"deep": 0.5}]}
    assert plain_json(value) == value


def test_errors_are_told_also_with_q(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(verbosity=-1)
    output.note("a note")
    output.warning("a warning")
    output.error("It failed.", "Do this.")
    assert capsys.readouterr().err == "It failed.\nDo this.\n"


def test_markup_in_messages_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    Output().error("Tensor 'a[query]' is [bold] damaged.")
    assert capsys.readouterr().err == "Tensor 'a[query]' is [bold] damaged.\n"


NAME = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.mark.parametrize(("width", "headings"), [(None, 4), (65, 4), (45, 4), (38, 3), (30, 2), (5, 2)])
def test_a_narrow_table_has_fewer_columns_and_shorter_names(width: int | None, headings: int) -> None:
    optional = (Column("Seconds", optional=1), Column("Peak", right=True, optional=2))
    table = make_table(
        [Column("Name", shrinks=True), Column("Gain", right=True), *optional], [(NAME, "+0.069", "12.5", "9 MB"), None]
    )
    console = Console(file=io.StringIO(), width=100)
    drawn, left_out = table.fitted(width)
    console.print(drawn)
    titles, _, row, *_ = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert (len(titles.split()), left_out) == (headings, 4 - headings)
    name, gain = row.split()[:2]
    start, _, end = name.partition("…")
    assert NAME.startswith(start) and NAME.endswith(end) and len(name) >= 16 and gain == "+0.069"
    assert len(row.rstrip()) <= (width or 100) or width == 5


def event(kind: str, stage: str, **more: object) -> Event:
    return Event(kind=kind, model="m", stage=stage, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("verbosity", "expected"), [(-1, ""), (0, "m fit note: look\n"), (1, "m fit note: look\nm done\n")]
)
def test_lines_without_a_terminal(verbosity: int, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    with progress(verbosity) as on_event:
        on_event(event("start", "fit"))
        on_event(event("progress", "fit", done=1, total=2, unit="steps"))
        on_event(event("note", "fit", message="look"))
        on_event(event("done", "fit"))
        on_event(event("done", "mine"))
    assert capsys.readouterr().err == expected


def test_bars_show_bytes_and_vanish() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with make_bars(console) as bars:
        draw = Bars(bars, 0)
        draw(event("start", "fetch", total=90.9e6, unit="B"))
        draw(event("progress", "fetch", done=12e6, total=90.9e6, unit="B"))
        bars.refresh()
        draw(event("failed", "mine", message="No room."))
        assert not bars.tasks
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "12.0 MB of 90.9 MB" in text and "m failed: No room." in text
