"""Reading from PostgreSQL through its own driver, as from a SQLite file: SQLAlchemy is not loaded for it."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from patterndb.failures import no_driver, refused, unreachable, without_password
from patterndb.reading import Cells, Reader

if TYPE_CHECKING:
    from psycopg import Connection

__all__ = ["CONNECT_SECONDS", "Server", "ServerReader", "plain_server"]

CONNECT_SECONDS = 10
ESCAPE = "%[0-9A-Fa-f]{2}"
NAME = rf"(?:{ESCAPE}|[^\s%/?#@:\[\]])*"
SETTING = rf"[a-z_]+=(?:{ESCAPE}|[\w.,:/~-])*"
PLAIN = re.compile(
    rf"postgres(?:ql)?://(?:{NAME}(?::{NAME})?@)?[\w.-]*(?::\d+)?/[\w-]+(?:\?(?P<settings>{SETTING}(?:&{SETTING})*))?",
    re.ASCII,
)


class ServerReader(Reader):
    """A transaction on a connection of psycopg's."""

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection

    def execute(self, query: str, parameters: Sequence[Any]) -> tuple[Sequence[str], Iterator[Cells]]:
        # Queries are the code's own, and `?` is nothing but a parameter in them.
        cursor = self._connection.execute(query.replace("?", "%s"), tuple(parameters))
        return [column.name for column in cursor.description or ()], iter(cursor)

    def has_table(self, name: str) -> bool:
        query = "SELECT 1 FROM pg_catalog.pg_class WHERE relname = ? AND relkind = 'r' AND pg_table_is_visible(oid)"
        return any(self.cells(query, name))


class Server:
    """A database that is only read. Connections are kept for the next transaction, and threads never share one."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._idle: list[Connection] = []

    @property
    def url(self) -> str:
        """As it may be shown."""
        return without_password(self._url)

    @contextmanager
    def reading(self) -> Iterator[ServerReader]:
        """A transaction that sees one state of the database. Raises `StoreError`."""
        try:
            import psycopg
        except ModuleNotFoundError as error:
            raise no_driver() from error
        try:
            connection = self._take()
            try:
                yield ServerReader(connection)
                connection.rollback()
            except BaseException:
                connection.close()
                raise
            self._idle.append(connection)
        except psycopg.OperationalError as error:
            raise unreachable(error, self.url) from error
        except psycopg.Error as error:
            raise refused(error, self.url) from error

    def _take(self) -> "Connection":
        """A connection that waits, or a new one."""
        import psycopg

        try:
            return self._idle.pop()
        except IndexError:
            pass
        seconds = {} if "connect_timeout=" in self._url else {"connect_timeout": CONNECT_SECONDS}
        connection = psycopg.connect(self._url, **seconds)  # type: ignore[arg-type]
        # The default would show each query what was committed before it.
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        return connection

    def close(self) -> None:
        """Give the connections back."""
        while self._idle:
            self._idle.pop().close()


def plain_server(url: str) -> Server | None:
    """The database of a PostgreSQL URL that its driver reads as SQLAlchemy does; None for every other URL."""
    found = PLAIN.fullmatch(url)
    if found is None:
        return None
    settings = [setting.partition("=")[0] for setting in (found["settings"] or "").split("&")]
    return Server(url) if len(settings) == len(set(settings)) else None
