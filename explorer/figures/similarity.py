"""How far models are from each other, by their weights and by their kind, in the leaf order of their tree."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import dendrogram

from explorer.leaves import find_leaves
from explorer.lettering import headline, plain, size_of
from explorer.pages import inert, page_of
from explorer.panels import axes_for, figure_of
from explorer.source import Source
from explorer.style import NULL, SEQUENTIAL
from explorer.view import View
from patterndb.records import RELATED

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from plotly.graph_objects import Figure

__all__ = ["SimilarityView", "plot_similarity", "similarity_page", "similarity_view"]

Float64 = npt.NDArray[np.float64]
CELL = 15.0
"""Points of a cell from which on its distance is written into it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SimilarityView(View):
    """Distances (N, N) of N models in leaf order; NaN where two cannot be compared."""

    keys: tuple[str, ...]
    by_weights: Float64
    """0 for copies, 1 for what unrelated models have: its null."""
    by_kind: Float64
    merges: Float64
    """Of the tree, as `scipy.cluster.hierarchy.linkage` gives them."""

    def table(self) -> "pd.DataFrame":
        """A row a pair: `a`, `b`, `weights`, `kind`."""
        import pandas as pd

        rows, cols = np.triu_indices(len(self.keys), 1)
        return pd.DataFrame(
            {
                "a": [self.keys[row] for row in rows],
                "b": [self.keys[col] for col in cols],
                "weights": self.by_weights[rows, cols],
                "kind": self.by_kind[rows, cols],
            }
        )


def similarity_view(source: Source, models: Sequence[str] = ()) -> SimilarityView:
    """Of these models, of all if none is named. Raises what `find_leaves` does."""
    leaves = find_leaves(source, models)
    pairs = leaves.distances.each_once()
    compared, related = int(np.isfinite(pairs.weights).sum()), int((pairs.weights <= RELATED).sum())
    return SimilarityView(
        kind="similarity",
        subject=leaves.keys,
        title="Distances of models",
        subtitle=f"n = {len(leaves.keys)} models",
        caption=(
            f"Distances of {len(leaves.keys)} models: below the diagonal of their weights (0 a copy, 1 what unrelated "
            f"models have, related up to {RELATED:g}), above it of their kind (root mean square difference of the "
            "statistics that both have). Models stand in the order of their tree (average linkage, leaves turned so "
            f"that neighbours are near). Grey cells cannot be compared ({len(pairs.weights) - compared} pairs "
            "by weights)."
        ),
        alt=(
            f"Pairs whose weights can be compared: {compared}. Related, at {RELATED:g} or less: {related}; the "
            "others are as far apart as unrelated models."
        ),
        n=len(leaves.keys),
        units={"weights": "0 a copy, 1 unrelated", "kind": "root mean square of differences in the signature"},
        settings={"linkage": "average", "related": RELATED},
        keys=leaves.keys,
        by_weights=leaves.distances.weights,
        by_kind=leaves.distances.kind,
        merges=leaves.merges,
    )


def plot_similarity(view: SimilarityView, *, axes: "Axes | None" = None) -> "Axes":
    """The matrix, its tree above it, and a scale for each triangle."""
    is_alone, axes = axes is None, axes_for(axes, 1.0)
    count = len(view.keys)
    lower, upper = _triangles(view)
    axes.set_facecolor(NULL)
    looks: dict[str, Any] = {"aspect": "equal", "interpolation": "nearest"}
    below = axes.imshow(lower, cmap=f"{SEQUENTIAL}_r", vmin=0, vmax=1, **looks)
    above = axes.imshow(
        upper, cmap=f"{SEQUENTIAL}_r", vmin=0, vmax=float(np.nanmax(upper, initial=0.0)) or 1.0, **looks
    )
    axes.grid(False)
    axes.spines[:].set_visible(False)
    _name_leaves(axes, view.keys)
    points = 72 * 0.55 * figure_of(axes).get_figwidth() / count
    if points >= CELL:
        _write_numbers(axes, lower, upper)
    tree = axes.inset_axes((0, 1.01, 1, 0.16))
    _draw_tree(tree, view.merges, count)
    figure = figure_of(axes)
    figure.colorbar(above, cax=axes.inset_axes((1.03, 0.55, 0.03, 0.45)), label="kind, above")
    figure.colorbar(below, cax=axes.inset_axes((1.03, 0, 0.03, 0.45)), label="weights, below (1: unrelated)")
    headline(axes, view, is_alone=is_alone)
    return axes


def _triangles(view: SimilarityView) -> tuple[Float64, Float64]:
    """Distances of weights below the diagonal and of kind above it, NaN elsewhere."""
    places = np.arange(len(view.keys))
    is_below = places[:, None] > places
    return np.where(is_below, view.by_weights, np.nan), np.where(is_below.T, view.by_kind, np.nan)


def _name_leaves(axes: "Axes", keys: Sequence[str]) -> None:
    size = size_of(axes.xaxis.label)
    points = 72 * 0.5 * figure_of(axes).get_figwidth() / len(keys)
    step = max(math.ceil(1.15 * size / points), 1)
    places = range(0, len(keys), step)
    axes.set_xticks(list(places), [plain(keys[place]) for place in places], rotation=90)
    axes.set_yticks(list(places), [plain(keys[place]) for place in places])
    axes.tick_params(length=0)


def _write_numbers(axes: "Axes", lower: Float64, upper: Float64) -> None:
    size = max(4.5, min(6.5, 70 / len(lower)))
    top = float(np.nanmax(upper, initial=0.0)) or 1.0
    for values, most in ((lower, 1.0), (upper, top)):
        for row, col in zip(*np.nonzero(np.isfinite(values)), strict=True):
            value = float(values[row, col])
            colour = "#FDFDFD" if value > 0.5 * most else "#0A0A0A"
            axes.text(col, row, f"{value:.2f}", ha="center", va="center", size=size, color=colour)


def _draw_tree(axes: "Axes", merges: Float64, count: int) -> None:
    found = dendrogram(merges, no_plot=True)
    ink = axes.xaxis.label.get_color()
    for x, y in zip(found["icoord"], found["dcoord"], strict=True):
        axes.plot((np.array(x) - 5) / 10, y, color=ink, lw=0.7)
    axes.set(xlim=(-0.5, count - 0.5), ylim=(0, None))
    axes.set_axis_off()


def similarity_page(view: SimilarityView) -> "Figure":
    """The same for a page, with both distances under the pointer."""
    import plotly.graph_objects as go

    lower, upper = _triangles(view)
    figure, names = go.Figure(), [inert(key) for key in view.keys]
    below = {"len": 0.45, "y": 0.22, "title": "weights"}
    above = {"len": 0.45, "y": 0.78, "title": "kind"}
    shared: dict[str, Any] = {"x": names, "y": names, "hoverongaps": False}
    figure.add_heatmap(
        z=lower, zmin=0, zmax=1, colorscale=SEQUENTIAL, reversescale=True, name="weights", colorbar=below, **shared
    )
    # plotly takes a lower end of the scale only with an upper one.
    top = float(np.nanmax(upper, initial=0.0)) or 1.0
    figure.add_heatmap(
        z=upper, zmin=0, zmax=top, colorscale=SEQUENTIAL, reversescale=True, name="kind", colorbar=above, **shared
    )
    figure.update_yaxes(autorange="reversed", type="category")
    figure.update_xaxes(type="category")
    return page_of(figure, view).update_layout(plot_bgcolor=NULL)
