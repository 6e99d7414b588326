"""What can be asked of patterns. Callers take `PatternStore` by way of `patterndb.store`."""

from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import select

from dna_zoo.errors import StoreError
from patterndb.connection.batches import batches
from patterndb.connection.engine import Transactions, require_whole
from patterndb.connection.retry import survives_restarts
from patterndb.patterns import rows
from patterndb.patterns.digests import ARTIFACT_ROWS, FINDINGS, SUMMARY, TENSOR_STATISTICS, damaged_parts, require_row
from patterndb.patterns.reading import (
    PATTERN_COLUMNS,
    SUMMARY_COLUMNS,
    assemble,
    read_artifacts,
    read_entries,
    read_labels,
    read_model_statistics,
    read_statistics,
    read_summaries,
    read_tensors,
)
from patterndb.patterns.which import (
    CURRENT,
    DESCRIBED,
    IS_CURRENT,
    LISTED,
    NEWEST_FIRST,
    called_in_run,
    is_among,
    no_pattern,
    of_run,
    read_keys,
)
from patterndb.patterns.writing import write_pattern
from patterndb.records import (
    ArtifactRecord,
    ModelRecord,
    PatternRecord,
    PatternSummary,
    SignatureEntry,
    Statistic,
    TensorEntry,
)
from patterndb.tables import ARTIFACTS, MODELS, PATTERNS

__all__ = ["KEYS_AT_A_TIME", "PatternStore"]

KEYS_AT_A_TIME = 500
"""How many keys a query names."""


