"""The frame of the page: tabs above, what is chosen and filtered at the side. Options follow the database."""

from collections.abc import Mapping
from typing import Any

from dash import dcc, html

from dna_zoo.text import printable
from explorer.dashboard.board import Board
from explorer.dashboard.choice import kind_of, kinds_of, tensors_of
from explorer.dashboard.state import FACETS, TABS, THEME_CHOICES, State

__all__ = ["CONTROLS", "control_values", "draw_header", "draw_sidebar"]

HEADINGS = {
    "tiers": "Tier",
    "modalities": "Modality",
    "architectures": "Architecture",
    "roles": "Role",
    "classes": "Class",
}
CONTROLS = ("search", "models", "kind", "tensor", *FACETS)
"""Fields of the state that a control of the sidebar shows and changes; also the ids of the controls."""
MOST_OPTIONS = 2000


def draw_header(state: State) -> list[Any]:
    """The tabs, the theme, and the download of what is on screen. All of them are links to a state."""
    tabs = [
        html.A(tab.capitalize(), href=f"#{state.but(tab=tab, kind='').to_hash()}", **_current(tab == state.tab))
        for tab in TABS
    ]
    themes = [
        html.A(name.capitalize(), href=f"#{state.but(theme=name).to_hash()}", **_current(name == state.theme))
        for name in THEME_CHOICES
    ]
    save = html.A(
        "Save page",
        href=f"/export.html?{state.to_hash()}",
        className="button",
        title="What is on screen as one file that opens without this program",
        **{"data-state": "yes"},
    )
    return [
        html.Nav(tabs, className="tabs", **{"aria-label": "Tabs"}),
        html.Div([html.Nav(themes, className="themes", **{"aria-label": "Colours"}), save], className="tools"),
    ]


def _current(is_current: bool) -> dict[str, str]:
    return {"aria-current": "page"} if is_current else {}


def draw_sidebar() -> list[Any]:
    """The controls, still empty: `control_values` fills them."""
    return [
        _labelled(
            "Search", dcc.Input(id="search", type="search", placeholder="Part of a name", debounce=0.3, value="")
        ),
        _labelled("Models", _choice("models", "All that the filters leave", multi=True)),
        _labelled("Kind of view", _choice("kind", "The tab's own")),
        html.Div(_labelled("Tensor", _choice("tensor", "The first in the blocks")), id="tensor-box"),
        *(_facet(field) for field in FACETS),
        html.A("Drop all filters", id="reset", href="#", className="button"),
    ]


def _labelled(text: str, control: Any) -> html.Div:
    return html.Div([html.Label(text, htmlFor=control.id), control], className="field")


def _choice(name: str, placeholder: str, multi: bool = False) -> dcc.Dropdown:
    return dcc.Dropdown(id=name, options=[], value=[] if multi else None, multi=multi, placeholder=placeholder)


def _facet(field: str) -> html.Details:
    summary = html.Summary([HEADINGS[field], html.Span(id=f"{field}-count", className="count")])
    group = html.Div(dcc.Checklist(id=field, options=[], value=[]), role="group", **{"aria-label": HEADINGS[field]})
    return html.Details([summary, group], className="facet", open=field == "modalities")


def control_values(state: State, board: Board) -> Mapping[str, tuple[list[dict[str, str]], Any]]:
    """Control -> its options and its value, as they belong to the state."""
    catalog = board.catalog()
    matching = {pattern.model.key for pattern in catalog.matching(state)} | set(state.models)
    models = [_option(key) for key in catalog.keys if key in matching][:MOST_OPTIONS]
    kinds = [_option(kind.name, kind.name.replace("-", " ")) for kind in kinds_of(state.tab)]
    found: dict[str, tuple[list[dict[str, str]], Any]] = {
        "search": ([], state.search),
        "models": (models, list(state.models)),
        "kind": (kinds, state.kind if state.kind in {kind["value"] for kind in kinds} else None),
        "tensor": (_tensors(state, board), state.tensor or None),
    }
    for field in FACETS:
        options = [_option(value, f"{value} ({number})") for value, number in catalog.values(field)]
        known = {option["value"] for option in options}
        found[field] = (options, [value for value in getattr(state, field) if value in known])
    return found


def _tensors(state: State, board: Board) -> list[dict[str, str]]:
    """The matrices of the first model in view, where the kind is about one matrix."""
    kind, patterns = kind_of(state), board.catalog().in_view(state)
    if kind is None or kind.subject != "tensor" or not patterns:
        return []
    return [_option(tensor.name) for tensor in tensors_of(board.pattern(patterns[0].model.key), state)]


def _option(value: str, label: str = "") -> dict[str, str]:
    return {"value": value, "label": printable(label or value)}
