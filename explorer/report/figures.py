"""The figures of a report: which there are, drawn once, with their numbers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dna_zoo.errors import DnaZooError
from explorer.files import as_csv, as_svg, file_name
from explorer.kinds import KINDS, find_kind
from explorer.source import Source
from explorer.view import View
from patterndb.records import PatternRecord

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MOST_DETAILED", "Failure", "Plan", "ReportFigure", "draw", "plan_figures", "telling_tensor"]

OVERVIEW = ("class-scores", "gain", "similarity", "tree", "model-map", "questions")
"""Of all models of a report together."""
FOR_TWO = ("similarity", "tree", "model-map", "questions")
OF_A_MODEL = ("rate", "training", "manifold")
OF_A_TENSOR = ("matrix", "spectrum", "singular-values", "reconstruction")
"""Kinds that another version has and this one has not are left out."""
MOST_DETAILED = 3
"""Models up to which each has figures of its own."""
ROWS_SHOWN = 24


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
    csv: str
    words: dict[str, object]
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """Of the table beside it, evenly thinned."""
    num_rows: int


def plan_figures(patterns: Sequence[PatternRecord], kinds: Sequence[str] | None = None) -> Iterator[Plan]:
    """What a report of these models shows; with more than `MOST_DETAILED`, only what they have together.

    - `kinds`: these alone.
    """
    models = tuple(each.model.key for each in patterns)
    for kind in OVERVIEW:
        if kind in (kinds or KINDS) and kind in KINDS and (len(models) > 1 or kind not in FOR_TWO):
            yield Plan(kind=kind, models=models)
    for pattern in patterns if len(patterns) <= MOST_DETAILED else ():
        tensor = telling_tensor(pattern)
        for kind in (*OF_A_MODEL, *OF_A_TENSOR):
            if kind in (kinds or KINDS) and kind in KINDS and tensor is not None:
                yield Plan(kind=kind, models=(pattern.model.key,), tensor=tensor if kind in OF_A_TENSOR else None)


def telling_tensor(pattern: PatternRecord) -> str | None:
    """The matrix inside the blocks (or any, where there are none) whose gain over its null is largest; None without
    a fit."""
    fitted = [(each, each.fit) for each in pattern.tensors if each.fit is not None]
    inside = [(each, fit) for each, fit in fitted if each.block is not None] or fitted
    best = max(inside, key=lambda pair: (pair[1].gain_beyond_means or pair[1].gain or 0.0, pair[0].name), default=None)
    return None if best is None else best[0].name


def draw(plan: Plan, source: Source) -> ReportFigure | Failure:
    """Compute the view and draw it; what cannot be had is told instead."""
    kind = find_kind(plan.kind)
    try:
        if plan.tensor is not None:
            view = kind.view(source, plan.models[0], plan.tensor)
        elif kind.subject == "model":
            view = kind.view(source, plan.models[0])
        else:
            view = kind.view(source, plan.models) if _takes_models(kind.name, kind.subject) else kind.view(source)
        svg = as_svg(view, kind.plot)
    except DnaZooError as error:
        return Failure(plan=plan, message=f"{error.message} {error.hint}".strip())
    return _figure(plan, view, svg)


def _takes_models(name: str, subject: str) -> bool:
    return subject == "models" or name == "questions"


def _figure(plan: Plan, view: View, svg: str) -> ReportFigure:
    table = view.table()
    rows = _thinned(table)
    few = plan.models if len(plan.models) == 1 else ()
    return ReportFigure(
        name=file_name(plan.kind, *few, *([plan.tensor] if plan.tensor else [])),
        kind=plan.kind,
        title=view.title,
        subtitle=getattr(view, "subtitle", ""),
        caption=view.caption,
        alt=view.alt,
        svg=svg,
        csv=as_csv(view),
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
