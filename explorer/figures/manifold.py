"""The weights of a model as points in space: row, column and depth, in canonical order beside the order of the file.

P = points, M = matrices.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from dna_zoo.errors import SettingsError
from explorer.lettering import headline
from explorer.pages import inert, page_of, plotly_diverging
from explorer.panels import axes_for, figure_of
from explorer.points import interleave, quotas, sample_places
from explorer.source import MinedMatrices, MinedMatrix, Source
from explorer.style import colour_of, diverging, marker_of
from explorer.view import View
from patterndb.records import PatternRecord

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from plotly.graph_objects import Figure

__all__ = ["Colour", "ManifoldView", "manifold_page", "manifold_view", "plot_manifold"]

Float64 = npt.NDArray[np.float64]
Colour = Literal["value", "role"]
MOST_POINTS = 20_000
MOST_DRAWN = 8000
"""Points of a figure for a paper; the table has all that were sampled."""
MOST_SIZED = 4.0
"""Standard deviations beyond which a point grows no more: what is near the mean is faint, what stands out is seen."""
CLIPPED = 2.5
"""Standard deviations at which the colours end."""
LOW = "spectra.low_share"
ALPHA = 0.05
ORDERS = ("canonical order", "file order")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ManifoldView(View):
    """Weights drawn at random, as many of each matrix, in an order of which every prefix is a fair sample."""

    points: "pd.DataFrame"
    """`tensor`, `role`, `row`, `col` (canonical) and `file_row`, `file_col` from -1 to 1, `depth` from 0 to 1,
    `height` (where it is drawn: the roles of a block stand one above the other), `value` in the signs of the canonical
    order, `deviations` (from the mean of its matrix, in its standard deviations), `index_row`, `index_col` in file."""
    colour: Colour
    roles: tuple[str, ...]
    population: int
    """Weights of all matrices."""

    def table(self) -> "pd.DataFrame":
        return self.points


def manifold_view(
    source: Source, model: str, *, num_points: int = MOST_POINTS, by: Colour = "value", seed: int = 0
) -> ManifoldView:
    """A sample that is stratified by matrix: a table of tokens has no more points than any other.

    Raises what `Source.matrices` does, and `SettingsError` for a sample of nothing or another colour.
    """
    if num_points < 1:
        raise SettingsError(f"`num_points` is {num_points}.", hint="Give a number above 0.")
    if by not in get_args(Colour):
        raise SettingsError(f"A manifold is not coloured by {by!r}.", hint="Choose one of: value, role.")
    with source.matrices(model) as matrices:
        points, population = _sample(matrices, num_points, seed)
        count, pattern = len(matrices), matrices.pattern
    roles = tuple(dict.fromkeys(points.sort_values("height")["role"]))
    return ManifoldView(
        kind="manifold",
        subject=(model,),
        title="The weights of a model by row, column and depth",
        subtitle=f"{model}: {len(points):,} of {population:,} weights",
        caption=(
            f"{len(points):,} of {population:,} weights of {model}, as many of each of its {count} matrices as it has "
            f"or as fit, drawn at random (seed {seed}); a prefix of the table is a fair sample. Left in canonical "
            f"order, right the same weights where the file has them. Matrices of a block stand one above the other by "
            f"role. "
            + ("Colours and sizes: deviations from the mean of a matrix." if by == "value" else "Colours: roles.")
        ),
        alt=(
            f"Colours and sizes are deviations of weights, in canonical order and in file order. {_finding(pattern)}"
            if by == "value"
            else f"Colours are roles. {_finding(pattern)}"
        ),
        n=len(points),
        units={"row": "-1 first, 1 last", "col": "-1 first, 1 last", "file_row": "-1 first, 1 last",
               "file_col": "-1 first, 1 last", "depth": "0 first, 1 last", "value": "weights",
               "deviations": "standard deviations of the matrix"},
        settings={"seed": seed, "num_points": num_points, "by": by},
        points=points,
        colour=by,
        roles=roles,
        population=population,
    )  # fmt: skip


def _sample(matrices: MinedMatrices, total: int, seed: int) -> "tuple[pd.DataFrame, int]":
    import pandas as pd

    sizes = [matrix.spec.rows * matrix.spec.cols for matrix in matrices]
    heights = _heights(list(matrices))
    parts = []
    for number, (matrix, count) in enumerate(zip(matrices, quotas(sizes, total), strict=True)):
        part = _points(matrix, count, np.random.default_rng([seed, number, sizes[number]]))
        parts.append(part.assign(height=heights[number]))
    order = interleave([len(part) for part in parts], np.random.default_rng([seed, len(parts)]))
    return pd.concat(parts, ignore_index=True).iloc[order].reset_index(drop=True), sum(sizes)


def _points(matrix: MinedMatrix, count: int, rng: np.random.Generator) -> "pd.DataFrame":
    """So many weights of a matrix, each at most once."""
    import pandas as pd

    (rows, cols), order = matrix.dna.shape, matrix.order
    row, col = sample_places((rows, cols), count, rng)
    file_row, file_col = order.rows[row], order.cols[col]
    weights = matrix.reader.matrix(matrix.spec)
    values = weights[file_row, file_col].astype(np.float64)
    values = values * (1 if order.row_signs is None else order.row_signs[row])
    values = values * (1 if order.col_signs is None else order.col_signs[col])
    mean, std = float(weights.mean(dtype=np.float64)), float(weights.std(dtype=np.float64)) or 1.0
    is_signed = order.row_signs is not None or order.col_signs is not None
    depth = matrix.dna.depth
    return pd.DataFrame({
        "tensor": matrix.name, "role": matrix.dna.role.value, "row": _along(row, rows), "col": _along(col, cols),
        "file_row": _along(file_row, rows), "file_col": _along(file_col, cols),
        "depth": np.nan if depth is None else depth, "value": values,
        "deviations": (values - (0.0 if is_signed else mean)) / std, "index_row": file_row, "index_col": file_col,
    })  # fmt: skip


def _along(index: npt.NDArray[Any], length: int) -> Float64:
    return np.asarray(2 * index / max(length - 1, 1) - 1 if length > 1 else np.zeros(len(index)), dtype=np.float64)


def _heights(matrices: Sequence[MinedMatrix]) -> list[float]:
    """Where each matrix is drawn: at its depth, and those of one depth spread over the room up to the next."""
    depths = [0.5 if matrix.dna.depth is None else matrix.dna.depth for matrix in matrices]
    steps = np.diff(np.unique(depths))
    room = 0.8 * float(steps.min()) if len(steps) else 0.8
    found = []
    for place, depth in enumerate(depths):
        same = [index for index, other in enumerate(depths) if other == depth]
        share = (same.index(place) + 0.5) / len(same) - 0.5
        found.append(depth + room * share)
    return found


def _finding(pattern: PatternRecord) -> str:
    """Whether canonical order makes neighbours alike, as the analysis found it over all matrices with its null."""
    found = next((each for each in pattern.statistics if each.name == LOW), None)
    if found is None or found.null_mean is None:
        return "Whether neighbours are alike was not measured."
    beyond = found.p is not None and found.p <= ALPHA and found.value > found.null_mean
    return (
        f"Of all matrices together, {found.value:.1%} of the variance in canonical order is in the lowest 1/22 of the "
        f"frequencies, and {found.null_mean:.1%} in shuffled copies put into order (p = {_p(found.p)}): neighbours are "
        f"{'more alike than chance makes them' if beyond else 'no more alike than chance makes them'}."
    )


def _p(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2g}"


def plot_manifold(view: ManifoldView, *, axes: "Axes | None" = None) -> "Axes":
    """Two clouds side by side; in matplotlib's present settings. Returns the axes of the canonical order."""
    whole = axes_for(axes, 0.8)
    whole.set_axis_off()
    figure, spec = whole.get_figure(), whole.get_subplotspec()
    assert figure is not None and spec is not None, "Axes are those of a grid."
    grid = spec.subgridspec(2, 2, height_ratios=(1.0, 0.05 if view.colour == "value" else 0.24), hspace=0.02)
    shown = view.points.iloc[:MOST_DRAWN]
    parts = [figure.add_subplot(grid[0, place], projection="3d") for place in range(2)]
    for part, order in zip(parts, ORDERS, strict=True):
        artist = _cloud(part, shown, order, view)
        part.set_title(order, fontsize="medium", pad=0)
    _key(figure.add_subplot(grid[1, :]), artist, view)
    headline(whole, view, is_alone=axes is None)
    return parts[0]  # type: ignore[no-any-return]


