"""Reading patterns inside the caller's transaction, with as many queries for a large pattern as for a small one."""

import difflib
import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, cast

from sqlalchemy import ColumnElement, Connection, FromClause, Select, Table, func, or_, select

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
    TensorRecord,
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

Row = Mapping[str, Any]
Owner = tuple[int, int | None, int | None]
"""Pattern, and position of the role or the tensor that a fit or a metric belongs to; both None for the model's own."""

ROWS_AT_A_TIME = 1000
NEWEST_FIRST = (PATTERNS.c.confirmed_at.desc(), PATTERNS.c.id.desc())
RANK = func.row_number().over(partition_by=MODELS.c.key, order_by=NEWEST_FIRST).label("rank")
"""1 for the current pattern of a model key."""
MODEL_COLUMNS = tuple(MODELS.c[name] for name in rows.MODEL_FIELDS)
PATTERN_COLUMNS = tuple(column for column in PATTERNS.c if not column.name.endswith("_id"))
SUMMARY_COLUMNS = tuple(
    PATTERNS.c[name]
    for name in ("id", "pattern_key", "confirmed_at", "pattern_class", "class_scores", "class_margin", "special")
)
"""Without settings, provenance and clusters: JSON that would be parsed for every pattern and thrown away."""
DESCRIBED = PATTERNS.join(MODELS).join(RUNS)
SIGNED = DESCRIBED.join(SIGNATURES).join(SIGNATURE_LAYOUTS)


def _current() -> Select[Any]:
    """Ids of the patterns that are the current ones of their model keys."""
    ranked = select(PATTERNS.c.id, RANK).select_from(PATTERNS.join(MODELS)).subquery()
    return select(ranked.c.id).where(ranked.c.rank == 1)


def _patterns(source: FromClause, *columns: ColumnElement[Any]) -> Select[Any]:
    """Patterns with their model and run."""
    return select(*MODEL_COLUMNS, RUNS.c.run, *columns).select_from(source)


def _fetch(connection: Connection, query: Select[Any]) -> Sequence[Row]:
    """All rows, by column name."""
    return cast(Sequence[Row], connection.execute(query).mappings().all())


def read_pattern(connection: Connection, name: str, run: str | None, *, with_tensors: bool) -> PatternRecord:
    """The current pattern of the key, or the newest that the run saved or ended with."""
    query = _patterns(DESCRIBED, *PATTERN_COLUMNS).where(MODELS.c.key == name)
    if run is not None:
        ended_with = select(RUN_MODELS.c.pattern_key).select_from(RUN_MODELS.join(RUNS)).where(RUNS.c.run == run)
        query = query.where(or_(RUNS.c.run == run, PATTERNS.c.pattern_key.in_(ended_with)))
    found = _fetch(connection, query.order_by(*NEWEST_FIRST).limit(1))
    if not found:
        raise not_mined(connection, name, run)
    return _assemble(connection, found[0], with_tensors=with_tensors)


def _assemble(connection: Connection, header: Row, *, with_tensors: bool) -> PatternRecord:
    """The record from its header: one query for each table of parts."""
    pattern_id = header["id"]
    fits = _read_fits(connection, *_of_pattern(FITS, pattern_id, with_tensors))
    statistics = _read_statistics(connection, *_of_pattern(METRICS, pattern_id, with_tensors))
    tensors = _part(connection, TENSOR_PATTERNS, pattern_id) if with_tensors else ()
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
            for row in _part(connection, ROLE_PATTERNS, pattern_id)
            for owner in [(pattern_id, row["position"], None)]
        ),
        tensors=tuple(_tensor(row, fits, statistics) for row in tensors),
        signature=_read_signature(connection, pattern_id),
        statistics=tuple(statistics.get((pattern_id, None, None), ())),
        clusters=header["clusters"],
        frequency_profile=header["frequency_profile"],
        artifacts=tuple(rows.artifact_record(row) for row in _part(connection, ARTIFACTS, pattern_id)),
    )


def _of_pattern(table: Table, pattern_id: int, with_tensors: bool) -> Sequence[ColumnElement[bool]]:
    """Fits or metrics of one pattern, all or without those of its tensors."""
    of_pattern = table.c.pattern_id == pattern_id
    return (of_pattern,) if with_tensors else (of_pattern, table.c.tensor.is_(None))


def _part(connection: Connection, table: Table, pattern_id: int) -> Sequence[Row]:
    """A pattern's rows of one table, in the order of the record."""
    return _fetch(connection, select(table).where(table.c.pattern_id == pattern_id).order_by(table.c.position))


def _tensor(row: Row, fits: Mapping[Owner, FitRecord], statistics: Mapping[Owner, Sequence[Statistic]]) -> TensorRecord:
    """A tensor with what belongs to it."""
    owner = (row["pattern_id"], None, row["position"])
    return rows.tensor_record(row, fits.get(owner), statistics.get(owner, ()))


def _class_margin(header: Row) -> float:
    """The margin, which may be special."""
    margin: float = join_special({"class_margin": header["class_margin"], "special": header["special"]})["class_margin"]
    return margin


