"""Singular values of a matrix beside what no structure at all would give, and the power law of their tail."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from explorer.lettering import headline, legend_above, log_ticks
from explorer.pages import page_of
from explorer.panels import axes_for
from explorer.samples import sample_of
from explorer.source import Source
from explorer.style import ACCENT, NULL, colour_of
from explorer.view import View
from pipeline.analyse.statistics.heavy_tail import PowerLaw, fit_power_law
from pipeline.decomposition import singular_values

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from plotly.graph_objects import Figure

__all__ = ["SingularValuesView", "plot_singular_values", "singular_values_page", "singular_values_view"]

Float64 = npt.NDArray[np.float64]
NUM_NULLS = 4
SHOWN = 100
"""Singular values below the largest by more than this factor are left out of the picture: they are in the table."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SingularValuesView(View):
    """Singular values (L,), L = min(R, C), descending, of a matrix in units of its weights."""

    tensor: str
    shape: tuple[int, int]
    values: Float64
    nulls: Float64
    """Of shuffled copies, (draws, L)."""
    edge: float
    """The largest singular value of iid values of that variance, to first order: Marchenko and Pastur's upper edge."""
    law: PowerLaw | None
    """Of the eigenvalues, the squares."""

    @property
    def above(self) -> int:
        """How many singular values are beyond the largest of every null."""
        return int((self.values > self.nulls.max()).sum())

    def table(self) -> "pd.DataFrame":
        """`rank` from 1, `value`, and the least and largest over the nulls at that rank."""
        import pandas as pd

        ranks = np.arange(1, len(self.values) + 1)
        low, high = self.nulls.min(axis=0), self.nulls.max(axis=0)
        return pd.DataFrame({"rank": ranks, "value": self.values, "null_low": low, "null_high": high})


def singular_values_view(source: Source, model: str, tensor: str, *, num_nulls: int = NUM_NULLS) -> SingularValuesView:
    """Raises what `Source.matrices` does, and `UnknownTensorError`."""
    with source.matrices(model) as matrices:
        sample = sample_of(matrices[tensor])
        values = singular_values(sample.in_file_order)
        nulls = np.stack([singular_values(sample.shuffled(draw)) for draw in range(num_nulls)])
        weights, seed = sample.in_file_order, sample.matrix.seed
    rows, cols = weights.shape
    law, edge = fit_power_law(values**2), float(np.std(weights, dtype=np.float64) * (np.sqrt(rows) + np.sqrt(cols)))
    above = int((values > nulls.max()).sum())
    return SingularValuesView(
        kind="singular-values",
        subject=(model,),
        title="Singular values of a matrix",
        subtitle=f"{model}: {tensor}",
        caption=(
            f"Singular values of {tensor} of {model} ({sample.said()}), and of {num_nulls} shuffled copies (grey). "
            f"The dotted line is the edge that iid values of this variance have (Marchenko and Pastur). {_tail(law)}"
        ),
        alt=(
            f"{above} of {len(values)} singular values are beyond the largest of {num_nulls} shuffled copies; the "
            f"largest is {values[0] / nulls.max():.2f} times that."
        ),
        n=len(values),
        units={"value": "weights", "null_low": "weights", "null_high": "weights"},
        settings={"num_nulls": num_nulls, "null": "shuffle", "seed": seed},
        tensor=tensor,
        shape=(rows, cols),
        values=values,
        nulls=nulls,
        edge=edge,
        law=law,
    )


def _tail(law: PowerLaw | None) -> str:
    if law is None:
        return "There are too few values for a power law."
    return (
        f"The dashed line is the power law nearest to the tail of the eigenvalues: exponent {law.alpha:.2f} from "
        f"{law.xmin:.3g} on ({law.num_tail} values), Kolmogorov-Smirnov distance {law.distance:.3f}."
    )


def plot_singular_values(view: SingularValuesView, *, axes: "Axes | None" = None) -> "Axes":
    """Log-log, ranks from 1, in matplotlib's present settings."""
    table, drawn = view.table(), axes_for(axes, 0.72)
    drawn.fill_between(
        table["rank"], table["null_low"], table["null_high"], color=NULL, alpha=0.5, lw=1.2, label="null"
    )
    drawn.plot(table["rank"], table["value"], color=ACCENT, label="weights")
    drawn.axhline(view.edge, color=NULL, ls=":", label="iid edge")
    if view.law is not None:
        ranks, fitted = _fitted(view.law, len(view.values))
        drawn.plot(ranks, fitted, color=colour_of(1), ls="--", label=f"power law, {view.law.alpha:.2f}")
    drawn.set(xscale="log", yscale="log", xlabel=f"rank (n = {view.n})", ylabel="singular value (weights)")
    largest, least = float(view.values[0]), float(min(view.values[-1], view.nulls.min()))
    drawn.set_ylim(bottom=max(largest / SHOWN, least / 1.3), top=1.5 * max(largest, float(view.nulls.max())))
    log_ticks(drawn, "x", "y")
    legend_above(drawn, columns=4)
    headline(drawn, view, is_alone=axes is None)
    return drawn


def _fitted(law: PowerLaw, count: int) -> tuple[Float64, Float64]:
    """Ranks and singular values of the power law's tail: of its n eigenvalues, rank r is where 1 - F = r / n."""
    ranks = np.arange(1, law.num_tail + 1, dtype=np.float64)
    return ranks, np.sqrt(law.xmin * (ranks / law.num_tail) ** (-1 / (law.alpha - 1)))


def singular_values_page(view: SingularValuesView) -> "Figure":
    """The same for a page, with the numbers of each rank under the pointer."""
    import plotly.graph_objects as go

    table, figure = view.table(), go.Figure()
    quiet: dict[str, Any] = {"mode": "lines", "line": {"color": NULL, "width": 1}, "legendgroup": "null"}
    figure.add_scatter(x=table["rank"], y=table["null_high"], name="null", **quiet)
    figure.add_scatter(x=table["rank"], y=table["null_low"], name="null", fill="tonexty", showlegend=False, **quiet)
    figure.add_scatter(x=table["rank"], y=table["value"], name="weights", mode="lines", line={"color": ACCENT})
    figure.add_hline(y=view.edge, line={"color": NULL, "dash": "dot"})
    if view.law is not None:
        ranks, fitted = _fitted(view.law, len(view.values))
        figure.add_scatter(x=ranks, y=fitted, name="power law", line={"color": colour_of(1), "dash": "dash"})
    figure.update_xaxes(type="log", title=f"rank (n = {view.n})")
    figure.update_yaxes(type="log", title="singular value (weights)")
    return page_of(figure, view)
