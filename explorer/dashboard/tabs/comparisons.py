"""Comparisons: who is near whom, and two models role by role."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from dash import html

from dna_zoo.errors import DnaZooError
from explorer.dashboard.board import Board, Failure
from explorer.dashboard.choice import MOST_MODELS
from explorer.dashboard.numbers import count, fixed, is_missing
from explorer.dashboard.parts import draw_pictures, problem, tiles
from explorer.dashboard.state import State
from explorer.dashboard.tables import Column, Table, draw_table
from explorer.style import ThemeName
from patterndb.comparison import Comparison, RoleComparison
from patterndb.records import RELATED

__all__ = ["TABLES", "compared_table", "draw", "pairs_table"]


def draw(state: State, board: Board, theme: ThemeName) -> list[Any]:
    """The page of the tab, of at least one model."""
    return [
        draw_pictures(state, board, theme),
        *_two(state, board),
        draw_table(pairs_table(state, board), state),
    ]


def _two(state: State, board: Board) -> list[Any]:
    """Exactly two chosen models side by side."""
    chosen = board.catalog().chosen(state)
    if len(chosen) != 2:
        return [html.P("Choose exactly two models to see them role by role.", className="quiet")]
    found = board.comparison(chosen[0].model.key, chosen[1].model.key)
    if isinstance(found, Failure):
        return [problem(found.message, found.hint)]
    verdict = "related" if found.weights is not None and found.weights <= RELATED else "not related by this distance"
    overlap = found.cluster_overlap
    return [
        tiles(
            ("Weights", fixed(found.weights), f"{verdict}; 0 a copy, 1 unrelated"),
            ("Kind", fixed(found.kind), f"over {count(found.dimensions)} statistics"),
            ("Frequencies", fixed(found.frequency_correlation), "correlation of band energies"),
            (
                "Clusters",
                fixed(overlap.value if overlap else None),
                overlap.kind.replace("_", " ") if overlap else "none in common",
            ),
        ),
        draw_table(compared_table(state, board), state),
    ]


def compared_table(state: State, board: Board) -> Table:
    """The first two chosen models role by role."""
    keys = [pattern.model.key for pattern in board.catalog().chosen(state)[:2]]
    found = board.comparison(*keys) if len(keys) == 2 else None
    rows = [_role_row(role) for role in found.roles] if isinstance(found, Comparison) else []
    return Table(name="compared", caption=" and ".join(keys) or "Roles of two models", columns=ROLE_COLUMNS, rows=rows)


def _role_row(role: RoleComparison) -> dict[str, Any]:
    return {
        "role": role.role,
        "distance": role.distance,
        "dimensions": role.dimensions,
        "a_r2": role.a.r2,
        "a_null": role.a.means_null_r2,
        "b_r2": role.b.r2,
        "b_null": role.b.means_null_r2,
        "overlap": role.cluster_overlap.value if role.cluster_overlap else None,
    }


def pairs_table(state: State, board: Board) -> Table:
    """All pairs of the models in view, the nearest first; of many models, of the first ones."""
    patterns = board.catalog().in_view(state)
    keys = tuple(pattern.model.key for pattern in patterns[:MOST_MODELS])
    try:
        weights, kind = board.distances(keys)
    except DnaZooError as error:
        return Table(name="pairs", caption="Pairs", columns=PAIR_COLUMNS, rows=(), empty=f"{error} {error.hint}")
    rows: list[dict[str, Any]] = [
        {"a": keys[i], "b": keys[j], "weights": float(weights[i, j]), "kind": float(kind[i, j])}
        for i, j in zip(*np.triu_indices(len(keys), 1), strict=True)
    ]
    rows.sort(key=lambda row: [(is_missing(row[name]), row[name]) for name in ("weights", "kind")])
    part = f" of the first {MOST_MODELS} models" if len(patterns) > MOST_MODELS else ""
    return Table(
        name="pairs", caption=f"Pairs{part}", columns=PAIR_COLUMNS, rows=rows, empty="A pair needs two mined models."
    )


PAIR_COLUMNS = (
    Column(name="a", heading="Model", is_number=False),
    Column(name="b", heading="Other model", is_number=False),
    Column(name="weights", heading="Weights", meaning="Distance of their weights: 0 for copies, 1 for unrelated ones."),
    Column(name="kind", heading="Kind", meaning="Root mean square difference of the statistics that both have."),
)
ROLE_COLUMNS = (
    Column(name="role", heading="Role", is_number=False),
    Column(name="distance", heading="Distance", meaning="Root mean square difference over this role's statistics."),
    Column(name="dimensions", heading="Statistics", meaning="How many both have."),
    Column(name="a_r2", heading="R² of the first"),
    Column(name="a_null", heading="its null"),
    Column(name="b_r2", heading="R² of the second"),
    Column(name="b_null", heading="its null"),
    Column(name="overlap", heading="Clusters", meaning="How well the clusters of rows agree; 1 is perfectly."),
)
TABLES: Mapping[str, Callable[[State, Board], Table]] = {"pairs": pairs_table, "compared": compared_table}
