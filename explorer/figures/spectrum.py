"""Frequencies of a matrix: its cosine transform in canonical order and in file order, beside that of its null.

The transform is that of the statistics (`pipeline.analyse.statistics.spectra`). Energies are in units of what each
coefficient of a matrix of independent values has on average: 1 is noise. B = bins along an axis, F = radial bins,
D = draws of the null.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from explorer.lettering import headline, legend_above, log_ticks
from explorer.pages import page_of, plotly_diverging
from explorer.panels import axes_for, figure_of, split_axes
from explorer.samples import MatrixSample, means_between, sample_of
from explorer.source import Source
from explorer.style import ACCENT, NULL, colour_of, diverging
from explorer.view import View
from pipeline.analyse.statistics.spectra import energies

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from plotly.graph_objects import Figure

__all__ = ["Peak", "SpectrumView", "plot_spectrum", "spectrum_of", "spectrum_page", "spectrum_view"]

NUM_NULLS = 8
NUM_RINGS = 24
FEWEST = 4
"""Coefficients of a ring: of fewer there is no mean to hold a peak against."""
MOST_NAMED = 5
MOST_PEAKS = 50
FAINTEST = 1e-3
MOST_ROWS, FEWEST_ROWS, MOST_WEIGHTS = 2048, 256, 800_000
"""Of larger matrices rows are drawn at random: each null has to be put into order and transformed, too."""

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Edges = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """A coefficient that is stronger, for its radial frequency, than every one of every null."""

    row: int
    col: int
    """Half-cycles along rows and columns."""
    energy: float
    """In units of noise."""
    ratio: float
    """To the null's mean at that radial frequency."""

    @property
    def name(self) -> str:
        """In whole cycles, as people count waves."""
        return f"{self.row / 2:g} along rows, {self.col / 2:g} along columns"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpectrumView(View):
    """Energies of a matrix in canonical and in file order; means of bins that widen with the frequency."""

    tensor: str
    shape: tuple[int, int]
    """Of what was looked at."""
    row_edges: Edges
    col_edges: Edges
    """(B + 1,): bin b holds half-cycles from edge b up to edge b + 1."""
    canonical: Float64
    in_file_order: Float64
    """(B rows, B columns)."""
    radial: Float64
    """(F,): the mean radial frequency of each ring, in (0, 1)."""
    counts: Edges
    """(F,): coefficients in each ring."""
    ring_canonical: Float64
    ring_file: Float64
    """(F,)."""
    ring_nulls: Float64
    """(D, F)."""
    threshold: float
    """The largest ratio of any coefficient in any draw of the null."""
    peaks: tuple[Peak, ...]
    """The strongest first; at most `MOST_PEAKS`."""
    num_peaks: int

    def table(self) -> "pd.DataFrame":
        """`panel`: `ring` (by radial frequency), `bin` (by both frequencies) or `peak`; each has its own columns."""
        import pandas as pd

        rings = pd.DataFrame({
            "panel": "ring", "radial": self.radial, "coefficients": self.counts, "canonical": self.ring_canonical,
            "file_order": self.ring_file, "null_low": self.ring_nulls.min(axis=0),
            "null_mean": self.ring_nulls.mean(axis=0), "null_high": self.ring_nulls.max(axis=0),
        })  # fmt: skip
        rows, cols = np.meshgrid(self.row_edges[:-1], self.col_edges[:-1], indexing="ij")
        bins = pd.DataFrame({
            "panel": "bin", "row_half_cycles": rows.ravel(), "col_half_cycles": cols.ravel(),
            "canonical": self.canonical.ravel(), "file_order": self.in_file_order.ravel(),
        })  # fmt: skip
        peaks = pd.DataFrame(
            [("peak", peak.row, peak.col, peak.energy, peak.ratio) for peak in self.peaks],
            columns=["panel", "row_half_cycles", "col_half_cycles", "canonical", "ratio_to_null"],
        )
        return pd.concat([each for each in (rings, bins, peaks) if len(each)], ignore_index=True)


