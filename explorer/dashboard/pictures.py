"""A picture in the page: the graph in the colours of the page, caption, words for who does not see it, and CSV."""

import copy
from typing import Any
from urllib.parse import urlencode

from dash import dcc, html

from dna_zoo.text import printable
from explorer.dashboard.board import Board, Failure, Picture, Request
from explorer.dashboard.state import State
from explorer.pages import CONFIG, themed
from explorer.style import THEMES, ThemeName
from explorer.view import View

__all__ = ["GRAPH_CONFIG", "figure_of", "picture_slot", "show_picture"]

GRAPH_CONFIG = {**CONFIG, "responsive": True}
CLEAR = "rgba(0,0,0,0)"
PAPERS = {each.paper.lower() for each in THEMES.values()} | {"white", ""}
MARGIN = {"l": 64, "r": 24, "t": 36, "b": 56}
DEFAULT_HEIGHT = 420
TALLEST = 2400


def picture_slot(board: Board, request: Request, state: State, theme: ThemeName) -> html.Div:
    """The picture if it is there already, else the place where it will be: drawing may take seconds."""
    children = show_picture(board, request, state, theme) if board.has_picture(request) else _wait(request)
    return html.Div(children, id={"type": "slot", "picture": request.name}, className="slot")


def _wait(request: Request) -> html.P:
    return html.P(f"Drawing {request.figure_kind.summary} …", className="wait", role="status")


def show_picture(board: Board, request: Request, state: State, theme: ThemeName) -> html.Figure | html.Div:
    """The picture, drawn now if it was not; or a note that says why there is none."""
    found = board.picture(request)
    if isinstance(found, Failure):
        about = ", ".join(request.models[:3])
        heading = html.P(printable(f"{request.kind} of {about}" if about else request.kind), className="quiet")
        return html.Div([heading, html.P(found.message), html.P(found.hint, className="hint")], className="note")
    view = found.view
    graph = dcc.Graph(
        id={"type": "graph", "picture": request.name},
        figure=figure_of(found, request, state, theme),
        config=GRAPH_CONFIG,
        className="graph",
    )
    # The words stand beside the drawing, which a screen reader cannot read.
    drawing = html.Div(graph, role="group", **{"aria-label": printable(view.alt)})
    words = html.P([html.Span(printable(view.caption)), " ", html.Em(printable(view.alt))])
    return html.Figure(
        [_heading(view), drawing, html.Figcaption([words, _download(request)])],
        className=f"picture{' wide' if _has_panels(found.figure) else ''}",
    )


def _has_panels(figure: Any) -> bool:
    """Whether it is made of several, and needs the whole width."""
    return len(_scenes(figure)) > 1 or len({trace.xaxis or "x" for trace in figure.data if "xaxis" in trace}) > 1


def _heading(view: View) -> html.P:
    """The title as text of the page: it wraps, and a name in it is never markup."""
    subtitle = printable(getattr(view, "subtitle", "") or ", ".join(view.subject[:3]))
    return html.P(
        [html.Strong(printable(view.title)), html.Span(subtitle, className="quiet", dir="auto")], className="title"
    )


def _download(request: Request) -> html.A:
    address = f"/picture.csv?{urlencode({'picture': request.name})}"
    return html.A("CSV", href=address, className="button live", **{"aria-label": f"CSV: the numbers of {request.kind}"})


def figure_of(picture: Picture, request: Request, state: State, theme: ThemeName) -> Any:
    """A copy of the figure in the theme, with the cameras of the state.

    What a reader turned and zoomed stays as long as it is the same picture (`uirevision`).
    """
    chosen = THEMES[theme]
    plot = str(picture.figure.layout.plot_bgcolor or "").lower()
    figure = themed(copy.deepcopy(picture.figure), theme)
    figure.update_layout(
        paper_bgcolor=CLEAR,
        # A figure whose cells may be missing has a ground that says so.
        plot_bgcolor=CLEAR if plot in PAPERS else plot,
        font={"color": chosen.ink, "family": "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif", "size": 12},
        hoverlabel={"bgcolor": chosen.paper, "bordercolor": chosen.quiet, "font": {"color": chosen.ink}},
        modebar={"bgcolor": CLEAR, "color": chosen.quiet, "activecolor": chosen.ink},
        # The title is text of the page; a figure may keep room for its legend.
        margin={"t": MARGIN["t"]} | {side: max(figure.layout.margin[side] or 0, MARGIN[side]) for side in "lrb"},
        height=min(figure.layout.height or DEFAULT_HEIGHT, TALLEST),
        uirevision=request.name,
    )
    figure.layout.width = figure.layout.title = None
    figure.update_xaxes(automargin=True)
    figure.update_yaxes(automargin=True)
    for scene in [name for name in figure.layout if name.startswith("scene")] or _scenes(figure):
        _aim(figure, scene, request, state)
    return figure


def _scenes(figure: Any) -> list[str]:
    return sorted({trace.scene or "scene" for trace in figure.data if "scene" in trace})


def _aim(figure: Any, scene: str, request: Request, state: State) -> None:
    """Turn the scene as the state says."""
    camera = state.camera(f"{request.name}/{scene}")
    update: dict[str, Any] = {"uirevision": repr(camera)}
    if camera is not None:
        vectors = (dict(zip("xyz", camera[start : start + 3], strict=True)) for start in (0, 3, 6))
        update["camera"] = dict(zip(("eye", "center", "up"), vectors, strict=True))
    figure.update_layout({scene: update})
