"""The one way to the terminal: data to stdout in the format asked for, everything else to stderr."""

import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

__all__ = [
    "Column",
    "Format",
    "Output",
    "escaped",
    "make_console",
    "make_facts",
    "make_table",
    "plain_json",
    "print_error",
]

FULL_WIDTH = 100
"""Columns that every table fits into: what they are drawn in where there is no terminal and COLUMNS does not say."""


class Format(StrEnum):
    """What reading commands print."""

    TABLE = "table"
    JSON = "json"
    QUIET = "quiet"


class Output:
    """Prints what a command found, once, in one format."""

    def __init__(self, output_format: Format = Format.TABLE, *, verbosity: int = 0) -> None:
        self._format = output_format
        self._verbosity = verbosity

    def result(
        self,
        document: Callable[[], Any],
        *,
        bare: Iterable[object],
        draw: Callable[[], Iterable["RenderableType"]],
    ) -> None:
        """Print the command's data.

        - `document`: makes plain JSON for `--format json`; non-finite floats become null.
        - `bare`: what `--format quiet` prints, one a line.
        - `draw`: makes what `--format table` shows.

        Only what the format takes is made.
        """
        if self._format is Format.JSON:
            print(json.dumps(plain_json(document()), indent=2, ensure_ascii=False, allow_nan=False))
        elif self._format is Format.QUIET:
            print("".join(f"{item}\n" for item in bare), end="")
        else:
            console = make_console()
            width = console.width
            for renderable in draw():
                console.width = width
                if width < FULL_WIDTH:
                    console.width = max(width, _least_width(renderable, console))
                console.print(renderable)

    def note(self, text: str) -> None:
        """Say something that is neither data nor a warning."""
        self._say(text)

    def warning(self, text: str) -> None:
        """Say that something is not as it should be, though the command goes on."""
        self._say(f"Warning: {text}", "yellow")

    def hint(self, text: str) -> None:
        """Say what to do next; only to a person, so only with tables."""
        if self._format is Format.TABLE:
            self._say(text, "dim")

    def error(self, message: str, hint: str = "") -> None:
        """Say what failed and what to do; also with `-q`."""
        print_error(message, hint)

    def _say(self, text: str, style: str = "") -> None:
        if self._verbosity >= 0:
            make_console(stderr=True).print(text, style=style, markup=False, highlight=False, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: its heading, and how its cells are set."""

    heading: str
    right: bool = False
    style: str = ""
    wraps: bool = False


def make_table(columns: Iterable[Column], rows: Iterable[Iterable[str] | None]) -> "Table":
    """A table; cells are markup, None in place of a row leaves a gap between groups."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(
            column.heading,
            justify="right" if column.right else "left",
            style=column.style,
            no_wrap=not column.wraps,
            overflow="fold" if column.wraps else "ellipsis",
        )
    for row in rows:
        if row is None:
            table.add_section()
        else:
            table.add_row(*(Text.from_markup(cell) for cell in row))
    return table


def make_facts(rows: Iterable[tuple[str, str]]) -> "Table":
    """Names and what is to be said of them; long sentences go on below their beginning."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    for name, text in rows:
        grid.add_row(name, text)
    return grid


def escaped(text: str) -> str:
    """The text, safe from being read as markup."""
    return text.replace("[", r"\[")


def make_console(*, stderr: bool = False) -> "Console":
    """A console on the stream as it is now. Colour follows the terminal and NO_COLOR."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or os.environ.get("COLUMNS") else FULL_WIDTH
    return Console(file=stream, width=width, highlight=False, emoji=False)


def _least_width(renderable: "RenderableType", console: "Console") -> int:
    """Columns that a table needs to show all digits: better that a narrow terminal wraps its lines than cuts them."""
    from rich.measure import Measurement
    from rich.table import Table

    if not isinstance(renderable, Table) or renderable.box is None:
        return 0
    return min(Measurement.get(console, console.options.update_width(FULL_WIDTH), renderable).maximum, FULL_WIDTH)


def print_error(message: str, hint: str = "", *, is_plain: bool = False) -> None:
    """Two sentences on stderr: what happened, in red, and what to do."""
    console = make_console(stderr=True)
    style = "" if is_plain else "bold red"
    console.print(message, style=style, markup=False, highlight=False, soft_wrap=True)
    if hint:
        console.print(hint, markup=False, highlight=False, soft_wrap=True)


def plain_json(value: Any) -> Any:
    """The value as JSON has it: mappings and lists, and null in place of NaN and infinities."""
    if isinstance(value, Mapping):
        return {str(key): plain_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
