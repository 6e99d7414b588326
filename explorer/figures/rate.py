"""How much a DNA holds for its bits: R2 against bits per weight, beside SVD, the DCT, the null and the bound."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from explorer.kept import fitted_pattern, kept_fits
from explorer.lettering import headline, log_ticks
from explorer.pages import page_of
from explorer.panels import axes_for
from explorer.source import Source
from explorer.style import ACCENT, NULL, colour_of
from explorer.view import View
from patterndb.records import FitRecord
from pipeline.fit.baselines import SVD_WIDTHS, Baseline, explained
from pipeline.fit.report import STORED_BITS, TensorFit, ceiling
from pipeline.fit.sizing import MOMENTS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from plotly.graph_objects import Figure

__all__ = ["RatePoint", "RateView", "codes_at", "plot_rate", "rate_page", "rate_view"]

Float64 = npt.NDArray[np.float64]
NUM_BITS = 25
AROUND = 8.0
"""The curves reach from an eighth of the DNA's bits to eight times as many."""
LOOKS = {
    "bound": (colour_of(3), ":"),
    "SVD": (colour_of(1), "--"),
    "DCT": (colour_of(2), "-."),
    "SVD of the null": (NULL, "--"),
    "DCT of the null": (NULL, "-."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RatePoint:
    """What was fitted: the DNA or its null, with its numbers at so many bits."""

    code: str
    width: int
    bits: float
    """Per weight."""
    r2: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RateView(View):
    """Curves over `bits` (B,), bits per weight of all fitted tensors together, and the points of the DNA."""

    bits: Float64
    curves: Mapping[str, Float64]
    points: tuple[RatePoint, ...]

    def table(self) -> "pd.DataFrame":
        """`code`, `width` of a number (none for curves), `bits` per weight, `r2`."""
        import pandas as pd

        frames = [pd.DataFrame({"code": name, "bits": self.bits, "r2": r2}) for name, r2 in self.curves.items()]
        points = pd.DataFrame(self.points, columns=RatePoint.__slots__)
        return pd.concat([points, *frames], ignore_index=True).astype({"width": "Int64"})


def rate_view(source: Source, model: str) -> RateView:
    """Raises what `kept_fits` does."""
    fit, fits = fitted_pattern(source, model, with_tensors=False).fit, kept_fits(source, model)
    assert fit is not None, "`fitted_pattern` gives patterns with a fit."
    points = _points(fit)
    bits = np.geomspace(points[-1].bits / AROUND, points[0].bits * AROUND, NUM_BITS)
    curves = _curves(fits, bits)
    svd = float(np.interp(np.log(points[-1].bits), np.log(bits), curves["SVD"]))
    return RateView(
        kind="rate",
        subject=(model,),
        title="What a DNA holds for its bits",
        subtitle=f"{model}, n = {fit.num_weights:,} weights",
        caption=(
            f"R² of all {len(fits)} fitted matrices of {model} together ({fit.num_weights:,} weights) against bits per "
            "weight, order, means and scales counted. Blue: the DNA with numbers of 32 and, where it was measured, 8 "
            "bits, and (grey) its null. SVD has factors of the width that is best at those bits (8, 6, 4 or 3), the "
            "DCT is of the canonical order and pays for it; both buy means where these pay. Bound: the most that any "
            "code has on independent Gaussian weights of these variances."
        ),
        alt=(
            f"At {points[-1].bits:.3f} bits per weight the DNA explains {_r2_of(points, 'DNA'):.3f} of the variance, "
            f"its null {_r2_of(points, 'null'):.3f} and truncated SVD {svd:.3f}."
        ),
        n=fit.num_weights,
        units={"bits": "bits per weight", "width": "bits per number"},
        settings={"null": fit.null, "num_nulls": fit.num_nulls, "svd_widths": list(SVD_WIDTHS)},
        bits=bits,
        curves=curves,
        points=points,
    )


def _r2_of(points: Sequence[RatePoint], code: str) -> float:
    return (
        [point.r2 for point in points if point.code == code][-1:][0] if any(p.code == code for p in points) else np.nan
    )


def _points(fit: FitRecord) -> tuple[RatePoint, ...]:
    """As reported, from many bits to few."""
    kept = (
        ("DNA", STORED_BITS, fit.bits_per_weight, fit.r2),
        ("null", STORED_BITS, fit.bits_per_weight, fit.null_r2),
        ("DNA", 8, fit.bits_per_weight_8bit, fit.r2_8bit),
        ("null", 8, fit.bits_per_weight_8bit, fit.null_r2_8bit),
    )
    return tuple(
        RatePoint(code=code, width=width, bits=bits, r2=r2)
        for code, width, bits, r2 in kept
        if bits is not None and r2 is not None
    )


def _curves(fits: Sequence[TensorFit], bits: Float64) -> dict[str, Float64]:
    """What other codes reach, best split between the tensors: of these, and of the first draw of their null."""
    weights = sum(fit.num_weights for fit in fits)
    found = {
        "bound": np.array([ceiling(fits, each * weights) for each in bits]),
        **codes_at(fits, [fit.baseline for fit in fits], bits * weights),
    }
    if all(fit.null_baselines for fit in fits):
        of_null = codes_at(fits, [fit.null_baselines[0] for fit in fits], bits * weights)
        found |= {f"{name} of the null": curve for name, curve in of_null.items()}
    return found


def codes_at(fits: Sequence[TensorFit], baselines: Sequence[Baseline], bits: Float64) -> dict[str, Float64]:
    """R2 of SVD, at its best width, and of the DCT with so many `bits` (B,) in all.

    All pay for the mean and scale of each tensor; the DCT for the order too.
    """
    moments, order = MOMENTS * STORED_BITS * len(fits), sum(fit.order_bits for fit in fits)
    energy = max(sum(each.energy for each in baselines), 1e-300)
    svd = [
        [explained([each.svd_bits[width] for each in baselines], budget - moments) for budget in bits]
        for width in SVD_WIDTHS
    ]
    dct = [explained([each.dct_bits for each in baselines], budget - moments - order) for budget in bits]
    return {"SVD": np.minimum(np.max(svd, axis=0) / energy, 1.0), "DCT": np.minimum(np.array(dct) / energy, 1.0)}


def plot_rate(view: RateView, *, axes: "Axes | None" = None) -> "Axes":
    """R2 against bits per weight, on a logarithmic scale."""
    is_alone, axes = axes is None, axes_for(axes, 0.72)
    for name, r2 in view.curves.items():
        colour, style = LOOKS[name]
        axes.plot(view.bits, r2, color=colour, ls=style, label=name)
    for code, colour, marker in (("DNA", ACCENT, "o"), ("null", NULL, "D")):
        points = [point for point in view.points if point.code == code]
        axes.plot([p.bits for p in points], [p.r2 for p in points], marker, color=colour, ms=5, label=code, ls="-")
    for point in view.points:
        if point.code == "DNA":
            axes.annotate(f"{point.width} bit", (point.bits, point.r2), xytext=(4, -9), textcoords="offset points")
    top = max((point.r2 for point in view.points), default=0.5)
    axes.set(
        xscale="log", xlabel="bits per weight", ylabel="R²",
        ylim=(-0.02, min(max(3 * top, 0.3), 1.02)),
    )  # fmt: skip
    log_ticks(axes, "x")
    axes.legend(loc="upper left")
    headline(axes, view, is_alone=is_alone)
    return axes


def rate_page(view: RateView) -> "Figure":
    """The same for a page."""
    import plotly.graph_objects as go

    figure, dashes = go.Figure(), {":": "dot", "--": "dash", "-.": "dashdot"}
    for name, r2 in view.curves.items():
        colour, style = LOOKS[name]
        figure.add_scatter(x=view.bits, y=r2, name=name, line={"color": colour, "dash": dashes[style]})
    for code, colour in (("DNA", ACCENT), ("null", NULL)):
        points = [point for point in view.points if point.code == code]
        words = [f"numbers of {point.width} bits" for point in points]
        look = {"color": colour, "size": 10}
        figure.add_scatter(
            x=[p.bits for p in points],
            y=[p.r2 for p in points],
            text=words,
            name=code,
            mode="lines+markers",
            marker=look,
        )
    figure.update_xaxes(type="log", title=f"bits per weight (n = {view.n:,} weights)")
    figure.update_yaxes(title="R²")
    return page_of(figure, view)
