"""The schema: which one a database has, which one this version of dna-zoo needs, and the way there."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import URL, Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from dna_zoo.errors import SchemaVersionError, StoreError
from patterndb.connection.engine import (
    IMMEDIATE,
    Transactions,
    make_engine,
    masked,
    parse_url,
    translate,
)
from patterndb.neighbours.vectors import PREFIX

if TYPE_CHECKING:
    from alembic.config import Config

__all__ = [
    "AUTOGENERATE_PLUGINS",
    "alembic_config",
    "check",
    "create",
    "current",
    "head",
    "is_empty",
    "migration_connection",
    "migrations_path",
    "require_head",
    "upgrade",
]


AUTOGENERATE_PLUGINS = ("alembic.autogenerate.*", "alembic.ext.checkconstraint_byname")
"""Comparing CHECK constraints is opt-in."""

UPGRADE_LOCK = 0x646E617A6F6F
"""PostgreSQL's advisory lock for one upgrade at a time ("dnazoo"); SQLite has the file's write lock."""


def current(url: str) -> str | None:
    """The revision that the database says it has, None for one without any. Raises `StoreError`."""
    with Transactions(url) as database, database._reading() as connection:
        return _read_revision(connection)


def require_head(connection: Connection) -> None:
    """Raise `SchemaVersionError`, with the command that repairs it, unless the revision is `head()`."""
    revision = _read_revision(connection)
    if revision == head():
        return
    has = "no schema of dna-zoo" if revision is None else f"schema {revision}"
    # Revisions are numbers with leading zeros, so that older ones sort before newer ones.
    is_older = revision is None or revision < head()
    raise SchemaVersionError(
        f"{masked(connection.engine.url)} has {has}, this version of dna-zoo needs {head()}.",
        hint="Run `dna-zoo db upgrade`."
        if is_older
        else "Install the newer dna-zoo that wrote it, or name another with `--db`.",
    )


def _read_revision(connection: Connection) -> str | None:
    """The revision in alembic's own table, None if it has none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def upgrade(url: str) -> str:
    """Bring the database to this version's schema, creating it if it is empty; returns the revision.

    All migrations happen in one transaction: a process killed in the middle leaves the old schema.
    """
    create(parse_url(url))
    return head()


def check(url: str) -> tuple[str, ...]:
    """How the database's tables differ from the ones this version declares; empty if they do not.

    Raises `SchemaVersionError` if the database has another revision to begin with.
    """
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    from patterndb.tables import METADATA

    with Transactions(url) as database, database._reading() as connection:
        require_head(connection)
        options = {
            "autogenerate_plugins": AUTOGENERATE_PLUGINS,
            "render_as_batch": True,
            "compare_type": True,
            # pgvector's tables are made from the others, on demand.
            "include_name": lambda name, kind, parents: kind != "table" or not name.startswith(PREFIX),
        }
        context = MigrationContext.configure(connection, opts=options)
        differences = compare_metadata(context, METADATA)
        broken = _foreign_key_violations(connection)
    return tuple(str(difference) for difference in differences) + broken


def is_empty(connection: Connection) -> bool:
    """Whether there is nothing in the database, of whoever."""
    return _read_revision(connection) is None and not inspect(connection).get_table_names()


def create(url: URL) -> None:
    """Give an empty database, or none at all, this version's schema; bring an older one to it."""
    with migration_connection(url) as connection:
        _migrate(connection)


def _require_known(revision: str, url: URL) -> None:
    """Raise `SchemaVersionError` for a revision that no migration leads on from."""
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(alembic_config())
    if all(known.revision != revision for known in script.walk_revisions()):
        raise SchemaVersionError(
            f"{masked(url)} has schema {revision}, which this version of dna-zoo cannot upgrade.",
            hint="Install the dna-zoo that wrote it, or name another database with `--db`.",
        )


@functools.cache
def head() -> str:
    """The revision that this version needs: that of the newest migration, whose file begins with it."""
    return max(path.stem[:4] for path in (migrations_path() / "versions").glob("[0-9]*.py"))


def migrations_path() -> Path:
    """The folder of migrations: next to this module in a wheel, at the top level in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "_alembic"
    return installed if installed.exists() else package.parent / "alembic"


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
    """Run the migrations up to `head()`, then look for rows that they orphaned."""
    from alembic import command

    from patterndb.patterns.digests import fill_digests
    from patterndb.row_digests import fill_row_digests

    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": UPGRADE_LOCK})
    revision = _read_revision(connection)
    if revision == head():
        return
    if revision is not None:
        _require_known(revision, connection.engine.url)
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    fill_digests(connection)
    fill_row_digests(connection)
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
