"""From a URL as people write it to transactions; what drivers raise comes out as `StoreError`."""

import json
import logging
import re
import sqlite3
import struct
import time
import traceback
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote

from sqlalchemy import URL, Connection, Engine, NullPool, Table, create_engine, event, make_url, select
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
    StatementError,
)

from dna_zoo.errors import ConnectionLostError, DamagedRowsError, DnaZooError, RecordRefusedError, StoreError
from dna_zoo.text import is_printable, without_secrets
from patterndb.connection.places import NO_ROOM, UNWRITABLE, explain, require_disk, unchanged, way_to_open
from patterndb.connection.retry import Patience

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite
    from sqlalchemy.engine import ExceptionContext

__all__ = [
    "BUSY_SECONDS",
    "CONNECT_SECONDS",
    "IMMEDIATE",
    "UNREADABLE",
    "Transactions",
    "file_of",
    "find_or_insert",
    "make_engine",
    "masked",
    "parse_url",
    "require_whole",
    "translate",
    "unreadable",
    "upsert",
    "without_password",
]

BUSY_SECONDS = 60
"""How long to wait for another process that writes to the same SQLite file."""
WAIT_SECONDS = 0.02
"""Between two attempts to switch to a log."""
CONNECT_SECONDS = 10
"""How long to wait for a PostgreSQL server, unless its URL says otherwise."""
IMMEDIATE = "dna_zoo_immediate"
"""Execution option: begin by taking SQLite's write lock. A transaction that reads first and then wants to write
cannot wait for another writer: it fails at once, whatever the busy timeout says."""
# PostgreSQL's default would show each query what was committed before it.
READ_ONLY = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
URL_HINT = "Write sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE."
CUT_HINT = f"{URL_HINT[:-1]}; in a password, write signs such as @, / and # as %40, %2F and %23."
CUTS = re.compile("[@;#=&?\\s]")
"""Signs that neither a host nor the name of a database has: a URL that has them there was cut in two by a password."""
CUTTING = re.compile("[/?#;&=]")
"""Signs of a password with which nobody can tell where it ends."""
SHOWN = {
    "application_name",
    "connect_timeout",
    "dbname",
    "host",
    "mode",
    "port",
    "sslmode",
    "target_session_attrs",
    "user",
}
"""Parameters of a URL whose values are shown; those of all others may be secret."""
NAMED = SHOWN | {"options", "passfile", "password", "pwd", "service", "sslcert", "sslkey", "sslpassword", "sslrootcert"}
"""Parameters whose names are shown: what has another name may be a piece of a password."""
LOST = ("08", "57P", "40001", "40P01", "53300")
"""How SQLSTATE begins where the same again may well succeed: no connection, a server that stops or starts, a
transaction that gave way to another one, too many connections."""
DAMAGED = ("is not a usable SQLite database", "Name another file with `--db`, or restore this one from a copy.")
UNREADABLE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error)
"""What turning the values of a row into a record raises where they are not as they were written."""
HOUSE = ("cli", "dna_zoo", "explorer", "library", "patterndb", "pipeline", "tests", "zoo")
"""Packages of ours: the same error of another one than this is a bug."""
SQLITE_FAILURES = {
    "not a database": DAMAGED,
    "malformed": DAMAGED,
    "Could not decode": DAMAGED,
    "locked": ("is busy", "Try again when the other process has finished."),
    "is full": NO_ROOM,
    "readonly": UNWRITABLE,
}
"""Part of SQLite's message -> what we say of the database, and what to do."""
VAGUE = ("disk I/O", "unable to open", "readonly")
"""Parts of SQLite's messages that may mean a full disk or a read-only one."""


