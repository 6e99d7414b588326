"""What is damaged in a database: every page of a file, every row of every table, every pattern against its digests."""

from collections.abc import Iterator

from sqlalchemy import Connection, Table, select
from sqlalchemy.exc import SQLAlchemyError

from dna_zoo.errors import DamagedRowsError
from patterndb.connection.engine import UNREADABLE, Transactions
from patterndb.patterns.digests import damaged_parts, require_layout
from patterndb.row_digests import damaged_rows
from patterndb.tables import METADATA, SIGNATURE_LAYOUTS

__all__ = ["damages"]

MOST_LINES = 20
"""Of what SQLite says of a file; the first ones tell enough."""


def damages(url: str) -> Iterator[str]:
    """A sentence for each thing that is not as it was written; none for a database that is whole.

    Raises `StoreError` for one that cannot be opened at all.
    """
    with Transactions(url) as database, database._reading() as connection:
        yield from _of_file(connection)
        for table in METADATA.sorted_tables:
            yield from _of_table(connection, table)
        yield from _of_single_rows(connection)
        yield from _of_layouts(connection)
        yield from _of_patterns(connection)


def _of_file(connection: Connection) -> Iterator[str]:
    """What SQLite finds in the pages of its file; a server looks after its own."""
    if connection.dialect.name != "sqlite":
        return
    try:
        found = connection.exec_driver_sql(f"PRAGMA integrity_check({MOST_LINES})").scalars().all()
    except (SQLAlchemyError, *UNREADABLE) as error:
        found = [str(getattr(error, "orig", error))]
    # SQLite tells of several pages in one line.
    lines = [line for each in found for line in str(each).splitlines() if line != "ok" and not line.startswith("***")]
    yield from (f"The file: {line}." for line in lines[:MOST_LINES])


def _of_table(connection: Connection, table: Table) -> Iterator[str]:
    """Whether every row can be read."""
    try:
        for _ in connection.execute(select(table)):
            pass
    except (SQLAlchemyError, *UNREADABLE):
        yield f"The table {table.name}: a row cannot be read."


def _of_single_rows(connection: Connection) -> Iterator[str]:
    try:
        yield from damaged_rows(connection)
    except (SQLAlchemyError, *UNREADABLE):
        return  # That a row of a table cannot be read is said already.


def _of_layouts(connection: Connection) -> Iterator[str]:
    try:
        for row in connection.execute(select(SIGNATURE_LAYOUTS)):
            require_layout(connection, row)
    except (DamagedRowsError, SQLAlchemyError, *UNREADABLE):
        yield "The names of signatures are not as they were written."


def _of_patterns(connection: Connection) -> Iterator[str]:
    try:
        for key, part in damaged_parts(connection):
            yield f"The pattern of {key!r}: {part} cannot be trusted."
    except (SQLAlchemyError, *UNREADABLE):
        yield "The patterns: some of their rows cannot be read."
