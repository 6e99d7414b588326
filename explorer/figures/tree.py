"""The tree that the distances of models make, with what is declared of each model beside its leaf."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import dendrogram

from explorer.leaves import Leaves, find_leaves
from explorer.lettering import headline, plain, size_of
from explorer.pages import inert, page_of
from explorer.panels import axes_for, figure_of
from explorer.source import Source
from explorer.style import NULL, colour_of, marker_of
from explorer.view import View, p_text
from patterndb.records import RELATED
from pipeline.analyse.taxonomy import LevelAgreement

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from plotly.graph_objects import Figure

__all__ = ["TreeView", "plot_tree", "tree_page", "tree_view"]

Float64 = npt.NDArray[np.float64]
LEVELS = ("modality", "architecture", "family", "class")
"""What is declared of a model, and the class that its weights were given."""
PREFERRED = (1, 0, 3, 2)
"""Which of them are shown first where there is no room for all."""
UNRELATED = 1.0
"""From here on, groups have no weights in common, and the distance is 1 + that of kind."""
ALPHA = 0.05


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TreeView(View):
    """N leaves from top to bottom, and the merges that join them."""

    keys: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    """Of each leaf, one for each of `LEVELS`; empty where nothing is declared."""
    merges: Float64
    """(N - 1, 4), as `scipy.cluster.hierarchy.linkage` gives them, of these leaves."""
    cophenetic: float | None
    agreement: tuple[LevelAgreement, ...]

    def table(self) -> "pd.DataFrame":
        """A row a leaf with its labels, then a row a merge: `left`, `right` (numbers of rows) and `height`."""
        import pandas as pd

        leaves = [
            dict(zip(("model", *LEVELS), (key, *each), strict=True))
            for key, each in zip(self.keys, self.labels, strict=True)
        ]
        merged = [{"left": int(left), "right": int(right), "height": height} for left, right, height, _ in self.merges]
        columns = ["node", "model", *LEVELS, "left", "right", "height"]
        rows = [{"node": node} | row for node, row in enumerate([*leaves, *merged])]
        return pd.DataFrame(rows, columns=columns).astype({"left": "Int64", "right": "Int64"})


def tree_view(source: Source, models: Sequence[str] = ()) -> TreeView:
    """Of these models, of all if none is named. Raises what `find_leaves` does."""
    leaves = find_leaves(source, models)
    found = leaves.taxonomy
    fits = "unknown" if found.cophenetic is None else f"{found.cophenetic:.2f}"
    return TreeView(
        kind="tree",
        subject=leaves.keys,
        title="Tree of models by distance",
        subtitle=f"n = {len(leaves.keys)} models",
        caption=(
            f"Average linkage of {len(leaves.keys)} models. Left of the dotted line groups have weights in common (0 a "
            f"copy, related up to {RELATED:g}); from {UNRELATED:g} on the distance is 1 + that of kind. Cophenetic "
            f"correlation {fits} (1: the distances are a tree). Labels are declared, the class is found. Agreement "
            f"with them, against labels permuted between lineages: {_agreement(found.agreement)}."
        ),
        alt=_alt(found.agreement, leaves),
        n=len(leaves.keys),
        units={"height": "0 a copy, 1 unrelated; above 1, 1 + distance of kind"},
        settings={"linkage": "average", "seed": 0, "permutations": 1999},
        keys=leaves.keys,
        labels=tuple(
            tuple(label or "" for label in (*_declared(entry.model), entry.pattern_class)) for entry in leaves.entries
        ),
        merges=leaves.merges,
        cophenetic=found.cophenetic,
        agreement=found.agreement,
    )


def _declared(model: object) -> list[str | None]:
    return [getattr(model, level) for level in LEVELS[:-1]]


def _agreement(levels: Sequence[LevelAgreement]) -> str:
    return "; ".join(
        f"{each.level} {each.note}"
        if each.adjusted_rand is None
        else f"{each.level} adjusted Rand {each.adjusted_rand:.2f}, p {p_text(each.p)}, q {p_text(each.q)}"
        for each in levels
    )


def _alt(levels: Sequence[LevelAgreement], leaves: Leaves) -> str:
    agreed = [each.level for each in levels if each.q is not None and each.q <= ALPHA]
    joined = int((leaves.merges[:, 2] < UNRELATED).sum())
    found = (
        f"agrees with the declared {' and '.join(agreed)} beyond chance"
        if agreed
        else "agrees with no declared label beyond chance"
    )
    return (
        f"The tree of {len(leaves.keys)} models {found}; {joined} of its {len(leaves.merges)} merges join models with "
        "weights in common."
    )


def plot_tree(view: TreeView, *, axes: "Axes | None" = None) -> "Axes":
    """The tree with its root at the left, leaves at the right, and columns of labels behind them, as many as fit."""
    count = len(view.keys)
    is_alone, axes = axes is None, axes_for(axes, max(0.4, min(0.15 + 0.038 * count, 1.6)))
    ink = axes.xaxis.label.get_color()
    for x, y in _branches(view):
        axes.plot(x, y, color=ink, lw=0.8)
    axes.axvline(UNRELATED, color=NULL, ls=":")
    top = max(float(view.merges[-1, 2]), UNRELATED) * 1.05
    axes.set(xlim=(top, 0), ylim=(count - 0.5, -0.5), xlabel="distance (dotted: unrelated)")
    axes.grid(False)
    axes.spines["left"].set_visible(False)
    axes.yaxis.tick_right()
    named = view.keys[:: _step(axes, count)]
    axes.set_yticks(range(0, count, _step(axes, count)), [plain(key) for key in named])
    axes.tick_params(axis="y", length=0)
    _write_labels(axes, view)
    headline(axes, view, is_alone=is_alone)
    return axes


def _branches(view: TreeView) -> list[tuple[Float64, Float64]]:
    """Each merge as a bracket: its heights, and the places of its leaves from 0."""
    found = dendrogram(view.merges, no_plot=True)
    pairs = zip(found["dcoord"], found["icoord"], strict=True)
    return [(np.array(heights), (np.array(places) - 5) / 10) for heights, places in pairs]


def _step(axes: "Axes", count: int) -> int:
    """Every which leaf is named, so that letters do not stand on each other."""
    room = 0.85 * 72 * figure_of(axes).get_figheight()
    return max(-(-int(count * 1.15 * size_of(axes.xaxis.label)) // int(room)), 1)


def _write_labels(axes: "Axes", view: TreeView) -> None:
    """A column a level behind the longest key, a marker in the colour of the label before it; as many as leave the
    tree two fifths of the width."""
    letters = size_of(axes.yaxis.get_ticklabels()[0]) * 0.6
    most = 0.6 * 72 * figure_of(axes).get_figwidth()
    at = 4 + max(map(len, view.keys)) * letters
    for column in PREFERRED:
        names = [each[column] for each in view.labels]
        width = (max(len(LEVELS[column]), 2 + max(map(len, names))) + 1.5) * letters
        if at + width > most:
            continue
        _write_column(axes, LEVELS[column], names, at)
        at += width


def _write_column(axes: "Axes", level: str, names: Sequence[str], at: float) -> None:
    """- `at`: points to the right of the tree."""
    from matplotlib.transforms import ScaledTranslation

    size = size_of(axes.yaxis.get_ticklabels()[0])
    look: dict[str, Any] = {"textcoords": "offset points", "va": "center", "size": size, "annotation_clip": False}
    axes.annotate(
        level, (0, 1), xycoords=("data", "axes fraction"), xytext=(at, 0.8 * size), weight="bold", **look
    )  # fmt: skip
    order = sorted({*names} - {""})
    for place, name in list(enumerate(names))[:: _step(axes, len(names))]:
        axes.annotate(plain(name) or "–", (0, place), xytext=(at + 0.9 * size, 0), **look)
        if name:
            number = order.index(name)
            mark = axes.scatter([0], [place], s=(0.55 * size) ** 2, color=colour_of(number), marker=marker_of(number))
            mark.set_clip_on(False)
            mark.set_offset_transform(
                axes.transData + ScaledTranslation((at + 0.3 * size) / 72, 0, axes.figure.dpi_scale_trans)
            )


def tree_page(view: TreeView) -> "Figure":
    """The same for a page, with the labels of a leaf under the pointer."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for x, y in _branches(view):
        figure.add_scatter(x=x, y=y, mode="lines", line={"width": 1}, showlegend=False, hoverinfo="x")
    words = [inert(", ".join(label for label in each if label)) for each in view.labels]
    places = list(range(len(view.keys)))
    figure.add_scatter(x=[0.0] * len(places), y=places, mode="markers", text=words, name="models", hoverinfo="text")
    figure.add_vline(x=UNRELATED, line={"color": NULL, "dash": "dot"})
    figure.update_xaxes(autorange="reversed", title="distance (1: unrelated weights)")
    ticks = [f"{inert(key)} ({word})" for key, word in zip(view.keys, words, strict=True)]
    figure.update_yaxes(autorange="reversed", side="right", tickvals=places, ticktext=ticks)
    return page_of(figure.update_layout(height=200 + 22 * len(places)), view)
