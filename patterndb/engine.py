"""Engines: from a URL as people write it to connections set up as the store needs them."""

import json
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError, SQLAlchemyError, StatementError

from dna_zoo.errors import StoreError
from patterndb.failures import (
    CREDENTIALS,
    file_failure,
    first_line,
    no_driver,
    refused,
    unreachable,
    without_password,
)
from patterndb.postgres import CONNECT_SECONDS
from patterndb.reading import BUSY_SECONDS

__all__ = ["IMMEDIATE", "file_of", "make_engine", "masked", "parse_url", "translate"]

IMMEDIATE = "dna_zoo_immediate"
"""Execution option: begin by taking SQLite's write lock. A transaction that reads first and then wants to write
cannot wait for another writer: it fails at once, whatever the busy timeout says."""

URL_HINT = "Write sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE."


def parse_url(text: str) -> URL:
    """The database's URL, with PostgreSQL's driver settled as psycopg 3.

    Raises `StoreError` for anything but a SQLite file and a PostgreSQL database.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # Not chained: the cause may quote a part of the password.
        raise StoreError(f"{CREDENTIALS.sub('//***@', text)!r} is not a database URL.", hint=URL_HINT) from None
    backend = url.drivername.partition("+")[0]
    if backend in ("postgres", "postgresql"):
        return url.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise StoreError(f"dna-zoo keeps no patterns in {backend!r} databases.", hint=URL_HINT)
    if url.database in (None, "", ":memory:"):
        raise StoreError("A SQLite database in memory would be gone at the end.", hint="Write sqlite:///PATH.")
    return url


def file_of(url: URL) -> Path | None:
    """The file of a SQLite database."""
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


def masked(url: URL) -> str:
    """The URL as it may be shown."""
    return without_password(url.render_as_string().replace("postgresql+psycopg:", "postgresql:", 1))


def make_engine(url: URL, *, for_migrations: bool = False) -> Engine:
    """An engine for `url`; nothing is connected yet.

    One for migrations enforces no foreign keys on SQLite: rebuilding a table would empty the tables that refer to
    it with `ON DELETE CASCADE`. And it turns on the write-ahead log, which the file then keeps.
    """
    settings: dict[str, Any] = {
        # NaN must not reach the database as JSON that nobody else can read.
        "json_serializer": partial(json.dumps, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    }
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": BUSY_SECONDS}, **settings)
        event.listen(engine, "connect", _migrating_sqlite if for_migrations else _working_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    connect_args = {} if "connect_timeout" in url.query else {"connect_timeout": CONNECT_SECONDS}
    try:
        return create_engine(url, connect_args=connect_args, **settings)
    except ModuleNotFoundError as error:
        raise no_driver() from error


def _working_sqlite(connection: sqlite3.Connection, record: object) -> None:
    """What SQLite forgets with every connection."""
    # The driver would begin transactions late and never before DDL: `_begin_sqlite` begins them instead.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")


def _migrating_sqlite(connection: sqlite3.Connection, record: object) -> None:
    """Foreign keys off, and a log beside which readers never wait for the writer: neither can change later."""
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("PRAGMA journal_mode = WAL")


def _begin_sqlite(connection: Connection) -> None:
    """Begin for real, see `IMMEDIATE`."""
    immediate = connection.get_execution_options().get(IMMEDIATE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def translate(error: SQLAlchemyError, url: URL) -> StoreError:
    """The driver's error as ours, with what to do about it."""
    # Without SQL and parameters, which SQLAlchemy adds.
    cause = error.orig if isinstance(error, StatementError) and error.orig else error
    where, path = masked(url), file_of(url)
    if isinstance(error, OperationalError) and path is None:
        return unreachable(cause, where)
    if not isinstance(error, DatabaseError):
        hint = "Every value must be finite JSON or a float."
        return StoreError(f"The record cannot be kept: {first_line(cause)}.", hint=hint)
    return refused(cause, where) if path is None else file_failure(cause, where, path)
