"""What differs between two runs, as tables."""

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType

from cli.documents import differences_document
from cli.numbers import UNKNOWN
from cli.output import Output
from cli.tables import Column, Columns, escaped, table_of
from patterndb.runs.differences import KINDS, Difference, Differences

__all__ = ["show_differences"]

MOST_ROWS = 40
"""Rows that are shown; JSON has all."""
COLUMNS: Columns[Difference] = (
    Column("Model", lambda each: escaped(each.model), style="cyan", shrinks=True, optional=1),
    Column("What", lambda each: each.kind),
    Column("Where", lambda each: escaped(each.where), shrinks=True),
    Column("Name", lambda each: escaped(each.name), shrinks=True),
    Column("A", lambda each: _cell(each.a), right=True, shrinks=True),
    Column("B", lambda each: _cell(each.b), right=True, shrinks=True),
)


def show_differences(found: Differences, output: Output) -> None:
    """Print them."""
    output.result(
        lambda: differences_document(found),
        bare=(f"{each.model} {each.kind} {each.where} {each.name}" for each in found.found),
        draw=lambda: _draw(found),
    )


def _draw(found: Differences) -> Iterator[RenderableType]:
    """How many of each kind, then the differences themselves: those of whole models first."""
    yield f"A [bold cyan]{escaped(found.a)}[/bold cyan]   B [bold cyan]{escaped(found.b)}[/bold cyan]"
    for side, only in (("A", found.only_a), ("B", found.only_b)):
        if only:
            yield f"Only in {side}: {escaped(' '.join(only))}"
    if not found.compared:
        yield "No model is in both: nothing was compared."
        return
    models = f"{len(found.compared)} model{'s' * (len(found.compared) != 1)} compared"
    if not found.found:
        yield f"{models}: nothing differs by more than {found.tolerance:g}, relatively."
        return
    counts = ", ".join(f"{kind} {len(found.of(kind))}" for kind in KINDS if found.of(kind))
    yield f"{models}, {len(found.found)} differences: {counts}"
    yield ""
    shown = sorted(found.found, key=lambda each: (each.where != "", KINDS.index(each.kind)))[:MOST_ROWS]
    yield table_of(shown, COLUMNS)
    if len(found.found) > len(shown):
        yield f"[dim]{len(found.found) - len(shown)} more with --format json[/dim]"


def _cell(value: Any) -> str:
    """Enough digits to see a difference."""
    if value is None:
        return UNKNOWN
    return f"{value:.7g}" if isinstance(value, float) else escaped(str(value))
