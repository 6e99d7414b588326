"""What the DNA of a matrix oscillates with: the frequencies of its first layers, and how much of each is in weights."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from explorer.lettering import headline, legend_above, log_ticks
from explorer.pages import page_of
from explorer.panels import axes_for
from explorer.source import Source
from explorer.style import ACCENT, NULL, colour_of, marker_of
from explorer.view import View, three
from pipeline.dna.dna import DnaTensor
from pipeline.fit.networks import SeparableDna, Siren

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from plotly.graph_objects import Figure

__all__ = ["FrequenciesView", "frequencies_page", "frequencies_view", "plot_frequencies"]

AXES = ("row", "col")
SLOWEST = 0.01
"""Cycles: what oscillates less is drawn there."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrequenciesView(View):
    """The units of a DNA's first layers: a row each, as `DnaTensor.frequencies()` has them."""

    tensor: str
    shape: tuple[int, int]
    units_found: "pd.DataFrame"
    start: float | None
    """Cycles that a unit has at most before it is trained; None where kinds of units start apart."""

    def table(self) -> "pd.DataFrame":
        return self.units_found


def frequencies_view(source: Source, model: str, tensor: str) -> FrequenciesView:
    """Needs no weights. Raises `NotMinedError`, `DnaFileError` and `UnknownTensorError`."""
    found = source.dna(model)[tensor]
    units = found.frequencies()
    rows, cols = found.shape
    start = _start(found)
    strongest = units.iloc[0]
    slow, fast = (float(np.quantile(_cycles(units), share)) for share in (0.1, 0.9))
    return FrequenciesView(
        kind="frequencies",
        subject=(model,),
        title="What a DNA oscillates with",
        subtitle=f"{model}: {tensor}",
        caption=(
            f"The {len(units):,} sine units in the first layers of the DNA of {tensor} of {model} ({rows:,} x "
            f"{cols:,}, {found.contents.settings.dna_type}): whole cycles from the first row or column to the last, "
            f"and the amplitude in units of the weights, to first order. "
            + (f"Before training, units have up to {start:.1f} cycles (shaded). " if start else "")
            + f"R² of this DNA is {three(found.r2)}, that of shuffled copies {three(found.null_r2)}; the DNA of "
            f"shuffled copies is not kept, so their units are not drawn."
        ),
        alt=(
            f"The strongest unit has {_of(strongest)} and an amplitude of {strongest['amplitude']:.3g}; four fifths of "
            f"all {len(units):,} units have between {slow:.2g} and {fast:.2g} cycles."
        ),
        n=len(units),
        units={"row_cycles": "cycles", "col_cycles": "cycles", "depth_cycles": "cycles", "amplitude": "weights"},
        settings={"dna_type": found.contents.settings.dna_type, "omega": float(found.contents.settings.omega)},
        tensor=tensor,
        shape=found.shape,
        units_found=units,
        start=start,
    )


def _of(unit: "pd.Series[float]") -> str:
    return f"{unit['row_cycles']:.2g} cycles along rows and {unit['col_cycles']:.2g} along columns"


def _cycles(units: "pd.DataFrame") -> "pd.Series[float]":
    found: pd.Series[float] = units[["row_cycles", "col_cycles"]].max(axis=1)
    return found


def _start(tensor: DnaTensor) -> float | None:
    """omega |w| / pi for the largest weight that a first layer of D inputs starts with, 1 / D."""
    settings = tensor.contents.settings
    if settings.dna_type not in ("separable", "spectral"):
        return None
    net = tensor.decoder.net
    first = net.rows[0] if isinstance(net, SeparableDna) else net.net
    assert isinstance(first, Siren)
    omega = max(net.row_omega, net.col_omega) if isinstance(net, SeparableDna) else settings.omega
    return float(omega / first.weights[0].shape[-2] / np.pi)


def plot_frequencies(view: FrequenciesView, *, axes: "Axes | None" = None) -> "Axes":
    """Log-log, a marker for each unit and axis, in matplotlib's present settings."""
    from matplotlib import rcParams

    drawn = axes_for(axes, 0.72)
    if view.start:
        drawn.axvspan(SLOWEST, view.start, color=rcParams["grid.color"], alpha=0.5, lw=0, label="before training")
    for place, (axis, colour) in enumerate(zip(AXES, (ACCENT, colour_of(1)), strict=True)):
        units = _along(view, axis)
        cycles = np.maximum(units[f"{axis}_cycles"], SLOWEST)
        name = "rows" if axis == "row" else "columns"
        style: dict[str, Any] = {"color": colour, "marker": marker_of(place), "s": 11, "alpha": 0.75, "linewidths": 0}
        drawn.scatter(cycles, units["amplitude"], label=f"{name} ({len(units)})", **style)
    drawn.set(
        xscale="log",
        yscale="log",
        xlabel=f"cycles from end to end (n = {view.n:,} units)",
        ylabel="amplitude (weights)",
    )
    drawn.set_xlim(left=max(float(_cycles(view.units_found).min()) / 2, SLOWEST))
    log_ticks(drawn, "x", "y")
    legend_above(drawn)
    headline(drawn, view, is_alone=axes is None)
    return drawn


def _along(view: FrequenciesView, axis: str) -> "pd.DataFrame":
    """Units that oscillate along an axis at all; those of a pointwise DNA do along both."""
    units = view.units_found
    return units[(units[f"{axis}_cycles"] > 0) & (units["amplitude"] > 0)]


def frequencies_page(view: FrequenciesView) -> "Figure":
    """The same for a page, with network and unit under the pointer."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for axis, colour, symbol in zip(AXES, (ACCENT, colour_of(1)), ("circle", "square"), strict=True):
        units = _along(view, axis)
        text = [f"{network}, unit {unit}" for network, unit in zip(units["network"], units["unit"], strict=True)]
        name = f"along {'rows' if axis == 'row' else 'columns'}"
        marker = {"color": colour, "symbol": symbol, "size": 6, "opacity": 0.75}
        x, y = units[f"{axis}_cycles"], units["amplitude"]
        figure.add_scatter(x=x, y=y, text=text, mode="markers", name=name, marker=marker)
    if view.start:
        slowest = max(float(_cycles(view.units_found).min()) / 2, SLOWEST)
        figure.add_vrect(x0=slowest, x1=view.start, fillcolor=NULL, opacity=0.2, line_width=0, layer="below")
    figure.update_xaxes(type="log", title=f"cycles from end to end (n = {view.n:,} units)")
    figure.update_yaxes(type="log", title="amplitude (weights)")
    return page_of(figure, view)
