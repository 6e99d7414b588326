"""The tabs, a file each: a pure function of the state and the board."""

from collections.abc import Callable, Mapping
from typing import Any

from explorer.dashboard.board import Board
from explorer.dashboard.parts import flag_settings, nothing_left, nothing_mined
from explorer.dashboard.state import State, TabName
from explorer.dashboard.tables import Table, draw_table
from explorer.dashboard.tabs import comparisons, models, overview, statistics, taxonomy
from explorer.style import ThemeName

__all__ = ["DRAW", "TABLES", "TITLES", "draw_tab", "find_table"]

Draw = Callable[[State, Board, ThemeName], list[Any]]

DRAW: Mapping[TabName, Draw] = {
    "overview": overview.draw,
    "models": models.draw,
    "comparisons": comparisons.draw,
    "taxonomy": taxonomy.draw,
    "statistics": statistics.draw,
}
TITLES: Mapping[TabName, str] = {name: name.capitalize() for name in DRAW}
TABLES: Mapping[str, Callable[[State, Board], Table]] = {
    **overview.TABLES,
    **models.TABLES,
    **comparisons.TABLES,
    **taxonomy.TABLES,
    **statistics.TABLES,
}
"""Name of a table -> what makes it; for downloads."""


def draw_tab(state: State, board: Board, theme: ThemeName) -> list[Any]:
    """What is on screen beside the sidebar: the page of the tab, below a warning where the models that it shows were
    mined with different settings; or why there is no model to show."""
    catalog = board.catalog()
    if not catalog.patterns:
        runs = [draw_table(overview.runs_table(state, board), state)] if state.tab == "overview" else []
        return [nothing_mined(), *runs]
    patterns = catalog.in_view(state)
    if not patterns:
        return [nothing_left(state)]
    chosen = catalog.chosen(state) if state.tab == "models" else ()
    return [*flag_settings(board, chosen or patterns), *DRAW[state.tab](state, board, theme)]


def find_table(name: str, state: State, board: Board) -> Table | None:
    """None for a name of no table."""
    return TABLES[name](state, board) if name in TABLES else None
