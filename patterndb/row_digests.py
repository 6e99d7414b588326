"""Digests of rows that stand alone: runs, their models and stages, tags and notes of models.

Such a row changes while a run lives, so whatever writes one keeps its digest in the same transaction, and what reads
one for an answer holds it against that. Parts of patterns have digests of their own (`patterndb.patterns.digests`). A
row that is gone altogether has no digest that could miss it.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Table, bindparam, select, update

from dna_zoo.errors import DamagedRowsError
from patterndb.connection.batches import batches
from patterndb.connection.engine import UNREADABLE, masked
from patterndb.patterns.digests import ENCODE
from patterndb.tables import MODEL_NOTES, MODEL_TAGS, RUN_MODELS, RUNS, STAGES

__all__ = ["damaged_rows", "fill_row_digests", "keep_row_digests", "require_rows"]

NUM_DIGITS = 16
WORDS = {
    RUNS.name: "a run",
    RUN_MODELS.name: "a model of a run",
    STAGES.name: "a stage of a run",
    MODEL_TAGS.name: "a tag of a model",
    MODEL_NOTES.name: "a note on a model",
}
"""Tables whose rows have a digest each, and what a row is called in a sentence."""
TABLES = (RUNS, RUN_MODELS, STAGES, MODEL_TAGS, MODEL_NOTES)
ROWS_AT_A_TIME = 1_000


def keep_row_digests(connection: Connection, table: Table, *which: ColumnElement[bool]) -> None:
    """Keep the digests of these rows, as they are in the database now: nobody else changes them until the end."""
    query = select(table).where(*which).with_for_update()
    made = [{"row": row["id"], "made": _digest(table, row)} for row in connection.execute(query).mappings()]
    if made:
        change = update(table).where(table.c.id == bindparam("row")).values(digest=bindparam("made"))
        connection.execute(change, made)


def fill_row_digests(connection: Connection) -> None:
    """Keep the digests of all rows that have none: those of an older schema."""
    for table in TABLES:
        ids = connection.scalars(select(table.c.id).where(table.c.digest.is_(None))).all()
        for some in batches(ids, ROWS_AT_A_TIME):
            keep_row_digests(connection, table, table.c.id.in_(some))


def require_rows(connection: Connection, table: Table, rows: Iterable[RowMapping]) -> None:
    """Raise `DamagedRowsError` for a row, with all columns of its table, that is not as it was written."""
    if any(not _is_as_written(table, row) for row in rows):
        raise DamagedRowsError(
            f"{masked(connection.engine.url)} is damaged: {WORDS[table.name]} is not as it was written.",
            hint="Restore the database from a backup; `dna-zoo db check` names all damage.",
        )


def damaged_rows(connection: Connection) -> Iterator[str]:
    """A sentence for each row that is not as it was written."""
    for table in TABLES:
        for row in connection.execute(select(table)).mappings():
            if not _is_as_written(table, row):
                yield f"The table {table.name}: row {row['id']} ({WORDS[table.name]}) is not as it was written."


def _is_as_written(table: Table, row: RowMapping) -> bool:
    try:
        return bool(row["digest"] == _digest(table, row))
    except UNREADABLE:
        return False


def _digest(table: Table, row: RowMapping) -> str:
    """Of all columns that hold something, floats by their bits; one that is added later changes no digest."""
    found: dict[str, Any] = {}
    for column in sorted(table.columns, key=lambda each: each.name):
        value = row[column.key]
        if value is not None and column.key != "digest":
            found[column.name] = value.hex() if isinstance(value, float) else value
    return hashlib.sha256(ENCODE(found).encode()).hexdigest()[:NUM_DIGITS]
