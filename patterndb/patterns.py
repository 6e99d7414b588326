"""Patterns and their rows, both ways.

As many statements for a large pattern as for a small one, and for many patterns as for one. Callers take
`PatternStore` by way of `patterndb.store`.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, Literal

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    RowMapping,
    Select,
    Subquery,
    Table,
    delete,
    func,
    insert,
    or_,
    select,
    tuple_,
)

from dna_zoo.errors import NotMinedError, StoreError, did_you_mean
from patterndb import rows
from patterndb.engine import Transactions, find_or_insert, upsert
from patterndb.floats import join_special
from patterndb.neighbours.vectors import keep_vectors
from patterndb.records import (
    ArtifactRecord,
    ChosenSettings,
    FitRecord,
    ModelRecord,
    PatternRecord,
    PatternSummary,
    RoleEntry,
    SignatureEntry,
    SignatureRecord,
    Statistic,
    TensorEntry,
    TensorRecord,
)
from patterndb.retry import survives_restarts
from patterndb.tables import (
    ARTIFACTS,
    FITS,
    METRICS,
    MODELS,
    PATTERNS,
    ROLE_PATTERNS,
    RUN_MODELS,
    RUNS,
    SIGNATURE_LAYOUTS,
    SIGNATURES,
    TENSOR_PATTERNS,
)

__all__ = [
    "CURRENT",
    "DESCRIPTION",
    "IS_CURRENT",
    "NEWEST_FIRST",
    "SAVE_STEPS",
    "SIGNED",
    "PatternStore",
    "chosen_columns",
    "chosen_settings",
    "is_among",
    "newest_time",
    "not_mined",
    "ranked",
    "read_entries",
    "read_part_statistics",
    "read_roles",
    "read_summaries",
    "read_tensors",
]

SAVE_STEPS = ("pattern", "roles", "tensors", "fits", "metrics", "signature", "artifacts")
"""What `save_pattern` reports, in this order; all of it still uncommitted."""

KEYS_AT_A_TIME = 500
"""How many keys a query names."""

Owner = tuple[int, int | None, int | None]
"""Pattern, and position of the role or the tensor that a fit or a metric belongs to; both None for the model's own."""


def _columns(table: Table, names: Sequence[str]) -> list[Column[Any]]:
    return [table.c[name] for name in names]


PARTS = (FITS, METRICS, ROLE_PATTERNS, TENSOR_PATTERNS, SIGNATURES, ARTIFACTS)
"""Tables of a pattern's parts, those that refer to others first."""
DESCRIBED = PATTERNS.join(MODELS).join(RUNS)
SIGNED = DESCRIBED.join(SIGNATURES).join(SIGNATURE_LAYOUTS)
SHORTEST_TIME = dt.timedelta(microseconds=1)
NEWEST_FIRST = (PATTERNS.c.confirmed_at.desc(), PATTERNS.c.id.desc())
RANK = func.row_number().over(partition_by=MODELS.c.key, order_by=NEWEST_FIRST).label("place")
"""1 for the current pattern of a model key."""
RANKED = select(PATTERNS.c.id, RANK).select_from(PATTERNS.join(MODELS)).subquery()
CURRENT = select(RANKED.c.id).where(RANKED.c.place == 1)
"""Ids of the patterns that are the current ones of their model keys."""
OTHER_PATTERNS, OTHER_MODELS = PATTERNS.alias("other_patterns"), MODELS.alias("other_models")
IS_CURRENT = ~(
    select(OTHER_PATTERNS.c.id)
    .select_from(OTHER_PATTERNS.join(OTHER_MODELS))
    .where(
        OTHER_MODELS.c.key == MODELS.c.key,
        tuple_(OTHER_PATTERNS.c.confirmed_at, OTHER_PATTERNS.c.id) > tuple_(PATTERNS.c.confirmed_at, PATTERNS.c.id),
    )
    .correlate(PATTERNS, MODELS)
    .exists()
)
"""Whether a pattern is the current one of its key: for few patterns, which are looked up without ranking all."""


