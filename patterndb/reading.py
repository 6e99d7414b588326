"""Reading in plain SQL.

A SQLite file is asked through Python's own driver, PostgreSQL through psycopg (see `postgres.py`): a command that reads
ends before SQLAlchemy would be loaded. Unusual URLs, and everything that writes, go through an engine. All give the
same rows.
"""

import datetime as dt
import json
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dna_zoo.errors import StoreError
from patterndb.failures import file_failure
from patterndb.floats import from_json

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = [
    "BUSY_SECONDS",
    "DECODERS",
    "Cells",
    "EngineReader",
    "FileReader",
    "Reader",
    "Row",
    "as_utc",
    "plain_file",
    "reading_file",
    "require_file",
]

Row = Mapping[str, Any]
Cells = tuple[Any, ...]

BUSY_SECONDS = 60
"""How long to wait for another process that writes to the same SQLite file."""
PREFIX = "sqlite:///"


def plain_file(url: str) -> Path | None:
    """The file of a URL that is `sqlite:///PATH` and nothing more; None for every other URL."""
    path = url.removeprefix(PREFIX)
    is_plain = url.startswith(PREFIX) and path not in ("", ":memory:") and "?" not in path
    return Path(path) if is_plain else None


def _json(value: Any) -> Any:
    """SQLite keeps text, PostgreSQL's driver has read it; nothing is kept that would be text once it is read."""
    return json.loads(value) if isinstance(value, str) else value


def _floats(value: Any) -> Any:
    return None if value is None else from_json(_json(value))


def as_utc(value: str | dt.datetime | None) -> dt.datetime | None:
    """Aware, in UTC: SQLite drops the zone, PostgreSQL gives the session's."""
    if value is None:
        return None
    time = dt.datetime.fromisoformat(value) if isinstance(value, str) else value
    return time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)


def _truth(value: int | None) -> bool | None:
    return None if value is None else bool(value)


DECODERS = {
    **dict.fromkeys(("parents", "request", "settings", "provenance", "clusters", "names"), _json),
    **dict.fromkeys(("class_scores", "frequency_profile"), _floats),
    **dict.fromkeys(("started", "finished", "confirmed_at"), as_utc),
    **dict.fromkeys(("is_distilled", "shares_layers"), _truth),
}
"""How a column is read that a database keeps as something else, by its name, in whatever table."""


class Reader(ABC):
    """One transaction that only reads. Queries are SQL that both databases know, with `?` for parameters."""

    @abstractmethod
    def execute(self, query: str, parameters: Sequence[Any]) -> tuple[Sequence[str], Iterator[Cells]]:
        """Names of the columns, and the rows as the driver gives them."""

    @abstractmethod
    def has_table(self, name: str) -> bool:
        """Whether there is a table of this name."""

    def cells(self, query: str, *parameters: Any) -> Iterator[Cells]:
        """The rows one after the other as tuples, for columns that need no decoding."""
        return self.execute(query, parameters)[1]

    def rows(self, query: str, *parameters: Any) -> Sequence[Row]:
        """All rows by the names of their columns, decoded."""
        names, found = self.execute(query, parameters)
        decoders = [(name, DECODERS[name]) for name in names if name in DECODERS]
        rows = []
        for cells in found:
            row = dict(zip(names, cells, strict=True))
            for name, decode in decoders:
                row[name] = decode(row[name])
            rows.append(row)
        return rows


class FileReader(Reader):
    """A SQLite file, through Python's driver."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, query: str, parameters: Sequence[Any]) -> tuple[Sequence[str], Iterator[Cells]]:
        cursor = self._connection.execute(query, parameters)
        return [column[0] for column in cursor.description], cursor

    def has_table(self, name: str) -> bool:
        return any(self.cells("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", name))


class EngineReader(Reader):
    """Any database, through a connection of SQLAlchemy's."""

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection

    def execute(self, query: str, parameters: Sequence[Any]) -> tuple[Sequence[str], Iterator[Cells]]:
        if self._connection.dialect.paramstyle != "qmark":
            query = query.replace("?", "%s")
        result = self._connection.exec_driver_sql(query, tuple(parameters))
        return list(result.keys()), map(tuple, result)

    def has_table(self, name: str) -> bool:
        from sqlalchemy import inspect

        return inspect(self._connection).has_table(name)


def require_file(path: Path, where: str) -> None:
    """Raise `StoreError` unless the file of a SQLite database, shown as `where`, is there."""
    if not path.exists():
        raise StoreError(
            f"There is no database at {where}.",
            hint="Mine a model first with `dna-zoo mine`, or name another database with `--db`.",
        )


@contextmanager
def reading_file(path: Path, where: str) -> Iterator[FileReader]:
    """A transaction on a file, shown as `where`: what other processes commit meanwhile is not seen.

    Raises `StoreError`, also if the file is not there.
    """
    require_file(path, where)
    try:
        # Without `rw` the driver would create a file that is not there.
        address = f"{path.absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
            connection.execute("BEGIN")
            yield FileReader(connection)
    except sqlite3.Error as error:
        raise file_failure(error, where, path) from error
