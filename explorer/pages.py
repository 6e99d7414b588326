"""Figures as interactive pages show them: titles, themes and the plotly settings that all of them share."""

from html import escape
from typing import TYPE_CHECKING, Any

from dna_zoo.text import printable
from explorer.lettering import shortened
from explorer.style import OKABE_ITO, ThemeName, theme_of
from explorer.view import View

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["CONFIG", "inert", "page_of", "plotly_diverging", "themed"]

CONFIG = {"showSendToCloud": False, "displaylogo": False}
"""plotly.js 4 has a button that uploads what is shown; it is off on every page."""
LONGEST_SUBTITLE = 90


def inert(text: str) -> str:
    """A name from outside as plotly may show it: text, never markup."""
    return escape(printable(text))


def page_of(figure: "Figure", view: View, theme: ThemeName = "light") -> "Figure":
    """The figure with the view's title and subtitle, in the colours of a theme; names are text, never markup."""
    subtitle = inert(shortened(printable(view.subtitle), LONGEST_SUBTITLE))
    figure.update_layout(title={"text": inert(view.title), "subtitle": {"text": subtitle}})
    return themed(figure, theme)


def themed(figure: "Figure", theme: ThemeName) -> "Figure":
    """The figure in the colours of a theme: for one that has been made, and that a reader turns dark."""
    chosen = theme_of(theme)
    axis: dict[str, Any] = {"gridcolor": chosen.quiet, "zeroline": False, "linecolor": chosen.quiet}
    flat = {"showbackground": False, "gridcolor": chosen.quiet, "zerolinecolor": chosen.quiet}
    figure.update_layout(
        template="none",
        colorway=list(OKABE_ITO),
        paper_bgcolor=chosen.paper,
        plot_bgcolor=chosen.paper,
        font={"color": chosen.ink, "family": "DejaVu Sans, Verdana, sans-serif", "size": 12},
    )
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    figure.update_scenes(xaxis=flat, yaxis=flat, zaxis=flat)
    return figure


def plotly_diverging(steps: int = 33) -> list[tuple[float, str]]:
    """The map of signed values as plotly takes it."""
    from matplotlib.colors import to_hex

    from explorer.style import diverging

    colours = diverging()
    return [(step / (steps - 1), to_hex(colours(step / (steps - 1)))) for step in range(steps)]
