"""Writing a pattern inside the caller's transaction."""

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any, cast

from sqlalchemy import delete, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from dna_zoo.errors import StoreError
from patterndb import pattern_rows as rows
from patterndb.models import (
    Artifact,
    Base,
    Fit,
    Metric,
    Model,
    Pattern,
    RolePattern,
    Run,
    Signature,
    SignatureLayout,
    TensorPattern,
)
from patterndb.records import PatternRecord

__all__ = ["SAVE_STEPS", "write_pattern"]

SAVE_STEPS = ("pattern", "roles", "tensors", "fits", "metrics", "signature", "artifacts")
"""What `write_pattern` reports, in this order; all of it still uncommitted."""

PARTS: tuple[type[Base], ...] = (Fit, Metric, RolePattern, TensorPattern, Signature, Artifact)
"""Tables of a pattern's parts, those that refer to others first."""


def write_pattern(session: Session, pattern: PatternRecord, report: Callable[[str], None]) -> None:
    """Write the pattern in place of one with the same key; `report` is told each of `SAVE_STEPS` once it is done."""
    pattern_id = _upsert_pattern(session, pattern)
    for part in PARTS:
        session.execute(delete(part).where(part.__table__.c.pattern_id == pattern_id))
    report("pattern")
    _insert_all(session, RolePattern, rows.role_rows(pattern_id, pattern.roles))
    report("roles")
    _insert_all(session, TensorPattern, rows.tensor_rows(pattern_id, pattern.tensors))
    report("tensors")
    _insert_all(session, Fit, rows.fit_rows(pattern_id, pattern))
    report("fits")
    _insert_all(session, Metric, rows.metric_rows(pattern_id, pattern))
    report("metrics")
    layout_id = _find_or_insert(session, SignatureLayout, rows.layout_row(pattern.signature))
    _insert_all(session, Signature, [rows.signature_row(pattern_id, layout_id, pattern.signature)])
    report("signature")
    _insert_all(session, Artifact, rows.artifact_rows(pattern_id, pattern.artifacts))
    report("artifacts")


def _insert_all(session: Session, table: type[Base], values: Sequence[rows.Row]) -> None:
    """Insert the rows with one statement, past the unit of work: a pattern has thousands of metrics."""
    if values:
        session.execute(insert(table.__table__), values)  # type: ignore[arg-type]


def _dialect_insert(session: Session, table: type[Base]) -> "sqlite.Insert | postgresql.Insert":
    """An INSERT that has ON CONFLICT, which both databases spell alike and SQLAlchemy keeps apart."""
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    return sqlite.insert(table) if is_sqlite else postgresql.insert(table)


def _find_or_insert(session: Session, table: type[Model] | type[SignatureLayout], row: rows.Row) -> int:
    """The id of the row with this digest; safe against another process that inserts it now."""
    session.execute(_dialect_insert(session, table).values(row).on_conflict_do_nothing(index_elements=["digest"]))
    return session.execute(select(table.id).where(table.digest == row["digest"])).scalar_one()


def _upsert_pattern(session: Session, pattern: PatternRecord) -> int:
    """Insert or overwrite the row of `patterns`; another process that saves the same key waits here."""
    run_id = session.scalar(select(Run.id).where(Run.run == pattern.run))
    if run_id is None:
        raise StoreError(
            f"The pattern of {pattern.model.key!r} belongs to run {pattern.run!r}, which was never started.",
            hint="Call `start_run` before `save_pattern`.",
        )
    row = rows.pattern_row(pattern) | {
        "model_id": _find_or_insert(session, Model, rows.model_row(pattern.model)),
        "run_id": run_id,
        "confirmed_at": dt.datetime.now(dt.UTC),
    }
    statement = _dialect_insert(session, Pattern).values(row)
    upsert = statement.on_conflict_do_update(index_elements=["pattern_key"], set_=cast(dict[Any, Any], row))
    return session.execute(upsert.returning(Pattern.id)).scalar_one()
