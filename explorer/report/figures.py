"""The figures of a report: which there are, drawn once, with their numbers."""

import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING

from dna_zoo.errors import DnaZooError
from explorer.file_names import file_name
from explorer.kinds import KINDS
from explorer.panels import figure_of
from explorer.plotting import default_tensor, draw, make_view
from explorer.source import Source
from explorer.style import WIDTHS, drawing
from explorer.view import View
from patterndb.records import PatternRecord

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MOST_DETAILED", "Failure", "Plan", "ReportFigure", "draw_planned", "plan_figures"]

OVERVIEW = ("class-scores", "gain", "similarity", "tree", "model-map", "questions")
"""Of all models of a report together."""
FOR_TWO = ("similarity", "tree", "model-map", "questions")
OF_A_MODEL = ("rate", "training", "layer-spectra", "manifold")
ALONE = ("manifold",)
"""Kinds of so many numbers that only a report on one model has them."""
OF_A_TENSOR = ("matrix", "spectrum", "singular-values", "reconstruction")
MOST_DETAILED = 2
"""Models up to which each has figures of its own."""
ROWS_SHOWN = 24
LONG = 500_000
"""Bytes of a table from which on it is compressed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A figure to draw."""

    kind: str
    models: tuple[str, ...]
    tensor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A figure that could not be drawn, in two sentences."""

    plan: Plan
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFigure:
    """A figure and all that goes with it, text from outside as it came."""

    name: str
    """Of its files, and its place in the page."""
    kind: str
    title: str
    subtitle: str
    caption: str
    alt: str
    svg: str
    csv_name: str
    csv: bytes
    """Compressed where it is long; the same numbers give the same bytes."""
    words: dict[str, object]
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """Of the table beside it, evenly thinned."""
    num_rows: int


def plan_figures(
    source: Source, patterns: Sequence[PatternRecord], kinds: Sequence[str] | None = None
) -> Iterator[Plan]:
    """What a report of these models shows; with more than `MOST_DETAILED`, only what they have together.

    - `kinds`: these alone.
    """
    models = tuple(each.model.key for each in patterns)
    for kind in OVERVIEW:
        if kind in (kinds or KINDS) and (len(models) > 1 or kind not in FOR_TWO):
            yield Plan(kind=kind, models=models)
    for pattern in patterns if len(patterns) <= MOST_DETAILED else ():
        tensor = default_tensor(source, pattern.model.key) if pattern.fit is not None else None
        for kind in (*OF_A_MODEL, *OF_A_TENSOR):
            if kind in (kinds or KINDS) and tensor is not None and (len(models) == 1 or kind not in ALONE):
                yield Plan(kind=kind, models=(pattern.model.key,), tensor=tensor if kind in OF_A_TENSOR else None)


def draw_planned(plan: Plan, source: Source) -> ReportFigure | Failure:
    """Compute the view and draw it; what cannot be had is told instead."""
    try:
        view = make_view(source, plan.kind, plan.models, tensor=plan.tensor)
    except DnaZooError as error:
        return Failure(plan=plan, message=f"{error.message} {error.hint}".strip())
    return _figure(plan, view, _svg_of(view))


def _svg_of(view: View) -> str:
    """The `svg` element alone, in the light theme's colours."""
    import matplotlib.pyplot as plt

    kept = StringIO()
    with drawing("light", WIDTHS["tmlr"]):
        figure = figure_of(draw(view))
        # Dots are of what is made of them: all the rest has no resolution.
        figure.savefig(kept, format="svg", dpi=150, metadata={"Date": None, "Creator": None})
        plt.close(figure)
    text = kept.getvalue()
    return text[text.index("<svg") :]


def _figure(plan: Plan, view: View, svg: str) -> ReportFigure:
    table = view.table()
    rows, csv = _thinned(table), table.to_csv(index=False, lineterminator="\n", float_format="%.7g").encode()
    few = plan.models if len(plan.models) == 1 else ()
    name, is_long = file_name(plan.kind, *few, *([plan.tensor] if plan.tensor else [])), len(csv) > LONG
    return ReportFigure(
        name=name,
        kind=plan.kind,
        title=view.title,
        subtitle=view.subtitle,
        caption=view.caption,
        alt=view.alt,
        svg=svg,
        csv_name=f"{name}.csv{'.gz' if is_long else ''}",
        csv=gzip.compress(csv, mtime=0) if is_long else csv,
        words=view.words(),
        heads=tuple(map(str, table.columns)),
        rows=rows,
        num_rows=len(table),
    )


def _thinned(table: "pd.DataFrame") -> tuple[tuple[str, ...], ...]:
    """At most `ROWS_SHOWN` rows as text, the first and the last among them."""
    count = min(len(table), ROWS_SHOWN)
    places = [round(place * (len(table) - 1) / max(count - 1, 1)) for place in range(count)]
    return tuple(tuple(map(_cell, row)) for row in table.iloc[places].itertuples(index=False))


def _cell(value: object) -> str:
    import pandas as pd

    if value is None or value is pd.NA or (isinstance(value, float) and value != value):
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