def spectrum_view(source: Source, model: str, tensor: str, *, num_nulls: int = NUM_NULLS) -> SpectrumView:
    """Raises what `Source.matrices` does, and `UnknownTensorError`."""
    with source.matrices(model) as matrices:
        matrix = matrices[tensor]
        sample = sample_of(matrix, int(np.clip(MOST_WEIGHTS // matrix.spec.cols, FEWEST_ROWS, MOST_ROWS)))
        found = spectrum_of(sample.canonical, sample.in_file_order, list(sample.nulls(num_nulls)))
    return SpectrumView(**found, **_words(sample, model, tensor, num_nulls, found))


def _words(sample: MatrixSample, model: str, tensor: str, num_nulls: int, found: dict[str, Any]) -> dict[str, Any]:
    peaks: tuple[Peak, ...] = found["peaks"]
    ratios = found["ring_canonical"] / found["ring_nulls"].mean(axis=0)
    outside = int((found["ring_canonical"] > found["ring_nulls"].max(axis=0)).sum())
    named = "; ".join(f"{peak.name} ({peak.ratio:.0f} times the null)" for peak in peaks[:MOST_NAMED])
    return {
        "kind": "spectrum",
        "subject": (model,),
        "title": "Frequencies of a matrix",
        "subtitle": f"{model}: {tensor}",
        "caption": (
            f"Energy of the two-dimensional cosine transform of {tensor} of {model} ({sample.said()}), where 1 is the "
            f"mean of independent values: by frequency in canonical and in file order, and by radial frequency beside "
            f"{num_nulls} shuffled copies put into canonical order (grey, lowest to highest). A peak (circle) is "
            f"farther above the null's mean at its radial frequency than any coefficient of any of these copies, "
            f"{found['threshold']:.1f} times. "
            + (f"The strongest of {found['num_peaks']:,}, in cycles: {named}." if peaks else "There is none.")
        ),
        "alt": (
            f"In {outside} of {len(ratios)} rings of radial frequency the canonical matrix has more energy than every "
            f"shuffled copy, at most {ratios.max():.1f} times their mean; {found['num_peaks']:,} single frequencies "
            f"are above the null."
        ),
        "n": sample.canonical.size,
        "units": {
            "radial": "1 = half a cycle a row and a column", "canonical": "energy, noise = 1",
            "file_order": "energy, noise = 1", "null_low": "energy, noise = 1", "null_mean": "energy, noise = 1",
            "null_high": "energy, noise = 1", "row_half_cycles": "half-cycles", "col_half_cycles": "half-cycles",
        },
        "settings": {"null": "shuffle", "num_nulls": num_nulls, "seed": sample.matrix.seed},
        "tensor": tensor,
    }  # fmt: skip


def spectrum_of(canonical: Float32, in_file_order: Float32, nulls: list[Float32]) -> dict[str, Any]:
    """The numbers of a view of a matrix (R, C), and of its nulls, which are in canonical order."""
    shape = canonical.shape
    grid, rings = _radial(*shape), _ring_edges(*shape)
    number = np.digitize(grid.ravel(), rings[1:-1])
    strengths = [_strength(canonical), _strength(in_file_order), *map(_strength, nulls)]
    # The mean of the matrix has no frequency: its ring is one that is not looked at.
    counts = np.bincount(number, minlength=len(rings) - 1) - np.bincount([number[0]], minlength=len(rings) - 1)
    means = np.stack([np.bincount(number, each.ravel(), len(rings) - 1) / np.maximum(counts, 1) for each in strengths])
    radial = np.bincount(number, grid.ravel(), len(rings) - 1) / np.maximum(counts, 1)
    threshold = max(
        float((strength.ravel() / _others(means[2:], draw)[number]).max())
        for draw, strength in enumerate(strengths[2:])
    )
    peaks, num_peaks = _peaks(strengths[0], means[2:].mean(axis=0)[number].reshape(shape), threshold)
    row_edges, col_edges = (_bin_edges(length) for length in shape)
    return {
        "shape": shape,
        "row_edges": row_edges,
        "col_edges": col_edges,
        "canonical": means_between(strengths[0], row_edges, col_edges),
        "in_file_order": means_between(strengths[1], row_edges, col_edges),
        "radial": radial,
        "counts": counts,
        "ring_canonical": means[0],
        "ring_file": means[1],
        "ring_nulls": means[2:],
        "threshold": threshold,
        "peaks": peaks,
        "num_peaks": num_peaks,
    }


def _strength(matrix: Float32) -> Float64:
    """Energy of each coefficient (R, C) in units of noise; 0 for the mean."""
    return energies(matrix) * (matrix.size - 1)


def _others(means: Float64, draw: int) -> Float64:
    """What a draw of the null is held against, as the matrix is against all: the mean of the other draws."""
    return np.asarray(np.delete(means, draw, axis=0).mean(axis=0) if len(means) > 1 else means[0])


def _radial(rows: int, cols: int) -> Float64:
    grid = np.hypot(np.arange(rows)[:, None] / rows, np.arange(cols)[None, :] / cols)
    return np.asarray(grid / np.sqrt(2), dtype=np.float64)


def _ring_edges(rows: int, cols: int) -> Float64:
    """Edges of rings that widen with the frequency and have `FEWEST` coefficients or more each; from 0 to 1."""
    found = np.sort(_radial(rows, cols).ravel())[1:]
    wanted = np.geomspace(found[min(FEWEST, len(found) - 1)] * (1 + 1e-9), 1.0, NUM_RINGS)
    edges, below = [0.0], 0
    for edge in wanted[:-1]:
        inside = int(np.searchsorted(found, edge))
        if inside - below >= FEWEST and len(found) - inside >= FEWEST:
            edges.append(float(edge))
            below = inside
    return np.array([*edges, 1.0])


def _bin_edges(length: int) -> Edges:
    """0, 1, 2, 3, 4, and then ever wider, up to the length."""
    edges = np.unique(np.round(np.geomspace(1, length, max(int(8 * np.log2(max(length, 2))) // 2, 2))).astype(np.intp))
    return np.concatenate([[0], edges]).astype(np.intp)


def _peaks(strength: Float64, expected: Float64, threshold: float) -> tuple[tuple[Peak, ...], int]:
    """The strongest coefficients above the threshold, and how many there are."""
    ratios = strength / expected
    places = np.argwhere(ratios > threshold)
    order = np.argsort(-ratios[tuple(places.T)], kind="stable")[:MOST_PEAKS]
    found = tuple(
        Peak(row=int(row), col=int(col), energy=float(strength[row, col]), ratio=float(ratios[row, col]))
        for row, col in places[order]
    )
    return found, len(places)


def plot_spectrum(view: SpectrumView, *, axes: "Axes | None" = None) -> "Axes":
    """Two maps above the radial profile; in matplotlib's present settings. Returns the axes of the profile."""
    whole = axes_for(axes, 1.0)
    above, below = split_axes(whole, 2, 1, 2)
    maps = split_axes(above, 1, 2, 2)
    _draw_maps(maps, view)
    _draw_profile(below, view)
    headline(whole, view, is_alone=axes is None)
    return below


def _draw_maps(parts: "list[Axes]", view: SpectrumView) -> None:
    limit = _limit(view)
    for axes, cells, name in zip(parts, (view.canonical, view.in_file_order), ("canonical", "file order"), strict=True):
        shown = _logarithms(cells)
        image = axes.imshow(shown, cmap=diverging(), vmin=-limit, vmax=limit, aspect="auto", origin="lower")
        axes.grid(visible=False)
        axes.set_title(name, fontsize="medium", pad=2)
        _label_bins(axes, view)
    parts[1].set_yticklabels([])
    parts[1].set_ylabel("")
    for peak in view.peaks[:MOST_NAMED]:
        row, col = (_place(value, edges) for value, edges in ((peak.row, view.row_edges), (peak.col, view.col_edges)))
        parts[0].plot(col, row, "o", mfc="none", mec=colour_of(2), ms=5, mew=1.1)
    bar = figure_of(parts[1]).colorbar(image, ax=parts[1], label="log10 energy", pad=0.03, extend="both")
    bar.ax.grid(visible=False)


def _logarithms(cells: Float64) -> Float64:
    """Without the mean of the matrix, which has no frequency."""
    shown = np.log10(np.maximum(cells, FAINTEST))
    shown[0, 0] = np.nan
    return np.asarray(shown, dtype=np.float64)


def _limit(view: SpectrumView) -> float:
    """Where the colours end, on either side of noise."""
    both = np.concatenate([_logarithms(view.canonical).ravel(), _logarithms(view.in_file_order).ravel()])
    return max(float(np.nanpercentile(both, 99)), 0.5)


def _label_bins(axes: "Axes", view: SpectrumView) -> None:
    for edges, set_ticks, set_label, axis in (
        (view.col_edges, axes.set_xticks, axes.set_xlabel, "columns"),
        (view.row_edges, axes.set_yticks, axes.set_ylabel, "rows"),
    ):
        shown = [value for value in (0, 4, 16, 64, 256, 1024) if value < edges[-1]]
        set_ticks([_place(value, edges) for value in shown], [f"{value // 2}" for value in shown])
        set_label(f"cycles along {axis}")


def _place(value: int, edges: Edges) -> int:
    """The bin of a frequency."""
    return int(np.searchsorted(edges, value, side="right")) - 1


def _draw_profile(axes: "Axes", view: SpectrumView) -> None:
    low, high = view.ring_nulls.min(axis=0), view.ring_nulls.max(axis=0)
    count = len(view.ring_nulls)
    axes.fill_between(view.radial, low, high, color=NULL, alpha=0.5, lw=1.2, label=f"null ({count} shuffled copies)")
    axes.axhline(1.0, color=NULL, ls=":", lw=0.8)
    axes.plot(view.radial, view.ring_file, color=colour_of(1), ls="--", label="file order")
    axes.plot(view.radial, view.ring_canonical, color=ACCENT, label="canonical")
    axes.set(xscale="log", yscale="log", xlabel=f"radial frequency (n = {view.n:,})", ylabel="mean energy (noise = 1)")
    log_ticks(axes, "x", "y")
    legend_above(axes)


def spectrum_page(view: SpectrumView) -> "Figure":
    """The same for a page: the maps with both frequencies under the pointer, and the profile."""
    from plotly.subplots import make_subplots

    figure = make_subplots(
        rows=2, cols=2, specs=[[{}, {}], [{"colspan": 2}, None]],
        subplot_titles=("canonical", "file order"), vertical_spacing=0.24,
    )  # fmt: skip
    labels = {
        "x": [f"{edge / 2:g}" for edge in view.col_edges[:-1]],
        "y": [f"{edge / 2:g}" for edge in view.row_edges[:-1]],
    }
    for place, cells in enumerate((view.canonical, view.in_file_order), 1):
        figure.add_heatmap(z=_logarithms(cells), **labels, coloraxis="coloraxis", row=1, col=place)
        figure.update_xaxes(type="category", nticks=12, title="cycles along columns", row=1, col=place)
        figure.update_yaxes(
            type="category", nticks=8, title="cycles along rows" if place == 1 else "", row=1, col=place
        )
    _page_profile(figure, view)
    limit = _limit(view)
    bar = {"title": "log10 energy", "len": 0.45, "y": 0.8}
    colours = {"colorscale": plotly_diverging(), "cmin": -limit, "cmax": limit, "colorbar": bar}
    figure.update_layout(coloraxis=colours, legend={"x": 1.0, "y": 0.3})
    return page_of(figure, view)


def _page_profile(figure: "Figure", view: SpectrumView) -> None:
    quiet: dict[str, Any] = {"mode": "lines", "line": {"color": NULL, "width": 1}, "legendgroup": "null"}
    at: dict[str, Any] = {"row": 2, "col": 1, "x": view.radial}
    figure.add_scatter(y=view.ring_nulls.max(axis=0), name="null", **quiet, **at)
    figure.add_scatter(y=view.ring_nulls.min(axis=0), name="null", fill="tonexty", showlegend=False, **quiet, **at)
    dashed = {"color": colour_of(1), "dash": "dash"}
    figure.add_scatter(y=view.ring_file, name="file order", mode="lines", line=dashed, **at)
    figure.add_scatter(y=view.ring_canonical, name="canonical", mode="lines", line={"color": ACCENT}, **at)
    figure.update_xaxes(type="log", title=f"radial frequency (n = {view.n:,})", row=2, col=1)
    figure.update_yaxes(type="log", title="mean energy (noise = 1)", row=2, col=1)
