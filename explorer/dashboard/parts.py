"""Parts that several tabs have: notes, numbers in boxes, the flag of mixed settings, what stands where nothing is."""

from collections.abc import Sequence
from typing import Any

from dash import html

from dna_zoo.text import printable
from explorer.dashboard.board import Board
from explorer.dashboard.choice import MOST_MODELS, MOST_SIDE_BY_SIDE, kind_of, requests_of
from explorer.dashboard.numbers import count
from explorer.dashboard.pictures import picture_slot
from explorer.dashboard.state import State
from explorer.style import ThemeName
from patterndb.records import PatternSummary

__all__ = ["draw_pictures", "facts", "flag_settings", "nothing_left", "nothing_mined", "problem", "tiles"]

MOST_FLAGGED = 6


def tiles(*entries: tuple[str, str, str]) -> html.Dl:
    """Name, value, and what is behind the value, each in a box."""
    return html.Dl(
        [
            html.Div([html.Dt(name), html.Dd(value, className="value"), html.Dd(detail, className="quiet")])
            for name, value, detail in entries
        ],
        className="tiles",
    )


def facts(entries: Sequence[tuple[str, str]]) -> html.Dl:
    return html.Dl(
        [html.Div([html.Dt(name), html.Dd(value, dir="auto")]) for name, value in entries], className="facts"
    )


def flag_settings(board: Board, patterns: Sequence[PatternSummary]) -> list[Any]:
    """A note if the models in view were mined with different settings."""
    found = board.catalog().differences(patterns)
    if not found:
        return []
    lines = [html.Li([html.Code(each.name), f": {_values(each.values)}"]) for each in found[:MOST_FLAGGED]]
    if len(found) > MOST_FLAGGED:
        lines.append(html.Li(f"and {len(found) - MOST_FLAGGED} more"))
    what = f"The {count(len(patterns))} models in view were mined with different settings."
    advice = "Compare numbers only between models that agree in them, or choose such models."
    return [html.Aside([html.P([html.Strong(what), f" {advice}"]), html.Ul(lines)], className="flag", role="note")]


def _values(values: Sequence[tuple[str, int]]) -> str:
    shown = ", ".join(f"{value} ({count(models)})" for value, models in values[:4])
    return shown + (" …" if len(values) > 4 else "")


def problem(message: str, hint: str) -> html.Div:
    """Two sentences: what happened, and what to do."""
    return html.Div(
        [html.P(printable(message)), html.P(printable(hint), className="hint")], className="note", role="alert"
    )


def nothing_mined() -> html.Div:
    """What an empty database looks like."""
    return html.Div(
        [
            html.H2("Nothing is mined yet"),
            html.P("As soon as a model is mined into this database, it appears here by itself."),
            html.P(
                [
                    "Start with ",
                    html.Code("dna-zoo mine minilm-l6"),
                    ", or see what there is with ",
                    html.Code("dna-zoo zoo"),
                    ".",
                ]
            ),
        ],
        className="note",
    )


def nothing_left(state: State) -> html.Div:
    """What stands where the filters leave no model."""
    link = html.A("Drop all filters", href=f"#{State(tab=state.tab, theme=state.theme).to_hash()}", className="button")
    return html.Div([html.H2("No model is left"), html.P("The filters leave none."), link], className="note")


def draw_pictures(state: State, board: Board, theme: ThemeName) -> html.Section:
    """The pictures of the state side by side, and what is left out."""
    kind, requests = kind_of(state), requests_of(state, board)
    if kind is None:
        return html.Section(html.P("There is no kind of figure for this tab.", className="quiet"))
    models = len(board.catalog().in_view(state))
    shown = max([len(request.models) for request in requests] + [len(requests)], default=0)
    notes = [html.P(_left_out(kind.subject, shown, models, bool(state.models)), className="quiet")]
    if not requests:
        notes = [html.P("None of these models has a matrix to draw.", className="quiet")]
    slots = [picture_slot(board, request, state, theme) for request in requests]
    heading = html.H2([kind.name.replace("-", " ").capitalize(), " ", html.Span(kind.summary, className="count")])
    wide = "pictures" if len(slots) > 1 else "pictures one"
    return html.Section([heading, *[note for note in notes if note.children], html.Div(slots, className=wide)])


def _left_out(subject: str, shown: int, models: int, is_chosen: bool) -> str:
    if shown >= models:
        return ""
    if subject == "models":
        return f"{MOST_MODELS} of {count(models)} models are drawn: choose models or filter them."
    if is_chosen:
        return f"{MOST_SIDE_BY_SIDE} of {models} chosen models are drawn side by side."
    return (
        f"The first of {count(models)} models: choose up to {MOST_SIDE_BY_SIDE} at the side to see them side by side."
    )
