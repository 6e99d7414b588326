"""A matrix as its DNA says it, in nine panels: values, errors, where they are, and how much other codes would hold."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from explorer.lettering import headline, size_of
from explorer.pages import page_of
from explorer.panels import axes_for, split_axes
from explorer.samples import means_between
from explorer.source import MinedMatrix, Source
from explorer.style import ACCENT, NULL, SEQUENTIAL, colour_of
from explorer.view import View
from library.codes.codes import Means, TruncatedSvd
from patterndb.records import FitRecord, TensorRecord
from pipeline.fit.report import psnr

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from plotly.graph_objects import Figure

__all__ = ["Metrics", "ReconstructionView", "plot_reconstruction", "reconstruction_page", "reconstruction_view"]

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Curve = tuple[Float64, Float64]
PANELS = (
    "original against rebuilt",
    "errors",
    "absolute error",
    "error against magnitude",
    "error by layer",
    "cumulative error",
    "Q-Q of the errors",
    "density",
    "table",
)
COLOURS = {"DNA": ACCENT, "SVD": colour_of(1), "means": colour_of(2), "null": NULL, "ideal": NULL}
SAMPLE = 6000
"""Weights that stand for all in the scatter and the density."""
SHOWN = 1500
"""Of those in the scatter."""
TILES = 48
"""Rows and columns of the map of errors, at most."""
BINS = 61
NARROW = 4.5
"""Inches below which three panels do not stand side by side."""
MAGNITUDES = 24
QUANTILES = 101
RANGE = 4.0
"""Errors are counted up to so many standard deviations of the weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """What one code holds of the matrix, in units of the weights; None where it was not kept."""

    bits_per_weight: float | None
    r2: float | None
    rmse: float | None
    mae: float | None
    psnr: float | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReconstructionView(View):
    """One matrix and its DNA; curves are (x, y), both of one length."""

    tensor: str
    shape: tuple[int, int]
    sample: Float32
    """(SAMPLE or fewer, 3): original, the DNA's, SVD's."""
    errors: Mapping[str, Curve]
    """Code -> error in standard deviations of the weights, and its density."""
    tiles: Float64
    """Mean absolute error of the DNA in the tiles of the canonical matrix, in weights."""
    by_magnitude: Mapping[str, Curve]
    """Code -> magnitude, and the root mean square error of weights about it."""
    by_layer: Mapping[str, Curve]
    """Code, `null` among them -> block, and the share of the variance that is left."""
    cumulative: Mapping[str, Curve]
    """Code -> absolute error, and the share of weights with a smaller one."""
    normal: Curve
    """Quantiles of the normal distribution, and those of the DNA's errors over their standard deviation."""
    metrics: Mapping[str, Metrics]

    def table(self) -> "pd.DataFrame":
        """A row a number that is drawn: `panel`, `series`, `x`, `y`."""
        import pandas as pd

        lines = [
            ("original against rebuilt", "DNA", self.sample[:, 0], self.sample[:, 1]),
            ("original against rebuilt", "SVD", self.sample[:, 0], self.sample[:, 2]),
            *(("errors", name, *curve) for name, curve in self.errors.items()),
            *(("absolute error", f"row {row}", np.arange(len(each)), each) for row, each in enumerate(self.tiles)),
            *(("error against magnitude", name, *curve) for name, curve in self.by_magnitude.items()),
            *(("error by layer", name, *curve) for name, curve in self.by_layer.items()),
            *(("cumulative error", name, *curve) for name, curve in self.cumulative.items()),
            ("Q-Q of the errors", "DNA", *self.normal),
        ]
        frames = [pd.DataFrame({"panel": panel, "series": name, "x": x, "y": y}) for panel, name, x, y in lines]
        return pd.concat(frames, ignore_index=True)

    def summary(self) -> "pd.DataFrame":
        """The metrics, a row a code: what the ninth panel shows."""
        import pandas as pd

        names = Metrics.__slots__
        rows = [{"code": code} | {name: getattr(each, name) for name in names} for code, each in self.metrics.items()]
        return pd.DataFrame(rows)


