"""What can be asked of patterns. Callers take `PatternStore` by way of `patterndb.store`."""

from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import select

from dna_zoo.errors import StoreError
from patterndb.connection.batches import batches
from patterndb.connection.engine import Transactions
from patterndb.connection.retry import survives_restarts
from patterndb.patterns import rows
from patterndb.patterns.reading import (
    DESCRIPTION,
    PATTERN_COLUMNS,
    assemble,
    read_artifacts,
    read_entries,
    read_model_statistics,
    read_statistics,
    read_summaries,
    read_tensors,
)
from patterndb.patterns.which import (
    CURRENT,
    DESCRIBED,
    IS_CURRENT,
    NEWEST_FIRST,
    columns_of,
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
from patterndb.tables import ARTIFACTS, METRICS, MODELS, PATTERNS

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

        `run` is the name of a run, or else the key of a request: then any run of it.
        Single tensors are nearly all of a pattern: without `with_tensors` they are left out, and `tensors` is empty.
        Raises `NotMinedError` if there is none.
        """
        query = select(*DESCRIPTION, *PATTERN_COLUMNS).select_from(DESCRIBED).where(MODELS.c.key == name)
        with self._reading() as connection:
            if run is not None:
                query = query.where(of_run(connection, run))
            found = connection.execute(query.order_by(*NEWEST_FIRST).limit(1)).mappings().first()
            if found is None:
                raise no_pattern(name, run, read_keys(connection))
            return assemble(connection, found, with_tensors=with_tensors)

    @survives_restarts
    def current_key(self, name: str) -> tuple[str, tuple[ArtifactRecord, ...]] | None:
        """Key and files of the current pattern of the model key `name`, None if there is none; nothing else is read."""
        query = select(PATTERNS.c.id, PATTERNS.c.pattern_key).select_from(PATTERNS.join(MODELS))
        with self._reading() as connection:
            found = connection.execute(query.where(MODELS.c.key == name).order_by(*NEWEST_FIRST).limit(1)).first()
            return None if found is None else (found.pattern_key, read_artifacts(connection, found.id))

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
        with self._reading() as connection:
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
        query = select(*columns_of(MODELS, rows.MODEL_FIELDS)).select_from(PATTERNS.join(MODELS))
        with self._reading() as connection:
            found = connection.execute(query.where(PATTERNS.c.id.in_(CURRENT))).mappings()
            return tuple(sorted(map(rows.model_record, found), key=lambda model: model.key))

    @survives_restarts
    def patterns(self) -> tuple[PatternSummary, ...]:
        """Every pattern in short, by model key, the current one of each key first."""
        with self._reading() as connection:
            return read_summaries(connection)

    @survives_restarts
    def signatures(
        self, *, with_nulls: bool = True, ids: Sequence[int] | None = None, keys: Sequence[str] | None = None
    ) -> tuple[SignatureEntry, ...]:
        """The signatures of every model key's current pattern, by key; `z` and `p` only `with_nulls`.

        - `ids`: those of the rows of other patterns, in place of the current ones;
        - `keys`: those of these models alone.
        """
        with self._reading() as connection:
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
        with self._reading() as connection:
            if pattern_keys is None:
                return read_model_statistics(connection, PATTERNS.c.id.in_(CURRENT))
            found: dict[str, tuple[Statistic, ...]] = {}
            for some in batches(sorted(set(pattern_keys)), KEYS_AT_A_TIME):
                found |= read_model_statistics(connection, PATTERNS.c.pattern_key.in_(some))
            return found

    @survives_restarts
    def tensors(self) -> tuple[TensorEntry, ...]:
        """Every tensor of every model key's current pattern, by key and in the order of the pattern."""
        with self._reading() as connection:
            of_tensors = (METRICS.c.pattern_id.in_(CURRENT), METRICS.c.tensor.is_not(None))
            return read_tensors(connection, read_statistics(connection, *of_tensors))
