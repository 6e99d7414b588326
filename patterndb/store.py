"""The pattern database: what other packages open, and the only thing of this package that they need."""

from types import TracebackType
from typing import TYPE_CHECKING, Self

from patterndb.loading import read_current, read_tensor_cells, read_tensors
from patterndb.pattern_store import PatternStore
from patterndb.revision import require_head
from patterndb.run_store import RunStore

if TYPE_CHECKING:
    import pandas as pd

    from patterndb.catalog_table import CatalogTable
    from patterndb.similarity import Comparison, Neighbour

__all__ = ["PatternDatabase"]


class PatternDatabase(RunStore, PatternStore):
    """Patterns and runs in a SQLite file or a PostgreSQL database; a context manager that closes it.

    Takes and gives frozen records. Every failure is a `StoreError`; every method is a transaction of its own.
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
                # Migrations, which commands that only read do without.
                from patterndb.schema import prepare

                prepare(database._engine)
            else:
                with database._reading() as reader:
                    require_head(reader, database.url)
        except BaseException:
            database.close()
            raise
        return database

    def compare_patterns(self, a: str, b: str) -> "Comparison":
        """The current patterns of two model keys side by side.

        Raises `NotMinedError` for a key without a pattern, `StoreError` for signatures of different versions.
        """
        # Similarity needs numpy, which commands that only show what is kept do without.
        from patterndb.similarity import compare, distances_of_pairs

        left, right = (self.load_pattern(key, with_tensors=False) for key in (a, b))
        entries = self.signatures(with_nulls=False)
        same_version = [entry for entry in entries if entry.signature.version == left.signature.version]
        return compare(left, right, distances_of_pairs(same_version))

    def get_similar_models(self, name: str, top_k: int = 5) -> "tuple[Neighbour, ...]":
        """The `top_k` models nearest to the model key `name`, the nearest first; ties by name.

        Models whose signature has another version, or no dimension in common, are left out. Raises `NotMinedError`
        if `name` has no pattern, `StoreError` if no other model has a signature of its version.
        """
        from patterndb.similarity import nearest

        entries = self.signatures(with_nulls=False)
        own = next((entry for entry in entries if entry.model.key == name), None)
        if own is None:
            raise self._not_mined(name)
        return nearest(own, entries, top_k)

    def catalog_table(self, table: str = "catalog") -> "CatalogTable":
        """The current patterns as one table: `catalog`, `tensors`, `signatures` or `distances`.

        `patterndb.catalog.COLUMN_MEANINGS` says what each column means. Raises `SettingsError` for another table.
        """
        from patterndb.catalog import catalog_table, distances_table, require_table, signatures_table, tensors_table

        require_table(table)
        if table == "catalog":
            return catalog_table(self.patterns())
        if table == "tensors":
            with self._reading() as reader:
                entries = read_tensors(reader, with_statistics=False)
                return tensors_table(entries, read_tensor_cells(reader), read_current(reader))
        if table == "signatures":
            return signatures_table(self.signatures())
        return distances_table(self.signatures(with_nulls=False))

    def export_catalog(self, table: str = "catalog") -> "pd.DataFrame":
        """`catalog_table` as a frame of pandas. Raises `SettingsError` for a table that there is not."""
        return self.catalog_table(table).to_pandas()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
