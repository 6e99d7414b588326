"""The way from the schema that a database has to the one that this version of dna-zoo needs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import URL, Connection, Engine, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from dna_zoo.errors import SchemaVersionError, StoreError
from patterndb.engine import IMMEDIATE, file_of, make_engine, masked, parse_url, translate
from patterndb.reading import EngineReader, require_file
from patterndb.revision import HEAD, current, read_revision, require_head

if TYPE_CHECKING:
    from alembic.config import Config

__all__ = [
    "AUTOGENERATE_PLUGINS",
    "HEAD",
    "alembic_config",
    "check",
    "current",
    "migration_connection",
    "migrations_path",
    "prepare",
    "upgrade",
]

AUTOGENERATE_PLUGINS = ("alembic.autogenerate.*", "alembic.ext.checkconstraint_byname")
"""Comparing CHECK constraints is opt-in."""

UPGRADE_LOCK = 0x646E617A6F6F
"""PostgreSQL's advisory lock for one upgrade at a time ("dnazoo"); SQLite has the file's write lock."""


def upgrade(url: str) -> str:
    """Bring the database to this version's schema, creating it if it is empty; returns the revision.

    All migrations happen in one transaction: a process killed in the middle leaves the old schema.
    """
    with migration_connection(parse_url(url)) as connection:
        _migrate(connection)
    return HEAD


def check(url: str) -> tuple[str, ...]:
    """How the database's tables differ from the ones this version declares; empty if they do not.

    Raises `SchemaVersionError` if the database has another revision to begin with.
    """
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    from patterndb.tables import METADATA

    parsed = parse_url(url)
    with _reading(parsed) as connection:
        require_head(EngineReader(connection), masked(parsed))
        options = {"autogenerate_plugins": AUTOGENERATE_PLUGINS, "render_as_batch": True, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        differences = compare_metadata(context, METADATA)
        broken = _foreign_key_violations(connection)
    return tuple(str(difference) for difference in differences) + broken


def prepare(engine: Engine) -> None:
    """Make sure that `engine`'s database has this version's schema: an empty one, or none at all, is given it.

    Any other revision raises `SchemaVersionError`.
    """
    try:
        with engine.connect() as connection:
            reader = EngineReader(connection)
            is_empty = read_revision(reader) is None and not inspect(connection).get_table_names()
            if not is_empty:
                require_head(reader, masked(engine.url))
    except SQLAlchemyError as error:
        raise translate(error, engine.url) from error
    if is_empty:
        with migration_connection(engine.url) as connection:
            _migrate(connection)


@contextmanager
def _reading(url: URL) -> Iterator[Connection]:
    """A connection to a database that exists; errors come out as ours."""
    path = file_of(url)
    if path is not None:
        require_file(path, masked(url))
    engine = make_engine(url)
    try:
        with engine.connect() as connection:
            yield connection
    except SQLAlchemyError as error:
        raise translate(error, url) from error
    finally:
        engine.dispose()


def _require_known(revision: str, url: URL) -> None:
    """Raise `SchemaVersionError` for a revision that no migration leads on from."""
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(alembic_config())
    if all(known.revision != revision for known in script.walk_revisions()):
        raise SchemaVersionError(
            f"{masked(url)} has schema {revision}, which this version of dna-zoo cannot upgrade.",
            hint="Install the dna-zoo that wrote it, or name another database with `--db`.",
        )


def migrations_path() -> Path:
    """The folder of migrations: beside this module in a wheel, at the top level in a checkout."""
    installed = Path(__file__).parent / "_alembic"
    return installed if installed.exists() else Path(__file__).parent.parent / "alembic"


def alembic_config() -> "Config":
    """alembic's configuration, without a file."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations_path()).replace("%", "%%"))
    return config


@contextmanager
def migration_connection(url: URL) -> Iterator[Connection]:
    """One transaction on an engine for migrations; errors come out as ours."""
    engine = make_engine(url, for_migrations=True)
    try:
        with engine.execution_options(**{IMMEDIATE: True}).begin() as connection:
            yield connection
    except SQLAlchemyError as error:
        raise translate(error, url) from error
    finally:
        engine.dispose()


def _migrate(connection: Connection) -> None:
    """Run the migrations up to `HEAD`, then look for rows that they orphaned."""
    from alembic import command

    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": UPGRADE_LOCK})
    revision = read_revision(EngineReader(connection))
    if revision == HEAD:
        return
    if revision is not None:
        _require_known(revision, connection.engine.url)
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    broken = _foreign_key_violations(connection)
    if broken:
        raise StoreError(
            f"The upgrade would orphan rows ({broken[0]}), so it was undone.", hint="Please report this as a bug."
        )


def _foreign_key_violations(connection: Connection) -> tuple[str, ...]:
    """Rows of a SQLite database that refer to nothing, in words; PostgreSQL never lets them be."""
    if connection.dialect.name != "sqlite":
        return ()
    rows = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    return tuple(f"row {row[1]} of {row[0]} refers to nothing in {row[2]}" for row in rows)
