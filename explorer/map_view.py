"""Maps of tensors and of models: the view that both have, and how it is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from explorer.lettering import headline, plain, shortened, text_width
from explorer.maps import Agreement, Map
from explorer.pages import inert, page_of
from explorer.panels import axes_for, figure_of
from explorer.style import colour_of, marker_of
from explorer.view import View

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from plotly.graph_objects import Figure

__all__ = ["MapView", "draw_map", "map_page", "words_of"]

Float64 = npt.NDArray[np.float64]
MOST_NAMED = 30
"""Points whose names are drawn; of more they would cover the map."""
ALPHA = 0.05
MOST_LARGE = 6
"""Labels that are written large."""
DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x", "star")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MapView(View):
    """Points in the plane (N, 2), with a name and a label each."""

    names: tuple[str, ...]
    models: tuple[str, ...]
    """Of each point."""
    labels: tuple[str, ...]
    label: str
    """What labels are: `role`, `architecture` ..."""
    point: str
    """What points are, in the plural."""
    places: Float64
    found: Map
    agreement: Agreement | None

    @property
    def all_labels(self) -> tuple[str, ...]:
        """In the order of their colours: the commonest first."""
        kinds, counts = np.unique(self.labels, return_counts=True)
        return tuple(str(kinds[index]) for index in np.argsort(-counts, kind="stable"))

    def table(self) -> "pd.DataFrame":
        import pandas as pd

        names = {"name": self.names, "model": self.models, self.label: self.labels}
        return pd.DataFrame({**names, "x": self.places[:, 0], "y": self.places[:, 1]})


def words_of(found: Map, agreed: Agreement | None, *, label: str, point: str, what: str) -> tuple[str, str]:
    """Caption and alt text of a map of `what`."""
    caption = f"{what} {found.why} Of the map: {found.said}. {_agreed(agreed, label, point)}"
    trusted = found.trust > max(found.null_trust)
    alt = (
        f"The map keeps neighbours {'better' if trusted else 'no better'} than one of shuffled columns "
        f"(trustworthiness {found.trust:.2f}, null up to {max(found.null_trust):.2f}). {_agreed(agreed, label, point)}"
    )
    return caption, alt


def _agreed(agreed: Agreement | None, label: str, point: str) -> str:
    if agreed is None:
        return f"Whether neighbours have one {label} cannot be said: there is one label, or too few {point}."
    found = (
        f"Of the nearest neighbours {agreed.share:.0%} have the same {label}, with permuted labels "
        f"{agreed.null_share:.0%} (p = {agreed.p:.2g}"
    )
    return f"{found})." if agreed.least_p <= ALPHA else f"{found}; too few {point} to tell)."


def draw_map(view: MapView, *, axes: "Axes | None" = None) -> "Axes":
    """In matplotlib's present settings: a colour and a shape for each label, names where there are few points."""
    drawn = axes_for(axes, 0.95)
    drawn.set_aspect("equal", adjustable="datalim")
    few = len(view.places) <= MOST_NAMED
    for number, label in enumerate(view.all_labels):
        places = view.places[np.array(view.labels) == label]
        style: dict[str, Any] = {"color": colour_of(number), "marker": marker_of(number), "s": 16 if few else 8}
        drawn.scatter(*places.T, label=label.replace("_", " "), linewidths=0, alpha=0.9, zorder=3, **style)
    _frame(drawn, view)
    _key(drawn, view)
    headline(drawn, view, is_alone=axes is None)
    if few:
        drawn.margins(0.12)
        _name_points(drawn, view)
    return drawn


def _frame(axes: "Axes", view: MapView) -> None:
    """Distances of classical scaling have a unit; those of t-SNE have none, and no direction either."""
    axes.set_xlabel(_footnote(view), fontsize="small")
    if view.found.method == "t-SNE":
        axes.grid(visible=False)
        axes.tick_params(labelbottom=False, labelleft=False, length=0)
        axes.set_ylabel("no unit", fontsize="small")
    else:
        axes.set_ylabel("distance (units of the signature)", fontsize="small")


def _footnote(view: MapView) -> str:
    found, agreed = view.found, view.agreement
    low, high = min(found.null_trust), max(found.null_trust)
    lines = [f"{found.method}, n = {view.n:,} {view.point}; trust {found.trust:.2f}, null {low:.2f} to {high:.2f}"]
    if agreed is not None:
        lines.append(
            f"neighbours of one {view.label} {agreed.share:.0%}, null {agreed.null_share:.0%}, p = {agreed.p:.2g}"
        )
    return "\n".join(lines)


