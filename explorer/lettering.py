"""Titles, legends and ticks: they fit the width, whatever a tensor is called, and collide with nothing.

Nothing in a name is taken for a command.
"""

import textwrap
from functools import lru_cache
from typing import TYPE_CHECKING

from dna_zoo.text import printable
from explorer.panels import figure_of
from explorer.view import View

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

__all__ = ["fitted", "headline", "legend_above", "log_ticks", "plain", "plural", "shortened", "size_of", "text_width"]

PAD = 3.0
"""Points between a figure's edge and its letters."""
POINTS = 72


def shortened(name: str, most: int) -> str:
    """The name in at most so many characters, its middle left out: both ends tell tensors apart."""
    if len(name) <= most:
        return name
    head = max((most - 1) // 2, 1)
    return f"{name[:head]}…{name[len(name) - max(most - 1 - head, 0) :]}"


def plural(number: int, noun: str) -> str:
    """`1 model`, `1,000 models`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def plain(text: str) -> str:
    """The text without what turns lines round or breaks them, and with dollars that begin no formula."""
    return printable(text).replace("$", r"\$")


def size_of(text: "Text") -> float:
    """Points of its letters."""
    return float(text.get_fontsize())


@lru_cache(maxsize=512)
def text_width(text: str, size: float) -> float:
    """Points that a line of text takes in the figures' letters of that size."""
    from matplotlib.textpath import TextPath

    return float(TextPath((0, 0), plain(text), size=size).get_extents().width) if text.strip() else 0.0


def fitted(text: str, size: float, points: float) -> str:
    """The text, its middle left out as far as it must be to take no more than so many points."""
    most = len(text)
    while most > 4 and text_width(shortened(text, most), size) > points:
        most = min(most - 1, int(most * max(points / text_width(shortened(text, most), size), 0.5)))
    return shortened(text, most)


def headline(axes: "Axes", view: View, *, is_alone: bool) -> None:
    """Title and subtitle of a view: above the whole figure where the view has it alone, else above the axes."""
    import matplotlib

    figure = figure_of(axes)
    big, small = (matplotlib.rcParams["font.size"] + more for more in (0.5, -1.0))
    if is_alone:
        _above_all(figure, view, big, small)
        return
    points = axes.get_position().width * figure.get_figwidth() * POINTS
    lines = [*_wrapped(view.title, big, points), fitted(view.subtitle, small, points)]
    axes.set_title(plain("\n".join(filter(None, lines))).replace(r"\x0a", "\n"), loc="left", fontsize=small)


def legend_above(axes: "Axes", *, columns: int = 3) -> None:
    """The legend in a row above the axes, where no curve runs through it."""
    axes.legend(
        loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, borderaxespad=0.2, borderpad=0.0, handlelength=1.6,
        columnspacing=1.2, handletextpad=0.5,
    )  # fmt: skip


def log_ticks(axes: "Axes", *which: str) -> None:
    """Numbers as people write them on logarithmic axes (`x`, `y`), and a few of them on any range."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for name in which:
        axis = getattr(axes, f"{name}axis")
        low, high = sorted(axis.get_view_interval())
        decades = high / low if low > 0 else 10.0
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 50 else (1.0,), numticks=7))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def _above_all(figure: "Figure", view: View, big: float, small: float) -> None:
    """Words at the top of the figure, in room that its layout leaves free."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    height, points = figure.get_figheight() * POINTS, figure.get_figwidth() * POINTS - 2 * PAD
    used = PAD
    for line in _wrapped(view.title, big, points):
        figure.text(PAD / (points + 2 * PAD), 1 - used / height, plain(line), va="top", fontsize=big, fontweight="bold")
        used += 1.3 * big
    if view.subtitle:
        line = plain(fitted(view.subtitle, small, points))
        figure.text(PAD / (points + 2 * PAD), 1 - used / height, line, va="top", fontsize=small, alpha=0.8)
        used += 1.3 * small
    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        engine.set(rect=(0.0, 0.0, 1.0, 1 - (used + PAD) / height))


def _wrapped(text: str, size: float, points: float) -> list[str]:
    width = text_width(text, size) * 1.1  # Bold letters are wider.
    if width <= points:
        return [text]
    return textwrap.wrap(text, max(int(len(text) * points / width), 8))
