"""A pattern as rows, in place of one with the same key: a statement for each table, whatever its size."""

import datetime as dt
from collections.abc import Callable

from sqlalchemy import Connection, delete, func, insert, select

from dna_zoo.errors import StoreError
from patterndb.connection.engine import find_or_insert, upsert
from patterndb.neighbours.vectors import keep_vectors
from patterndb.patterns import rows
from patterndb.records import PatternRecord
from patterndb.tables import (
    ARTIFACTS,
    FITS,
    METRICS,
    MODELS,
    PATTERNS,
    ROLE_PATTERNS,
    RUNS,
    SIGNATURE_LAYOUTS,
    SIGNATURES,
    TENSOR_PATTERNS,
)

__all__ = ["PARTS", "SAVE_STEPS", "SHORTEST_TIME", "newest_time", "write_pattern"]

SAVE_STEPS = ("pattern", "roles", "tensors", "fits", "metrics", "signature", "artifacts")
"""What `save_pattern` reports, in this order; all of it still uncommitted."""
PARTS = (FITS, METRICS, ROLE_PATTERNS, TENSOR_PATTERNS, SIGNATURES, ARTIFACTS)
"""Tables of a pattern's parts, those that refer to others first."""
SHORTEST_TIME = dt.timedelta(microseconds=1)


def write_pattern(connection: Connection, pattern: PatternRecord, on_step: Callable[[str], object]) -> None:
    """Write the pattern in place of one with the same key: a statement for each table, whatever its size."""
    pattern_id = _upsert_pattern(connection, pattern)
    for part in PARTS:
        connection.execute(delete(part).where(part.c.pattern_id == pattern_id))
    layout_id = find_or_insert(connection, SIGNATURE_LAYOUTS, rows.layout_row(pattern.signature), key=("digest",))
    on_step("pattern")
    for step, table, values in (
        ("roles", ROLE_PATTERNS, rows.part_rows(pattern_id, pattern.roles, rows.ROLE_FIELDS)),
        ("tensors", TENSOR_PATTERNS, rows.part_rows(pattern_id, pattern.tensors, rows.TENSOR_FIELDS)),
        ("fits", FITS, rows.fit_rows(pattern_id, pattern)),
        ("metrics", METRICS, rows.metric_rows(pattern_id, pattern)),
        ("signature", SIGNATURES, [rows.signature_row(pattern_id, layout_id, pattern.signature)]),
        ("artifacts", ARTIFACTS, rows.part_rows(pattern_id, pattern.artifacts, rows.ARTIFACT_FIELDS)),
    ):
        if values:
            connection.execute(insert(table), values)
        on_step(step)
    keep_vectors(connection, pattern_id, layout_id, pattern.signature)


def _upsert_pattern(connection: Connection, pattern: PatternRecord) -> int:
    """Insert or overwrite the row of `patterns`; another process that saves the same key waits here."""
    run_id = connection.scalar(select(RUNS.c.id).where(RUNS.c.run == pattern.run))
    if run_id is None:
        raise StoreError(
            f"The pattern of {pattern.model.key!r} belongs to run {pattern.run!r}, which was never started.",
            hint="Call `start_run` before `save_pattern`.",
        )
    row = rows.pattern_row(pattern) | {
        "model_id": find_or_insert(connection, MODELS, rows.model_row(pattern.model), key=("digest",)),
        "run_id": run_id,
        "confirmed_at": newest_time(connection, pattern.model.key),
    }
    return upsert(connection, PATTERNS, row, key=("pattern_key",))


def newest_time(connection: Connection, key: str) -> dt.datetime:
    """The time now, or just after the newest pattern of the model key where the clock has been set back since."""
    times = select(func.max(PATTERNS.c.confirmed_at)).select_from(PATTERNS.join(MODELS)).where(MODELS.c.key == key)
    newest: dt.datetime | None = connection.scalar(times)
    now = dt.datetime.now(dt.UTC)
    return now if newest is None else max(now, newest + SHORTEST_TIME)