OWNER = ("pattern_id", "role", "tensor")


def _read_fits(connection: Connection, *which: ColumnElement[bool]) -> Mapping[Owner, FitRecord]:
    """Fits by what they belong to."""
    query = select(*(FITS.c[name] for name in (*OWNER, *rows.FIT_COLUMNS))).where(*which)
    return {
        (pattern_id, role, tensor): rows.fit_record(values)
        for pattern_id, role, tensor, *values in connection.execute(query)
    }


def _read_statistics(connection: Connection, *which: ColumnElement[bool]) -> Mapping[Owner, Sequence[Statistic]]:
    """Statistics by what they belong to, in the order of the record. There are thousands: rows stay tuples."""
    query = select(*(METRICS.c[name] for name in (*OWNER, *rows.STATISTIC_COLUMNS))).where(*which)
    parts = connection.execute(query.order_by(*METRICS.primary_key)).partitions(ROWS_AT_A_TIME)
    found: dict[Owner, list[Statistic]] = defaultdict(list)
    for pattern_id, role, tensor, *values in itertools.chain.from_iterable(parts):
        found[pattern_id, role, tensor].append(rows.statistic(values))
    return found


def _read_signature(connection: Connection, pattern_id: int) -> SignatureRecord:
    """The pattern's signature."""
    query = select(SIGNATURES, SIGNATURE_LAYOUTS.c.version, SIGNATURE_LAYOUTS.c.names).join(SIGNATURE_LAYOUTS)
    (row,) = _fetch(connection, query.where(SIGNATURES.c.pattern_id == pattern_id))
    return rows.signature_record(row, tuple(row["names"]))


def read_signatures(connection: Connection, *, with_nulls: bool) -> tuple[SignatureEntry, ...]:
    """The signature of every key's current pattern, by key; names are read once for each layout."""
    packed = (SIGNATURES.c.packed_values, *((SIGNATURES.c.packed_z, SIGNATURES.c.packed_p) if with_nulls else ()))
    columns = (PATTERNS.c.pattern_key, PATTERNS.c.pattern_class, SIGNATURES.c.layout_id, SIGNATURE_LAYOUTS.c.version)
    query = _patterns(SIGNED, *columns, *packed).where(PATTERNS.c.id.in_(_current()))
    layouts = select(SIGNATURE_LAYOUTS.c.id, SIGNATURE_LAYOUTS.c.names)
    names_of = {layout: tuple(names) for layout, names in connection.execute(layouts)}
    entries = [
        SignatureEntry(
            model=rows.model_record(row),
            pattern_key=row["pattern_key"],
            pattern_class=row["pattern_class"],
            signature=rows.signature_record(row, names_of[row["layout_id"]]),
        )
        for row in _fetch(connection, query)
    ]
    return tuple(sorted(entries, key=lambda entry: entry.model.key))


def read_summaries(connection: Connection) -> tuple[PatternSummary, ...]:
    """Every pattern in short, by model key, newest first."""
    fits = _read_fits(connection, FITS.c.position == 0)
    query = _patterns(SIGNED, RANK, *SUMMARY_COLUMNS, SIGNATURE_LAYOUTS.c.version)
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
            fit=fits.get((row["id"], None, None)),
            signature_version=row["version"],
        )
        for row in found
    )


def read_tensors(connection: Connection) -> tuple[TensorEntry, ...]:
    """The tensors of every key's current pattern, by key; three queries, however many patterns there are."""
    fits = _read_fits(connection, FITS.c.pattern_id.in_(_current()), FITS.c.tensor.is_not(None))
    statistics = _read_statistics(connection, METRICS.c.pattern_id.in_(_current()), METRICS.c.tensor.is_not(None))
    query = select(TENSOR_PATTERNS, MODELS.c.key, PATTERNS.c.pattern_key).where(PATTERNS.c.id.in_(_current()))
    query = query.select_from(TENSOR_PATTERNS.join(PATTERNS).join(MODELS)).order_by(TENSOR_PATTERNS.c.position)
    return tuple(
        TensorEntry(model=row["key"], pattern_key=row["pattern_key"], tensor=_tensor(row, fits, statistics))
        for row in sorted(_fetch(connection, query), key=lambda row: row["key"])
    )


def read_model_statistics(connection: Connection) -> Mapping[str, tuple[Statistic, ...]]:
    """Pattern key -> statistics of the model as a whole, for every key's current pattern."""
    current = select(PATTERNS.c.id, PATTERNS.c.pattern_key).where(PATTERNS.c.id.in_(_current()))
    keys = {pattern_id: key for pattern_id, key in connection.execute(current)}
    of_models = (METRICS.c.role.is_(None), METRICS.c.tensor.is_(None))
    found = _read_statistics(connection, METRICS.c.pattern_id.in_(_current()), *of_models)
    return {keys[pattern_id]: tuple(statistics) for (pattern_id, _, _), statistics in found.items()}


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
