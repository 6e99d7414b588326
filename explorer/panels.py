"""Axes to draw on: a figure's of the present width, alone or in rows and columns."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["axes_for", "figure_of", "split_axes"]


def axes_for(axes: "Axes | None", aspect: float) -> "Axes":
    """The axes that were given, or those of a new figure, `aspect` times as high as matplotlib's present width."""
    if axes is not None:
        return axes
    import matplotlib.pyplot as plt

    width = plt.rcParams["figure.figsize"][0]
    return plt.figure(figsize=(width, aspect * width)).subplots()


def figure_of(axes: "Axes") -> "Figure":
    """The whole figure that the axes are on."""
    figure = axes.get_figure(root=True)
    assert figure is not None, "These axes are on a figure."
    return figure


def split_axes(axes: "Axes", rows: int, cols: int, count: int, *, share: bool = False) -> "list[Axes]":
    """`count` axes in rows and columns where `axes` was, which is drawn no more; `share`: with the same limits."""
    axes.set_axis_off()
    spec = axes.get_subplotspec()
    assert spec is not None, "Axes are those of a grid: `plt.subplots` and `axes_for` make such."
    figure = axes.get_figure()
    assert figure is not None, "These axes are on a figure."
    grid = spec.subgridspec(rows, cols)
    made: list[Axes] = []
    for place in range(count):
        first = made[0] if made and share else None
        made.append(figure.add_subplot(grid[place // cols, place % cols], sharex=first, sharey=first))
    return made
