"""The one way to the terminal: data to stdout in the format asked for, everything else to stderr."""

import datetime as dt
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console, RenderableType

from cli.tables import Table
from dna_zoo.text import printable, printable_json, without_secrets

__all__ = ["Format", "Output", "make_console", "plain_json", "print_error"]

FULL_WIDTH = 100
"""Columns of a line of text where there is no terminal and COLUMNS does not say; tables are as wide as they are."""
UNBOUNDED = 10_000


class Format(StrEnum):
    """What reading commands print."""

    TABLE = "table"
    JSON = "json"
    QUIET = "quiet"


class Output:
    """Prints what a command found, once, in one format."""

    def __init__(self, output_format: Format = Format.TABLE, *, verbosity: int = 0, wide: bool = False) -> None:
        self._format = output_format
        self._verbosity = verbosity
        self._wide = wide

    def result(
        self,
        document: Callable[[], Any],
        *,
        bare: Iterable[object],
        draw: Callable[[], Iterable[RenderableType]],
    ) -> None:
        """Print the command's data.

        - `document`: makes what `--format json` prints, see `plain_json`.
        - `bare`: what `--format quiet` prints, one a line; of a tuple the parts, with tabs between.
        - `draw`: makes what `--format table` shows.

        Only what the format takes is made.
        """
        if self._format is Format.JSON:
            found = json.dumps(plain_json(document()), indent=2, ensure_ascii=False, allow_nan=False)
            print(printable_json(found))
        elif self._format is Format.QUIET:
            print("".join(f"{_bare(item)}\n" for item in bare), end="")
        else:
            self._draw(draw())

    def _draw(self, found: Iterable[RenderableType]) -> None:
        """Print it; no row of a table is broken, so a narrow terminal gets fewer columns."""
        console = make_console()
        width, left_out = console.width, 0
        for each in found:
            console.width = width
            if isinstance(each, Table):
                each, hidden = each.fitted(None if self._wide or not _is_bounded(sys.stdout) else width)
                left_out += hidden
                # What cannot be narrower is for the terminal to wrap: a digit is never cut.
                unbounded = console.options.update(max_width=UNBOUNDED)
                console.width = max(width, console.measure(each, options=unbounded).maximum)
            console.print(each)
        if left_out:
            self.hint(f"{left_out} more column{'s' * (left_out != 1)} with --wide.")

    def note(self, text: str) -> None:
        """Say something that is neither data nor a warning."""
        self._say(text)

    def warning(self, text: str) -> None:
        """Say that something is not as it should be, though the command goes on."""
        self._say(f"Warning: {text}", "yellow")

    def mixed(self, settings: Mapping[str, Iterable[Any]]) -> None:
        """Warn where models that are shown beside each other were mined with different settings, by their values.

        Only with tables: JSON has a key for it.
        """
        if settings and self._format is Format.TABLE:
            told = "; ".join(f"{name} {', '.join(map(str, values))}" for name, values in settings.items())
            self.warning(f"these models were mined with different settings, which figures depend on: {told}.")

    def hint(self, text: str) -> None:
        """Say what to do next; only to a person, so only with tables."""
        if self._format is Format.TABLE:
            self._say(text, "dim")

    def error(self, message: str, hint: str = "") -> None:
        """Say what failed and what to do; also with `-q`."""
        print_error(message, hint)

    def _say(self, text: str, style: str = "") -> None:
        if self._verbosity >= 0:
            make_console(stderr=True).print(
                printable(_without_typed_secrets(text), keep="\n"),
                style=style,
                markup=False,
                highlight=False,
                soft_wrap=True,
            )


def make_console(*, stderr: bool = False) -> Console:
    """A console on the stream as it is now. Colour follows the terminal and NO_COLOR."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if _is_bounded(stream) else FULL_WIDTH
    return Console(file=stream, width=width, highlight=False, emoji=False)


def _bare(item: object) -> str:
    """The item as one line of a pipe."""
    parts = item if isinstance(item, tuple) else (item,)
    return "\t".join(printable(str(part)) for part in parts)


def _is_bounded(stream: TextIO) -> bool:
    """Whether lines have to fit into a width: not in a file or a pipe, unless COLUMNS says so."""
    return stream.isatty() or bool(os.environ.get("COLUMNS"))


def print_error(message: str, hint: str = "", *, is_plain: bool = False) -> None:
    """Two sentences on stderr: what happened, in red, and what to do.

    What was typed may be told in both, and be a URL in the wrong place: what may be a password is hidden. Hints have
    URLs of their own, which show how one is written: there only what was typed is looked for.
    """
    message, hint = without_secrets(message), _without_typed_secrets(hint)
    console = make_console(stderr=True)
    style = "" if is_plain else "bold red"
    console.print(printable(message, keep="\n"), style=style, markup=False, highlight=False, soft_wrap=True)
    if hint:
        console.print(printable(hint, keep="\n"), markup=False, highlight=False, soft_wrap=True)


def _without_typed_secrets(text: str) -> str:
    """The text, with the words of the command line in it without what may be a password."""
    typed = {part for word in sys.argv[1:] for part in (word, word.partition("=")[2])}
    for word in sorted(typed, key=len, reverse=True):
        if (hidden := without_secrets(word)) != word:
            text = text.replace(word, hidden)
    return text


def plain_json(value: Any) -> Any:
    """The value as JSON has it: records as mappings, times in ISO 8601, null in place of NaN and infinities."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dt.datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Path) else value