def reconstruction_view(source: Source, model: str, tensor: str, *, seed: int = 0) -> ReconstructionView:
    """Raises what `Source.matrices` does, and `UnknownTensorError`.

    - `seed`: of the sample that the scatter and the density show; all else is over every weight.
    """
    with source.matrices(model) as matrices:
        matrix = matrices[tensor]
        weights, rebuilt, fit = matrix.canonical, matrix.rebuilt, _fit_of(matrix)
        role = [each for each in matrices.records.values() if each.role == matrix.record.role and each.fit]
    bits = (fit.bits_per_weight_8bit or fit.bits_per_weight) * weights.size
    codes = {
        "DNA": (rebuilt, fit.bits_per_weight),
        "SVD": _of_code(TruncatedSvd([matrix.spec], lambda _: weights, most_bits=bits), bits, matrix),
        "means": _of_code(Means([matrix.spec], lambda _: weights), bits, matrix),
    }
    errors = {name: values - weights for name, (values, _) in codes.items()}
    std = float(np.std(weights, dtype=np.float64)) or 1.0
    metrics = {name: _metrics(weights, errors[name], price) for name, (_, price) in codes.items()}
    metrics |= _kept_metrics(fit, std)
    chosen = np.random.default_rng(seed).choice(weights.size, min(SAMPLE, weights.size), replace=False)
    columns = [each.ravel()[chosen] for each in (weights, rebuilt, codes["SVD"][0])]
    rows, cols = weights.shape
    return ReconstructionView(
        kind="reconstruction",
        subject=(model,),
        title="Weights as their DNA says them",
        subtitle=f"{model}, {tensor}, n = {weights.size:,}",
        caption=_caption(model, tensor, (rows, cols), fit, len(chosen), len(role)),
        alt=_alt(metrics),
        n=weights.size,
        units={"x": "weights, standard deviations, blocks or rows, by panel", "y": "by panel"},
        settings={
            "seed": seed,
            "sample": len(chosen),
            "null": fit.null,
            "num_nulls": fit.num_nulls,
            "bits_per_weight": fit.bits_per_weight,
        },
        tensor=tensor,
        shape=(rows, cols),
        sample=np.stack(columns, axis=1),
        errors={name: _density(each / std) for name, each in errors.items()},
        tiles=_tiles(np.abs(errors["DNA"])),
        by_magnitude=_by_magnitude(np.abs(weights), errors),
        by_layer=_by_layer(role),
        cumulative={name: _cumulative(each) for name, each in errors.items()},
        normal=_normal(errors["DNA"]),
        metrics=metrics,
    )


def _fit_of(matrix: MinedMatrix) -> FitRecord:
    assert matrix.record.fit is not None, "A matrix with a DNA was fitted."
    return matrix.record.fit


def _of_code(code: TruncatedSvd | Means, bits: float, matrix: MinedMatrix) -> tuple[Float32, float]:
    """What these bits buy, and how many a weight were spent."""
    spent = code.spend(bits)
    return spent.matrices[matrix.name], spent.bits / matrix.spec.num_weights


def _metrics(weights: Float32, errors: Float32, bits_per_weight: float) -> Metrics:
    mse = float(np.mean(np.square(errors, dtype=np.float64)))
    variance = float(np.var(weights, dtype=np.float64))
    return Metrics(
        bits_per_weight=bits_per_weight,
        r2=1 - mse / variance if variance > 0 else None,
        rmse=math.sqrt(mse),
        mae=float(np.mean(np.abs(errors), dtype=np.float64)),
        psnr=psnr(float(np.ptp(weights)), mse),
    )


def _kept_metrics(fit: FitRecord, std: float) -> dict[str, Metrics]:
    """Of the DNA at 8 bits, and of the fits of the nulls, which have the variance of the weights, and their peak."""
    kept = {
        "DNA, 8 bits": (fit.bits_per_weight_8bit, fit.r2_8bit),
        "null": (fit.bits_per_weight, fit.null_r2),
        "null, means kept": (fit.bits_per_weight, fit.means_null_r2),
    }
    found = {}
    for name, (bits, r2) in kept.items():
        if r2 is not None:
            mse = std**2 * max(1 - r2, 0.0)
            found[name] = Metrics(bits_per_weight=bits, r2=r2, rmse=math.sqrt(mse), mae=None, psnr=psnr(fit.peak, mse))
    return found


def _density(scaled: Float32) -> Curve:
    counts, edges = np.histogram(np.clip(scaled, -RANGE, RANGE), bins=BINS, range=(-RANGE, RANGE))
    return (edges[1:] + edges[:-1]) / 2, counts / (counts.sum() * (edges[1] - edges[0]))


def _tiles(values: Float32) -> Float64:
    """Means over at most TILES times TILES tiles of nearly equal size."""
    edges = (np.unique(np.linspace(0, size, min(size, TILES) + 1).astype(int)) for size in values.shape)
    return means_between(values, *edges)