def _cloud(axes: Any, points: "pd.DataFrame", order: str, view: ManifoldView) -> Any:
    row, col = ("row", "col") if order == ORDERS[0] else ("file_row", "file_col")
    common = {"linewidths": 0, "depthshade": False, "rasterized": True}
    artist = None
    if view.colour == "value":
        colours = {"c": points["deviations"], "cmap": diverging(on_paper=True), "vmin": -CLIPPED, "vmax": CLIPPED}
        sizes = 0.1 + 0.4 * np.minimum(points["deviations"].abs(), MOST_SIZED) ** 2
        artist = axes.scatter(points[row], points[col], points["height"], s=sizes, alpha=0.9, **colours, **common)
    else:
        for place, role in enumerate(view.roles):
            part = points[points["role"] == role]
            style = {"color": colour_of(place), "marker": marker_of(place), "alpha": 0.8, "s": 1.6}
            axes.scatter(part[row], part[col], part["height"], **style, **common)
    _frame(axes, is_labelled=order == ORDERS[0])
    return artist


def _frame(axes: Any, *, is_labelled: bool) -> None:
    import matplotlib

    axes.set(xlim=(-1, 1), ylim=(-1, 1), zlim=(-0.02, 1.02), xticks=[-1, 0, 1], yticks=[-1, 0, 1], zticks=[0, 0.5, 1])
    axes.set_zticklabels(["0", ".5", "1"])
    axes.set_xlabel("row", labelpad=-9)
    axes.set_ylabel("column", labelpad=-9)
    axes.set_zlabel("depth" if is_labelled else "", labelpad=-10)
    axes.tick_params(pad=-4, labelsize=matplotlib.rcParams["font.size"] - 2)
    axes.view_init(elev=14, azim=-58)
    axes.set_box_aspect((1, 1, 1.25), zoom=0.95)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_pane_color((0, 0, 0, 0))
        axis._axinfo["grid"].update(color=matplotlib.rcParams["grid.color"], linewidth=0.4)


