"""The pattern database: what other packages open, and the only thing of this package that they need."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Self

from patterndb import schema
from patterndb.columns import require_table
from patterndb.comparison import Comparison, compare
from patterndb.overviews import OverviewStore
from patterndb.patterns import PatternStore, read_tensor_statistics, read_tensors
from patterndb.records import Neighbour, SignatureEntry
from patterndb.runs import RunStore
from patterndb.similarity import Criterion, align, all_distances, nearest

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PatternDatabase"]


class PatternDatabase(PatternStore, RunStore, OverviewStore):
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

    def compare_patterns(self, a: str, b: str) -> Comparison:
        """The current patterns of two model keys side by side.

        Raises `NotMinedError` for a key without a pattern, `StoreError` for signatures of different versions.
        """
        left, right = (self.load_pattern(key, with_tensors=False) for key in (a, b))
        entries = self.signatures(with_nulls=False)
        same_version = [entry for entry in entries if entry.signature.version == left.signature.version]
        return compare(left, right, all_distances(same_version).each_once())

    def get_similar_models(self, name: str, top_k: int = 5, *, by: Criterion = "weights") -> tuple[Neighbour, ...]:
        """The `top_k` models nearest to the model key `name`, as `patterndb.similarity.nearest` ranks them.

        Models whose signature has another version, or no dimension in common, are left out. Raises `NotMinedError`
        if `name` has no pattern, `StoreError` if no other model has a signature of its version.
        """
        entries = self._signatures_with(name)
        version = next(entry.signature.version for entry in entries if entry.model.key == name)
        if len(entries) > 1 and sum(entry.signature.version == version for entry in entries) == 1:
            align([entry.signature for entry in entries])  # Raises: it takes one version.
        return nearest([name], entries, top_k, by)[name]

    def get_similar_to_each(self, names: Sequence[str], top_k: int = 5) -> Mapping[str, tuple[Neighbour, ...]]:
        """`get_similar_models` of several model keys at once; nothing where no other model has the same version.

        All pairs of models are compared once, however many names. Raises `NotMinedError` if one has no pattern.
        """
        return nearest(names, self._signatures_with(*names), top_k)

    def _signatures_with(self, *names: str) -> tuple[SignatureEntry, ...]:
        """All signatures; raises `NotMinedError` if one of the model keys is not among them."""
        entries = self.signatures(with_nulls=False)
        known = {entry.model.key for entry in entries}
        for name in names:
            if name not in known:
                self.load_pattern(name)  # Raises, naming near misses.
        return entries

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