def _by_magnitude(magnitudes: Float32, errors: Mapping[str, Float32]) -> dict[str, Curve]:
    """In bins of as many weights each."""
    edges = np.unique(np.quantile(magnitudes, np.linspace(0, 1, MAGNITUDES + 1)))
    if len(edges) < 2:
        return {name: (np.zeros(0), np.zeros(0)) for name in errors}
    bins = np.clip(np.searchsorted(edges, magnitudes.ravel(), side="right") - 1, 0, len(edges) - 2)
    counts = np.maximum(np.bincount(bins, minlength=len(edges) - 1), 1)
    centres = np.bincount(bins, magnitudes.ravel(), minlength=len(counts)) / counts
    return {
        name: (centres, np.sqrt(np.bincount(bins, np.square(each).ravel(), minlength=len(counts)) / counts))
        for name, each in errors.items()
    }


def _by_layer(role: Sequence[TensorRecord]) -> dict[str, Curve]:
    """The share that is left of every tensor of the role, in the order of blocks."""
    placed = sorted(((-1 if each.block is None else each.block), each.name, each.fit) for each in role if each.fit)
    blocks = np.array([block for block, _, _ in placed], dtype=np.float64)
    found: dict[str, Curve] = {}
    for name, field in (("DNA", "r2"), ("SVD", "svd_r2"), ("means", "additive_r2"), ("null", "null_r2")):
        values = [getattr(fit, field) for _, _, fit in placed]
        found[name] = (blocks, np.array([math.nan if each is None else 1 - each for each in values]))
    return found


def _cumulative(errors: Float32) -> Curve:
    shares = np.linspace(0, 1, QUANTILES)
    return np.quantile(np.abs(errors), shares).astype(np.float64), shares


def _normal(errors: Float32) -> Curve:
    shares = (np.arange(QUANTILES) + 0.5) / QUANTILES
    scale = float(np.std(errors, dtype=np.float64)) or 1.0
    quantiles = np.quantile(errors, shares).astype(np.float64)
    return ndtri(shares), (quantiles - float(np.mean(errors, dtype=np.float64))) / scale


def _caption(model: str, tensor: str, shape: tuple[int, int], fit: FitRecord, sample: int, num_in_role: int) -> str:
    nulls = f"{fit.num_nulls} shuffled {'copy' if fit.num_nulls == 1 else 'copies'}, fitted alike"
    null = nulls if fit.num_nulls else "none was fitted"
    of_8_bits = "that DNA with its weights at 8 bits" if fit.bits_per_weight_8bit else "it"
    return (
        f"{tensor} of {model} ({shape[0]} x {shape[1]}) against its DNA of {fit.bits_per_weight:.3f} bits per weight "
        f"({fit.dna_type}, {fit.order} order). SVD, with rounded factors, and means have at most the bits of "
        f"{of_8_bits}; by layer, SVD has as many parameters as the DNA. Grey is the null: {null}. "
        f"Scatter and density show {sample:,} weights, all else is over all {shape[0] * shape[1]:,}; by layer, the "
        f"{num_in_role} tensor{'s' * (num_in_role != 1)} of the same role (block -1: outside the blocks). In the "
        "table DNA-8 is the DNA with its weights at 8 bits, null* the null that keeps row and column means."
    )


def _alt(metrics: Mapping[str, Metrics]) -> str:
    dna, svd, null = metrics["DNA"], metrics["SVD"], metrics.get("null, means kept", metrics.get("null"))
    if dna.r2 is None or svd.r2 is None:
        return "The matrix is constant, so that no share of its variance can be explained."
    beside = "no null was fitted beside it" if null is None else f"its null {null.r2:.3f}"
    more = "more" if dna.r2 > svd.r2 else "less"
    return (
        f"The DNA explains {dna.r2:.3f} of the variance of the weights, {beside}; truncated SVD of the bits "
        f"of that DNA at 8 bits explains {svd.r2:.3f}, so the DNA holds {more}."
    )


