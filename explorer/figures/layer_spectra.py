"""Frequencies of every matrix of a model, by role and layer: energy in eight bands beside that of the null.

What is drawn was measured by the analysis (`pipeline.analyse.statistics.spectra`), with its null.
"""

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dna_zoo.errors import SettingsError
from explorer.lettering import headline
from explorer.pages import inert, page_of, plotly_diverging
from explorer.panels import axes_for, figure_of
from explorer.source import Source
from explorer.style import NULL, diverging
from explorer.view import View
from patterndb.records import PatternRecord, TensorRecord
from pipeline.analyse.statistics.spectra import BAND_EDGES, NUM_BANDS
from zoo.tensors import Role

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from plotly.graph_objects import Figure

__all__ = ["LayerSpectraView", "layer_spectra_page", "layer_spectra_view", "plot_layer_spectra"]

Float64 = npt.NDArray[np.float64]
BANDS = tuple(f"spectra.band_{index}" for index in range(NUM_BANDS))
WITHIN = 2.0
"""Null deviations: nearer to the null's mean than that, a cell is marked as no different from it."""
LIMIT = 3.0
"""Doublings at which the colours end, at most."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayerSpectraView(View):
    """Of T matrices, sorted by role and depth."""

    names: tuple[str, ...]
    roles: tuple[str, ...]
    depths: tuple[float | None, ...]
    ratios: Float64
    """log2(energy / mean of the null), (T, bands)."""
    z: Float64
    """(energy - mean of the null) / its deviation, (T, bands)."""

    def table(self) -> "pd.DataFrame":
        """A row for each matrix and band."""
        import pandas as pd

        count = len(BANDS)
        return pd.DataFrame({
            "tensor": np.repeat(self.names, count), "role": np.repeat(self.roles, count),
            "depth": np.repeat([np.nan if depth is None else depth for depth in self.depths], count),
            "band": np.tile(np.arange(count), len(self.names)),
            "from": np.tile(BAND_EDGES[:-1], len(self.names)), "to": np.tile(BAND_EDGES[1:], len(self.names)),
            "log2_ratio": self.ratios.ravel(), "z": self.z.ravel(),
        })  # fmt: skip


def layer_spectra_view(source: Source, model: str) -> LayerSpectraView:
    """Needs neither weights nor a DNA. Raises `NotMinedError`, and `SettingsError` for a model without a matrix."""
    pattern = source.pattern(model)
    tensors = sorted(filter(_has_bands, pattern.tensors), key=_place)
    if not tensors:
        raise SettingsError(f"{model!r} has no matrix with frequencies.", hint="Ask for another model.")
    found = np.array([[_against_null(tensor, name) for name in BANDS] for tensor in tensors])
    beyond = int((np.abs(found[..., 1]) > WITHIN).sum())
    return LayerSpectraView(
        kind="layer-spectra",
        subject=(model,),
        title="Frequencies by role and layer",
        subtitle=f"{model}: {len(tensors)} matrices in canonical order",
        caption=(
            f"Energy of the cosine transform of each of the {len(tensors)} matrices of {model} in canonical order, in "
            f"{NUM_BANDS} bands of radial frequency, as doublings over the mean of {pattern.num_nulls} shuffled copies "
            f"put into order. Grey dots are within {WITHIN:g} standard deviations of these. {_pooled(pattern)}"
        ),
        alt=(
            f"{beyond} of {found[..., 0].size} cells are more than {WITHIN:g} standard deviations from their null; "
            f"{_by_chance(pattern.num_nulls) * found[..., 0].size:.0f} would be by chance. "
            f"{_pooled(pattern)}"
        ),
        n=len(tensors),
        units={"from": "radial frequency", "to": "radial frequency", "log2_ratio": "doublings", "z": "SD of the null"},
        settings={"null": "shuffle", "num_nulls": pattern.num_nulls, "seed": pattern.settings.get("seed")},
        names=tuple(tensor.name for tensor in tensors),
        roles=tuple(tensor.role for tensor in tensors),
        depths=tuple(tensor.depth for tensor in tensors),
        ratios=found[..., 0],
        z=found[..., 1],
    )


def _has_bands(tensor: TensorRecord) -> bool:
    return any(each.name == BANDS[0] for each in tensor.statistics)


def _place(tensor: TensorRecord) -> tuple[int, float, str]:
    return list(Role).index(Role(tensor.role)), -1.0 if tensor.depth is None else tensor.depth, tensor.name


def _against_null(tensor: TensorRecord, name: str) -> tuple[float, float]:
    """Doublings over the null, and deviations from it; NaN where there are none."""
    found = next((each for each in tensor.statistics if each.name == name), None)
    if found is None or not found.null_mean or found.value <= 0:
        return float("nan"), float("nan")
    return float(np.log2(found.value / found.null_mean)), float("nan") if found.z is None else found.z


def _by_chance(num_nulls: int) -> float:
    """How often one more draw of the null is so far from the others, whose deviation is known from so few."""
    from scipy.special import stdtr

    return float(2 * stdtr(num_nulls - 1, -WITHIN / np.sqrt(1 + 1 / num_nulls))) if num_nulls > 1 else 1.0


def _pooled(pattern: PatternRecord) -> str:
    """The band that differs most over all matrices, with its p."""
    known = {each.name: each for each in pattern.statistics}
    found = [known[name] for name in BANDS if name in known and known[name].null_mean and known[name].value > 0]
    if not found:
        return "No band was pooled over all matrices."
    most = max(found, key=lambda each: abs(np.log2(each.value / (each.null_mean or 1.0))))
    number = BANDS.index(most.name)
    return (
        f"Over all matrices the band from {BAND_EDGES[number]:.2g} to {BAND_EDGES[number + 1]:.2g} differs most: "
        f"{most.value / (most.null_mean or 1.0):.2f} times the null"
        + (f" (p = {most.p:.2g} before adjustment for {NUM_BANDS} bands)." if most.p is not None else ".")
    )


def plot_layer_spectra(view: LayerSpectraView, *, axes: "Axes | None" = None) -> "Axes":
    """A row for each matrix, roles apart; in matplotlib's present settings."""
    drawn = axes_for(axes, min(max(0.55 + 0.016 * len(view.names), 0.8), 1.5))
    image = drawn.imshow(view.ratios, cmap=diverging(), vmin=-_limit(view), vmax=_limit(view), aspect="auto")
    drawn.grid(visible=False)
    rows, cols = np.nonzero(~(np.abs(view.z) > WITHIN))
    drawn.plot(cols, rows, ".", color=NULL, ms=3, mew=0)
    _label_roles(drawn, view)
    drawn.set_xticks(np.arange(NUM_BANDS + 1) - 0.5, [_short(edge) for edge in BAND_EDGES])
    drawn.set_xlabel(f"radial frequency (n = {view.n} matrices)")
    figure = figure_of(drawn)
    bar = figure.colorbar(
        image, ax=drawn, label="doublings of energy over the null", extend="both", pad=0.02, aspect=32
    )
    bar.ax.grid(visible=False)
    headline(drawn, view, is_alone=axes is None)
    return drawn