def parse_url(text: str) -> URL:
    """The database's URL, with psycopg 3 as PostgreSQL's driver.

    A server on a socket is named as `?host=/FOLDER` or, as libpq has it, as a host `%2FFOLDER`.

    Raises `StoreError` for anything but a SQLite file and a PostgreSQL database.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # Not chained: the cause may quote a part of the password.
        raise StoreError(f"{without_password(text)!r} is not a database URL.", hint=URL_HINT) from None
    backend = url.drivername.lower().partition("+")[0]
    if _is_cut(url) or (backend == "sqlite" and (url.host or url.username or url.password or url.port)):
        raise StoreError(f"{without_password(text)!r} is not a database URL.", hint=CUT_HINT)
    if backend in ("postgres", "postgresql"):
        if not is_printable(text):  # A driver could not encode it, or would cut it at a NUL.
            raise StoreError(f"{without_password(text)!r} is not a database URL.", hint=CUT_HINT)
        return url.set(drivername="postgresql+psycopg", host=url.host and unquote(url.host))
    if backend != "sqlite":
        raise StoreError(f"dna-zoo keeps no patterns in {backend!r} databases.", hint=URL_HINT)
    if url.database in (None, "", ":memory:"):
        raise StoreError("A SQLite database in memory would be gone at the end.", hint="Write sqlite:///PATH.")
    return url


def file_of(url: URL) -> Path | None:
    """The file of a SQLite database."""
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


def without_password(url: str) -> str:
    """A database's URL as it may be shown; of what is none, only what cannot be part of a secret.

    An unusual URL may have its password anywhere behind the first `:`, `@` or parameter.
    """
    try:
        return masked(make_url(url))
    except (ArgumentError, ValueError):
        scheme = re.match(r"[A-Za-z][A-Za-z0-9+]*(?=:)", url)
        return (
            f"{scheme[0]}:***"
            if scheme
            else re.split("[:@?;=]", url, maxsplit=1)[0] + "***" * (re.search("[:@?;=]", url) is not None)
        )


def masked(url: URL) -> str:
    """The URL as it may be shown: no password, and of the parameters only values that are none."""
    query = {
        name if name.lower() in NAMED else "***": value if name.lower() in SHOWN else "***"
        for name, value in url.query.items()
    }
    if (path := file_of(url)) is not None:
        # A path that looks like a URL with a secret shows nothing of itself.
        shown = str(path) if without_secrets(str(path)) == str(path) else "***"
        return f"{url.drivername}:///{shown}" + "".join(f"?{name}={value}" for name, value in query.items())
    if _is_cut(url) or any(CUTTING.search(part) for part in (url.username or "", url.password or "")):
        return f"{url.drivername.partition('+')[0]}:***"  # The password had a character that cuts a URL in two.
    shown = url.set(query=query).render_as_string().replace("%2A%2A%2A", "***")
    return shown.replace("postgresql+psycopg:", "postgresql:", 1)


def _is_cut(url: URL) -> bool:
    """Whether a sign in the password made a part of it the host or the database, as far as that shows."""
    database = "" if url.get_backend_name() == "sqlite" else url.database or ""
    return ":" in database or any(CUTS.search(part) is not None for part in (url.host or "", database))


def make_engine(url: URL, *, for_migrations: bool = False) -> Engine:
    """An engine for `url`; nothing is connected yet. Only one for migrations creates a SQLite file.

    One for migrations enforces no foreign keys on SQLite: rebuilding a table would empty the tables that refer to
    it with `ON DELETE CASCADE`. It turns on the write-ahead log, which the file then keeps. Raises `StoreError` if
    PostgreSQL's driver is not installed.
    """
    settings: dict[str, Any] = {
        # NaN must not reach the database as JSON that nobody else can read.
        "json_serializer": partial(json.dumps, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    }
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": BUSY_SECONDS}, **settings)
        event.listen(engine, "do_connect", _open_any if for_migrations else _open_existing)
        event.listen(engine, "connect", _migrating_sqlite if for_migrations else _working_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    # Of a connection that breaks it would warn besides raising.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    connect_args = {} if "connect_timeout" in url.query else {"connect_timeout": CONNECT_SECONDS}
    try:
        # A connection that the server has ended since it was last used is noticed before it is used again.
        return create_engine(url, connect_args=connect_args, pool_pre_ping=True, **settings)
    except ModuleNotFoundError as error:
        hint = "Install it with `pip install 'dna-zoo[postgres]'`."
        raise StoreError("The PostgreSQL driver psycopg is not installed.", hint=hint) from error


def _open_existing(dialect: object, record: object, arguments: list[Any], settings: dict[str, Any]) -> None:
    """Have the driver fail where it would create a file, and read what may only be read."""
    if not settings.get("uri"):
        path = Path(arguments[0])
        arguments[0] = f"{path.absolute().as_uri()}?{way_to_open(path)}"
        settings["uri"] = True


def _open_any(dialect: object, record: object, arguments: list[Any], settings: dict[str, Any]) -> None:
    """Let the driver create a file on a disk that has room and keeps locks."""
    require_disk(Path(arguments[0]))


def _working_sqlite(connection: sqlite3.Connection, record: object) -> None:
    """What SQLite forgets with every connection."""
    # The driver would begin transactions late and never before DDL: `_begin_sqlite` begins them instead.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")


def _migrating_sqlite(connection: sqlite3.Connection, record: object) -> None:
    """Foreign keys off, and a log with which readers never wait for the writer: neither can change later."""
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = OFF")
    _keep_a_log(connection)


def _keep_a_log(connection: sqlite3.Connection) -> None:
    """Switch to a write-ahead log. Where another process does so at this moment SQLite fails at once, whatever the busy
    timeout says: it is asked again until that has passed."""
    last = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > last:
                raise
        time.sleep(WAIT_SECONDS)


def _begin_sqlite(connection: Connection) -> None:
    """Begin for real, see `IMMEDIATE`."""
    immediate = connection.get_execution_options().get(IMMEDIATE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


class Transactions:
    """Transactions on one database; a context manager that closes it.

    Callers of the store never see a connection, a row or a driver's exception. Raises `StoreError` for a wrong URL.
    """

    def __init__(self, url: str, *, patience: Patience = Patience()) -> None:  # noqa: B008  # It is frozen.
        self._engine = make_engine(parse_url(url))
        self.patience = patience
        self.is_known_to_answer = False
        event.listen(self._engine, "connect", self._note_answer)
        event.listen(self._engine, "handle_error", _tell_of_value)

    def _note_answer(self, connection: object, record: object) -> None:
        self.is_known_to_answer = True

    @property
    def url(self) -> str:
        """Where it is, fit to be shown: the password masked."""
        return masked(self._engine.url)

    @property
    def path(self) -> Path | None:
        """Its file; None on a server."""
        return file_of(self._engine.url)

    @contextmanager
    def _reading(self, *whole: Table) -> Iterator[Connection]:
        """A transaction that only reads, and sees one state of the database.

        - `whole`: tables of which a list of all rows is made, see `require_whole`.

        Raises `StoreError` for a SQLite file that is not there.
        """
        path = file_of(self._engine.url)
        if path is not None and not path.exists():
            raise StoreError(
                f"There is no database at {self.url}.",
                hint="Mine a model first with `dna-zoo mine`, or name another database with `--db`.",
            )
        engine = self._engine if path else self._engine.execution_options(**READ_ONLY)
        with unchanged(path):
            try:
                with engine.connect() as connection:
                    self.is_known_to_answer = True
                    require_whole(connection, *whole)
                    yield connection
            except DataError as error:
                raise _not_taken(error.orig or error) from error
            except SQLAlchemyError as error:
                raise translate(error, self._engine.url) from error
            except UNREADABLE as error:
                if path is None or isinstance(error, DnaZooError) or not _is_of_a_value(error):
                    raise
                raise unreadable(error, self._engine.url) from error

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """A transaction that is committed at the end, and rolled back if anything is raised."""
        try:
            with self._engine.execution_options(**{IMMEDIATE: True}).begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise translate(error, self._engine.url) from error

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _tell_of_value(context: "ExceptionContext") -> None:
    """Raise `RecordRefusedError` where a driver cannot even hand a value on: text that no encoding has, as a name typed
    in another encoding becomes, or a number of more than 64 bits. What it raises is no error of databases, and would be
    taken for damage."""
    error = context.original_exception
    if isinstance(error, UnicodeEncodeError | OverflowError):
        raise _not_taken(error) from error


def _not_taken(error: BaseException) -> RecordRefusedError:
    """The error for a value that no database can be given."""
    reason = without_secrets(str(error).strip().partition("\n")[0]).rstrip(".")
    hint = "Check the names and numbers that were given: text is UTF-8, and a number has at most 64 bits."
    return RecordRefusedError(f"The database takes no such value ({reason}).", hint=hint)


def translate(error: SQLAlchemyError, url: URL) -> StoreError:
    """Translate a driver's exception into `StoreError`: what happened, and what to do about it."""
    # Without SQL and parameters, which SQLAlchemy adds.
    cause = error.orig if isinstance(error, StatementError) and error.orig else error
    text = str(cause).strip() or type(cause).__name__
    # The first line, without a full stop and without credentials.
    reason = without_secrets(text.splitlines()[0]).rstrip(".")
    if url.username and CUTTING.search(url.username):  # A server says which role it does not know.
        reason = reason.replace(url.username, "***")
    where, path = masked(url), file_of(url)
    if path is None and _is_lost(error):
        hint = "Check that the server runs, and the host, user, password and database in `--db`."
        return ConnectionLostError(f"No connection to {where}: {reason}.", hint=hint)
    if not isinstance(error, DatabaseError):
        hint = "Every value must be finite JSON or a float."
        return RecordRefusedError(f"The record cannot be kept: {reason}.", hint=hint)
    if isinstance(error, DataError | IntegrityError):
        hint = "Look for names in the model that are very long, double, or no text; nothing of the record was kept."
        return RecordRefusedError(f"The record cannot be kept: {reason}.", hint=hint)
    if path is None and isinstance(error, OperationalError):
        hint = "Look into the log of the server; nothing of the operation was kept."
        return StoreError(f"{where} failed: {reason}.", hint=hint)
    if path is not None and any(each in reason for each in VAGUE) and (found := explain(path)):
        return StoreError(f"{where} {found[0]} ({reason}).", hint=found[1])
    if path is not None and "unable to open" in reason:
        return StoreError(f"Cannot open {where}: {reason}.", hint=_unopened_hint(path))
    for fragment, (message, hint) in SQLITE_FAILURES.items() if path is not None else ():
        if fragment in reason:
            return StoreError(f"{where} {message} ({reason}).", hint=hint)
    hint = "Run `dna-zoo db check`; nothing of the operation was kept."
    return StoreError(f"{where} refused the operation: {reason}.", hint=hint)