def _key(axes: "Axes", view: MapView) -> None:
    figure = figure_of(axes)
    many = len(view.all_labels) > MOST_LARGE
    size = 5.5 if many else 6.5
    longest = max(text_width(label, size) for label in view.all_labels) + 2.6 * size
    columns = int(np.clip(figure.get_figwidth() * 72 * 0.97 // longest, 1, len(view.all_labels)))
    axes.legend(
        loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns, columnspacing=0.8, handletextpad=0.1, borderpad=0,
        handlelength=1.2, markerscale=1.0 if many else 1.2, fontsize=size, labelspacing=0.25, borderaxespad=0.3,
    )  # fmt: skip


def _name_points(axes: "Axes", view: MapView) -> None:
    """A name beside each point where there is room for it; names that do not fit are in the table."""
    figure = figure_of(axes)
    figure.draw_without_rendering()  # The layout decides where points are.
    scale = 72 / figure.dpi
    points = axes.transData.transform(view.places) * scale
    frame = axes.get_window_extent()
    limits = (frame.x0 * scale, frame.y0 * scale, frame.x1 * scale, frame.y1 * scale)
    taken = [(x - 2.5, y - 2.5, x + 2.5, y + 2.5) for x, y in points]
    for name, (x, y) in zip(view.names, points, strict=True):
        text = shortened(name, 22)
        width, height = text_width(text, 5.5), 6.0
        spot = _free_spot(x, y, width, height, taken, limits)
        if spot is not None:
            taken.append((*spot, spot[0] + width, spot[1] + height))
            offset = (spot[0] - x, spot[1] - y + 1)
            axes.annotate(plain(text), _data(axes, x / scale, y / scale), offset, textcoords="offset points",
                          fontsize=5.5, annotation_clip=False, arrowprops=_leader(axes, offset, width)
                          ).set_in_layout(False)  # fmt: skip


def _data(axes: "Axes", x: float, y: float) -> tuple[float, float]:
    found = axes.transData.inverted().transform((x, y))
    return float(found[0]), float(found[1])


def _leader(axes: "Axes", offset: tuple[float, float], width: float) -> dict[str, Any] | None:
    """A thin line to a name that is not beside its point."""
    aside = 0.0 if offset[0] <= 0 <= offset[0] + width else min(abs(offset[0]), abs(offset[0] + width))
    if np.hypot(aside, offset[1]) < 9:
        return None
    end = (
        0.0 if offset[0] > 0 else 1.0 if offset[0] + width < 0 else 0.5,
        0.5 if aside else 0.0 if offset[1] > 0 else 1.0,
    )
    colour = axes.xaxis.label.get_color()
    return {"arrowstyle": "-", "lw": 0.3, "color": colour, "shrinkA": 0, "shrinkB": 0, "relpos": end}


def _free_spot(
    x: float, y: float, width: float, height: float, taken: Sequence[tuple[float, ...]], limits: tuple[float, ...]
) -> tuple[float, float] | None:
    """The lower left corner of a free place near a point, the nearest first."""
    for distance, (right, up) in product((4, 9, 15, 22, 30, 40, 52), DIRECTIONS):
        left = x - width / 2 if right == 0 else x + distance if right > 0 else x - distance - width
        low = y - height / 2 + up * distance
        box = (left, low, left + width, low + height)
        inside = box[0] >= limits[0] and box[1] >= limits[1] and box[2] <= limits[2] and box[3] <= limits[3]
        if inside and not any(_overlap(box, other) for other in taken):
            return left, low
    return None


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def map_page(view: MapView) -> "Figure":
    """The same for a page, with names under the pointer and labels to be switched off."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for number, label in enumerate(view.all_labels):
        which = np.array(view.labels) == label
        text = [inert(f"{view.models[index]}: {view.names[index]}") for index in np.flatnonzero(which)]
        marker = {"color": colour_of(number), "symbol": SYMBOLS[number % len(SYMBOLS)], "size": 8}
        x, y = view.places[which].T
        figure.add_scatter(x=x, y=y, text=text, mode="markers", name=inert(label), marker=marker, hoverinfo="text+name")
    figure.update_xaxes(showticklabels=False, title=_footnote(view).replace("\n", "<br>"))
    figure.update_yaxes(showticklabels=False, scaleanchor="x")
    return page_of(figure, view)
