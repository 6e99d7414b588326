"""The pattern database: what other packages open, and the only thing of this package that they need."""

from typing import Self

from patterndb.connection import schema
from patterndb.connection.retry import survives_restarts
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
            database._make_ready(create)
        except BaseException:
            database.close()
            raise
        return database

    @survives_restarts
    def _make_ready(self, create: bool) -> None:
        """See to the schema. A migration is one transaction: one that was broken off has done nothing."""
        is_empty = create and self.path is not None and not self.path.exists()
        if not is_empty:
            with self._reading() as connection:
                is_empty = create and schema.is_empty(connection)
                if not is_empty:
                    schema.require_head(connection)
        if is_empty:
            schema.create(self._engine.url)