def plot_reconstruction(view: ReconstructionView, *, axes: "Axes | None" = None) -> "Axes":
    """Three rows of three panels, in place of `axes`."""
    import matplotlib.pyplot as plt

    is_alone = axes is None
    cols = 3 if not is_alone or plt.rcParams["figure.figsize"][0] >= NARROW else 2
    axes = axes_for(axes, 0.98 if cols == 3 else 2.3)
    panels = split_axes(axes, -(-len(PANELS) // cols), cols, len(PANELS))
    for panel, name in zip(panels, PANELS, strict=True):
        panel.set_title(name)
    if cols == 2:
        _widen(panels[-1])
    _draw_values(panels[0], view)
    for panel, curves, x, y in (
        (panels[1], view.errors, "error (sd of weights)", "density"),
        (panels[3], view.by_magnitude, "|weight|", "RMSE (weights)"),
        (panels[5], view.cumulative, "|error| (weights)", "share of weights"),
    ):
        _draw_curves(panel, curves, x, y)
    _draw_tiles(panels[2], view)
    _draw_layers(panels[4], view)
    _draw_normal(panels[6], view)
    _draw_density(panels[7], view)
    _draw_metrics(panels[8], view)
    figure = axes.get_figure()
    assert figure is not None, "These axes are on a figure."
    handles, names = panels[4].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names))
    headline(axes, view, is_alone=is_alone)
    return axes


def _widen(axes: "Axes") -> None:
    """Give the panel its whole row."""
    place = axes.get_subplotspec()
    assert place is not None, "Panels are those of a grid."
    axes.set_subplotspec(place.get_gridspec()[place.rowspan.start, :])


def _draw_values(axes: "Axes", view: ReconstructionView) -> None:
    shown = view.sample[:SHOWN]
    look: dict[str, Any] = {"s": 3, "lw": 0, "alpha": 0.5, "rasterized": True}
    axes.scatter(shown[:, 0], shown[:, 2], color=COLOURS["SVD"], marker="s", label="SVD", **look)
    axes.scatter(shown[:, 0], shown[:, 1], color=COLOURS["DNA"], label="DNA", **look)
    axes.axline((0, 0), slope=1, color=NULL, ls=":")
    axes.set(xlabel="original (weights)", ylabel="rebuilt (weights)")


def _draw_curves(axes: "Axes", curves: Mapping[str, Curve], x: str, y: str) -> None:
    styles = {"DNA": "-", "SVD": "--", "means": ":"}
    for name, curve in curves.items():
        axes.plot(*curve, color=COLOURS[name], ls=styles[name], label=name)
    axes.set(xlabel=x, ylabel=y)


def _draw_tiles(axes: "Axes", view: ReconstructionView) -> None:
    image = axes.imshow(view.tiles, cmap=SEQUENTIAL, aspect="auto", extent=(0, view.shape[1], view.shape[0], 0))
    axes.set(xlabel="column (canonical)", ylabel="row (canonical)")
    axes.grid(False)
    axes.figure.colorbar(image, ax=axes, label="mean |error|")


def _draw_layers(axes: "Axes", view: ReconstructionView) -> None:
    from matplotlib.ticker import MaxNLocator

    markers = {"DNA": ("o", "-"), "SVD": ("s", "--"), "means": ("^", ":"), "null": ("D", "-")}
    for name, (blocks, left) in view.by_layer.items():
        places = np.unique(blocks)
        means = [float(np.mean(left[blocks == place])) for place in places]
        marker, style = markers[name]
        axes.plot(places, means, style, marker=marker, color=COLOURS[name], ms=3, label=name)
        axes.plot(blocks, left, marker, color=COLOURS[name], ms=3, alpha=0.5)
    axes.set(xlabel="block", ylabel="share left, 1 - R²")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_normal(axes: "Axes", view: ReconstructionView) -> None:
    axes.axline((0, 0), slope=1, color=NULL, ls=":", label="normal")
    axes.plot(*view.normal, "o", color=ACCENT, ms=2, label="DNA")
    axes.set(xlabel="normal quantile", ylabel="quantile of errors (sd)")


def _draw_density(axes: "Axes", view: ReconstructionView) -> None:
    low, high = np.quantile(view.sample[:, 0], (0.002, 0.998))
    found = axes.hexbin(
        view.sample[:, 0], view.sample[:, 1], gridsize=28, bins="log", mincnt=1, cmap=SEQUENTIAL, lw=0.1,
        extent=(float(low), float(high), float(view.sample[:, 1].min()), float(view.sample[:, 1].max()) + 1e-12),
    )  # fmt: skip
    axes.axline((0, 0), slope=1, color=NULL, ls=":")
    bottom, top = float(view.sample[:, 1].min()), float(view.sample[:, 1].max())
    axes.set(xlabel="original (weights)", ylabel="DNA (weights)", xlim=(low, high))
    axes.set_ylim(bottom - 0.42 * (top - bottom) - 1e-9, top + 1e-9)  # Room for the key.
    axes.grid(False)
    _key_within(axes, found)


