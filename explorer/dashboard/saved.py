"""What is on screen as one file that opens by itself: the same components, written as HTML, with plotly.js inside once.

Text is escaped; no attribute that runs a script is written; the file asks nobody for anything.
"""

import json
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from dash import dcc, html
from dash.development.base_component import Component

from explorer.dashboard.board import Board, Request
from explorer.dashboard.pictures import GRAPH_CONFIG, show_picture
from explorer.dashboard.state import State
from explorer.dashboard.tabs import TITLES, draw_tab
from explorer.style import ThemeName

__all__ = ["render", "saved_page"]

ATTRIBUTES = {"className": "class", "tabIndex": "tabindex"} | {
    name: name for name in ("role", "scope", "dir", "title", "value", "max")
}
EMPTY = {"br", "hr", "img"}
ONLY_LIVE = "live"
"""Class of what makes sense only where the dashboard runs: fields, downloads, pages."""
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:"
)
DRAW = """
for (const holder of document.querySelectorAll("[data-figure]")) {
  const figure = JSON.parse(document.getElementById(holder.dataset.figure).textContent);
  Plotly.newPlot(holder, figure.data, figure.layout, CONFIG);
}
"""


def saved_page(state: State, board: Board, theme: ThemeName) -> str:
    """The tab of the state with all its pictures."""
    from plotly.offline import get_plotlyjs

    figures: list[str] = []
    content = [_drawn(each, state, board, theme) for each in draw_tab(state, board, theme)]
    body = "".join(render(each, figures) for each in content)
    scripts = ""
    if figures:
        draw = DRAW.replace("CONFIG", json.dumps(GRAPH_CONFIG))
        scripts = f"{''.join(figures)}<script>{get_plotlyjs()}</script><script>{draw}</script>"
    title = f"dna-zoo: {TITLES[state.tab]}"
    return (
        f'<!DOCTYPE html>\n<html lang="en" data-theme="{theme}"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>'
        f"<style>{_styles()}</style></head>\n"
        f'<body><div class="board saved"><header><span class="brand">dna-zoo</span><h1>{escape(TITLES[state.tab])}</h1>'
        f"</header><main>{_filters(state)}{body}</main></div>{scripts}</body></html>\n"
    )


def _styles() -> str:
    from explorer.dashboard.app import ASSETS

    return (ASSETS / "board.css").read_text()


def _filters(state: State) -> str:
    """What was chosen, in words, and the state itself: `--state` brings it back."""
    chosen = [*state.models, *(value for field in ("tiers", "modalities", "architectures", "roles", "classes")
                               for value in getattr(state, field))]  # fmt: skip
    words = ", ".join(chosen) or "all models"
    return (
        f'<p class="quiet">Shown: {escape(words)}. State: <code>{escape(state.to_hash() or "tab=overview")}</code></p>'
    )


def _drawn(component: Any, state: State, board: Board, theme: ThemeName) -> Any:
    """The component with every picture in its place, whatever time that takes."""
    if isinstance(component, (list, tuple)):
        return [_drawn(each, state, board, theme) for each in component]
    if not isinstance(component, Component):
        return component
    given = getattr(component, "id", None)
    if isinstance(given, dict) and given.get("type") == "slot":
        request = Request.from_name(given["picture"])
        return show_picture(board, request, state, theme) if request else None
    if getattr(component, "children", None) is not None:
        component.children = _drawn(component.children, state, board, theme)
    return component


def render(component: Any, figures: list[str]) -> str:
    """The component as HTML; figures of plotly are added to `figures` as data."""
    if component is None or isinstance(component, bool):
        return ""
    if isinstance(component, (list, tuple)):
        return "".join(render(each, figures) for each in component)
    if not isinstance(component, Component):
        return escape(str(component))
    properties = component.to_plotly_json()["props"]
    if ONLY_LIVE in str(properties.get("className", "")).split():
        return ""
    if isinstance(component, dcc.Graph):
        return _graph(component, figures)
    if not isinstance(component, tuple(_ELEMENTS.values())):
        return ""  # A control, which a file has no use for.
    return _element(component, properties, figures)


_ELEMENTS = {name: getattr(html, name) for name in html.__all__}


def _element(component: Component, properties: Mapping[str, Any], figures: list[str]) -> str:
    # A link leads to another state, which a file does not hold.
    name = "span" if isinstance(component, html.A) else type(component).__name__.lower()
    attributes = "".join(_attributes(properties))
    if name == "details":
        attributes += " open"
    if name in EMPTY:
        return f"<{name}{attributes}>"
    return f"<{name}{attributes}>{render(properties.get('children'), figures)}</{name}>"


def _attributes(properties: Mapping[str, Any]) -> Iterable[str]:
    for name, value in properties.items():
        written = name if name.startswith("aria-") else ATTRIBUTES.get(name)
        if written is not None and value is not None:
            yield f' {written}="{escape(str(value))}"'
    if properties.get("style"):
        style = "; ".join(f"{name}: {value}" for name, value in properties["style"].items())
        yield f' style="{escape(style)}"'


def _graph(graph: Any, figures: list[str]) -> str:
    name = f"figure-{len(figures)}"
    # Within a script only `</` and `<!--` could end the data early.
    data = graph.figure.to_json().replace("<", "\\u003c")
    figures.append(f'<script type="application/json" id="{name}">{data}</script>')
    return f'<div class="graph" id="graph-{name}" data-figure="{name}"></div>'