def chosen_columns() -> dict[str, ColumnElement[Any]]:
    """Of the settings, which are JSON, what a `ChosenSettings` holds: by its names, read by the database."""
    settings = PATTERNS.c.settings
    found: dict[str, ColumnElement[Any]] = {
        "preset": settings["preset"].as_string(),
        "budget": settings["fit", "budget"].as_float(),
        "epochs": settings["fit", "epochs"].as_integer(),
        "seed": settings["seed"].as_integer(),
    }
    return {name: column.label(f"chosen_{name}") for name, column in found.items()}


def chosen_settings(row: RowMapping) -> ChosenSettings:
    """The record of a row with `chosen_columns`."""
    return ChosenSettings(**{each.name: row[f"chosen_{each.name}"] for each in fields(ChosenSettings)})


DESCRIPTION = (*_columns(MODELS, rows.MODEL_FIELDS), RUNS.c.run)
PATTERN_COLUMNS = _columns(
    PATTERNS,
    ("id", "pattern_key", "settings", "provenance", "pattern_class", "class_scores", "class_margin", "special",
     "clusters", "frequency_profile"),
)  # fmt: skip
# Without settings, provenance and clusters: JSON that would be parsed for every pattern and thrown away.
SUMMARY_COLUMNS = _columns(
    PATTERNS, ("id", "pattern_key", "confirmed_at", "pattern_class", "class_scores", "class_margin", "special")
)
ROLE_COLUMNS = _columns(ROLE_PATTERNS, ("position", *rows.ROLE_FIELDS))
TENSOR_COLUMNS = _columns(TENSOR_PATTERNS, ("pattern_id", "position", *rows.TENSOR_FIELDS))
FIT_COLUMNS = _columns(FITS, ("pattern_id", "role", "tensor", *rows.FIT_COLUMNS))
STATISTIC_COLUMNS = _columns(METRICS, ("pattern_id", "role", "tensor", *rows.STATISTIC_COLUMNS))
ARTIFACT_COLUMNS = _columns(ARTIFACTS, rows.ARTIFACT_FIELDS)


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
                _write_pattern(connection, pattern, on_step)
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
                query = query.where(_of_run(connection, run))
            found = connection.execute(query.order_by(*NEWEST_FIRST).limit(1)).mappings().first()
            if found is None:
                raise _not_mined(name, run, _read_keys(connection))
            return _assemble(connection, found, with_tensors=with_tensors)

    @survives_restarts
    def current_key(self, name: str) -> tuple[str, tuple[ArtifactRecord, ...]] | None:
        """Key and files of the current pattern of the model key `name`, None if there is none; nothing else is read."""
        query = select(PATTERNS.c.id, PATTERNS.c.pattern_key).select_from(PATTERNS.join(MODELS))
        with self._reading() as connection:
            found = connection.execute(query.where(MODELS.c.key == name).order_by(*NEWEST_FIRST).limit(1)).first()
            return None if found is None else (found.pattern_key, _read_artifacts(connection, found.id))

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
            return _read_keys(connection)

    @survives_restarts
    def partial_models(self) -> frozenset[str]:
        """The keys of mined models of which a considerable share could not be read."""
        query = select(MODELS.c.key).select_from(PATTERNS.join(MODELS))
        with self._reading() as connection:
            return frozenset(connection.scalars(query.where(MODELS.c.is_partial.is_(True), IS_CURRENT)))

    @survives_restarts
    def current_models(self) -> tuple[ModelRecord, ...]:
        """What every mined model is, by key, and nothing of what was found in it."""
        query = select(*_columns(MODELS, rows.MODEL_FIELDS)).select_from(PATTERNS.join(MODELS))
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
                for some in _batched(sorted(set(keys)), KEYS_AT_A_TIME)
                for entry in read_entries(connection, MODELS.c.key.in_(some), IS_CURRENT, with_nulls=with_nulls)
            )

    @survives_restarts
    def model_statistics(self, pattern_keys: Sequence[str] | None = None) -> Mapping[str, tuple[Statistic, ...]]:
        """Pattern key -> statistics of the model as a whole, for every model key's current pattern, or for these."""
        with self._reading() as connection:
            if pattern_keys is None:
                return _read_model_statistics(connection, PATTERNS.c.id.in_(CURRENT))
            found: dict[str, tuple[Statistic, ...]] = {}
            for some in _batched(sorted(set(pattern_keys)), KEYS_AT_A_TIME):
                found |= _read_model_statistics(connection, PATTERNS.c.pattern_key.in_(some))
            return found

    @survives_restarts
    def tensors(self) -> tuple[TensorEntry, ...]:
        """Every tensor of every model key's current pattern, by key and in the order of the pattern."""
        with self._reading() as connection:
            of_tensors = (METRICS.c.pattern_id.in_(CURRENT), METRICS.c.tensor.is_not(None))
            return read_tensors(connection, _read_statistics(connection, *of_tensors))


