"""Engines: from a URL as people write it to connections set up as the store needs them."""

import json
import re
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError, SQLAlchemyError, StatementError

from dna_zoo.errors import StoreError

__all__ = ["IMMEDIATE", "driver_message", "make_engine", "masked", "parse_url", "translate"]

IMMEDIATE = "dna_zoo_immediate"
"""Execution option: begin by taking SQLite's write lock. A transaction that reads first and then wants to write
cannot wait for another writer: it fails at once, whatever the busy timeout says."""

BUSY_SECONDS = 60
CONNECT_SECONDS = 10
URL_HINT = "Write sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE."
CREDENTIALS = re.compile(r"//[^/]*@|password=[^&\s]*", re.IGNORECASE)


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


def masked(url: URL) -> str:
    """The URL as it may be shown."""
    return CREDENTIALS.sub(
        lambda found: found[0] if found[0].startswith("//") else "password=***",
        url.render_as_string(hide_password=True).replace("postgresql+psycopg:", "postgresql:", 1),
    )


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
        hint = "Install it with `pip install 'dna-zoo[postgres]'`."
        raise StoreError("The PostgreSQL driver psycopg is not installed.", hint=hint) from error


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


def driver_message(error: Exception) -> str:
    """The driver's own first line, without SQL and parameters."""
    original = error.orig if isinstance(error, StatementError) and error.orig else error
    text = str(original).strip() or type(original).__name__
    return CREDENTIALS.sub("***", text.splitlines()[0]).rstrip(".")


def translate(error: SQLAlchemyError, url: URL) -> StoreError:
    """The driver's error as ours, with what to do about it."""
    reason, where = driver_message(error), masked(url)
    if url.get_backend_name() == "sqlite":
        if "unable to open" in reason:
            return StoreError(f"Cannot open {where}: {reason}.", hint=_unopened_hint(Path(url.database or "")))
        for fragment, (message, hint) in SQLITE_TROUBLE.items():
            if fragment in reason:
                return StoreError(f"{where} {message}: {reason}.", hint=hint)
    elif isinstance(error, OperationalError):
        hint = "Check that the server runs, and the host, user, password and database in `--db`."
        return StoreError(f"No connection to {where}: {reason}.", hint=hint)
    if isinstance(error, DatabaseError):
        hint = "Run `dna-zoo db check`; nothing of the operation was kept."
        return StoreError(f"{where} refused the operation: {reason}.", hint=hint)
    return StoreError(f"The record cannot be kept: {reason}.", hint="Every value must be finite JSON or a float.")


DAMAGED = ("is not a usable SQLite database", "Name another file with `--db`, or restore this one from a copy.")
SQLITE_TROUBLE = {
    "not a database": DAMAGED,
    "malformed": DAMAGED,
    "locked": ("is busy", "Try again when the other process has finished."),
    "is full": ("has no room", "Free some space on its disk and run the same command again."),
    "readonly": ("cannot be written", "Give yourself write access to the file and its directory."),
}
"""What SQLite's messages contain, what we say of the database, and what to do."""


def _unopened_hint(path: Path) -> str:
    """Why SQLite might fail to open the file."""
    if not path.parent.exists():
        return f"Create the directory {str(path.parent)!r} first."
    if path.is_dir():
        return "It is a directory: name a file in it."
    return f"Check that you may read and write {str(path)!r} and its directory."
