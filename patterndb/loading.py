"""Reading patterns inside the caller's transaction, with as many queries for a large pattern as for a small one."""

import difflib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Select, Table, func, or_, select

from dna_zoo.errors import NotMinedError
from patterndb import pattern_rows as rows
from patterndb.floats import join_special
from patterndb.records import (
    FitRecord,
    PatternRecord,
    PatternSummary,
    SignatureEntry,
    SignatureRecord,
    Statistic,
    TensorEntry,
)
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

__all__ = ["not_mined", "read_model_statistics", "read_pattern", "read_signatures", "read_summaries", "read_tensors"]

PATTERN_COLUMNS = tuple(column for column in PATTERNS.c if not column.name.endswith("_id"))
SUMMARY_COLUMNS = (
    PATTERNS.c.id,
    PATTERNS.c.pattern_key,
    PATTERNS.c.confirmed_at,
    PATTERNS.c.pattern_class,
    PATTERNS.c.class_scores,
    PATTERNS.c.class_margin,
    PATTERNS.c.special,
)
"""Without settings, provenance and clusters: JSON that would be parsed for every pattern and thrown away."""
MODEL_COLUMNS = tuple(MODELS.c[name] for name in rows.MODEL_FIELDS)


def _headers(*columns: Any) -> Select[Any]:
    """Patterns with their model and run; `rank` 1 marks the current one of a model key."""
    newest_first = (PATTERNS.c.confirmed_at.desc(), PATTERNS.c.id.desc())
    rank = func.row_number().over(partition_by=MODELS.c.key, order_by=newest_first).label("rank")
    return select(*MODEL_COLUMNS, RUNS.c.run, rank, *columns).select_from(PATTERNS).join(MODELS).join(RUNS)


def _only_current(query: Select[Any]) -> Select[Any]:
    """Of such patterns, the current one of each key."""
    ranked = query.subquery()
    return select(ranked).where(ranked.c.rank == 1)


def _fetch(connection: Connection, query: Select[Any]) -> Sequence[rows.Row]:
    """All rows, by column name."""
    return [row._asdict() for row in connection.execute(query)]


def read_pattern(connection: Connection, name: str, run: str | None) -> PatternRecord:
    """The current pattern of the key, or the newest that the run saved or ended with."""
    query = _headers(*PATTERN_COLUMNS).where(MODELS.c.key == name)
    if run is not None:
        ended_with = select(RUN_MODELS.c.pattern_key).join(RUNS).where(RUNS.c.run == run)
        query = query.where(or_(RUNS.c.run == run, PATTERNS.c.pattern_key.in_(ended_with)))
    found = _fetch(connection, query.order_by("rank").limit(1))
    if not found:
        raise not_mined(connection, name, run)
    return _assemble(connection, found[0])


def _assemble(connection: Connection, header: rows.Row) -> PatternRecord:
    """The whole record from its header: one query for each table of parts."""
    pattern_id = header["id"]
    fits = _fits_by_owner(_part(connection, FITS, pattern_id))
    statistics = _statistics_by_owner(_part(connection, METRICS, pattern_id))
    return PatternRecord(
        model=rows.model_record(header),
        pattern_key=header["pattern_key"],
        run=header["run"],
        settings=header["settings"],
        provenance=header["provenance"],
        pattern_class=header["pattern_class"],
        class_scores=header["class_scores"],
        class_margin=_class_margin(header),
        fit=fits["model"].get(0),
        roles=rows.role_records(_part(connection, ROLE_PATTERNS, pattern_id), fits["role"], statistics["role"]),
        tensors=rows.tensor_records(
            _part(connection, TENSOR_PATTERNS, pattern_id), fits["tensor"], statistics["tensor"]
        ),
        signature=_read_signature(connection, pattern_id),
        statistics=tuple(statistics["model"][0]),
        clusters=header["clusters"],
        frequency_profile=header["frequency_profile"],
        artifacts=tuple(rows.artifact_record(row) for row in _part(connection, ARTIFACTS, pattern_id)),
    )


def _part(connection: Connection, table: Table, pattern_id: int) -> Sequence[rows.Row]:
    """A pattern's rows of one table, in the order of the record."""
    columns = table.c
    query = select(*columns).where(columns.pattern_id == pattern_id).order_by(columns.position)
    return _fetch(connection, query)


def _class_margin(header: rows.Row) -> float:
    """The margin, which may be special."""
    margin: float = join_special({"class_margin": header["class_margin"], "special": header["special"]})["class_margin"]
    return margin


def _owner_of(row: rows.Row) -> tuple[str, int]:
    """What a fit or metric belongs to: `model`, `role` or `tensor`, and its position."""
    if row["tensor"] is not None:
        return "tensor", row["tensor"]
    return ("model", 0) if row["role"] is None else ("role", row["role"])


def _fits_by_owner(fits: Sequence[rows.Row]) -> Mapping[str, Mapping[int, FitRecord]]:
    """Fits by what they belong to."""
    found: dict[str, dict[int, FitRecord]] = defaultdict(dict)
    for row in fits:
        scope, position = _owner_of(row)
        found[scope][position] = rows.fit_record(row)
    return found


def _statistics_by_owner(metrics: Sequence[rows.Row]) -> Mapping[str, Mapping[int, Sequence[Statistic]]]:
    """Statistics by what they belong to."""
    found: dict[str, dict[int, list[Statistic]]] = defaultdict(lambda: defaultdict(list))
    for row in metrics:
        scope, position = _owner_of(row)
        found[scope][position].append(rows.statistic(row))
    return found


