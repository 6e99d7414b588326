"""A matrix as a picture: in file order, in canonical order, as its null, as its DNA says it, and what that leaves."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from explorer.lettering import headline
from explorer.pages import page_of, plotly_diverging
from explorer.panels import axes_for, figure_of, split_axes
from explorer.samples import MOST_ROWS, block_means, sample_of
from explorer.source import MinedMatrix, Source
from explorer.style import diverging
from explorer.view import View, three
from pipeline.analyse.sampling import random_rows

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage
    from plotly.graph_objects import Figure

__all__ = ["MatrixView", "matrix_page", "matrix_view", "plot_matrix"]

Float64 = npt.NDArray[np.float64]
MOST_CELLS = 48
"""Cells along a side: more than that a column of a paper does not resolve."""
MOST_WEIGHTS = 4_000_000
"""Of larger matrices rows are drawn at random: the null has to be shuffled and put into order."""
COARSE = 24
CLIPPED = 99.0
"""Percentile of the sizes at which the colours end."""
NAMES = ("file order", "canonical", "null", "DNA", "residual")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MatrixView(View):
    """Means of blocks of a matrix (R, C), each panel (cells, cells), in units of the weights."""

    tensor: str
    shape: tuple[int, int]
    block: tuple[int, int]
    """Weights of a cell, along rows and columns."""
    panels: dict[str, Float64]
    """Name of the panel -> cells; `null` is in canonical order too, `DNA` and `residual` are in the DNA's."""
    limit: float
    """Where the colours end, on either side of 0."""
    r2: float | None
    null_r2: float | None
    """Of the DNA, and of the DNA of shuffled copies."""

    def table(self) -> "pd.DataFrame":
        """A row for each cell: its first row and column, and its mean in each panel."""
        import pandas as pd

        first = next(iter(self.panels.values()))
        rows, cols = (np.arange(count) * size for count, size in zip(first.shape, self.block, strict=True))
        places = {"row": np.repeat(rows, len(cols)), "col": np.tile(cols, len(rows))}
        return pd.DataFrame(places | {name.replace(" ", "_"): cells.ravel() for name, cells in self.panels.items()})


def matrix_view(source: Source, model: str, tensor: str, *, most_cells: int = MOST_CELLS) -> MatrixView:
    """Raises what `Source.matrices` does, and `UnknownTensorError`."""
    with source.matrices(model) as matrices:
        matrix = matrices[tensor]
        panels, block, used = _panels(matrix, most_cells)
        coarse = _coarse(matrix, min(used, MOST_ROWS))
    rows, cols = matrix.dna.shape
    limit = float(np.percentile(np.abs(np.concatenate([cells.ravel() for cells in panels.values()])), CLIPPED))
    ratio = coarse["canonical"] / coarse["null"] if coarse["null"] else float("nan")
    sampled = f"; {used:,} rows at random" if used < rows else ""
    return MatrixView(
        kind="matrix",
        subject=(model,),
        title="A matrix, its null and its DNA",
        subtitle=f"{model}: {tensor}",
        caption=(
            f"{tensor} of {model} ({rows:,} x {cols:,}{sampled}), each cell the mean of {block[0]} x {block[1]} "
            f"weights: in the order of the file, in canonical order, a shuffled copy put into canonical order (the "
            f"null), what the DNA says, and what it leaves. Colours are the same in all, centred at 0, and end at the "
            f"{CLIPPED:.0f}th percentile. R² of the DNA {three(matrix.dna.r2)}, of that of shuffled copies "
            f"{three(matrix.dna.null_r2)}."
        ),
        alt=(
            f"Means of large blocks ({COARSE} x {COARSE} of them) have a standard deviation of "
            f"{coarse['canonical']:.3g} in canonical order, {coarse['null']:.3g} in the null ({ratio:.2f} times it), "
            f"and {coarse['file order']:.3g} in file order. The DNA has R² {three(matrix.dna.r2)}, that of shuffled "
            f"copies {three(matrix.dna.null_r2)}."
        ),
        n=used * cols,
        units={name.replace(" ", "_"): "weights" for name in panels},
        settings={"null": "shuffle", "draw": 0, "seed": matrix.seed, "block": list(block), "rows_used": used},
        tensor=tensor,
        shape=(rows, cols),
        block=block,
        panels=panels,
        limit=limit or 1.0,
        r2=matrix.dna.r2,
        null_r2=matrix.dna.null_r2,
    )