def _key(axes: "Axes", artist: Any, view: ManifoldView) -> None:
    """The meaning of the colours, below both clouds."""
    axes.set_axis_off()
    if artist is None:
        _role_key(axes, view.roles)
        return
    _value_key(axes, artist)


def _value_key(axes: "Axes", artist: Any) -> None:
    inner = axes.inset_axes((0.25, 0.0, 0.5, 1.0))
    bar = figure_of(axes).colorbar(artist, cax=inner, orientation="horizontal", extend="both", ticks=[-2, 0, 2])
    bar.set_label("weight, in standard deviations of its matrix", labelpad=1)
    inner.grid(visible=False)


def _role_key(axes: "Axes", roles: Sequence[str]) -> None:
    import matplotlib
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour_of(place), marker=marker_of(place), ls="", ms=3, label=role.replace("_", " "))
        for place, role in enumerate(roles)
    ]
    columns = 3 if matplotlib.rcParams["figure.figsize"][0] < 4.5 else 5
    axes.legend(handles=handles, loc="center", ncols=columns, columnspacing=0.8, handletextpad=0.1, borderpad=0)


def manifold_page(view: ManifoldView) -> "Figure":
    """Both clouds for a page, all points of them, with the weight under the pointer."""
    from plotly.subplots import make_subplots

    scenes = [{"type": "scene"}, {"type": "scene"}]
    figure = make_subplots(rows=1, cols=2, specs=[scenes], subplot_titles=ORDERS, horizontal_spacing=0.02)
    points = view.points.iloc[:MOST_POINTS]
    is_named = view.colour == "role"  # A legend cannot show a colour that is a number.
    for place, (row, col) in enumerate((("row", "col"), ("file_row", "file_col")), 1):
        for number, role in enumerate(view.roles):
            part = points[points["role"] == role]
            trace = _trace(part, row, col, number, view)
            figure.add_scatter3d(
                **trace, name=role, legendgroup=role, showlegend=is_named and place == 1, row=1, col=place
            )
    ranges = {"row": ("xaxis", [-1, 1]), "column": ("yaxis", [-1, 1]), "depth": ("zaxis", [-0.02, 1.02])}
    axes = {axis: {"title": name, "range": span} for name, (axis, span) in ranges.items()}
    cube = {"aspectmode": "cube", "camera": {"eye": {"x": 1.7, "y": -1.9, "z": 0.7}}, **axes}
    colours = {"colorscale": plotly_diverging(), "cmin": -CLIPPED, "cmax": CLIPPED, "colorbar": {"title": "SD"}}
    figure.update_layout(
        scene=cube,
        scene2=cube,
        coloraxis=colours,
        legend={"itemsizing": "constant", "orientation": "h", "x": 0, "y": -0.02},
    )
    return page_of(figure, view)


def _trace(part: "pd.DataFrame", row: str, col: str, number: int, view: ManifoldView) -> dict[str, Any]:
    is_value = view.colour == "value"
    colour = {"color": part["deviations"], "coloraxis": "coloraxis"} if is_value else {"color": colour_of(number)}
    return {
        "x": part[row], "y": part[col], "z": part["height"], "mode": "markers",
        # A circle is made of many more triangles: 100,000 of them take 793 MB.
        "marker": {"size": 2, "symbol": "diamond", **colour},
        "customdata": part[["tensor", "index_row", "index_col", "value"]].assign(tensor=part["tensor"].map(inert)),
        "hovertemplate": "%{customdata[0]}<br>row %{customdata[1]}, column %{customdata[2]} of the file<br>"
                         "weight %{customdata[3]:.4g}<extra></extra>",
    }  # fmt: skip
