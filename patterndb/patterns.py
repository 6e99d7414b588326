"""Patterns and their rows, both ways.

As many statements for a large pattern as for a small one, and for many patterns as for one. Whatever is read of a
pattern is held against its digests (`patterndb.digests`). Callers take `PatternStore` by way of `patterndb.store`.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from operator import itemgetter
from typing import Any, Literal, TypeVar

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
from patterndb.digests import (
    ARTIFACT_ROWS,
    DESCRIBED,
    FINDINGS,
    MODEL_FIT,
    MODEL_STATISTICS,
    NULLS,
    ROLE_FITS,
    ROLE_STATISTICS,
    ROLES,
    SIGNATURE,
    SUMMARY,
    TENSOR_FITS,
    TENSOR_STATISTICS,
    TENSORS,
    Ids,
    Part,
    damaged,
    damaged_parts,
    keep_digests,
    read_parts,
    require_layout,
    require_row,
)
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
    RoleRecord,
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
    "read_labels",
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
# Without provenance and clusters: JSON that would be parsed for every pattern and thrown away.
SUMMARY_COLUMNS = (PATTERNS.c.id, PATTERNS.c.digests, *SUMMARY.columns)
PATTERN_COLUMNS = (*SUMMARY_COLUMNS, *FINDINGS.columns)
FITS_OF = (MODEL_FIT, ROLE_FITS, TENSOR_FITS)
STATISTICS = (MODEL_STATISTICS, ROLE_STATISTICS, TENSOR_STATISTICS)
"""Of the model, of its roles, of its tensors."""


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
        query = select(*PATTERN_COLUMNS).select_from(DESCRIBED).where(MODELS.c.key == name)
        with self._reading() as connection:
            if run is not None:
                query = query.where(_of_run(connection, run))
            found = connection.execute(query.order_by(*NEWEST_FIRST).limit(1)).mappings().first()
            if found is None:
                raise _not_mined(name, run, _read_keys(connection))
            require_row(connection, SUMMARY, found)
            require_row(connection, FINDINGS, found)
            return _assemble(connection, found, with_tensors=with_tensors)

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
            return found.pattern_key, _read_artifacts(connection, {found.id: found.digests})

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
        query = select(*SUMMARY_COLUMNS).select_from(DESCRIBED)
        with self._reading() as connection:
            found = connection.execute(query.where(PATTERNS.c.id.in_(CURRENT))).mappings().all()
            for row in found:
                require_row(connection, SUMMARY, row)
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
                return _read_model_statistics(connection, CURRENT)
            found: dict[str, tuple[Statistic, ...]] = {}
            for some in _batched(sorted(set(pattern_keys)), KEYS_AT_A_TIME):
                chosen = select(PATTERNS.c.id).where(PATTERNS.c.pattern_key.in_(some))
                found |= _read_model_statistics(connection, chosen)
            return found

    @survives_restarts
    def tensors(self) -> tuple[TensorEntry, ...]:
        """Every tensor of every model key's current pattern, by key and in the order of the pattern."""
        with self._reading() as connection:
            kept = {row["id"]: row["digests"] for row in read_labels(connection, CURRENT).values()}
            return read_tensors(connection, _read_statistics(connection, [TENSOR_STATISTICS], CURRENT, kept))


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
    columns = (*SUMMARY_COLUMNS, *chosen_columns().values(), SIGNATURE_LAYOUTS.c.version, places.c.place)
    query = select(*columns).select_from(SIGNED.join(places, places.c.id == PATTERNS.c.id))
    if ids is not None:
        query = query.where(PATTERNS.c.id.in_(ids))
    fits = _read_fits(connection, [MODEL_FIT], select(PATTERNS.c.id) if ids is None else ids)
    found = connection.execute(query).mappings().all()
    for row in found:
        require_row(connection, SUMMARY, row)
    found = sorted(found, key=lambda row: (row["key"], row["place"]))
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
    parts = (SUMMARY, SIGNATURE, NULLS) if with_nulls else (SUMMARY, SIGNATURE)
    query = select(
        PATTERNS.c.id,
        PATTERNS.c.digests,
        *(column for part in parts for column in part.columns),
        SIGNATURES.c.layout_id,
        SIGNATURE_LAYOUTS.c.version,
    ).select_from(SIGNED)
    names_of = _read_names(connection)
    found = connection.execute(query.where(*which)).mappings().all()
    for row in found:
        for part in parts:
            require_row(connection, part, row)
    entries = (
        SignatureEntry(
            model=rows.model_record(row),
            pattern_key=row["pattern_key"],
            pattern_class=row["pattern_class"],
            signature=rows.signature_record(row, names_of[row["layout_id"]]),
        )
        for row in found
    )
    return tuple(sorted(entries, key=lambda entry: entry.model.key))


def _read_names(connection: Connection) -> Mapping[int, tuple[str, ...]]:
    """The names of each layout, which are read once for all signatures that have it."""
    found = connection.execute(select(SIGNATURE_LAYOUTS)).all()
    for row in found:
        require_layout(connection, row)
    return {row.id: tuple(row.names) for row in found}


