"""The boundary of the store: one transaction in, the driver's errors out as ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from patterndb.postgres import plain_server
from patterndb.reading import EngineReader, Reader, plain_file, reading_file, require_file

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

__all__ = ["Transactions"]


class Transactions:
    """Transactions on one database. Callers of the store never see a connection, a row or a driver's exception.

    Raises `StoreError` for a URL that is none.
    """

    def __init__(self, url: str) -> None:
        self._given_url = url
        self._file = plain_file(url)
        self._server = plain_server(url)
        if self._file is None and self._server is None:
            # A URL that is wrong is said to be so at once.
            _ = self._engine

    @property
    def url(self) -> str:
        """Where it is, fit to be shown: the password masked."""
        if self._file is not None:
            return self._given_url
        if self._server is not None:
            return self._server.url
        from patterndb.engine import masked

        return masked(self._engine.url)

    @cached_property
    def _engine(self) -> "Engine":
        """What writes go through, and reading where the URL is no plain one; nothing is connected yet."""
        from patterndb.engine import make_engine, parse_url

        return make_engine(parse_url(self._given_url))

    @contextmanager
    def _reading(self) -> Iterator[Reader]:
        """A transaction that only reads, and sees one state of the database.

        Raises `StoreError` for a SQLite file that is not there.
        """
        if self._file is not None:
            with reading_file(self._file, self.url) as reader:
                yield reader
            return
        if self._server is not None:
            with self._server.reading() as server_reader:
                yield server_reader
            return
        from sqlalchemy.exc import SQLAlchemyError

        from patterndb.engine import file_of, translate

        path = file_of(self._engine.url)
        if path is not None:
            require_file(path, self.url)
        # PostgreSQL's default would show each query what was committed before it.
        options: dict[str, Any] = {} if path else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        try:
            with self._engine.connect().execution_options(**options) as connection:
                yield EngineReader(connection)
        except SQLAlchemyError as error:
            raise translate(error, self._engine.url) from error

    @contextmanager
    def _writing(self) -> "Iterator[Connection]":
        """A transaction that is committed at the end, and rolled back if anything is raised."""
        from sqlalchemy.exc import SQLAlchemyError

        from patterndb.engine import IMMEDIATE, translate

        engine = self._engine.execution_options(**{IMMEDIATE: True})
        try:
            with engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise translate(error, self._engine.url) from error

    def close(self) -> None:
        """Give the connections back."""
        if self._server is not None:
            self._server.close()
        if "_engine" in vars(self):
            self._engine.dispose()