HEADS = ("", "bits/w", "R²", "RMSE", "MAE", "PSNR")
WIDE_PLACES = (0.0, 0.35, 0.5, 0.66, 0.82, 0.95)
PLACES = (-0.35, 0.15, 0.40, 0.70, 0.99, 1.24)
"""Where columns of the table end, as shares of the panel's width; the first begins there."""


def _key_within(axes: "Axes", found: "ScalarMappable") -> None:
    """A small key inside the panel, so that the panels of a column stay of one width."""
    inner = axes.inset_axes((0.5, 0.05, 0.45, 0.045))
    axes.figure.colorbar(found, cax=inner, orientation="horizontal")
    small = max(size_of(axes.xaxis.label) - 2, 5)
    inner.tick_params(labelsize=small, length=1.5, pad=1)
    inner.xaxis.set_ticks_position("top")
    inner.minorticks_off()
    axes.text(0.47, 0.07, "weights", size=small, ha="right", va="center", transform=axes.transAxes)


def _draw_metrics(axes: "Axes", view: ReconstructionView) -> None:
    axes.set_axis_off()
    rows, place = [HEADS, *_cells(view.metrics)], axes.get_subplotspec()
    is_wide = place is not None and len(place.colspan) > 1
    places = WIDE_PLACES if is_wide else PLACES
    size = max(min(size_of(axes.xaxis.label) - 1, 7), 5.5)
    for number, cells in enumerate(rows):
        height = 0.95 - 0.9 * number / len(rows)
        for at, text in zip(places, cells, strict=True):
            side = "left" if at == places[0] else "right"
            axes.text(at, height, text, size=size, ha=side, va="top", transform=axes.transAxes)
    line = 0.95 - 0.9 * 0.75 / len(rows)
    axes.plot((places[0], places[-1]), (line, line), color=NULL, lw=0.5, transform=axes.transAxes, clip_on=False)


def _cells(metrics: Mapping[str, Metrics]) -> list[list[str]]:
    shorter = {"null, means kept": "null*", "DNA, 8 bits": "DNA-8"}
    return [
        [
            shorter.get(name, name),
            _fixed(each.bits_per_weight, 2),
            _fixed(each.r2, 3),
            _fixed(each.rmse, 4),
            _fixed(each.mae, 4),
            _fixed(each.psnr, 1),
        ]
        for name, each in metrics.items()
    ]


def _fixed(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{round(value, digits) + 0.0:.{digits}f}"


def reconstruction_page(view: ReconstructionView) -> "Figure":
    """The same nine panels for a page."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    figure = make_subplots(
        3, 3, subplot_titles=PANELS, specs=[[{}] * 3, [{}] * 3, [{}, {}, {"type": "table"}]], vertical_spacing=0.11
    )
    shown, seen = view.sample[:SHOWN], set[str]()

    def add(place: int, name: str, x: Any, y: Any, **look: Any) -> None:
        colour = {"marker" if look.get("mode") == "markers" else "line": {"color": COLOURS.get(name, ACCENT)}}
        trace = go.Scatter(x=x, y=y, name=name, legendgroup=name, showlegend=name not in seen, **look, **colour)
        seen.add(name)
        figure.add_trace(trace, row=place // 3 + 1, col=place % 3 + 1)

    add(0, "SVD", shown[:, 0], shown[:, 2], mode="markers", opacity=0.4)
    add(0, "DNA", shown[:, 0], shown[:, 1], mode="markers", opacity=0.5)
    for place, curves in ((1, view.errors), (3, view.by_magnitude), (4, view.by_layer), (5, view.cumulative)):
        for name, (x, y) in curves.items():
            add(place, name, x, y, mode="lines+markers" if place == 4 else "lines")
    add(6, "DNA", *view.normal, mode="markers")
    figure.add_trace(go.Heatmap(z=view.tiles, colorscale=SEQUENTIAL, showscale=False), row=1, col=3)
    density = go.Histogram2d(x=view.sample[:, 0], y=view.sample[:, 1], colorscale=SEQUENTIAL, showscale=False)
    figure.add_trace(density, row=3, col=2)
    columns = list(zip(*_cells(view.metrics), strict=True))
    figure.add_trace(go.Table(header={"values": HEADS}, cells={"values": columns}), row=3, col=3)
    return page_of(figure.update_layout(height=1000), view)