def _is_of_a_value(error: BaseException) -> bool:
    """Whether the error comes of turning values of rows into records, and not of what is done with records: the last
    code of ours that it went through is of this package, whichever library that called."""
    packages = [
        frame.f_globals.get("__name__", "").partition(".")[0] for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    return next((each for each in reversed(packages) if each in HOUSE), "") == "patterndb"


def unreadable(error: Exception, url: URL) -> StoreError:
    """The error for a row that holds what no column of its kind holds."""
    return DamagedRowsError(
        f"A row of {masked(url)} cannot be read ({type(error).__name__}).",
        hint="Restore the database from a backup; `dna-zoo db check` names all damage. If it finds none: a bug.",
    )


def require_whole(connection: Connection, *tables: Table) -> None:
    """Raise `DamagedRowsError` where a table in a SQLite file, or an index of it, has lost rows.

    A row that is gone has no digest that could miss it: a list would be shorter and not say so. SQLite holds every row
    of the table against every index, in microseconds a row. A server looks after its own pages.
    """
    for table in tables if connection.dialect.name == "sqlite" else ():
        found = connection.exec_driver_sql(f"PRAGMA integrity_check('{table.name}')").scalars().all()
        if found != ["ok"]:
            raise DamagedRowsError(
                f"{masked(connection.engine.url)} is damaged: rows of the table {table.name} may be missing.",
                hint="Restore the database from a backup; `dna-zoo db check` names all damage.",
            )


def _is_lost(error: SQLAlchemyError) -> bool:
    """Whether the server is away or gave up the transaction; an error that it explains otherwise stays."""
    if not isinstance(error, DBAPIError):
        return False
    code = getattr(error.orig, "sqlstate", None)
    if code is not None:
        return str(code).startswith(LOST)
    # A connection that breaks or is refused has no code: the driver has only the words of the system.
    return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)


def _unopened_hint(path: Path) -> str:
    """Why SQLite might fail to open the file."""
    if not path.parent.exists():
        return f"Create the directory {str(path.parent)!r} first."
    if path.is_dir():
        return "It is a directory: name a file in it."
    return f"Check that you may read and write {str(path)!r} and its directory."


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
    """The dialect's own INSERT, which SQLAlchemy keeps apart for ON CONFLICT; the other dialect is not loaded."""
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table)
