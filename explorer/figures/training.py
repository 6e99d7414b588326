"""Training curves of a fit beside those of its null, as the fit kept them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from explorer.kept import kept_history
from explorer.lettering import headline
from explorer.pages import page_of
from explorer.panels import axes_for
from explorer.source import Source
from explorer.style import ACCENT, NULL
from explorer.view import View

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from plotly.graph_objects import Figure

__all__ = ["Stack", "TrainingView", "plot_training", "training_page", "training_view"]

Float64 = npt.NDArray[np.float64]
NUM_EPOCHS = 101
"""Places at which curves of different lengths are averaged."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stack:
    """Tensors of one shape that were trained together: curves (P,), of standardised weights."""

    tensors: tuple[str, ...]
    num_weights: int
    stopped_early: bool
    epochs: Float64
    r2: Float64
    null_r2: Float64
    """NaN where no null was fitted."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingView(View):
    """The stacks, and the mean of their curves, weighted by their weights; a stack that has ended keeps its last."""

    stacks: tuple[Stack, ...]
    epochs: Float64
    r2: Float64
    null_r2: Float64

    def table(self) -> "pd.DataFrame":
        """`stack` (`mean`, or its number), `epoch`, `r2`, `null_r2`."""
        import pandas as pd

        mean = pd.DataFrame({"stack": "mean", "epoch": self.epochs, "r2": self.r2, "null_r2": self.null_r2})
        rest = [
            pd.DataFrame({"stack": str(number), "epoch": each.epochs, "r2": each.r2, "null_r2": each.null_r2})
            for number, each in enumerate(self.stacks)
        ]
        return pd.concat([mean, *rest], ignore_index=True)


def training_view(source: Source, model: str) -> TrainingView:
    """Raises what `kept_history` does."""
    stacks = tuple(_stack(each) for each in kept_history(source, model) if each["points"])
    epochs = np.linspace(0, max(float(each.epochs[-1]) for each in stacks), NUM_EPOCHS)
    r2, null = (_mean(stacks, epochs, name) for name in ("r2", "null_r2"))
    count, early = sum(len(each.tensors) for each in stacks), sum(each.stopped_early for each in stacks)
    beside = "no null was fitted" if np.isnan(null[-1]) else f"the null at {null[-1]:.3f}"
    return TrainingView(
        kind="training",
        subject=(model,),
        title="Training of a DNA and of its null",
        subtitle=f"{model}, n = {count} matrices",
        caption=(
            f"R² of the {count} matrices of {model} during the fit, in blue, and of their shuffled copies, in grey, of "
            f"standardised weights. Thin lines are the {len(stacks)} stacks of matrices that were trained together, "
            f"thick ones their mean by numbers of weights. {early} stacks stopped early."
        ),
        alt=f"R² ends at {r2[-1]:.3f}, {beside}, after {epochs[-1]:.0f} epochs.",
        n=count,
        units={"epoch": "epochs"},
        settings={"stacks": len(stacks), "stopped_early": early},
        stacks=stacks,
        epochs=epochs,
        r2=r2,
        null_r2=null,
    )


def _stack(record: Mapping[str, Any]) -> Stack:
    points = record["points"]

    def curve(name: str) -> Float64:
        return np.array([np.nan if point.get(name) is None else point[name] for point in points], dtype=np.float64)

    return Stack(
        tensors=tuple(record["tensors"]),
        num_weights=int(points[-1].get("weights") or 1),
        stopped_early=bool(record["stopped_early"]),
        epochs=curve("epoch"),
        r2=curve("r2"),
        null_r2=curve("null_r2"),
    )


def _mean(stacks: Sequence[Stack], epochs: Float64, name: str) -> Float64:
    curves = [np.interp(epochs, each.epochs, getattr(each, name)) for each in stacks]
    return np.asarray(np.average(curves, axis=0, weights=[each.num_weights for each in stacks]), dtype=np.float64)


def plot_training(view: TrainingView, *, axes: "Axes | None" = None) -> "Axes":
    """R2 against epochs."""
    is_alone, axes = axes is None, axes_for(axes, 0.68)
    for stack in view.stacks:
        axes.plot(stack.epochs, stack.null_r2, color=NULL, lw=0.5, alpha=0.6)
        axes.plot(stack.epochs, stack.r2, color=ACCENT, lw=0.5, alpha=0.5)
    axes.plot(view.epochs, view.null_r2, color=NULL, lw=2, ls="--", label="null")
    axes.plot(view.epochs, view.r2, color=ACCENT, lw=2, label="weights")
    axes.set(xlabel="epoch", ylabel="R² (standardised weights)")
    axes.legend(loc="upper left")
    headline(axes, view, is_alone=is_alone)
    return axes


def training_page(view: TrainingView) -> "Figure":
    """The same for a page, with the tensors of a stack under the pointer."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for number, stack in enumerate(view.stacks):
        name = f"stack {number}, {len(stack.tensors)} matrices"
        for curve, colour in ((stack.null_r2, NULL), (stack.r2, ACCENT)):
            look = {"color": colour, "width": 0.7}
            figure.add_scatter(x=stack.epochs, y=curve, line=look, opacity=0.6, name=name, showlegend=False)
    for name, curve, colour in (("null", view.null_r2, NULL), ("weights", view.r2, ACCENT)):
        figure.add_scatter(x=view.epochs, y=curve, name=name, line={"color": colour, "width": 3})
    figure.update_xaxes(title="epoch")
    figure.update_yaxes(title="R² (standardised weights)")
    return page_of(figure, view)