def is_among(column: ColumnElement[int], ids: Sequence[int] | None) -> ColumnElement[bool]:
    """Whether a pattern is one of these, or a current one where None are given."""
    return column.in_(CURRENT if ids is None else ids)


def ranked(keys: Select[Any] | Sequence[str] | None = None) -> Subquery:
    """Each pattern's id and its `place` among those of its model key, 1 for the current one: of these keys, or of all.

    To rank all costs a look at every pattern: whoever wants a few says whose.
    """
    query = select(PATTERNS.c.id, RANK).select_from(PATTERNS.join(MODELS))
    return (query if keys is None else query.where(MODELS.c.key.in_(keys))).subquery()


def read_summaries(connection: Connection, ids: Sequence[int] | None = None) -> tuple[PatternSummary, ...]:
    """Patterns in short, by model key, the newest of a key first: these, or all."""
    own = select(MODELS.c.key).select_from(PATTERNS.join(MODELS)).where(PATTERNS.c.id.in_(ids or ()))
    places = ranked(None if ids is None else own)
    columns = (*DESCRIPTION, *SUMMARY_COLUMNS, *chosen_columns().values(), SIGNATURE_LAYOUTS.c.version, places.c.place)
    query = select(*columns).select_from(SIGNED.join(places, places.c.id == PATTERNS.c.id))
    of_models = [FITS.c.position == 0]
    if ids is not None:
        query, of_models = query.where(PATTERNS.c.id.in_(ids)), [*of_models, FITS.c.pattern_id.in_(ids)]
    fits = _read_fits(connection, *of_models)
    found = sorted(connection.execute(query).mappings(), key=lambda row: (row["key"], row["place"]))
    return tuple(
        PatternSummary(
            model=rows.model_record(row),
            pattern_key=row["pattern_key"],
            run=row["run"],
            confirmed_at=row["confirmed_at"],
            is_current=row["place"] == 1,
            pattern_class=row["pattern_class"],
            class_scores=row["class_scores"],
            class_margin=_class_margin(row),
            fit=fits.get((row["id"], None, None)),
            signature_version=row["version"],
            chosen=chosen_settings(row),
        )
        for row in found
    )


def read_entries(
    connection: Connection, *which: ColumnElement[bool], with_nulls: bool = False
) -> tuple[SignatureEntry, ...]:
    """The signatures of these patterns, by model key."""
    packed = ("packed_values", "packed_z", "packed_p") if with_nulls else ("packed_values",)
    query = select(
        *DESCRIPTION,
        PATTERNS.c.pattern_key,
        PATTERNS.c.pattern_class,
        SIGNATURES.c.layout_id,
        SIGNATURE_LAYOUTS.c.version,
        *_columns(SIGNATURES, packed),
    ).select_from(SIGNED)
    # Names are read once for each layout.
    layouts = connection.execute(select(SIGNATURE_LAYOUTS.c.id, SIGNATURE_LAYOUTS.c.names))
    names_of = {layout_id: tuple(names) for layout_id, names in layouts}
    entries = (
        SignatureEntry(
            model=rows.model_record(row),
            pattern_key=row["pattern_key"],
            pattern_class=row["pattern_class"],
            signature=rows.signature_record(row, names_of[row["layout_id"]]),
        )
        for row in connection.execute(query.where(*which)).mappings()
    )
    return tuple(sorted(entries, key=lambda entry: entry.model.key))


