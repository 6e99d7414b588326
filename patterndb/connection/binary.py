"""Values from PostgreSQL as they are, where there are many."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, event

__all__ = ["as_bytes"]


@contextmanager
def as_bytes(connection: Connection) -> Iterator[None]:
    """Have PostgreSQL send values as they are and not as text, which is twice as long and has to be parsed."""
    if connection.dialect.name != "postgresql" or event.contains(connection, "before_cursor_execute", _set_binary):
        yield
        return
    event.listen(connection, "before_cursor_execute", _set_binary)
    try:
        yield
    finally:
        event.remove(connection, "before_cursor_execute", _set_binary)


def _set_binary(connection: Connection, cursor: Any, *rest: object) -> None:
    cursor.format = 1
