"""Models: all of them as a table; of the chosen ones, what they are, roles, tensors, and pictures side by side."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from dash import html

from dna_zoo.errors import NotMinedError
from dna_zoo.text import printable
from explorer.dashboard.board import Board
from explorer.dashboard.choice import MOST_SIDE_BY_SIDE
from explorer.dashboard.numbers import MISSING, compact, count, fixed
from explorer.dashboard.parts import draw_pictures, facts
from explorer.dashboard.state import State
from explorer.dashboard.tables import Column, Table, draw_table
from explorer.page.scene import NUM_POINTS
from explorer.style import ThemeName
from patterndb.exports.columns import COLUMN_MEANINGS
from patterndb.records import FitRecord, PatternRecord, PatternSummary

__all__ = ["TABLES", "draw", "models_table", "roles_table", "tensors_table"]


def draw(state: State, board: Board, theme: ThemeName) -> list[Any]:
    """The page of the tab, of at least one model."""
    chosen = board.catalog().chosen(state)
    table = draw_table(models_table(state, board), state)
    if not chosen:
        return [table, draw_pictures(state, board, theme)]
    return [
        html.Section([_card(pattern) for pattern in chosen[:MOST_SIDE_BY_SIDE]], className="cards"),
        html.P(_points_link(state, len(chosen)), className="live"),
        draw_pictures(state, board, theme),
        draw_table(roles_table(state, board), state),
        draw_table(tensors_table(state, board), state),
        table,
    ]


def _card(pattern: PatternSummary) -> html.Article:
    """What the model is, and the numbers that matter, with their nulls."""
    model, fit = pattern.model, pattern.fit
    scores = sorted(pattern.class_scores.items(), key=lambda item: -item[1])
    entries = [
        ("Class", f"{pattern.pattern_class} ({', '.join(f'{name} {fixed(score, 2)}' for name, score in scores[:3])})"),
        (
            "Kind",
            " · ".join(filter(None, (model.modality, model.architecture, model.family, model.objective))) or MISSING,
        ),
        ("Weights", f"{compact(model.num_weights)} in {count(model.num_tensors)} tensors"),
        ("Made from", ", ".join(model.parents) or MISSING),
        ("Fit", _fit_words(fit)),
        ("Run", f"{pattern.run}, {pattern.confirmed_at:%Y-%m-%d %H:%M} UTC"),
    ]
    partial = [html.P("A considerable share of this model could not be read.", className="flag")] * bool(
        model.is_partial
    )
    return html.Article([html.H2(html.Bdi(printable(model.key))), *partial, facts(entries)], className="card")


def _points_link(state: State, chosen: int) -> html.A:
    """Tens of thousands of weights are drawn in a page of their own, which plotly could not."""
    models = "this model" if chosen == 1 else f"these {min(chosen, MOST_SIDE_BY_SIDE)} models"
    return html.A(
        f"Weights of {models} as {NUM_POINTS:,} points{' each' * (chosen > 1)}",
        href=f"/points.html?{State(models=state.models, theme=state.theme).to_hash()}",
        className="button",
        target="_blank",
        rel="noopener",
    )


def _fit_words(fit: FitRecord | None) -> str:
    if fit is None:
        return "Nothing was fitted: mine it again with a fit to see its DNA."
    null, bits = fixed(fit.strictest_null_r2), fixed(fit.bits_per_weight, 2)
    return f"R² {fixed(fit.r2)}, null {null}, SVD {fixed(fit.svd_r2)}, at {bits} bits a weight"


def models_table(state: State, board: Board) -> Table:
    """The models that the filters leave."""
    rows = [_model_row(pattern) for pattern in board.catalog().matching(state)]
    return Table(name="models", caption="Models", columns=MODEL_COLUMNS, rows=rows)


def _model_row(pattern: PatternSummary) -> dict[str, Any]:
    model = pattern.model
    names = ("tier", "modality", "architecture", "family", "num_weights")
    return {
        "model": model.key,
        **{name: getattr(model, name) for name in names},
        "pattern_class": pattern.pattern_class,
        **_fit_cells(pattern.fit),
    }


def _fit_cells(fit: FitRecord | None) -> dict[str, Any]:
    return {f"fit_{name}": getattr(fit, name, None) for name in FIT_NAMES}


def roles_table(state: State, board: Board) -> Table:
    """The roles of the chosen models."""
    catalog = board.catalog()
    rows = [
        {
            "model": pattern.model.key,
            "role": role.role,
            "tensors": role.tensors,
            "num_weights": role.weights,
            "pattern_class": role.pattern_class,
            **_fit_cells(role.fit),
        }
        for pattern in catalog.chosen(state)
        for role in catalog.roles.get(pattern.model.key, ())
        if not state.roles or role.role in state.roles
    ]
    return Table(name="roles", caption="Roles", columns=ROLE_COLUMNS, rows=rows, empty="None of these roles is there.")


def tensors_table(state: State, board: Board) -> Table:
    """The tensors of the chosen models."""
    rows = [
        {
            "model": pattern.model.key,
            "tensor": tensor.name,
            "role": tensor.role,
            "depth": tensor.depth,
            "rows": tensor.rows,
            "cols": tensor.cols,
            "pattern_class": tensor.pattern_class,
            **_fit_cells(tensor.fit),
        }
        for pattern in _chosen_patterns(state, board)
        for tensor in pattern.tensors
        if not state.roles or tensor.role in state.roles
    ]
    return Table(name="tensors", caption="Tensors", columns=TENSOR_COLUMNS, rows=rows, empty="None of them is there.")


def _chosen_patterns(state: State, board: Board) -> Iterator[PatternRecord]:
    for pattern in board.catalog().chosen(state):
        try:
            yield board.pattern(pattern.model.key)
        except NotMinedError:  # Removed since the catalog was read.
            continue


FIT_NAMES = ("bits_per_weight", "r2", "means_null_r2", "gain_beyond_means", "svd_r2")
FIT_HEADINGS = ("Bits a weight", "R²", "Null R²", "Gain", "SVD R²")
MEANINGS = {**COLUMN_MEANINGS["catalog"], **COLUMN_MEANINGS["tensors"]}


def _columns(headings: Mapping[str, str], texts: Sequence[str]) -> tuple[Column, ...]:
    return tuple(
        Column(
            name=name,
            heading=heading,
            meaning=MEANINGS.get(name, ""),
            is_number=name not in texts,
            is_key=name == "model",
            **({"show": compact} if name == "num_weights" else {}),
        )
        for name, heading in headings.items()
    )


FIT = dict(zip((f"fit_{name}" for name in FIT_NAMES), FIT_HEADINGS, strict=True))
MODEL_COLUMNS = _columns(
    {
        "model": "Model", "modality": "Modality", "architecture": "Architecture", "family": "Family", "tier": "Tier",
        "pattern_class": "Class", "num_weights": "Weights", **FIT,
    },
    ("model", "modality", "architecture", "family", "pattern_class"),
)  # fmt: skip
ROLE_COLUMNS = _columns(
    {"model": "Model", "role": "Role", "pattern_class": "Class", "tensors": "Tensors", "num_weights": "Weights", **FIT},
    ("model", "role", "pattern_class"),
)
TENSOR_COLUMNS = _columns(
    {
        "model": "Model", "tensor": "Tensor", "role": "Role", "depth": "Depth", "rows": "Rows", "cols": "Columns",
        "pattern_class": "Class", **FIT,
    },
    ("model", "tensor", "role", "pattern_class"),
)  # fmt: skip
TABLES: Mapping[str, Callable[[State, Board], Table]] = {
    "models": models_table,
    "roles": roles_table,
    "tensors": tensors_table,
}
