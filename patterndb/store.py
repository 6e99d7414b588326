"""The pattern database: what other packages open, and the only thing of this package that they need."""

from typing import Self

from patterndb.connection import schema
from patterndb.exports.store import ExportStore
from patterndb.models import ModelStore
from patterndb.needs import NeedStore
from patterndb.neighbours.store import NeighbourStore
from patterndb.overviews import OverviewStore
from patterndb.runs.store import RunStore

__all__ = ["PatternDatabase"]


class PatternDatabase(NeighbourStore, ExportStore, ModelStore, NeedStore, RunStore, OverviewStore):
    """Patterns, models and runs in a SQLite file or a PostgreSQL database; a context manager that closes it.

    Takes and gives frozen records. Every failure is a `StoreError`; every method is a transaction of its own, and what
    writes may be repeated without harm.
    """

    @classmethod
    def open(cls, url: str, *, create: bool = True) -> Self:
        """Open the database at `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/DATABASE`.

        With `create`, an absent SQLite file and an empty database are given the schema; without, they are errors.
        Raises `SchemaVersionError` for a database with another schema, `StoreError` for one that cannot be opened.
        """
        database = cls(url)
        try:
            if create:
                schema.prepare(database._engine)
            else:
                with database._reading() as connection:
                    schema.require_head(connection)
        except BaseException:
            database.close()
            raise
        database.is_known_to_answer = True
        return database