def _batched(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """The items in parts of this size, the last as long as it is."""
    return (items[start : start + size] for start in range(0, len(items), size))


def _read_model_statistics(connection: Connection, which: ColumnElement[bool]) -> dict[str, tuple[Statistic, ...]]:
    """Pattern key -> statistics of the model as a whole, of these patterns."""
    chosen = select(PATTERNS.c.id, PATTERNS.c.pattern_key).where(which)
    keys = {pattern_id: key for pattern_id, key in connection.execute(chosen)}
    of_models = (METRICS.c.role.is_(None), METRICS.c.tensor.is_(None))
    found = _read_statistics(connection, METRICS.c.pattern_id.in_(select(PATTERNS.c.id).where(which)), *of_models)
    return {keys[pattern_id]: tuple(statistics) for (pattern_id, _, _), statistics in found.items()}


def read_tensors(
    connection: Connection, statistics: Mapping[Owner, Sequence[Statistic]], ids: Sequence[int] | None = None
) -> tuple[TensorEntry, ...]:
    """The tensors of these patterns, or of every key's current one, by key, with these statistics."""
    fits = _read_fits(connection, is_among(FITS.c.pattern_id, ids), FITS.c.tensor.is_not(None))
    query = (
        select(*TENSOR_COLUMNS, MODELS.c.key, PATTERNS.c.pattern_key, *chosen_columns().values())
        .select_from(TENSOR_PATTERNS.join(PATTERNS).join(MODELS))
        .where(is_among(PATTERNS.c.id, ids))
        .order_by(TENSOR_PATTERNS.c.position)
    )
    return tuple(
        TensorEntry(
            model=row["key"],
            pattern_key=row["pattern_key"],
            tensor=_tensor(row, fits, statistics),
            chosen=chosen_settings(row),
        )
        for row in sorted(connection.execute(query).mappings(), key=lambda row: str(row["key"]))
    )


def read_roles(connection: Connection, ids: Sequence[int]) -> tuple[RoleEntry, ...]:
    """The roles of these patterns, by key, without statistics."""
    fits = _read_fits(connection, FITS.c.pattern_id.in_(ids), FITS.c.role.is_not(None))
    columns = (ROLE_PATTERNS.c.pattern_id, *ROLE_COLUMNS, MODELS.c.key, PATTERNS.c.pattern_key)
    query = (
        select(*columns, *chosen_columns().values())
        .select_from(ROLE_PATTERNS.join(PATTERNS).join(MODELS))
        .where(PATTERNS.c.id.in_(ids))
        .order_by(ROLE_PATTERNS.c.position)
    )
    return tuple(
        RoleEntry(
            model=row["key"],
            pattern_key=row["pattern_key"],
            role=rows.role_record(row, fits.get((row["pattern_id"], row["position"], None)), ()),
            chosen=chosen_settings(row),
        )
        for row in sorted(connection.execute(query).mappings(), key=lambda row: str(row["key"]))
    )


Part = Literal["tensor", "role"]
"""What statistics are of."""


def read_part_statistics(
    connection: Connection, part: Part, ids: Sequence[int] | None = None
) -> Iterator[tuple[Any, ...]]:
    """The statistics of tensors or roles of these patterns, or of every key's current one, as bare rows.

    There are too many for records. Each is the pattern's key, the position of the part, the name, then
    `rows.STATISTIC_FLOATS`; pattern by pattern.
    """
    names = (part, "name", *rows.STATISTIC_FLOATS, "special")
    query = (
        select(PATTERNS.c.pattern_key, *_columns(METRICS, names))
        .select_from(METRICS.join(PATTERNS))
        .where(is_among(METRICS.c.pattern_id, ids), METRICS.c[part].is_not(None))
        .order_by(METRICS.c.pattern_id, METRICS.c.position)
    )
    for row in connection.execute(query):
        if row[-1] is None:  # As in nearly every row.
            yield row[:-1]
        else:
            yield row[0], *join_special(dict(zip(names, row[1:], strict=True))).values()


def _of_run(connection: Connection, run: str) -> ColumnElement[bool]:
    """Which patterns the run saved or ended with; where no run has that name, those of all runs of that request."""
    is_name = connection.scalar(select(RUNS.c.id).where(RUNS.c.run == run)) is not None
    runs = select(RUNS.c.id).where((RUNS.c.run if is_name else RUNS.c.request_key) == run)
    ended_with = select(RUN_MODELS.c.pattern_key).where(RUN_MODELS.c.run_id.in_(runs))
    return or_(PATTERNS.c.run_id.in_(runs), PATTERNS.c.pattern_key.in_(ended_with))


def _assemble(connection: Connection, header: RowMapping, *, with_tensors: bool) -> PatternRecord:
    """The record from its header: one query for each table of parts."""
    pattern_id = header["id"]
    statistics = _read_statistics(connection, *_of_pattern(METRICS, pattern_id, with_tensors=with_tensors))
    fits = _read_fits(connection, *_of_pattern(FITS, pattern_id, with_tensors=with_tensors))
    tensors = _read_part(connection, TENSOR_COLUMNS, pattern_id) if with_tensors else ()
    return PatternRecord(
        model=rows.model_record(header),
        pattern_key=header["pattern_key"],
        run=header["run"],
        settings=header["settings"],
        provenance=header["provenance"],
        pattern_class=header["pattern_class"],
        class_scores=header["class_scores"],
        class_margin=_class_margin(header),
        fit=fits.get((pattern_id, None, None)),
        roles=tuple(
            rows.role_record(row, fits.get(owner), statistics.get(owner, ()))
            for row in _read_part(connection, ROLE_COLUMNS, pattern_id)
            for owner in [(pattern_id, row["position"], None)]
        ),
        tensors=tuple(_tensor(row, fits, statistics) for row in tensors),
        signature=_read_signature(connection, pattern_id),
        statistics=tuple(statistics.get((pattern_id, None, None), ())),
        clusters=header["clusters"],
        frequency_profile=header["frequency_profile"],
        artifacts=_read_artifacts(connection, pattern_id),
    )


def _of_pattern(table: Table, pattern_id: int, *, with_tensors: bool) -> Sequence[ColumnElement[bool]]:
    """Which rows of `FITS` or `METRICS` are the pattern's."""
    own = table.c.pattern_id == pattern_id
    return (own,) if with_tensors else (own, table.c.tensor.is_(None))


def _read_part(connection: Connection, columns: Sequence[Column[Any]], pattern_id: int) -> Sequence[RowMapping]:
    """A pattern's rows of the columns' table, in the order of the record."""
    part = columns[0].table
    query = select(*columns).where(part.c.pattern_id == pattern_id).order_by(part.c.position)
    return connection.execute(query).mappings().all()


def _read_artifacts(connection: Connection, pattern_id: int) -> tuple[ArtifactRecord, ...]:
    return tuple(ArtifactRecord(**row) for row in _read_part(connection, ARTIFACT_COLUMNS, pattern_id))


def _tensor(
    row: RowMapping, fits: Mapping[Owner, FitRecord], statistics: Mapping[Owner, Sequence[Statistic]]
) -> TensorRecord:
    """A tensor with what belongs to it."""
    owner = (row["pattern_id"], None, row["position"])
    return rows.tensor_record(row, fits.get(owner), statistics.get(owner, ()))


def _class_margin(header: RowMapping) -> float:
    """The margin, which may be special."""
    margin: float = join_special({"class_margin": header["class_margin"], "special": header["special"]})["class_margin"]
    return margin


def _read_fits(connection: Connection, *which: ColumnElement[bool]) -> Mapping[Owner, FitRecord]:
    """Fits by what they belong to."""
    return {
        (pattern_id, role, tensor): rows.fit_record(values)
        for pattern_id, role, tensor, *values in connection.execute(select(*FIT_COLUMNS).where(*which))
    }


def _read_statistics(connection: Connection, *which: ColumnElement[bool]) -> Mapping[Owner, Sequence[Statistic]]:
    """Statistics by what they belong to, in the order of the record. There are thousands: rows stay tuples."""
    query = select(*STATISTIC_COLUMNS).where(*which).order_by(METRICS.c.pattern_id, METRICS.c.position)
    found: dict[Owner, list[Statistic]] = defaultdict(list)
    for pattern_id, role, tensor, *values in connection.execute(query):
        found[pattern_id, role, tensor].append(rows.statistic(values))
    return found


def _read_signature(connection: Connection, pattern_id: int) -> SignatureRecord:
    """The pattern's signature."""
    query = (
        select(SIGNATURES, SIGNATURE_LAYOUTS.c.version, SIGNATURE_LAYOUTS.c.names)
        .select_from(SIGNATURES.join(SIGNATURE_LAYOUTS))
        .where(SIGNATURES.c.pattern_id == pattern_id)
    )
    row = connection.execute(query).mappings().one()
    return rows.signature_record(row, tuple(row["names"]))


def _read_keys(connection: Connection) -> tuple[str, ...]:
    """The keys of all models with a pattern, sorted."""
    return tuple(sorted(connection.scalars(select(MODELS.c.key).distinct().select_from(PATTERNS.join(MODELS)))))


def not_mined(connection: Connection, name: str) -> NotMinedError:
    """The error for a key without a pattern in the database."""
    return _not_mined(name, None, _read_keys(connection))


def _not_mined(name: str, run: str | None, keys: Sequence[str]) -> NotMinedError:
    """The error for a key without a pattern, with the keys that look like it."""
    where = "this database" if run is None else f"run {run!r}"
    near = "" if name in keys else did_you_mean(name, keys)
    hint = near or f"Mine it first: `dna-zoo mine {name}`."
    return NotMinedError(f"There is no pattern of {name!r} in {where}.", hint=hint)


def _write_pattern(connection: Connection, pattern: PatternRecord, on_step: Callable[[str], object]) -> None:
    """Write the pattern in place of one with the same key: a statement for each table, whatever its size."""
    pattern_id = _upsert_pattern(connection, pattern)
    for part in PARTS:
        connection.execute(delete(part).where(part.c.pattern_id == pattern_id))
    layout_id = find_or_insert(connection, SIGNATURE_LAYOUTS, rows.layout_row(pattern.signature), key=("digest",))
    on_step("pattern")
    for step, table, values in (
        ("roles", ROLE_PATTERNS, rows.part_rows(pattern_id, pattern.roles, rows.ROLE_FIELDS)),
        ("tensors", TENSOR_PATTERNS, rows.part_rows(pattern_id, pattern.tensors, rows.TENSOR_FIELDS)),
        ("fits", FITS, rows.fit_rows(pattern_id, pattern)),
        ("metrics", METRICS, rows.metric_rows(pattern_id, pattern)),
        ("signature", SIGNATURES, [rows.signature_row(pattern_id, layout_id, pattern.signature)]),
        ("artifacts", ARTIFACTS, rows.part_rows(pattern_id, pattern.artifacts, rows.ARTIFACT_FIELDS)),
    ):
        if values:
            connection.execute(insert(table), values)
        on_step(step)
    keep_vectors(connection, pattern_id, layout_id, pattern.signature)


def _upsert_pattern(connection: Connection, pattern: PatternRecord) -> int:
    """Insert or overwrite the row of `patterns`; another process that saves the same key waits here."""
    run_id = connection.scalar(select(RUNS.c.id).where(RUNS.c.run == pattern.run))
    if run_id is None:
        raise StoreError(
            f"The pattern of {pattern.model.key!r} belongs to run {pattern.run!r}, which was never started.",
            hint="Call `start_run` before `save_pattern`.",
        )
    row = rows.pattern_row(pattern) | {
        "model_id": find_or_insert(connection, MODELS, rows.model_row(pattern.model), key=("digest",)),
        "run_id": run_id,
        "confirmed_at": newest_time(connection, pattern.model.key),
    }
    return upsert(connection, PATTERNS, row, key=("pattern_key",))


def newest_time(connection: Connection, key: str) -> dt.datetime:
    """The time now, or just after the newest pattern of the model key where the clock has been set back since."""
    times = select(func.max(PATTERNS.c.confirmed_at)).select_from(PATTERNS.join(MODELS)).where(MODELS.c.key == key)
    newest: dt.datetime | None = connection.scalar(times)
    now = dt.datetime.now(dt.UTC)
    return now if newest is None else max(now, newest + SHORTEST_TIME)
