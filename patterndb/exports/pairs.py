"""The distances of all pairs as frames: of many models one block against another, so that no memory holds all."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, RowMapping, select

from patterndb.connection.batches import batches
from patterndb.exports import catalog
from patterndb.neighbours.reading import read_layouts, read_values
from patterndb.neighbours.row_distances import Layout
from patterndb.neighbours.search import EXACT_MODELS
from patterndb.patterns.reading import read_entries
from patterndb.similarity import Distances, kind_distances, weights_distances
from patterndb.tables import MODELS, PATTERNS, SIGNATURE_LAYOUTS, SIGNATURES

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["distance_frames"]

Vector = npt.NDArray[np.float64]
Models = Sequence[RowMapping]
"""Patterns with model and version, sorted by key."""
ROWS, COLUMNS = 64, 512
"""Models on the two sides of a block: its frame has at most their product of rows."""
IDS_PER_QUERY = 500


def distance_frames(connection: Connection, ids: Iterable[int], size: int) -> Iterator["pd.DataFrame"]:
    """One row for each pair of models whose signatures have the same version, and dimensions in common.

    At least one frame. Up to `EXACT_MODELS` models by all pairs at once, sorted, of at most `size` rows each; beyond,
    block by block: a few models against all that come after them.
    """
    models = sorted(_read_models(connection, ids), key=lambda row: (row["version"], row["key"]))
    if len(models) <= EXACT_MODELS:
        entries = read_entries(connection, PATTERNS.c.id.in_([row["id"] for row in models]))
        yield from catalog.distances_frames(entries, size)
        return
    for _, group in groupby(models, key=lambda row: str(row["version"])):
        yield from _blocks(connection, list(group))


def _read_models(connection: Connection, ids: Iterable[int]) -> Iterator[RowMapping]:
    """What a row says of a model."""
    query = select(
        PATTERNS.c.id, MODELS.c.key, MODELS.c.sha256, MODELS.c.is_partial, SIGNATURES.c.layout_id,
        SIGNATURE_LAYOUTS.c.version,
    ).select_from(PATTERNS.join(MODELS).join(SIGNATURES).join(SIGNATURE_LAYOUTS))  # fmt: skip
    for piece in batches(ids, IDS_PER_QUERY):
        yield from connection.execute(query.where(PATTERNS.c.id.in_(piece))).mappings()


def _blocks(connection: Connection, models: Models) -> Iterator["pd.DataFrame"]:
    """The pairs of models of one version."""
    layouts = read_layouts(connection)
    used = [layouts[layout_id].dimensions.names for layout_id in sorted({row["layout_id"] for row in models})]
    layout = Layout(tuple(dict.fromkeys(name for names in used for name in names)))

    def values_of(some: Models) -> Vector:
        found = read_values(connection, layouts, layout, [row["id"] for row in some])
        return np.stack([found[row["id"]] for row in some])

    for start in range(0, len(models), ROWS):
        ours = models[start : start + ROWS]
        values = values_of(ours)
        yield _frame(ours, ours, _distances(layout, values, values[:0]), np.triu_indices(len(ours), 1))
        for first in range(start + ROWS, len(models), COLUMNS):
            others = models[first : first + COLUMNS]
            found = _distances(layout, values, values_of(others))
            own = Distances(weights=found.weights[:, len(ours) :], kind=found.kind[:, len(ours) :])
            yield _frame(ours, others, own, np.nonzero(np.ones(own.kind.shape)))


def _distances(layout: Layout, ours: Vector, others: Vector) -> Distances:
    """Of our models from ours and the others."""
    values = np.concatenate([ours, others])
    return Distances(
        weights=weights_distances(layout.names, values, len(ours)), kind=kind_distances(layout.names, values, len(ours))
    )


def _frame(ours: Models, others: Models, found: Distances, pairs: Sequence[npt.NDArray[np.intp]]) -> "pd.DataFrame":
    """The pairs that can be compared, as rows."""
    a, b = (
        {name: np.array([row[name] for row in side], dtype=object) for name in ("key", "sha256", "is_partial")}
        for side in (ours, others)
    )
    same = a["sha256"][:, None] == b["sha256"]
    weights = np.where(same, 0.0, found.weights)
    known = np.isfinite(weights[*pairs]) | np.isfinite(found.kind[*pairs])
    i, j = (places[known] for places in pairs)
    return catalog.pairs_frame(
        {
            "a": a["key"][i],
            "b": b["key"][j],
            "is_same_file": same[i, j].astype(bool),
            "is_partial": a["is_partial"][i].astype(bool) | b["is_partial"][j].astype(bool),
            "weights": weights[i, j],
            "kind": found.kind[i, j],
        }
    )
