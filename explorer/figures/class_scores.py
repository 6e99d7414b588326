"""How well each class fits each model, and the class that won."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from explorer.leaves import entries_of
from explorer.lettering import headline, plain, plural, size_of
from explorer.pages import inert, page_of
from explorer.panels import axes_for, figure_of
from explorer.source import Source
from explorer.style import SEQUENTIAL
from explorer.view import View
from pipeline.analyse.classes import UNCALIBRATED

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from plotly.graph_objects import Figure

__all__ = ["ClassScoresView", "class_scores_page", "class_scores_view", "plot_class_scores"]

Float64 = npt.NDArray[np.float64]
MOST_NUMBERED = 40
MOST_NAMED = 60
NARROW = 4.5
"""Inches below which the names of classes are turned."""
FRAME = "#E69F00"
"""Of Okabe and Ito: seen on every shade of the map."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClassScoresView(View):
    """Scores (N, C) of N models, those of one class together, the surest first."""

    keys: tuple[str, ...]
    classes: tuple[str, ...]
    scores: Float64
    """In [0, 1], and 1 in all; all 0 where a model has too few nulls for a class."""
    winners: tuple[str, ...]
    margins: tuple[float, ...]

    def table(self) -> "pd.DataFrame":
        """A row a model: its class, the margin over the next, and the score of each class."""
        import pandas as pd

        scores = dict(zip(self.classes, self.scores.T, strict=True))
        return pd.DataFrame({"model": self.keys, "class": self.winners, "margin": self.margins} | scores)


def class_scores_view(source: Source, models: Sequence[str] = ()) -> ClassScoresView:
    """Of these models, of all if none is named. Raises `NotMinedError`, naming near misses."""
    wanted = {entry.model.key for entry in entries_of(source, models)}
    found = [each for each in source.database.patterns() if each.is_current and each.model.key in wanted]
    classes = sorted({name for each in found for name in each.class_scores})
    found.sort(key=lambda each: (each.pattern_class, -each.class_margin, each.model.key))
    winners = tuple(each.pattern_class for each in found)
    return ClassScoresView(
        kind="class-scores",
        subject=tuple(each.model.key for each in found),
        title="Scores of the classes",
        subtitle=f"n = {plural(len(found), 'model')}",
        caption=(
            f"How well each class fits {plural(len(found), 'model')}, 0 to 1 and 1 in all. Scores come from "
            f"statistics beside their nulls: random weights are noisy. A frame marks the class that a model was "
            f"given; {UNCALIBRATED!r} is none, for want of nulls."
        ),
        alt=f"Classes of {plural(len(found), 'model')}: {_counted(winners)}.",
        n=len(found),
        units={"margin": "score"},
        settings={},
        keys=tuple(each.model.key for each in found),
        classes=tuple(classes),
        scores=np.array([[each.class_scores.get(name, 0.0) for name in classes] for each in found]).reshape(
            len(found), len(classes)
        ),
        winners=winners,
        margins=tuple(each.class_margin for each in found),
    )


def _counted(winners: Sequence[str]) -> str:
    return ", ".join(f"{winners.count(name)} {name}" for name in dict.fromkeys(winners)) or "none"


def plot_class_scores(view: ClassScoresView, *, axes: "Axes | None" = None) -> "Axes":
    """A row a model, a column a class, the number in each cell."""
    count = len(view.keys)
    is_alone, axes = axes is None, axes_for(axes, max(0.3, min(0.2 + 0.035 * count, 1.6)))
    image = axes.imshow(view.scores, cmap=SEQUENTIAL, vmin=0, vmax=1, aspect="auto")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    slope = 0 if figure_of(axes).get_figwidth() > NARROW else 30
    axes.set_xticks(range(len(view.classes)), list(view.classes), rotation=slope, ha="right" if slope else "center")
    step = max(-(-count // MOST_NAMED), 1)
    axes.set_yticks(range(0, count, step), [plain(key) for key in view.keys[::step]])
    axes.tick_params(length=0)
    if count <= MOST_NUMBERED:
        _write_scores(axes, view)
    if count <= MOST_NAMED:
        _frame_winners(axes, view)
    axes.figure.colorbar(image, ax=axes, label="score", fraction=0.05, pad=0.02)
    headline(axes, view, is_alone=is_alone)
    return axes


def _write_scores(axes: "Axes", view: ClassScoresView) -> None:
    size = size_of(axes.xaxis.get_ticklabels()[0]) if view.classes else 6.0
    for (row, col), score in np.ndenumerate(view.scores):
        axes.text(
            col, row, f"{score:.2f}", ha="center", va="center", size=size, color="#0A0A0A" if score > 0.5 else "#FDFDFD"
        )


def _frame_winners(axes: "Axes", view: ClassScoresView) -> None:
    from matplotlib.patches import Rectangle

    for row, winner in enumerate(view.winners):
        if winner in view.classes:
            corner = (view.classes.index(winner) - 0.48, row - 0.46)
            axes.add_patch(Rectangle(corner, 0.96, 0.92, fill=False, edgecolor=FRAME, lw=1.4))


def class_scores_page(view: ClassScoresView) -> "Figure":
    """The same for a page, with class and margin under the pointer."""
    import plotly.graph_objects as go

    words = [
        [f"{winner}, margin {margin:.2f}"] * len(view.classes)
        for winner, margin in zip(view.winners, view.margins, strict=True)
    ]
    figure = go.Figure()
    figure.add_heatmap(
        z=view.scores,
        x=list(view.classes),
        y=[inert(key) for key in view.keys],
        text=words,
        zmin=0,
        zmax=1,
        colorscale=SEQUENTIAL,
    )
    figure.update_yaxes(autorange="reversed", type="category")
    return page_of(figure.update_layout(height=200 + 22 * len(view.keys)), view)
