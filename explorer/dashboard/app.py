"""The page as Dash runs it: one address, what follows from it, and a look at the database every few seconds.

The address is the only place where the state is. Controls and cameras write it in the browser (`assets/board.js`);
callbacks here read it and draw.
"""

import datetime as dt
from pathlib import Path
from typing import Any

from dash import ALL, MATCH, ClientsideFunction, Dash, Input, Output, dcc, html, no_update
from dash import State as Given
from dash.exceptions import PreventUpdate

from dna_zoo.errors import DnaZooError
from explorer.dashboard.board import Board, Request
from explorer.dashboard.parts import problem
from explorer.dashboard.pictures import show_picture
from explorer.dashboard.progress import draw_progress
from explorer.dashboard.sidebar import CONTROLS, control_values, draw_header, draw_sidebar
from explorer.dashboard.state import FACETS, State
from explorer.dashboard.tabs import TITLES, draw_tab
from explorer.style import ThemeName

__all__ = ["ASSETS", "make_app", "theme_of"]

ASSETS = Path(__file__).parent / "assets"
TICK_SECONDS = 3
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{%title%}</title>{%favicon%}{%css%}
</head>
<body><noscript>This page draws with scripts of this machine: switch them on, or save one with
dna-zoo dashboard --export FILE.html.</noscript>
{%app_entry%}<footer>{%config%}{%scripts%}{%renderer%}</footer></body>
</html>"""


def make_app(board: Board, *, tick_seconds: float = TICK_SECONDS) -> Dash:
    """The application on that board; nothing is served yet."""
    app = Dash(
        "dna-zoo",
        assets_folder=str(ASSETS),
        title="dna-zoo",
        update_title="",
        index_string=PAGE,
        serve_locally=True,
        suppress_callback_exceptions=True,
        add_log_handler=False,
    )
    app.layout = _frame(tick_seconds)
    _read_controls(app)
    _draw_frame(app, board)
    _draw_content(app, board)
    _look_again(app, board)
    return app


def _frame(tick_seconds: float) -> html.Div:
    return html.Div(
        [
            dcc.Location(id="url", refresh=False),
            dcc.Store(id="scheme"),
            dcc.Store(id="here"),
            dcc.Store(id="patterns-seen"),
            dcc.Store(id="runs-seen"),
            dcc.Interval(id="tick", interval=1000 * tick_seconds),
            html.Header(
                [
                    html.A("Skip to content", href="#", className="skip", id="skip"),
                    html.Span("dna-zoo", className="brand"),
                    html.Div(id="header"),
                ]
            ),
            html.Aside(
                html.Details(
                    [html.Summary("Choose and filter"), html.Div(draw_sidebar(), className="controls")],
                    id="sidebar",
                    open=True,
                ),
                id="side",
                **{"aria-label": "Choose and filter"},
            ),
            html.Main(
                [html.Div(id="progress", **{"aria-live": "polite"}), html.Div(id="content")], id="main", tabIndex="-1"
            ),
        ],
        className="board",
    )


def _read_controls(app: Dash) -> None:
    """What the browser does by itself: see `assets/board.js`."""
    app.clientside_callback(ClientsideFunction("board", "scheme"), Output("scheme", "data"), Input("url", "pathname"))
    app.clientside_callback(
        ClientsideFunction("board", "here"),
        Output("here", "data"),
        Input("url", "hash"),
        Input("scheme", "data"),
        Input("patterns-seen", "data"),
        Input("runs-seen", "data"),
    )
    app.clientside_callback(
        ClientsideFunction("board", "put"), *(Input(name, "value") for name in CONTROLS), prevent_initial_call=True
    )
    finds = Input({"type": "find", "table": ALL}, "value")
    app.clientside_callback(ClientsideFunction("board", "find"), finds, prevent_initial_call=True)


def _draw_frame(app: Dash, board: Board) -> None:
    outputs = [Output("header", "children"), Output("reset", "href"), Output("tensor-box", "hidden")]
    for name in CONTROLS:
        outputs += [Output(name, "value")] + ([Output(name, "options")] if name != "search" else [])
    outputs += [Output(f"{field}-count", "children") for field in FACETS]

    @app.callback(  # type: ignore[untyped-decorator]
        outputs,
        Input("url", "hash"),
        Input("patterns-seen", "data"),
        *(Given(name, "value") for name in CONTROLS),
    )
    def frame(address: str | None, seen: str | None, *shown: Any) -> list[Any]:
        state = State.from_hash(address or "")
        reset = State(tab=state.tab, theme=state.theme).to_hash()
        try:
            values = control_values(state, board)
        except DnaZooError:  # The content says it.
            return [draw_header(state), f"#{reset}", True, *[no_update] * (len(outputs) - 3)]
        answer: list[Any] = [draw_header(state), f"#{reset}", not values["tensor"][0]]
        for name, before in zip(CONTROLS, shown, strict=True):
            options, value = values[name]
            # What somebody is typing meanwhile is not overwritten by what was there.
            answer += [no_update if value == before else value] + ([options] if name != "search" else [])
        return answer + [f" {len(getattr(state, field))} of {len(values[field][0])}" for field in FACETS]


def _draw_content(app: Dash, board: Board) -> None:
    @app.callback(Output("content", "children"), Input("here", "data"))  # type: ignore[untyped-decorator]
    def content(here: dict[str, Any] | None) -> Any:
        if not here or not here["scheme"]:  # The browser says its colours first.
            raise PreventUpdate
        state, theme = _state_and_theme(here)
        if here["causes"] == ["runs-seen.data"] and state.tab != "overview":
            raise PreventUpdate
        try:
            return [html.H1(TITLES[state.tab], className="hidden"), *draw_tab(state, board, theme)]
        except DnaZooError as error:
            return problem(error.message, error.hint)

    slot = {"type": "slot", "picture": MATCH}

    @app.callback(Output(slot, "children"), Input(slot, "id"), Given("here", "data"))  # type: ignore[untyped-decorator]
    def picture(slot_id: dict[str, str], here: dict[str, Any] | None) -> Any:
        request = Request.from_name(slot_id["picture"])
        if request is None or not here:
            raise PreventUpdate
        try:
            return show_picture(board, request, *_state_and_theme(here))
        except DnaZooError as error:
            return problem(error.message, error.hint)


def _state_and_theme(here: dict[str, Any]) -> tuple[State, ThemeName]:
    state = State.from_hash(str(here["address"]))
    return state, theme_of(state, here["scheme"])


def _look_again(app: Dash, board: Board) -> None:
    @app.callback(  # type: ignore[untyped-decorator]
        Output("patterns-seen", "data"),
        Output("runs-seen", "data"),
        Output("progress", "children"),
        Input("tick", "n_intervals"),
        Given("patterns-seen", "data"),
        Given("runs-seen", "data"),
    )
    def look(ticks: int | None, patterns: str | None, runs: str | None) -> Any:
        try:
            now = board.state()
            progress = draw_progress(board, dt.datetime.now(dt.UTC))
        except DnaZooError as error:
            return no_update, no_update, problem(error.message, error.hint)
        return (
            no_update if now.patterns == patterns else now.patterns,
            no_update if now.runs == runs else now.runs,
            no_update if not progress and now.runs == runs else progress,
        )


def theme_of(state: State, scheme: str | None) -> ThemeName:
    """The theme of the state, else the browser's."""
    if state.theme == "auto":
        return "dark" if scheme == "dark" else "light"
    return state.theme
