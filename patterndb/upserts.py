"""INSERT ... ON CONFLICT, which both databases spell alike and SQLAlchemy keeps apart."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Table, select

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

__all__ = ["find_or_insert", "upsert"]


def find_or_insert(connection: Connection, table: Table, row: dict[str, Any], *, key: Sequence[str]) -> int:
    """The id of the row with these values of `key`, inserted if there is none; another process may do so now."""
    connection.execute(_insert(connection, table).values(row).on_conflict_do_nothing(index_elements=key))
    query = select(table.c.id).where(*(table.c[name] == row[name] for name in key))
    return int(connection.execute(query).scalar_one())


def upsert(
    connection: Connection, table: Table, row: dict[str, Any], *, key: Sequence[str], once: Collection[str] = ()
) -> int:
    """Insert the row, or overwrite the one with these values of `key`, except for its columns `once`; its id."""
    changes = {name: value for name, value in row.items() if name not in (*key, *once)}
    statement = _insert(connection, table).values(row).on_conflict_do_update(index_elements=key, set_=changes)
    return int(connection.execute(statement.returning(table.c.id)).scalar_one())


def _insert(connection: Connection, table: Table) -> "sqlite.Insert | postgresql.Insert":
    """The dialect's own INSERT; the other dialect is not loaded."""
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table)