def _read_signature(connection: Connection, pattern_id: int) -> SignatureRecord:
    """The pattern's signature."""
    query = select(SIGNATURES, SIGNATURE_LAYOUTS.c.version, SIGNATURE_LAYOUTS.c.names)
    (row,) = _fetch(connection, query.join(SIGNATURE_LAYOUTS).where(SIGNATURES.c.pattern_id == pattern_id))
    return rows.signature_record(row, tuple(row["names"]))


def read_signatures(connection: Connection) -> tuple[SignatureEntry, ...]:
    """The signature of every key's current pattern, by key; names are read once for each layout."""
    columns = (PATTERNS.c.pattern_key, PATTERNS.c.pattern_class, PATTERNS.c.frequency_profile)
    query = _headers(*columns, *SIGNATURES.c, SIGNATURE_LAYOUTS.c.version)
    query = query.join(SIGNATURES, SIGNATURES.c.pattern_id == PATTERNS.c.id).join(SIGNATURE_LAYOUTS)
    layouts = {
        layout: tuple(names)
        for layout, names in connection.execute(select(SIGNATURE_LAYOUTS.c.id, SIGNATURE_LAYOUTS.c.names))
    }
    entries = [
        SignatureEntry(
            model=rows.model_record(row),
            pattern_key=row["pattern_key"],
            pattern_class=row["pattern_class"],
            signature=rows.signature_record(row, layouts[row["layout_id"]]),
            frequency_profile=row["frequency_profile"],
        )
        for row in _fetch(connection, _only_current(query))
    ]
    return tuple(sorted(entries, key=lambda entry: entry.model.key))


def read_summaries(connection: Connection) -> tuple[PatternSummary, ...]:
    """Every pattern in short, by model key, newest first."""
    query = _headers(*SUMMARY_COLUMNS, SIGNATURE_LAYOUTS.c.version)
    query = query.join(SIGNATURES, SIGNATURES.c.pattern_id == PATTERNS.c.id).join(SIGNATURE_LAYOUTS)
    fits = {
        row["pattern_id"]: rows.fit_record(row) for row in _fetch(connection, select(FITS).where(FITS.c.position == 0))
    }
    found = sorted(_fetch(connection, query), key=lambda row: (row["key"], row["rank"]))
    return tuple(
        PatternSummary(
            model=rows.model_record(row),
            pattern_key=row["pattern_key"],
            run=row["run"],
            confirmed_at=row["confirmed_at"],
            is_current=row["rank"] == 1,
            pattern_class=row["pattern_class"],
            class_scores=row["class_scores"],
            class_margin=_class_margin(row),
            fit=fits.get(row["id"]),
            signature_version=row["version"],
        )
        for row in found
    )


def read_tensors(connection: Connection) -> tuple[TensorEntry, ...]:
    """The tensors of every key's current pattern, by key; four queries, however many patterns there are."""
    current = _fetch(connection, _only_current(_headers(PATTERNS.c.id, PATTERNS.c.pattern_key)))
    parts = {table: _by_pattern(connection, table) for table in (TENSOR_PATTERNS, FITS, METRICS)}
    entries = []
    for header in sorted(current, key=lambda row: row["key"]):
        tensors, fits, metrics = (parts[table][header["id"]] for table in (TENSOR_PATTERNS, FITS, METRICS))
        records = rows.tensor_records(tensors, _fits_by_owner(fits)["tensor"], _statistics_by_owner(metrics)["tensor"])
        entries += [
            TensorEntry(model=header["key"], pattern_key=header["pattern_key"], tensor=record) for record in records
        ]
    return tuple(entries)


def read_model_statistics(connection: Connection) -> Mapping[str, tuple[Statistic, ...]]:
    """Pattern key -> statistics of the model as a whole, for every key's current pattern; one query."""
    columns = METRICS.c
    current = _only_current(_headers(PATTERNS.c.id, PATTERNS.c.pattern_key)).subquery()
    query = select(*columns, current.c.pattern_key).join(current, columns.pattern_id == current.c.id)
    query = query.where(columns.role.is_(None), columns.tensor.is_(None))
    found: dict[str, list[Statistic]] = defaultdict(list)
    for row in _fetch(connection, query.order_by(columns.pattern_id, columns.position)):
        found[row["pattern_key"]].append(rows.statistic(row))
    return {key: tuple(statistics) for key, statistics in found.items()}


def _by_pattern(connection: Connection, table: Table) -> Mapping[int, Sequence[rows.Row]]:
    """Rows of a table of parts by pattern, for current patterns, in the order of the record."""
    columns = table.c
    current = _only_current(_headers(PATTERNS.c.id)).subquery()
    query = select(*columns).where(columns.pattern_id.in_(select(current.c.id)))
    found: dict[int, list[rows.Row]] = defaultdict(list)
    for row in _fetch(connection, query.order_by(columns.pattern_id, columns.position)):
        found[row["pattern_id"]].append(row)
    return found


def not_mined(connection: Connection, name: str, run: str | None) -> NotMinedError:
    """The error for a key without a pattern, with the keys that look like it."""
    keys = sorted(connection.scalars(select(MODELS.c.key).join(PATTERNS).distinct()))
    where = "this database" if run is None else f"run {run!r}"
    near = difflib.get_close_matches(name, keys, n=3)
    if near and name not in keys:
        hint = f"Did you mean {' or '.join(repr(key) for key in near)}?"
    else:
        hint = f"Mine it first: `dna-zoo mine {name}`."
    return NotMinedError(f"There is no pattern of {name!r} in {where}.", hint=hint)
