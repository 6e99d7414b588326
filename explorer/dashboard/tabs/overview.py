"""Overview: how much was mined, what is being mined, and what the models are."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from dash import html

from dna_zoo.text import printable
from explorer.dashboard.board import Board
from explorer.dashboard.catalog import Catalog
from explorer.dashboard.numbers import compact, count, duration, fixed
from explorer.dashboard.parts import draw_pictures, tiles
from explorer.dashboard.state import State
from explorer.dashboard.tables import Column, Table, draw_table
from explorer.style import ThemeName
from patterndb.records import PatternSummary

__all__ = ["TABLES", "draw", "runs_table"]

BARS = {"modalities": "Modality", "architectures": "Architecture", "classes": "Class"}
MOST_BARS = 8


def draw(state: State, board: Board, theme: ThemeName) -> list[Any]:
    """The page of the tab, of at least one model."""
    catalog = board.catalog()
    patterns = catalog.in_view(state)
    bars = [_bars(state, catalog, patterns, field) for field in BARS]
    return [
        _numbers(patterns),
        html.Section(bars, className="columns"),
        draw_pictures(state, board, theme),
        draw_table(runs_table(state, board), state),
    ]


def _numbers(patterns: Sequence[PatternSummary]) -> html.Dl:
    fits = [pattern.fit for pattern in patterns if pattern.fit is not None]
    gains = [fit.gain_beyond_means for fit in fits if fit.gain_beyond_means is not None]
    reached = median(fit.r2 for fit in fits) if fits else None
    nulls = [fit.means_null_r2 for fit in fits if fit.means_null_r2 is not None]
    null = median(nulls) if nulls else None
    classes = Counter(pattern.pattern_class for pattern in patterns).most_common(1)
    weights = sum(pattern.model.num_weights for pattern in patterns)
    tensors = sum(pattern.model.num_tensors for pattern in patterns)
    without = len(patterns) - len(fits)
    return tiles(
        ("Models", count(len(patterns)), f"{count(without)} without a fit" if without else "all with a fit"),
        ("Weights", compact(weights), f"in {count(tensors)} tensors"),
        ("Most frequent class", classes[0][0], f"{count(classes[0][1])} of {count(len(patterns))}"),
        ("Structure gain, median", fixed(median(gains) if gains else None), f"R² {fixed(reached)}, null {fixed(null)}"),
    )


def _bars(state: State, catalog: Catalog, patterns: Sequence[PatternSummary], field: str) -> html.Div:
    """How many models have each value; a link filters by it."""
    counts = Counter(label for pattern in patterns for label in catalog.labels(field, pattern)).most_common(MOST_BARS)
    rows = [_bar(state, field, label, number, counts[0][1]) for label, number in counts]
    return html.Div([html.H2(BARS[field]), html.Ul(rows, className="bars")])


def _bar(state: State, field: str, label: str, number: int, largest: int) -> html.Li:
    target = state.but(**{field: () if getattr(state, field) == (label,) else (label,)})
    width = {"width": f"{100 * number / largest:.1f}%"}
    link = html.A(html.Bdi(printable(label)), href=f"#{target.to_hash()}")
    bar = html.Span(html.Span(style=width), className="bar-track", **{"aria-hidden": "true"})
    return html.Li([link, bar, html.Span(count(number), className="number")])


def runs_table(state: State, board: Board) -> Table:
    """Every run, the latest first."""
    rows = [
        {
            "run": run.run,
            "status": run.status,
            "started": run.started.strftime("%Y-%m-%d %H:%M"),
            "seconds": (run.finished - run.started).total_seconds() if run.finished else None,
            "models": len(run.models),
            "failed": sum(model.status == "failed" for model in run.models),
            "errors": "; ".join(f"{model.key}: {model.error}" for model in run.models if model.error),
        }
        for run in board.runs()
    ]
    return Table(name="runs", caption="Runs", columns=RUN_COLUMNS, rows=rows, empty="No run is known.")


RUN_COLUMNS = (
    Column(name="run", heading="Run", is_number=False, meaning="Name of the run; the same request has the same name."),
    Column(name="status", heading="Status", is_number=False, meaning="How it ended."),
    Column(name="started", heading="Started (UTC)", is_number=False),
    Column(name="seconds", heading="Took", show=duration),
    Column(name="models", heading="Models"),
    Column(name="failed", heading="Failed"),
    Column(name="errors", heading="What failed", is_number=False),
)
TABLES: Mapping[str, Callable[[State, Board], Table]] = {"runs": runs_table}
