"""Writing a pattern inside the caller's transaction."""

import datetime as dt
from collections.abc import Callable, Sequence

from sqlalchemy import Connection, Table, delete, insert, select

from dna_zoo.errors import StoreError
from patterndb import pattern_rows as rows
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
from patterndb.upserts import find_or_insert, upsert

__all__ = ["SAVE_STEPS", "write_pattern"]

SAVE_STEPS = ("pattern", "roles", "tensors", "fits", "metrics", "signature", "artifacts")
"""What `write_pattern` reports, in this order; all of it still uncommitted."""

PARTS = (FITS, METRICS, ROLE_PATTERNS, TENSOR_PATTERNS, SIGNATURES, ARTIFACTS)
"""Tables of a pattern's parts, those that refer to others first."""


def write_pattern(connection: Connection, pattern: PatternRecord, report: Callable[[str], None]) -> None:
    """Write the pattern in place of one with the same key; `report` is told each of `SAVE_STEPS` once it is done."""
    pattern_id = _upsert_pattern(connection, pattern)
    for part in PARTS:
        connection.execute(delete(part).where(part.c.pattern_id == pattern_id))
    report("pattern")
    _insert_all(connection, ROLE_PATTERNS, rows.role_rows(pattern_id, pattern.roles))
    report("roles")
    _insert_all(connection, TENSOR_PATTERNS, rows.tensor_rows(pattern_id, pattern.tensors))
    report("tensors")
    _insert_all(connection, FITS, rows.fit_rows(pattern_id, pattern))
    report("fits")
    _insert_all(connection, METRICS, rows.metric_rows(pattern_id, pattern))
    report("metrics")
    layout_id = find_or_insert(connection, SIGNATURE_LAYOUTS, rows.layout_row(pattern.signature), key=("digest",))
    _insert_all(connection, SIGNATURES, [rows.signature_row(pattern_id, layout_id, pattern.signature)])
    report("signature")
    _insert_all(connection, ARTIFACTS, rows.artifact_rows(pattern_id, pattern.artifacts))
    report("artifacts")


def _insert_all(connection: Connection, table: Table, values: Sequence[rows.Row]) -> None:
    """Insert the rows with one statement: a pattern has thousands of metrics."""
    if values:
        connection.execute(insert(table), values)


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
        "confirmed_at": dt.datetime.now(dt.UTC),
    }
    return upsert(connection, PATTERNS, row, key=("pattern_key",))