def _batched(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """The items in parts of this size, the last as long as it is."""
    return (items[start : start + size] for start in range(0, len(items), size))


def _read_model_statistics(connection: Connection, ids: Ids) -> dict[str, tuple[Statistic, ...]]:
    """Pattern key -> statistics of the model as a whole, of these patterns."""
    chosen = select(PATTERNS.c.id, PATTERNS.c.pattern_key).where(PATTERNS.c.id.in_(ids))
    keys = {pattern_id: key for pattern_id, key in connection.execute(chosen)}
    found = _read_statistics(connection, [MODEL_STATISTICS], ids)
    return {keys[pattern_id]: tuple(statistics) for (pattern_id, _, _), statistics in found.items()}


def read_labels(connection: Connection, ids: Ids) -> Mapping[int, RowMapping]:
    """Of each pattern what is said of every one of its parts: its model's key, its own, and `chosen_columns`."""
    query = select(*SUMMARY_COLUMNS, *chosen_columns().values()).select_from(DESCRIBED)
    found = {row["id"]: row for row in connection.execute(query.where(PATTERNS.c.id.in_(ids))).mappings()}
    for row in found.values():
        require_row(connection, SUMMARY, row)
    return found


def read_tensors(
    connection: Connection, statistics: Mapping[Owner, Sequence[Statistic]], ids: Sequence[int] | None = None
) -> tuple[TensorEntry, ...]:
    """The tensors of these patterns, or of every key's current one, by key, with these statistics."""
    which = CURRENT if ids is None else ids
    labels = read_labels(connection, which)
    kept = {row["id"]: row["digests"] for row in labels.values()}
    fits = _read_fits(connection, [TENSOR_FITS], which, kept)
    return tuple(
        TensorEntry(model=label["key"], pattern_key=label["pattern_key"], tensor=tensor, chosen=chosen_settings(label))
        for label, tensors in _labelled(_read_tensor_records(connection, which, kept, fits, statistics), labels)
        for tensor in tensors
    )


def read_roles(connection: Connection, ids: Ids) -> tuple[RoleEntry, ...]:
    """The roles of these patterns, by key, without statistics."""
    labels = read_labels(connection, ids)
    kept = {row["id"]: row["digests"] for row in labels.values()}
    fits = _read_fits(connection, [ROLE_FITS], ids, kept)
    return tuple(
        RoleEntry(model=label["key"], pattern_key=label["pattern_key"], role=role, chosen=chosen_settings(label))
        for label, roles in _labelled(_read_role_records(connection, ids, kept, fits, {}), labels)
        for role in roles
    )


Record = TypeVar("Record")


def _labelled(
    found: Mapping[int, Sequence[Record]], labels: Mapping[int, RowMapping]
) -> Iterator[tuple[RowMapping, Sequence[Record]]]:
    """The records of each pattern with its label, by model key."""
    for label in sorted(labels.values(), key=lambda row: str(row["key"])):
        yield label, found[label["id"]]


def read_part_statistics(
    connection: Connection, part: Literal["tensor", "role"], ids: Sequence[int] | None = None
) -> Iterator[tuple[Any, ...]]:
    """The statistics of tensors or roles of these patterns, or of every key's current one, as bare rows.

    There are too many for records. Each is the pattern's key, the position of the part, the name, then
    `rows.STATISTIC_FLOATS`; pattern by pattern.
    """
    which = CURRENT if ids is None else ids
    query = select(PATTERNS.c.id, PATTERNS.c.pattern_key).where(PATTERNS.c.id.in_(which))
    keys = {pattern_id: key for pattern_id, key in connection.execute(query)}
    kept = TENSOR_STATISTICS if part == "tensor" else ROLE_STATISTICS
    names = (part, "name", *rows.STATISTIC_FLOATS, "special")
    places = itemgetter(*(1 + kept.columns.index(column) for column in _columns(METRICS, names)))
    for pattern_id, (found,) in read_parts(connection, [kept], which):
        key = keys[pattern_id]
        for values in map(places, found):
            if values[-1] is None:  # As in nearly every row.
                yield key, *values[:-1]
            else:
                yield key, *join_special(dict(zip(names, values, strict=True))).values()


def _of_run(connection: Connection, run: str) -> ColumnElement[bool]:
    """Which patterns the run saved or ended with; where no run has that name, those of all runs of that request."""
    is_name = connection.scalar(select(RUNS.c.id).where(RUNS.c.run == run)) is not None
    runs = select(RUNS.c.id).where((RUNS.c.run if is_name else RUNS.c.request_key) == run)
    ended_with = select(RUN_MODELS.c.pattern_key).where(RUN_MODELS.c.run_id.in_(runs))
    return or_(PATTERNS.c.run_id.in_(runs), PATTERNS.c.pattern_key.in_(ended_with))


def _assemble(connection: Connection, header: RowMapping, *, with_tensors: bool) -> PatternRecord:
    """The record from its header: one query for each table of parts."""
    pattern_id, own = header["id"], {header["id"]: header["digests"]}
    owners = 3 if with_tensors else 2
    statistics = _read_statistics(
        connection, (MODEL_STATISTICS, ROLE_STATISTICS, TENSOR_STATISTICS)[:owners], list(own), own
    )
    fits = _read_fits(connection, (MODEL_FIT, ROLE_FITS, TENSOR_FITS)[:owners], list(own), own)
    tensors = _read_tensor_records(connection, [pattern_id], own, fits, statistics)[pattern_id] if with_tensors else ()
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
        roles=_read_role_records(connection, [pattern_id], own, fits, statistics)[pattern_id],
        tensors=tensors,
        signature=_read_signature(connection, pattern_id),
        statistics=tuple(statistics.get((pattern_id, None, None), ())),
        clusters=header["clusters"],
        frequency_profile=header["frequency_profile"],
        artifacts=_read_artifacts(connection, own),
    )


