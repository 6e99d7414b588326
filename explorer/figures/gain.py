"""Gain over the null by role and depth: what each role's DNAs explain beyond means and beyond chance."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from explorer.leaves import entries_of
from explorer.lettering import headline, plain, plural, size_of
from explorer.pages import inert, page_of
from explorer.panels import axes_for, figure_of, split_axes
from explorer.source import Source
from explorer.style import ACCENT, NULL, colour_of, marker_of
from explorer.view import View
from patterndb.records import FitRecord, TensorRecord

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from plotly.graph_objects import Figure

__all__ = ["GainPoint", "GainView", "gain_page", "gain_view", "plot_gain"]

COLUMNS = 3
NARROW = 4.5
"""Inches below which there are two columns."""
MOST_NAMED = 16
"""Models that a legend tells apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GainPoint:
    """The tensors of one role and block of one model together, by their weights."""

    model: str
    role: str
    block: int | None
    depth: float | None
    tensors: int
    gain: float
    r2: float
    null_r2: float
    null_std: float | None
    """Of the fits of the null, where there are two or more and one tensor."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GainView(View):
    """Points of every model, role by role."""

    points: tuple[GainPoint, ...]

    @property
    def roles(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(point.role for point in self.points))

    def table(self) -> "pd.DataFrame":
        import pandas as pd

        return pd.DataFrame(self.points, columns=GainPoint.__slots__)


def gain_view(source: Source, models: Sequence[str] = ()) -> GainView:
    """Of these models, of all if none is named. Raises `NotMinedError`, naming near misses."""
    keys = tuple(entry.model.key for entry in entries_of(source, models))
    points: list[GainPoint] = []
    nulls, without = set[int](), []
    for key in keys:
        pattern = source.database.load_pattern(key)
        found, fit = _points(key, pattern.tensors), pattern.fit
        points += found
        if not found:
            without.append(key)
        elif fit is not None:
            nulls.add(fit.num_nulls)
    points.sort(key=lambda each: (each.role, each.model, -1 if each.depth is None else each.depth))
    best = max(points, key=lambda each: each.gain, default=None)
    above = sum(point.gain > 0 for point in points)
    left_out = f" Without a fitted null and not shown: {', '.join(without)}." if without else ""
    return GainView(
        kind="gain",
        subject=keys,
        title="Gain over the null",
        subtitle=f"n = {sum(point.tensors for point in points)} tensors of {plural(len(keys) - len(without), 'model')}",
        caption=(
            "R² of the DNA less that of the same fit of shuffled copies that keep row and column means "
            f"({_listed(nulls)} of them), by role and relative depth, for "
            f"{plural(len(keys) - len(without), 'model')}. Each point is the tensors of one block, "
            "weighted by their numbers of weights. Grey, at zero, is the null; tensors "
            f"outside the blocks stand at depths 0 and 1.{left_out}"
        ),
        alt="No gain is known: no null was fitted."
        if best is None
        else (
            f"{above} of {len(points)} points lie above their null; the largest gain is {best.gain:.3f}, of "
            f"{best.role} in {best.model}."
        ),
        n=sum(point.tensors for point in points),
        units={"depth": "0 first block to 1 last", "gain": "R²"},
        settings={"null": "shuffle that keeps means", "num_nulls": sorted(nulls)},
        points=tuple(points),
    )


def _listed(nulls: set[int]) -> str:
    return " or ".join(map(str, sorted(nulls))) or "none"


def _points(model: str, tensors: Sequence[TensorRecord]) -> list[GainPoint]:
    groups: dict[tuple[str, int | None, float | None], list[FitRecord]] = defaultdict(list)
    for tensor in tensors:
        if tensor.fit is not None and tensor.fit.strictest_null_r2 is not None:
            groups[tensor.role, tensor.block, tensor.depth].append(tensor.fit)
    return [_pooled(model, *place, fits) for place, fits in groups.items()]


def _pooled(model: str, role: str, block: int | None, depth: float | None, fits: Sequence[FitRecord]) -> GainPoint:
    weights = [fit.num_weights for fit in fits]
    r2 = float(np.average([fit.r2 for fit in fits], weights=weights))
    null = float(np.average([fit.strictest_null_r2 or 0.0 for fit in fits], weights=weights))
    std = fits[0].means_null_r2_std if len(fits) == 1 else None
    return GainPoint(
        model=model,
        role=role,
        block=block,
        depth=depth,
        tensors=len(fits),
        gain=r2 - null,
        r2=r2,
        null_r2=null,
        null_std=std,
    )


def plot_gain(view: GainView, *, axes: "Axes | None" = None) -> "Axes":
    """A panel for each role, all with one scale; a line for each model."""
    import matplotlib.pyplot as plt

    roles, models = view.roles, tuple(dict.fromkeys(point.model for point in view.points))
    is_alone = axes is None
    cols = COLUMNS if not is_alone or plt.rcParams["figure.figsize"][0] >= NARROW else 2
    rows = max(-(-len(roles) // cols), 1)
    axes = axes_for(axes, 0.14 + 0.82 * rows / cols)
    panels = split_axes(axes, rows, cols, len(roles), share=True)
    for place, (panel, role) in enumerate(zip(panels, roles, strict=True)):
        panel.axhline(0, color=NULL, lw=2, label="null")
        own = [each for each in view.points if each.role == role]
        for number, model in enumerate(models):
            if len(models) <= MOST_NAMED:
                _draw_line(panel, [each for each in own if each.model == model], number, model)
        if len(models) > MOST_NAMED:
            _draw_many(panel, own)
        is_first, is_last = place % cols == 0, place + cols >= len(roles)
        panel.set(title=role.replace("_", " "), xlim=(-0.08, 1.08))
        panel.set(xlabel="relative depth" if is_last else "", ylabel="gain (R²)" if is_first else "")
        panel.tick_params(labelleft=is_first, labelbottom=is_last)
    if panels:
        _add_legend(axes, panels)
    headline(axes, view, is_alone=is_alone)
    return axes


def _draw_line(axes: "Axes", points: Sequence[GainPoint], number: int, model: str) -> None:
    """Where depth means nothing the points stand in the middle."""
    if points:
        depths = [0.5 if each.depth is None else each.depth for each in points]
        spread = [0.0 if each.null_std is None else each.null_std for each in points]
        bars = spread if any(spread) else None
        axes.errorbar(
            depths, [each.gain for each in points], bars, color=colour_of(number), marker=marker_of(number), ms=3,
            lw=0.9, elinewidth=0.6, label=plain(model),
        )  # fmt: skip


def _draw_many(axes: "Axes", points: Sequence[GainPoint]) -> None:
    """Models that nobody could tell apart: their points, and the median of each tenth of the depth."""
    depths = np.array([0.5 if each.depth is None else each.depth for each in points])
    gains, tenths = np.array([each.gain for each in points]), np.round(depths, 1)
    axes.plot(depths, gains, "o", color=ACCENT, ms=1.5, alpha=0.3, label="models")
    medians = [float(np.median(gains[tenths == tenth])) for tenth in np.unique(tenths)]
    axes.plot(np.unique(tenths), medians, "s-", color=colour_of(1), ms=3, lw=1.2, label="median of a tenth of depth")


def _add_legend(axes: "Axes", panels: "Sequence[Axes]") -> None:
    handles = {
        label: handle for panel in panels for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    width = figure_of(axes).get_figwidth()
    longest = max(map(len, handles)) + 5
    ncols = max(1, min(len(handles), math.floor(width * 72 / (longest * size_of(axes.xaxis.label) * 0.55))))
    axes.get_figure().legend(handles.values(), handles, loc="outside lower center", ncols=ncols)  # type: ignore[union-attr]


def gain_page(view: GainView) -> "Figure":
    """The same for a page."""
    from plotly.subplots import make_subplots

    roles, models = view.roles, tuple(dict.fromkeys(point.model for point in view.points))
    rows = max(-(-len(roles) // COLUMNS), 1)
    figure = make_subplots(rows, COLUMNS, shared_xaxes=True, shared_yaxes=True, subplot_titles=roles)
    seen = set[str]()
    for place, role in enumerate(roles):
        for number, model in enumerate(models):
            points = [each for each in view.points if (each.role, each.model) == (role, model)]
            if not points:
                continue
            figure.add_scatter(
                x=[each.depth for each in points],
                y=[each.gain for each in points],
                name=inert(model),
                legendgroup=model,
                showlegend=model not in seen,
                line={"color": colour_of(number)},
                row=place // COLUMNS + 1,
                col=place % COLUMNS + 1,
            )
            seen.add(model)
    figure.add_hline(y=0, line={"color": NULL})
    figure.update_xaxes(title="relative depth", row=rows)
    figure.update_yaxes(title="gain (R²)", col=1)
    return page_of(figure.update_layout(height=220 * rows + 120), view)
