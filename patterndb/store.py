"""The pattern database: what other packages open, and the only thing of this package that they need."""

from typing import TYPE_CHECKING, Self

from patterndb import schema
from patterndb.columns import require_table
from patterndb.neighbours import NeighbourStore
from patterndb.patterns import read_tensor_statistics, read_tensors
from patterndb.runs import RunStore

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PatternDatabase"]


class PatternDatabase(NeighbourStore, RunStore):
    """Patterns and runs in a SQLite file or a PostgreSQL database; a context manager that closes it.

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
        return database

    def export_catalog(self, table: str = "catalog") -> "pd.DataFrame":
        """The current patterns as one table: `catalog`, `tensors`, `signatures` or `distances`.

        `patterndb.columns.COLUMN_MEANINGS` says what each column means; `attrs["table"]` of the frame is the table's
        name. Raises `SettingsError` for another table.
        """
        require_table(table)
        # Only exports need pandas.
        from patterndb import catalog

        if table == "catalog":
            return catalog.catalog_frame(self.patterns())
        if table == "tensors":
            with self._reading() as connection:
                entries = read_tensors(connection, {})
                return catalog.tensors_frame(entries, read_tensor_statistics(connection))
        if table == "signatures":
            return catalog.signatures_frame(self.signatures())
        return catalog.distances_frame(self.signatures(with_nulls=False))
