"""Rows of patterns as records.

As many statements for a large pattern as for a small one, and for many patterns as for one.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, Literal

from sqlalchemy import Column, ColumnElement, Connection, RowMapping, Table, select

from patterndb.connection.floats import join_special
from patterndb.patterns import rows
from patterndb.patterns.which import SIGNED, columns_of, is_among, ranked
from patterndb.records import (
    ArtifactRecord,
    ChosenSettings,
    FitRecord,
    PatternRecord,
    PatternSummary,
    RoleEntry,
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
    RUNS,
    SIGNATURE_LAYOUTS,
    SIGNATURES,
    TENSOR_PATTERNS,
)

__all__ = [
    "ARTIFACT_COLUMNS",
    "DESCRIPTION",
    "FIT_COLUMNS",
    "PATTERN_COLUMNS",
    "ROLE_COLUMNS",
    "STATISTIC_COLUMNS",
    "SUMMARY_COLUMNS",
    "TENSOR_COLUMNS",
    "Owner",
    "Part",
    "assemble",
    "chosen_columns",
    "chosen_settings",
    "read_artifacts",
    "read_entries",
    "read_model_statistics",
    "read_part_statistics",
    "read_roles",
    "read_statistics",
    "read_summaries",
    "read_tensors",
]

Owner = tuple[int, int | None, int | None]
"""Pattern, and position of the role or the tensor that a fit or a metric belongs to; both None for the model's own."""


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


DESCRIPTION = (*columns_of(MODELS, rows.MODEL_FIELDS), RUNS.c.run)
PATTERN_COLUMNS = columns_of(
    PATTERNS,
    ("id", "pattern_key", "settings", "provenance", "pattern_class", "class_scores", "class_margin", "special",
     "clusters", "frequency_profile"),
)  # fmt: skip
# Without settings, provenance and clusters: JSON that would be parsed for every pattern and thrown away.
SUMMARY_COLUMNS = columns_of(
    PATTERNS, ("id", "pattern_key", "confirmed_at", "pattern_class", "class_scores", "class_margin", "special")
)
ROLE_COLUMNS = columns_of(ROLE_PATTERNS, ("position", *rows.ROLE_FIELDS))
TENSOR_COLUMNS = columns_of(TENSOR_PATTERNS, ("pattern_id", "position", *rows.TENSOR_FIELDS))
FIT_COLUMNS = columns_of(FITS, ("pattern_id", "role", "tensor", *rows.FIT_COLUMNS))
STATISTIC_COLUMNS = columns_of(METRICS, ("pattern_id", "role", "tensor", *rows.STATISTIC_COLUMNS))
ARTIFACT_COLUMNS = columns_of(ARTIFACTS, rows.ARTIFACT_FIELDS)


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
        *columns_of(SIGNATURES, packed),
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


def read_model_statistics(connection: Connection, which: ColumnElement[bool]) -> dict[str, tuple[Statistic, ...]]:
    """Pattern key -> statistics of the model as a whole, of these patterns."""
    chosen = select(PATTERNS.c.id, PATTERNS.c.pattern_key).where(which)
    keys = {pattern_id: key for pattern_id, key in connection.execute(chosen)}
    of_models = (METRICS.c.role.is_(None), METRICS.c.tensor.is_(None))
    found = read_statistics(connection, METRICS.c.pattern_id.in_(select(PATTERNS.c.id).where(which)), *of_models)
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
        select(PATTERNS.c.pattern_key, *columns_of(METRICS, names))
        .select_from(METRICS.join(PATTERNS))
        .where(is_among(METRICS.c.pattern_id, ids), METRICS.c[part].is_not(None))
        .order_by(METRICS.c.pattern_id, METRICS.c.position)
    )
    for row in connection.execute(query):
        if row[-1] is None:  # As in nearly every row.
            yield row[:-1]
        else:
            yield row[0], *join_special(dict(zip(names, row[1:], strict=True))).values()


def assemble(connection: Connection, header: RowMapping, *, with_tensors: bool) -> PatternRecord:
    """The record from its header: one query for each table of parts."""
    pattern_id = header["id"]
    statistics = read_statistics(connection, *_of_pattern(METRICS, pattern_id, with_tensors=with_tensors))
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
        artifacts=read_artifacts(connection, pattern_id),
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


def read_artifacts(connection: Connection, pattern_id: int) -> tuple[ArtifactRecord, ...]:
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


def read_statistics(connection: Connection, *which: ColumnElement[bool]) -> Mapping[Owner, Sequence[Statistic]]:
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
