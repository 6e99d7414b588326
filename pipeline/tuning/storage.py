"""Where trials are kept: next to the patterns, never among them.

Optuna keeps its schema's version in a table that has the same name as ours, so it gets a SQLite file of its own next
to the pattern database, and on PostgreSQL a schema of its own in the same database.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from optuna.storages import RDBStorage
from sqlalchemy import URL, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from patterndb.connection.engine import make_engine, parse_url, translate

__all__ = ["SCHEMA", "open_storage", "storage_url"]

SCHEMA = "dna_zoo_tuning"


def storage_url(database_url: str) -> str:
    """The trials' URL, password and all, for the pattern database at `database_url`.

    Raises `StoreError` for what is no URL of a pattern database.
    """
    url = parse_url(database_url)
    if url.get_backend_name() == "sqlite":
        path = Path(str(url.database))
        return url.set(database=str(path.with_name(f"{path.stem}.tuning.db"))).render_as_string(hide_password=False)
    options = f"-csearch_path={SCHEMA}"
    return url.update_query_dict({"options": options}).render_as_string(hide_password=False)


@contextmanager
def open_storage(database_url: str) -> Iterator[RDBStorage]:
    """Optuna's storage, its tables made where they are not there; closed at the end. Raises `StoreError`."""
    parsed = parse_url(database_url)
    try:
        if parsed.get_backend_name() == "sqlite":
            Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
        else:
            _make_schema(parsed)
        storage = RDBStorage(storage_url(database_url))
    except SQLAlchemyError as error:
        raise translate(error, make_url(storage_url(database_url))) from error
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _make_schema(url: URL) -> None:
    engine = make_engine(url)
    try:
        with engine.begin() as connection:
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    finally:
        engine.dispose()
