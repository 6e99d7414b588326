"""Statistics: what was measured, each beside its null; over all models in view, and of single ones."""

from collections.abc import Callable, Mapping
from typing import Any

from explorer.dashboard.board import Board
from explorer.dashboard.numbers import p_value
from explorer.dashboard.parts import draw_pictures
from explorer.dashboard.state import State
from explorer.dashboard.summary import Measured, summarise
from explorer.dashboard.tables import Column, Table, draw_table
from explorer.style import ThemeName
from patterndb.exports.columns import STATISTIC_SUFFIXES

__all__ = ["TABLES", "draw", "statistics_table", "summary_table"]

MOST_LISTED = 12
"""Models whose single statistics are listed; of more, only the summary."""


def draw(state: State, board: Board, theme: ThemeName) -> list[Any]:
    """The page of the tab, of at least one model."""
    summary = [] if len(board.catalog().in_view(state)) == 1 else [draw_table(summary_table(state, board), state)]
    return [
        draw_pictures(state, board, theme),
        *summary,
        draw_table(statistics_table(state, board), state),
    ]


def _measured(state: State, board: Board) -> tuple[Measured, ...]:
    keys = {pattern.model.key for pattern in board.catalog().in_view(state)}
    return tuple(each for each in board.measured() if each.model in keys)


def summary_table(state: State, board: Board) -> Table:
    """A row a statistic, over the models in view."""
    rows = [_values(each) for each in summarise(_measured(state, board))]
    return Table(name="summary", caption="Statistics over the models in view", columns=SUMMARY_COLUMNS, rows=rows)


def statistics_table(state: State, board: Board) -> Table:
    """A row a statistic of each model in view; of the chosen ones alone where there are many."""
    keys = [pattern.model.key for pattern in board.catalog().in_view(state)]
    listed = set(keys) if len(keys) <= MOST_LISTED or state.models else set()
    rows = [_values(each) for each in _measured(state, board) if each.model in listed]
    empty = f"Choose models at the side: there are more than {MOST_LISTED} in view."
    return Table(name="statistics", caption="Statistics by model", columns=COLUMNS, rows=rows, empty=empty)


def _values(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__slots__}


def _meaning(name: str) -> str:
    return STATISTIC_SUFFIXES.get(f".{name}", STATISTIC_SUFFIXES.get("" if name == "value" else name, ""))


COLUMNS = (
    Column(name="model", heading="Model", is_number=False, is_key=True),
    Column(name="name", heading="Statistic", is_number=False),
    Column(name="null", heading="Null", is_number=False, meaning="Null that it is compared with; – for a description."),
    Column(name="value", heading="Value", meaning=_meaning("value")),
    Column(name="null_mean", heading="Null mean", meaning=_meaning("null_mean")),
    Column(name="z", heading="z", meaning=_meaning("z")),
    Column(name="p", heading="p", show=p_value, meaning=_meaning("p")),
    Column(name="q", heading="q", show=p_value, meaning="p adjusted for all statistics of the model as a whole."),
)
SUMMARY_COLUMNS = (
    Column(name="name", heading="Statistic", is_number=False),
    Column(name="null", heading="Null", is_number=False),
    Column(name="models", heading="Models", meaning="How many of the models in view have it."),
    Column(name="median", heading="Median", meaning="Of its values."),
    Column(name="null_median", heading="Null median", meaning="Of the means of its null."),
    Column(name="tested", heading="Tested", meaning="Models with a p-value for it."),
    Column(name="beyond", heading="Beyond the null", meaning="Models with q ≤ 0.05, adjusted within each model."),
)
TABLES: Mapping[str, Callable[[State, Board], Table]] = {"summary": summary_table, "statistics": statistics_table}
