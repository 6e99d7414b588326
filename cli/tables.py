"""Tables that keep each row on one line: where a terminal is too narrow, the least important columns are left out."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from rich import box
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderResult
from rich.markup import escape
from rich.table import Table as RichTable
from rich.text import Text

from dna_zoo.text import printable

__all__ = ["Column", "Columns", "Table", "escaped", "make_facts", "make_table", "table_of"]

GAP = 2
"""Characters between two columns."""
SHORTEST = 16
"""Characters that a shortened cell keeps at least."""
LONGEST_HEADING = 24
"""Characters of a heading that is not shortened."""


Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """One column of a table: its heading, how its cells are set, and how well the table does without it."""

    heading: str
    cell: Callable[[Row], str] = str
    """What `table_of` shows of a row there, as markup."""
    right: bool = False
    style: str = ""
    optional: int = 0
    """0: always shown. Of the others, those with the largest number are left out first."""
    shrinks: bool = False
    """Whether long cells may lose their middle: names, paths, lists; never numbers."""


Columns = tuple[Column[Row], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """What a command found, in rows and columns. Cells are markup; None in place of a row leaves a gap."""

    columns: Columns[Any]
    rows: tuple[tuple[str, ...] | None, ...]

    def fitted(self, width: int | None) -> tuple[RichTable, int]:
        """The table at that width (None: as wide as it is), and how many columns were left out."""
        columns = self._columns()
        widths = [max((cell.cell_len for cell in column), default=0) for column in columns]
        shown = list(range(len(self.columns)))
        while width is not None and self._least_width(shown, widths) > width:
            last = max((self.columns[i].optional for i in shown), default=0)
            if not last:
                break
            shown = [i for i in shown if self.columns[i].optional != last]
        limits = self._limits(shown, widths, width)
        cells = [[_shortened(cell, limits[i]) for cell in columns[i]] for i in shown]
        return self._drawn([self.columns[i] for i in shown], cells), len(self.columns) - len(shown)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.fitted(options.max_width)[0]

    def _columns(self) -> list[list[Text]]:
        """Heading and cells of each column."""
        rows = [row for row in self.rows if row is not None]
        return [
            [Text.from_markup(text) for text in (column.heading, *(row[i] for row in rows))]
            for i, column in enumerate(self.columns)
        ]

    def _least_width(self, shown: Sequence[int], widths: Sequence[int]) -> int:
        """Characters that these columns take at least."""
        return sum(self._least(i, widths[i]) for i in shown) + GAP * (len(shown) - 1)

    def _least(self, i: int, width: int) -> int:
        """Characters that a column takes at least."""
        column = self.columns[i]
        return min(width, max(SHORTEST, min(len(column.heading), LONGEST_HEADING))) if column.shrinks else width

    def _limits(self, shown: Sequence[int], widths: Sequence[int], width: int | None) -> dict[int, int]:
        """The characters that each column gets: the widest of those that shrink give way first."""
        limits = {i: widths[i] for i in shown}
        if width is None:
            return limits
        excess = sum(limits.values()) + GAP * (len(shown) - 1) - width
        for _ in range(excess):
            shrinking = [i for i in shown if limits[i] > self._least(i, widths[i])]
            if not shrinking:
                break
            limits[max(shrinking, key=lambda i: limits[i])] -= 1
        return limits

    def _drawn(self, columns: Sequence[Column[Any]], cells: Sequence[Sequence[Text]]) -> RichTable:
        table = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0))
        for column, (heading, *_) in zip(columns, cells, strict=True):
            justify: JustifyMethod = "right" if column.right else "left"
            table.add_column(heading, justify=justify, style=column.style, no_wrap=True)
        rows = zip(*(column[1:] for column in cells), strict=True)
        for row in self.rows:
            if row is None:
                table.add_section()
            else:
                table.add_row(*next(rows))
        return table


def table_of(rows: Iterable[Row], columns: Iterable[Column[Row]]) -> Table:
    """A table of records, of each of which every column shows its cell."""
    columns = tuple(columns)
    return make_table(columns, ((column.cell(row) for column in columns) for row in rows))


def make_table(columns: Iterable[Column[Any]], rows: Iterable[Iterable[str] | None]) -> Table:
    """A table of markup; None in place of a row leaves a gap between groups."""
    return Table(tuple(columns), tuple(None if row is None else tuple(row) for row in rows))


def make_facts(rows: Iterable[tuple[str, str]]) -> RichTable:
    """Names and what is to be said of them; long sentences go on below their beginning."""
    grid = RichTable.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, text in rows:
        grid.add_row(name, text)
    return grid


def escaped(text: str) -> str:
    """The text, safe from being read as markup or by the terminal."""
    return escape(printable(text))


def _shortened(cell: Text, limit: int) -> Text:
    """The cell without its middle where it is longer than the limit."""
    if cell.cell_len <= limit:
        return cell
    tail = (limit - 1) // 2
    return Text.assemble(cell[: limit - 1 - tail], "…", cell[len(cell) - tail :])