def _panels(matrix: MinedMatrix, most: int) -> tuple[dict[str, Float64], tuple[int, int], int]:
    """Cells by name, the size of a block, and how many rows they were made of."""
    rows = _rows(matrix)
    canonical, rebuilt = matrix.canonical[rows], matrix.rebuilt[rows]
    cells, block = block_means(canonical, most)
    found = {
        "file order": block_means(matrix.in_file_order[np.sort(matrix.order.rows[rows])], most)[0],
        "canonical": cells,
        "null": block_means(sample_of(matrix, len(rows)).null(0), most)[0],
        "DNA": block_means(rebuilt, most)[0],
        "residual": block_means(canonical - rebuilt, most)[0],
    }
    return found, block, len(rows)


def _rows(matrix: MinedMatrix) -> npt.NDArray[np.intp]:
    """Canonical rows that are looked at: all, or so many at random that a picture takes seconds."""
    rows, cols = matrix.dna.shape
    most = max(MOST_WEIGHTS // cols, 1)
    rng = np.random.default_rng([matrix.seed, matrix.ordinal, rows, cols])
    return np.arange(rows) if rows <= most else random_rows(rows, most, rng)


def _coarse(matrix: MinedMatrix, rows: int) -> dict[str, float]:
    """Standard deviations of means of large blocks, original and null in the order of the analysis."""
    sample = sample_of(matrix, rows)
    orders = {"file order": sample.in_file_order, "canonical": sample.canonical, "null": sample.null(0)}
    return {name: float(np.std(block_means(values, COARSE)[0])) for name, values in orders.items()}


def plot_matrix(view: MatrixView, *, axes: "Axes | None" = None) -> "Axes":
    """Five panels and their colours; in matplotlib's present settings. Returns the axes of the canonical order."""
    whole = axes_for(axes, 0.82)
    parts = split_axes(whole, 2, 3, 6)
    for place, (name, cells) in enumerate(view.panels.items()):
        image = _draw(parts[place], name, cells, view)
        parts[place].set_ylabel(f"row (n = {view.shape[0]:,})" if place % 3 == 0 else "")
        parts[place].set_xlabel(f"column (n = {view.shape[1]:,})" if place == 3 else "")
    _key(parts[5], image, view)
    headline(whole, view, is_alone=axes is None)
    return parts[1]


def _draw(axes: "Axes", name: str, cells: Float64, view: MatrixView) -> "AxesImage":
    axes.grid(visible=False)
    axes.set_title(name, fontsize="medium", pad=2)
    axes.set_xticks([])
    axes.set_yticks([])
    return axes.imshow(cells, cmap=diverging(), vmin=-view.limit, vmax=view.limit, aspect="auto")


def _key(axes: "Axes", image: "AxesImage", view: MatrixView) -> None:
    """The colours and the two numbers that the pictures are to be read with."""
    axes.set_axis_off()
    inner = axes.inset_axes((0.1, 0.78, 0.8, 0.1))
    ends = [-view.limit, 0, view.limit]
    figure_of(axes).colorbar(image, cax=inner, orientation="horizontal", extend="both", ticks=ends)
    inner.set_xticklabels([f"{-view.limit:.2g}", "0", f"{view.limit:.2g}"])
    inner.grid(visible=False)
    inner.set_in_layout(False)
    size = view.block[0] * view.block[1]
    words = f"mean of {view.block[0]} x {view.block[1]}\nweights" if size > 1 else "weight"
    words += f"\n\nR² of the DNA {three(view.r2)}\nof its null {three(view.null_r2)}"
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="top", fontsize="small").set_in_layout(False)


def matrix_page(view: MatrixView) -> "Figure":
    """The same panels for a page; zooming one zooms all."""
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=1, cols=len(view.panels), subplot_titles=list(view.panels), shared_yaxes="all")
    for place, cells in enumerate(view.panels.values(), 1):
        rows, cols = (np.arange(count) * size for count, size in zip(cells.shape, view.block, strict=True))
        figure.add_heatmap(z=cells, x=cols, y=rows, coloraxis="coloraxis", row=1, col=place)
        figure.update_xaxes(matches="x", row=1, col=place)
    figure.update_yaxes(autorange="reversed")
    colours = {
        "colorscale": plotly_diverging(),
        "cmin": -view.limit,
        "cmax": view.limit,
        "colorbar": {"title": "weight"},
    }
    figure.update_layout(coloraxis=colours)
    return page_of(figure, view)