Kept = Mapping[int, Any]
"""Patterns and their digests."""
Fits = Mapping[Owner, FitRecord]
Statistics = Mapping[Owner, Sequence[Statistic]]


def _read_artifacts(connection: Connection, own: Kept) -> tuple[ArtifactRecord, ...]:
    ((_, (found,)),) = read_parts(connection, [ARTIFACT_ROWS], list(own), kept=own)
    return tuple(ArtifactRecord(**dict(zip(rows.ARTIFACT_FIELDS, row[2:], strict=True))) for row in found)


def _read_role_records(
    connection: Connection, ids: Ids, kept: Kept, fits: Fits, statistics: Statistics
) -> Mapping[int, tuple[RoleRecord, ...]]:
    """Pattern -> its roles in their order, with what belongs to them."""

    def record(owner: Owner, values: Sequence[Any]) -> RoleRecord:
        row = dict(zip(rows.ROLE_FIELDS, values, strict=True))
        return rows.role_record(row, fits.get(owner), statistics.get(owner, ()))

    return {
        pattern_id: tuple(record((pattern_id, position, None), values) for _, position, *values in found)
        for pattern_id, (found,) in read_parts(connection, [ROLES], ids, kept=kept)
    }


def _read_tensor_records(
    connection: Connection, ids: Ids, kept: Kept, fits: Fits, statistics: Statistics
) -> Mapping[int, tuple[TensorRecord, ...]]:
    """Pattern -> its tensors in their order, with what belongs to them."""

    def record(owner: Owner, values: Sequence[Any]) -> TensorRecord:
        row = dict(zip(rows.TENSOR_FIELDS, values, strict=True))
        return rows.tensor_record(row, fits.get(owner), statistics.get(owner, ()))

    return {
        pattern_id: tuple(record((pattern_id, None, position), values) for _, position, *values in found)
        for pattern_id, (found,) in read_parts(connection, [TENSORS], ids, kept=kept)
    }


def _class_margin(header: RowMapping) -> float:
    """The margin, which may be special."""
    margin: float = join_special({"class_margin": header["class_margin"], "special": header["special"]})["class_margin"]
    return margin


def _read_fits(connection: Connection, parts: Sequence[Part], ids: Ids, kept: Kept | None = None) -> Fits:
    """Fits by what they belong to."""
    return {
        (pattern_id, role, tensor): rows.fit_record(values)
        for pattern_id, split in read_parts(connection, parts, ids, kept=kept)
        for found in split
        for _, _, role, tensor, *values in found
    }


def _read_statistics(connection: Connection, parts: Sequence[Part], ids: Ids, kept: Kept | None = None) -> Statistics:
    """Statistics by what they belong to, in the order of the record. There are thousands: rows stay tuples."""
    collected: dict[Owner, list[Statistic]] = defaultdict(list)
    for pattern_id, split in read_parts(connection, parts, ids, kept=kept):
        for found in split:
            for _, _, role, tensor, *values in found:
                collected[pattern_id, role, tensor].append(rows.statistic(values))
    return collected


def _read_signature(connection: Connection, pattern_id: int) -> SignatureRecord:
    """The pattern's signature."""
    query = (
        select(
            PATTERNS.c.id,
            PATTERNS.c.digests,
            *SIGNATURE.columns,
            *NULLS.columns,
            *_columns(SIGNATURE_LAYOUTS, ("version", "names")),
        )
        .select_from(SIGNED)
        .where(PATTERNS.c.id == pattern_id)
    )
    row = connection.execute(query).mappings().first()
    if row is None:
        raise damaged(connection, pattern_id, SIGNATURE)
    for part in (SIGNATURE, NULLS):
        require_row(connection, part, row)
    require_layout(connection, row)
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
    keep_digests(connection, [pattern_id])
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
        # Written over, since the row that is there may be damaged.
        "model_id": upsert(connection, MODELS, rows.model_row(pattern.model), key=("digest",)),
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