def _short(edge: float) -> str:
    return f"{edge:.2f}".lstrip("0") if 0 < edge < 1 else f"{edge:g}"


def _limit(view: LayerSpectraView) -> float:
    return float(min(max(np.nanpercentile(np.abs(view.ratios), 99), 0.25), LIMIT))


def _label_roles(axes: "Axes", view: LayerSpectraView) -> None:
    """The name of each role beside its rows, which run from the first layer down to the last."""
    starts = [place for place, role in enumerate(view.roles) if place == 0 or view.roles[place - 1] != role]
    ends = [*starts[1:], len(view.roles)]
    middles = [(start + end - 1) / 2 for start, end in zip(starts, ends, strict=True)]
    names = [f"{view.roles[start].replace('_', ' ')} ({end - start})" for start, end in zip(starts, ends, strict=True)]
    axes.set_yticks(middles, names)
    axes.tick_params(axis="y", length=0, labelsize="x-small" if len(names) > 8 else "small")
    for start in starts[1:]:
        axes.axhline(start - 0.5, color=axes.get_facecolor(), lw=1.5)


def layer_spectra_page(view: LayerSpectraView) -> "Figure":
    """The same for a page, with the name of each matrix under the pointer."""
    import plotly.graph_objects as go

    figure, limit = go.Figure(), _limit(view)
    bands = [f"{low:.2g} to {high:.2g}" for low, high in itertools.pairwise(BAND_EDGES)]
    rows = [f"{place} {role}" for place, role in enumerate(view.roles, 1)]
    names = np.array([inert(name) for name in view.names])[:, None]
    figure.add_heatmap(
        z=view.ratios, x=bands, y=rows, colorscale=plotly_diverging(), zmin=-limit, zmax=limit,
        customdata=np.stack([names.repeat(NUM_BANDS, axis=1), view.z.astype(str)], axis=-1),
        hovertemplate="%{customdata[0]}<br>%{x}: %{z:.2f} doublings, z %{customdata[1]}<extra></extra>",
        colorbar={"title": "doublings"},
    )  # fmt: skip
    figure.update_xaxes(title=f"radial frequency (n = {view.n} matrices)")
    figure.update_yaxes(autorange="reversed", type="category", automargin=True)
    return page_of(figure, view)
