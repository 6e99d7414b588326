"""The pattern database: what other packages open, and the only thing of this package that they need."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from dna_zoo.errors import StoreError
from patterndb import patterns, runs, schema
from patterndb.columns import require_table
from patterndb.engine import Transactions
from patterndb.records import (
    ArtifactRecord,
    PatternRecord,
    PatternSummary,
    RunModelRecord,
    RunRecord,
    SignatureEntry,
    StageRecord,
    Statistic,
    TensorEntry,
)

if TYPE_CHECKING:
    import pandas as pd

    from patterndb.comparison import Comparison
    from patterndb.similarity import Neighbour

__all__ = ["PatternDatabase"]


def _ignore_step(step: str) -> None:
    """For callers that do not watch."""


class PatternDatabase(Transactions):
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

    # Patterns

    def save_pattern(self, pattern: PatternRecord, on_step: Callable[[str], None] | None = None) -> None:
        """Keep the pattern, in place of one with the same `pattern_key`, in one transaction.

        It becomes the current pattern of its model key. `on_step` is told each of `patterns.SAVE_STEPS` once it is
        written; a process killed there leaves nothing of it. Raises `StoreError` if the run was never started, or
        if the record holds what no database keeps.
        """
        try:
            with self._writing() as connection:
                patterns.write_pattern(connection, pattern, on_step or _ignore_step)
        except (TypeError, ValueError) as error:
            raise StoreError(
                f"The pattern of {pattern.model.key!r} cannot be kept: {error}.",
                hint="Settings, provenance and clusters must be finite JSON; a signature as long as its names.",
            ) from error

    def load_pattern(self, name: str, *, run: str | None = None, with_tensors: bool = True) -> PatternRecord:
        """The current pattern of the model key `name`, or the one that `run` ended with, exactly as saved.

        Single tensors are nearly all of a pattern: without `with_tensors` they are left out, and `tensors` is empty.
        Raises `NotMinedError` if there is none.
        """
        with self._reading() as connection:
            return patterns.read_pattern(connection, name, run, with_tensors=with_tensors)

    def current_key(self, name: str) -> tuple[str, tuple[ArtifactRecord, ...]] | None:
        """Key and files of the current pattern of the model key `name`; None if there is none."""
        with self._reading() as connection:
            return patterns.read_current_key(connection, name)

    def model_keys(self) -> tuple[str, ...]:
        """The keys of all mined models, sorted."""
        with self._reading() as connection:
            return patterns.read_keys(connection)

    def patterns(self) -> tuple[PatternSummary, ...]:
        """Every pattern in short, by model key, the current one of each key first."""
        with self._reading() as connection:
            return patterns.read_summaries(connection)

    def signatures(self, *, with_nulls: bool = True) -> tuple[SignatureEntry, ...]:
        """The signature of every model key's current pattern, by key; its `z` and `p` only `with_nulls`."""
        with self._reading() as connection:
            return patterns.read_signatures(connection, with_nulls=with_nulls)

    def model_statistics(self) -> Mapping[str, tuple[Statistic, ...]]:
        """Pattern key -> statistics of the model as a whole, for every model key's current pattern."""
        with self._reading() as connection:
            return patterns.read_model_statistics(connection)

    def tensors(self) -> tuple[TensorEntry, ...]:
        """Every tensor of every model key's current pattern, by key and in the order of the pattern."""
        with self._reading() as connection:
            return patterns.read_tensors(connection, with_statistics=True)

    # Questions about several models

    def compare_patterns(self, a: str, b: str) -> "Comparison":
        """The current patterns of two model keys side by side.

        Raises `NotMinedError` for a key without a pattern, `StoreError` for signatures of different versions.
        """
        # Similarity needs numpy, which commands that only show what is kept do without.
        from patterndb.comparison import compare
        from patterndb.similarity import distances_of_pairs

        left, right = (self.load_pattern(key, with_tensors=False) for key in (a, b))
        entries = self.signatures(with_nulls=False)
        same_version = [entry for entry in entries if entry.signature.version == left.signature.version]
        return compare(left, right, distances_of_pairs(same_version))

    def get_similar_models(self, name: str, top_k: int = 5) -> "tuple[Neighbour, ...]":
        """The `top_k` models nearest to the model key `name`, the nearest first; ties by name.

        Models whose signature has another version, or no dimension in common, are left out. Raises `NotMinedError`
        if `name` has no pattern, `StoreError` if no other model has a signature of its version.
        """
        from patterndb.similarity import align, nearest

        entries = self._signatures_with(name)
        version = next(entry.signature.version for entry in entries if entry.model.key == name)
        if len(entries) > 1 and sum(entry.signature.version == version for entry in entries) == 1:
            align([entry.signature for entry in entries])  # Raises: it takes one version.
        return nearest([name], entries, top_k)[name]

    def get_similar_to_each(self, names: Sequence[str], top_k: int = 5) -> "Mapping[str, tuple[Neighbour, ...]]":
        """`get_similar_models` of several model keys at once; nothing where no other model has the same version.

        All pairs of models are compared once, however many names. Raises `NotMinedError` if one has no pattern.
        """
        from patterndb.similarity import nearest

        return nearest(names, self._signatures_with(*names), top_k)

    def _signatures_with(self, *names: str) -> tuple[SignatureEntry, ...]:
        """All signatures; raises `NotMinedError` if one of the model keys is not among them."""
        with self._reading() as connection:
            entries = patterns.read_signatures(connection, with_nulls=False)
            for name in names:
                if all(entry.model.key != name for entry in entries):
                    raise patterns.not_mined(connection, name, None)
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
                entries = patterns.read_tensors(connection, with_statistics=False)
                return catalog.tensors_frame(entries, patterns.read_tensor_statistics(connection))
        if table == "signatures":
            return catalog.signatures_frame(self.signatures())
        return catalog.distances_frame(self.signatures(with_nulls=False))

    # Runs: what was asked, how far each model came, how it ended

    def start_run(self, run: str, request: Mapping[str, Any]) -> None:
        """Begin the run, or go on with the one of that name: its start, models and stages stay."""
        with self._writing() as connection:
            runs.write_run(connection, run, request)

    def set_run_models(self, run: str, keys: Iterable[str]) -> None:
        """Say which models the run is about, in this order; those it knows already keep what is known of them."""
        with self._writing() as connection:
            runs.write_model_keys(connection, run, keys)

    def record_stage(self, run: str, model_key: str, stage: StageRecord) -> None:
        """Keep how a stage went, in place of what was known of that stage of that model in that run."""
        with self._writing() as connection:
            runs.write_stage(connection, run, model_key, stage)

    def finish_model(self, run: str, record: RunModelRecord) -> None:
        """Keep how the model fared. Its pattern becomes the model's current one; `record.stages` are added."""
        with self._writing() as connection:
            runs.write_model(connection, run, record)

    def finish_run(self, run: str, status: str, exit_code: int) -> None:
        """Keep how the run ended: `done`, `failed`, `partial` or `interrupted`."""
        with self._writing() as connection:
            runs.write_run_end(connection, run, status, exit_code)

    def runs(self) -> tuple[RunRecord, ...]:
        """Every run, the latest first."""
        with self._reading() as connection:
            return runs.read_runs(connection)

    def run(self, run: str) -> RunRecord:
        """One run; raises `NotMinedError` if there is none of that name."""
        with self._reading() as connection:
            return runs.read_run(connection, run)
