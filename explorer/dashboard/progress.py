"""How far running mines are, from what the database knows of them."""

import datetime as dt
from typing import Any

from dash import html

from dna_zoo.text import printable
from explorer.dashboard.board import Board
from explorer.dashboard.numbers import count, duration
from patterndb.records import RunModelRecord, RunRecord
from patterndb.runs.remaining import STAGES

__all__ = ["draw_progress", "stage_of"]

MOST_SHOWN = 8


def draw_progress(board: Board, now: dt.datetime) -> list[Any]:
    """A panel for each run that has not ended; nothing where none runs."""
    running = [run for run in board.runs() if run.status == "running"]
    if not running:
        return []
    return [html.H2(["Mining now ", html.Span(count(len(running)), className="count")])] + [
        _panel(run, now) for run in running
    ]


def _panel(run: RunRecord, now: dt.datetime) -> html.Div:
    total = len(run.models)
    ended = [model for model in run.models if model.status != "pending"]
    failed = sum(model.status == "failed" for model in ended)
    active = [model for model in run.models if model.status == "pending" and model.stages]
    stages_done = sum(sum(stage.status == "done" for stage in model.stages[: len(STAGES)]) for model in active)
    share = (len(ended) + stages_done / len(STAGES)) / max(total, 1)
    words = f"{count(len(ended))} of {count(total)} models, {duration((now - run.started).total_seconds())}"
    if failed:
        words += f", {failed} failed"
    bar = html.Progress(value=f"{share:.3f}", max="1", **{"aria-label": f"Run {run.run}: {words}"})
    rows = [_line(model) for model in active[:MOST_SHOWN]]
    waiting = total - len(ended) - len(active)
    if waiting:
        rows.append(html.Li(f"{count(waiting)} more to come", className="quiet"))
    head = html.P([html.Strong(f"Run {run.run}"), html.Span(words, className="quiet")], className="between")
    return html.Div([head, bar, html.Ul(rows, className="stages")], className="running")


def _line(model: RunModelRecord) -> html.Li:
    return html.Li([html.Bdi(printable(model.key)), html.Span(stage_of(model), className="quiet")], className="between")


def stage_of(model: RunModelRecord) -> str:
    """The stage that a pending model is in: the one after the last that is done."""
    done = {stage.stage for stage in model.stages if stage.status == "done"}
    following = [stage for stage in STAGES if stage not in done]
    number = len(STAGES) - len(following)
    return f"{following[0]}, stage {number + 1} of {len(STAGES)}" if following else "almost done"