class PatternStore(Transactions):
    """The part of the pattern database that keeps patterns."""

    @survives_restarts
    def save_pattern(self, pattern: PatternRecord, on_step: Callable[[str], object] = lambda step: None) -> None:
        """Keep the pattern, in place of one with the same `pattern_key`, in one transaction.

        It becomes the current pattern of its model key. `on_step` is told each of `SAVE_STEPS` once it is written
        (again, where a lost connection made it begin anew); a process killed there leaves nothing of it. Raises
        `StoreError` if the run was never started, or if the record holds what no database keeps.
        """
        try:
            with self._writing() as connection:
                write_pattern(connection, pattern, on_step)
        except (TypeError, ValueError) as error:
            raise StoreError(
                f"The pattern of {pattern.model.key!r} cannot be kept: {error}.",
                hint="Settings, provenance and clusters must be finite JSON; a signature as long as its names.",
            ) from error

    @survives_restarts
    def load_pattern(self, name: str, *, run: str | None = None, with_tensors: bool = True) -> PatternRecord:
        """The current pattern of the model key `name`, or the newest that `run` saved or ended with, as it was saved.

        `run` is the name of a run, or else the key of a request: then any run of it. A model that has another key today
        is found by the one that the run knew, too.
        Single tensors are nearly all of a pattern: without `with_tensors` they are left out, and `tensors` is empty.
        Raises `NotMinedError` if there is none.
        """
        query = select(*PATTERN_COLUMNS).select_from(DESCRIBED).order_by(*NEWEST_FIRST).limit(1)
        with self._reading() as connection:
            ways = [MODELS.c.key == name]
            if run is not None:
                ways = [ways[0] & of_run(connection, run), called_in_run(connection, name, run)]
            rows = (connection.execute(query.where(way)).mappings().first() for way in ways)
            found = next((row for row in rows if row is not None), None)
            if found is None:
                require_whole(connection, *LISTED)
                raise no_pattern(name, run, read_keys(connection))
            require_row(connection, SUMMARY, found)
            require_row(connection, FINDINGS, found)
            return assemble(connection, found, with_tensors=with_tensors)

    @survives_restarts
    def current_key(self, name: str) -> tuple[str, tuple[ArtifactRecord, ...]] | None:
        """Key and files of the current pattern of the model key `name`; nothing else is read.

        None if there is none, or if these rows of it are damaged: then it is to be written again.
        """
        columns = (PATTERNS.c.id, PATTERNS.c.pattern_key, PATTERNS.c.digests)
        query = select(*columns).select_from(PATTERNS.join(MODELS))
        with self._reading() as connection:
            found = connection.execute(query.where(MODELS.c.key == name).order_by(*NEWEST_FIRST).limit(1)).first()
            if found is None or any(damaged_parts(connection, [found.id], (SUMMARY, ARTIFACT_ROWS))):
                return None
            return found.pattern_key, read_artifacts(connection, {found.id: found.digests})

    @survives_restarts
    def patterns_in(self, folder: str) -> frozenset[str]:
        """The keys of the patterns that have files in this folder of a home."""
        query = select(PATTERNS.c.pattern_key).select_from(PATTERNS.join(ARTIFACTS))
        with self._reading() as connection:
            return frozenset(
                connection.scalars(query.where(ARTIFACTS.c.path.startswith(f"{folder}/", autoescape=True)))
            )

    @survives_restarts
    def model_keys(self) -> tuple[str, ...]:
        """The keys of all mined models, sorted."""
        with self._reading(*LISTED) as connection:
            return read_keys(connection)

    @survives_restarts
    def partial_models(self) -> frozenset[str]:
        """The keys of mined models of which a considerable share could not be read."""
        query = select(MODELS.c.key).select_from(PATTERNS.join(MODELS))
        with self._reading() as connection:
            return frozenset(connection.scalars(query.where(MODELS.c.is_partial.is_(True), IS_CURRENT)))

    @survives_restarts
    def current_models(self) -> tuple[ModelRecord, ...]:
        """What every mined model is, by key, and nothing of what was found in it."""
        query = select(*SUMMARY_COLUMNS).select_from(DESCRIBED)
        with self._reading(*LISTED) as connection:
            found = connection.execute(query.where(PATTERNS.c.id.in_(CURRENT))).mappings().all()
            for row in found:
                require_row(connection, SUMMARY, row)
            return tuple(sorted(map(rows.model_record, found), key=lambda model: model.key))

    @survives_restarts
    def patterns(self) -> tuple[PatternSummary, ...]:
        """Every pattern in short, by model key, the current one of each key first."""
        with self._reading(*LISTED) as connection:
            return read_summaries(connection)

    @survives_restarts
    def signatures(
        self, *, with_nulls: bool = True, ids: Sequence[int] | None = None, keys: Sequence[str] | None = None
    ) -> tuple[SignatureEntry, ...]:
        """The signatures of every model key's current pattern, by key; `z` and `p` only `with_nulls`.

        - `ids`: those of the rows of other patterns, in place of the current ones;
        - `keys`: those of these models alone.
        """
        with self._reading(*(LISTED if keys is None and ids is None else ())) as connection:
            if keys is None:
                return read_entries(connection, is_among(PATTERNS.c.id, ids), with_nulls=with_nulls)
            return tuple(
                entry
                for some in batches(sorted(set(keys)), KEYS_AT_A_TIME)
                for entry in read_entries(connection, MODELS.c.key.in_(some), IS_CURRENT, with_nulls=with_nulls)
            )

    @survives_restarts
    def model_statistics(self, pattern_keys: Sequence[str] | None = None) -> Mapping[str, tuple[Statistic, ...]]:
        """Pattern key -> statistics of the model as a whole, for every model key's current pattern, or for these."""
        with self._reading(*(LISTED if pattern_keys is None else ())) as connection:
            if pattern_keys is None:
                return read_model_statistics(connection, CURRENT)
            found: dict[str, tuple[Statistic, ...]] = {}
            for some in batches(sorted(set(pattern_keys)), KEYS_AT_A_TIME):
                chosen = select(PATTERNS.c.id).where(PATTERNS.c.pattern_key.in_(some))
                found |= read_model_statistics(connection, chosen)
            return found

    @survives_restarts
    def tensors(self) -> tuple[TensorEntry, ...]:
        """Every tensor of every model key's current pattern, by key and in the order of the pattern."""
        with self._reading(*LISTED) as connection:
            kept = {row["id"]: row["digests"] for row in read_labels(connection, CURRENT).values()}
            return read_tensors(connection, read_statistics(connection, [TENSOR_STATISTICS], CURRENT, kept))
