"""Tables with a heading that sorts, a field that filters, pages, and a download: rows in, components or CSV out.

Sorting and paging are links to another state, so that they work by keyboard and are in the address.
"""

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dash import dcc, html

from dna_zoo.text import printable
from explorer.dashboard.numbers import cell_text, count, is_missing
from explorer.dashboard.state import State
from patterndb.exports.files import csv_text

__all__ = ["PAGE_ROWS", "Column", "Table", "as_csv", "draw_table"]

PAGE_ROWS = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column; numbers stand on the right."""

    name: str
    heading: str
    meaning: str = ""
    is_number: bool = True
    is_key: bool = False
    """The cell is the key of a model, and a link that chooses it."""
    show: Callable[[Any], str] = cell_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows are mappings from the columns' names to values; None and NaN are unknown and come last in every order."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: Sequence[Mapping[str, Any]]
    empty: str = "No rows."

    def arranged(self, state: State) -> list[Mapping[str, Any]]:
        """The rows that hold the text of the state, in its order."""
        part = state.of_table("finds", self.name).casefold()
        rows = [row for row in self.rows if not part or any(part in text for text in self._texts(row))]
        order = state.of_table("sorts", self.name)
        name = order.removeprefix("-")
        if name not in {column.name for column in self.columns}:
            return rows
        known = [row for row in rows if not is_missing(row.get(name))]
        known.sort(key=lambda row: _sort_key(row[name]), reverse=order.startswith("-"))
        return known + [row for row in rows if is_missing(row.get(name))]

    def _texts(self, row: Mapping[str, Any]) -> list[str]:
        return [str(row.get(column.name, "")).casefold() for column in self.columns if not column.is_number]


def _sort_key(value: Any) -> tuple[int, float, str]:
    if isinstance(value, str):
        return (1, 0.0, value.casefold())
    return (0, float(value), "")


def draw_table(table: Table, state: State) -> html.Section:
    """The page of the table that the state says."""
    if not table.rows:
        return html.Section([html.H2(table.caption), html.P(table.empty, className="quiet")], className="table")
    rows = table.arranged(state)
    pages = max(1, math.ceil(len(rows) / PAGE_ROWS))
    page = min(max(_whole(state.of_table("pages", table.name)), 1), pages)
    shown = rows[(page - 1) * PAGE_ROWS : page * PAGE_ROWS]
    head = html.Thead(html.Tr([_heading(table, column, state) for column in table.columns]))
    body = html.Tbody([html.Tr([_cell(row, column, state) for column in table.columns]) for row in shown])
    drawn = html.Table([html.Caption(table.caption, className="hidden"), head, body])
    # Can be scrolled by keyboard where it is wider than the page.
    frame = html.Div(drawn, className="scroll", tabIndex="0", role="region", **{"aria-label": table.caption})
    return html.Section([_bar(table, state, len(rows)), frame, *_pager(table, state, page, pages)], className="table")


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 1


def _bar(table: Table, state: State, found: int) -> html.Div:
    """What it is, how many rows, the filter and the download."""
    total = len(table.rows)
    number = count(total) if found == total else f"{count(found)} of {count(total)}"
    find = dcc.Input(
        id={"type": "find", "table": table.name},
        value=state.of_table("finds", table.name),
        type="search",
        placeholder="Filter rows",
        debounce=0.3,
        autoComplete="off",
        className="find",
    )
    label = html.Label([html.Span(f"Filter rows of {table.caption}", className="hidden"), find], className="live")
    download = html.A(
        "CSV",
        href=f"/table/{table.name}.csv?{state.to_hash()}",
        className="button live",
        title="All rows that the filters leave, with all digits",
        **{"data-state": "yes", "aria-label": f"CSV: {table.caption}, all rows"},
    )
    heading = html.H2([table.caption, " ", html.Span(number, className="count")])
    return html.Div([heading, html.Div([label, download], className="tools")], className="bar")


def _heading(table: Table, column: Column, state: State) -> html.Th:
    order = state.of_table("sorts", table.name)
    is_own, is_down = order.removeprefix("-") == column.name, order.startswith("-")
    # Of numbers the largest first, of names from A; then the other way round, then as it was.
    first, second = (f"-{column.name}", column.name) if column.is_number else (column.name, f"-{column.name}")
    following = {first: second, second: ""}.get(order, first)
    target = state.with_table("sorts", table.name, following).with_table("pages", table.name, "")
    mark = html.Span(("▼" if is_down else "▲") if is_own else "", className="mark", **{"aria-hidden": "true"})
    sort = {"aria-sort": "descending" if is_down else "ascending"} if is_own else {}
    link = html.A([column.heading, mark], href=f"#{target.to_hash()}", title=column.meaning or column.heading)
    return html.Th(link, scope="col", className="number" if column.is_number else "", **sort)


def _cell(row: Mapping[str, Any], column: Column, state: State) -> html.Td | html.Th:
    text = printable(column.show(row.get(column.name)))
    if not column.is_key:
        return html.Td(text, className="number" if column.is_number else "", dir=None if column.is_number else "auto")
    key = str(row[column.name])
    is_chosen = key in state.models
    link = html.A(
        text,
        href=f"#{state.toggled(key).to_hash()}",
        className="chosen" if is_chosen else "",
        dir="auto",
        title="Chosen: look at all again" if is_chosen else "Look at this model",
        **({"aria-current": "true"} if is_chosen else {}),
    )
    return html.Th(link, scope="row")


def _pager(table: Table, state: State, page: int, pages: int) -> list[html.Nav]:
    if pages == 1:
        return []
    steps = [("Previous", page - 1), ("Next", page + 1)]
    links = [
        html.A(text, href=f"#{state.with_table('pages', table.name, str(to)).to_hash()}", className="button live")
        if 1 <= to <= pages
        else html.Span(text, className="button off", **{"aria-disabled": "true"})
        for text, to in steps
    ]
    here = html.Span(f"Page {page} of {pages}", className="quiet")
    return [html.Nav([links[0], here, links[1]], className="pager", **{"aria-label": f"Pages of {table.caption}"})]


def as_csv(table: Table, state: State) -> str:
    """All rows that the filter leaves, in the state's order, with all digits.

    Names come from strangers: control characters are escaped, and a `'` stands before what a spreadsheet would take for
    a formula.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([column.name for column in table.columns])
    for row in table.arranged(state):
        writer.writerow([_safe(row.get(column.name)) for column in table.columns])
    return out.getvalue()


def _safe(value: Any) -> Any:
    if is_missing(value):
        return ""
    return csv_text(value)
