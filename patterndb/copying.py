"""Copy a database into another, of the same engine or not: every row of every table, checked by digest on both sides.

Tables are copied in the order in which they refer to each other, rows in the order of their keys, some at a time. A
copy that was broken off goes on where it was: what the target has must be the beginning of what the source has.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, func, insert, select, text, tuple_

from dna_zoo.errors import StoreError
from dna_zoo.files import whole_output
from dna_zoo.home import sqlite_url
from patterndb.connection.engine import Transactions, masked, parse_url
from patterndb.store import PatternDatabase
from patterndb.tables import METADATA

__all__ = ["Copied", "back_up", "copy_database"]

ROWS = 2_000
"""Copied in one transaction."""
OnTable = Callable[[str, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """What a copy holds, once both sides were compared."""

    rows: Mapping[str, int]
    """By table."""
    new_rows: int
    """Those that this call has written."""
    digest: str
    """sha256 over all rows of all tables, the same on both sides."""


def back_up(url: str, path: Path, *, on_table: OnTable = lambda table, rows: None) -> Copied:
    """Copy a database into a new SQLite file, which is there when it is complete and checked, and not before.

    Raises `StoreError` if there is something at `path`, and where one of both cannot be read or written.
    """
    if os.path.lexists(path):
        raise StoreError(f"{str(path)!r} is there already.", hint="Name another file for the backup.")
    with whole_output(path, StoreError) as made:
        return copy_database(url, sqlite_url(made), on_table=on_table)


def copy_database(source: str, target: str, *, on_table: OnTable = lambda table, rows: None) -> Copied:
    """Copy all rows of one database into another, which is created if it is not there.

    - `on_table(table, rows)`: after each table, with the rows that it has now.

    Both need this version's schema. Raises `SchemaVersionError`, and `StoreError` if both are one database, if the
    target holds what the source does not, or if both differ in the end: while it is copied, nobody should write.
    """
    if parse_url(source) == parse_url(target):
        raise StoreError("A database cannot be copied into itself.", hint="Name another one.")
    with PatternDatabase.open(source, create=False) as old, PatternDatabase.open(target) as new:
        rows, new_rows = {}, 0
        for table in METADATA.sorted_tables:
            with old._reading(table):
                pass  # A row that is lost is missing in both, and digests would agree.
            written = _copy_table(table, old, new)
            new_rows += written
            rows[table.name] = _count(table, new)
            on_table(table.name, rows[table.name])
        digests = _digest(old), _digest(new)
        if len(set(digests)) > 1:
            raise StoreError(
                f"The copy differs from {masked(parse_url(source))}: rows came meanwhile, or a side is damaged.",
                hint="Copy it again into an empty database while nothing is mined; `dna-zoo db check` tells more.",
            )
    return Copied(rows=rows, new_rows=new_rows, digest=digests[0])


def _copy_table(table: Table, old: Transactions, new: Transactions) -> int:
    """Copy the rows that the target lacks; how many those were."""
    keys, written = list(table.primary_key.columns), 0
    last: Sequence[Any] | None
    with new._reading() as connection:
        last = connection.execute(select(*keys).order_by(*(key.desc() for key in keys)).limit(1)).first()
        count = connection.scalar(select(func.count()).select_from(table)) or 0
    _require_beginning(table, old, last, count)
    for some in _pieces(table, old, last):
        named = [{column.key: row[column] for column in table.columns} for row in some]
        with new._writing() as connection:
            connection.execute(insert(table), named)
            _count_on(connection, table)
        written += len(some)
    return written


def _require_beginning(table: Table, old: Transactions, last: Any, count: int) -> None:
    """Raise `StoreError` where the target has more or other keys than the source up to its last."""
    if last is None:
        return
    keys = list(table.primary_key.columns)
    with old._reading() as connection:
        before = connection.scalar(select(func.count()).select_from(table).where(tuple_(*keys) <= tuple_(*last)))
    if before != count:
        raise StoreError(
            f"The target holds rows in {table.name!r} that the source does not.",
            hint="Copy into an empty database, or into one that a copy of this source was begun in.",
        )


def _count_on(connection: Connection, table: Table) -> None:
    """PostgreSQL numbers rows by a counter that rows with numbers of their own leave behind."""
    if connection.dialect.name == "postgresql" and "id" in table.columns:
        name = table.name
        connection.execute(text(f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), (SELECT max(id) FROM {name}))"))


def _count(table: Table, database: Transactions) -> int:
    with database._reading() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0


def _digest(database: Transactions) -> str:
    """sha256 over all rows in the order of their keys: the same on every engine."""
    found = hashlib.sha256()
    for table in METADATA.sorted_tables:
        found.update(table.name.encode())
        for some in _pieces(table, database):
            for row in some:
                found.update(json.dumps([_plain(row[column]) for column in table.columns], sort_keys=True).encode())
    return found.hexdigest()


def _pieces(table: Table, database: Transactions, last: Sequence[Any] | None = None) -> Iterator[Sequence[RowMapping]]:
    """The rows behind those of the key `last`, or all, in the order of their keys, some at a time."""
    keys = list(table.primary_key.columns)
    while True:
        query = select(table).order_by(*keys).limit(ROWS)
        if last is not None:
            query = query.where(tuple_(*keys) > tuple_(*last))
        with database._reading() as connection:
            some = connection.execute(query).mappings().all()
        if not some:
            return
        yield some
        last = tuple(some[-1][key] for key in keys)


def _plain(value: Any) -> Any:
    """A value as JSON writes it down on every engine: floats by their digits, bytes by their digest, times in UTC."""
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, bytes | memoryview):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if value is None or isinstance(value, str | int | bool) else str(value)
