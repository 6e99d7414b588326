"""Rows of patterns as records.

As many statements for a large pattern as for a small one, and for many patterns as for one. Whatever is read is
held against its digests (`patterndb.patterns.digests`).
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from decimal import Decimal
from typing import Any, Literal, TypeVar

from sqlalchemy import BigInteger, ColumnElement, Connection, RowMapping, cast, select

from patterndb.connection.floats import join_special, join_special_columns
from patterndb.patterns import rows
from patterndb.patterns.digests import (
    ARTIFACT_ROWS,
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
    read_parts,
    require_layout,
    require_row,
)
from patterndb.patterns.which import CURRENT, DESCRIBED, SIGNED, columns_of, ranked
from patterndb.records import (
    ArtifactRecord,
    ChosenSettings,
    FitRecord,
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
from patterndb.tables import (
    MODELS,
    PATTERNS,
    SIGNATURE_LAYOUTS,
    SIGNATURES,
)

__all__ = [
    "PATTERN_COLUMNS",
    "SUMMARY_COLUMNS",
    "Columns",
    "Kept",
    "Owner",
    "assemble",
    "chosen_columns",
    "chosen_settings",
    "read_artifacts",
    "read_entries",
    "read_labels",
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
        # PostgreSQL's plain integer has 32 bits: one number beyond it would end every list of models.
        "epochs": cast(settings["fit", "epochs"].as_string(), BigInteger),
        "seed": settings["seed"].as_string(),
    }
    return {name: column.label(f"chosen_{name}") for name, column in found.items()}


def chosen_settings(row: RowMapping) -> ChosenSettings:
    """The record of a row with `chosen_columns`."""
    values = {each.name: row[f"chosen_{each.name}"] for each in fields(ChosenSettings)}
    seed = values["seed"]
    return ChosenSettings(**values | {"seed": None if seed is None else int(Decimal(seed))})


SUMMARY_COLUMNS = (PATTERNS.c.id, PATTERNS.c.digests, *SUMMARY.columns)
"""Without provenance and clusters: JSON that would be parsed for every pattern and thrown away."""
PATTERN_COLUMNS = (*SUMMARY_COLUMNS, *FINDINGS.columns)
STATISTICS = (MODEL_STATISTICS, ROLE_STATISTICS, TENSOR_STATISTICS)
"""Of the model, of its roles, of its tensors."""
Kept = Mapping[int, Any]
"""Patterns and their digests."""
Columns = Mapping[str, Sequence[Any]]
"""Values by the name of their column."""
Fits = Mapping[Owner, FitRecord]
Statistics = Mapping[Owner, Sequence[Statistic]]
Record = TypeVar("Record", RoleRecord, TensorRecord)


def read_summaries(connection: Connection, ids: Sequence[int] | None = None) -> tuple[PatternSummary, ...]:
    """Patterns in short, by model key, the newest of a key first: these, or all."""
    own = select(MODELS.c.key).select_from(PATTERNS.join(MODELS)).where(PATTERNS.c.id.in_(ids or ()))
    places = ranked(None if ids is None else own)
    columns = (*SUMMARY_COLUMNS, *chosen_columns().values(), SIGNATURE_LAYOUTS.c.version, places.c.place)
    query = select(*columns).select_from(SIGNED.join(places, places.c.id == PATTERNS.c.id))
    if ids is not None:
        query = query.where(PATTERNS.c.id.in_(ids))
    fits = _read_fits(connection, [MODEL_FIT], select(PATTERNS.c.id) if ids is None else ids)
    _require_signatures(connection, *(() if ids is None else (PATTERNS.c.id.in_(ids),)))
    _read_names(connection)  # They are held against the digest of their layout, and with them its version.
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
    connection: Connection, *which: ColumnElement[bool], version: str | None = None, with_nulls: bool = False
) -> tuple[SignatureEntry, ...]:
    """The signatures of these patterns, by model key; `version`: only those that have this one."""
    _require_signatures(connection, *which)
    of_version = () if version is None else (SIGNATURE_LAYOUTS.c.version == version,)
    parts = (SUMMARY, SIGNATURE, NULLS) if with_nulls else (SUMMARY, SIGNATURE)
    query = select(
        PATTERNS.c.id,
        PATTERNS.c.digests,
        *(column for part in parts for column in part.columns),
        SIGNATURES.c.layout_id,
        SIGNATURE_LAYOUTS.c.version,
    ).select_from(SIGNED)
    names_of = _read_names(connection)
    found = connection.execute(query.where(*which, *of_version)).mappings().all()
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


def _require_signatures(connection: Connection, *which: ColumnElement[bool]) -> None:
    """Raise `DamagedRowsError` where one of these patterns has no signature any more: lists would leave it out."""
    joined = PATTERNS.join(MODELS).outerjoin(SIGNATURES).outerjoin(SIGNATURE_LAYOUTS)
    query = select(PATTERNS.c.id).select_from(joined).where(*which, SIGNATURE_LAYOUTS.c.id.is_(None)).limit(1)
    lost = connection.scalar(query)
    if lost is not None:
        raise damaged(connection, lost, SIGNATURE)


def _read_names(connection: Connection) -> Mapping[int, tuple[str, ...]]:
    """The names of each layout, which are read once for all signatures that have it."""
    found = connection.execute(select(SIGNATURE_LAYOUTS)).all()
    for row in found:
        require_layout(connection, row)
    return {row.id: tuple(row.names) for row in found}


def read_model_statistics(connection: Connection, ids: Ids) -> dict[str, tuple[Statistic, ...]]:
    """Pattern key -> statistics of the model as a whole, of these patterns."""
    chosen = select(PATTERNS.c.id, PATTERNS.c.pattern_key).where(PATTERNS.c.id.in_(ids))
    keys = {pattern_id: key for pattern_id, key in connection.execute(chosen)}
    found = read_statistics(connection, [MODEL_STATISTICS], ids)
    return {keys[pattern_id]: tuple(statistics) for (pattern_id, _, _), statistics in found.items()}


def read_labels(connection: Connection, ids: Ids) -> Mapping[int, RowMapping]:
    """Of each pattern what is said of every one of its parts: its model's key, its own, and `chosen_columns`."""
    query = select(*SUMMARY_COLUMNS, *chosen_columns().values()).select_from(DESCRIBED)
    found = {row["id"]: row for row in connection.execute(query.where(PATTERNS.c.id.in_(ids))).mappings()}
    for row in found.values():
        require_row(connection, SUMMARY, row)
    return found


def read_tensors(
    connection: Connection, statistics: Statistics, ids: Sequence[int] | None = None
) -> tuple[TensorEntry, ...]:
    """The tensors of these patterns, or of every key's current one, by key, with these statistics."""
    which = CURRENT if ids is None else ids
    return tuple(
        TensorEntry(model=label["key"], pattern_key=label["pattern_key"], tensor=tensor, chosen=chosen_settings(label))
        for label, tensor in _read_labelled(connection, TENSORS, TensorRecord, which, statistics)
    )


def read_roles(connection: Connection, ids: Ids) -> tuple[RoleEntry, ...]:
    """The roles of these patterns, by key, without statistics."""
    return tuple(
        RoleEntry(model=label["key"], pattern_key=label["pattern_key"], role=role, chosen=chosen_settings(label))
        for label, role in _read_labelled(connection, ROLES, RoleRecord, ids, {})
    )


def _read_labelled(
    connection: Connection, part: Part, kind: type[Record], ids: Ids, statistics: Statistics
) -> Iterator[tuple[RowMapping, Record]]:
    """The roles or the tensors of these patterns with their fits, each with its pattern's label, by model key."""
    labels = read_labels(connection, ids)
    kept = {row["id"]: row["digests"] for row in labels.values()}
    fits = _read_fits(connection, [ROLE_FITS if part is ROLES else TENSOR_FITS], ids, kept)
    found = _read_records(connection, part, kind, ids, kept, fits, statistics)
    for label in sorted(labels.values(), key=lambda row: str(row["key"])):
        yield from ((label, record) for record in found[label["id"]])


def read_part_statistics(
    connection: Connection, part: Literal["tensor", "role"], ids: Sequence[int] | None = None
) -> Iterator[tuple[str, Columns]]:
    """The statistics of tensors or roles of these patterns, or of every key's current one: there are too many for
    records.

    Of each pattern that has any its key and, in the order of the record, its columns: the `position` of the part, the
    `name`, and `rows.STATISTIC_FLOATS`.
    """
    which = CURRENT if ids is None else ids
    query = select(PATTERNS.c.id, PATTERNS.c.pattern_key).where(PATTERNS.c.id.in_(which))
    keys = {pattern_id: key for pattern_id, key in connection.execute(query)}
    kept = TENSOR_STATISTICS if part == "tensor" else ROLE_STATISTICS
    names = {column.name: 1 + number for number, column in enumerate(kept.columns)}
    for pattern_id, (found,) in read_parts(connection, [kept], which):
        if found:
            columns = list(zip(*found, strict=True))
            floats = {name: list(columns[names[name]]) for name in rows.STATISTIC_FLOATS}
            join_special_columns(floats, columns[names["special"]])
            yield keys[pattern_id], {"position": columns[names[part]], "name": columns[names["name"]], **floats}


def assemble(connection: Connection, header: RowMapping, *, with_tensors: bool) -> PatternRecord:
    """The record from its header: one query for each table of parts."""
    pattern_id, own = header["id"], {header["id"]: header["digests"]}
    owners = 3 if with_tensors else 2
    statistics = read_statistics(
        connection, (MODEL_STATISTICS, ROLE_STATISTICS, TENSOR_STATISTICS)[:owners], list(own), own
    )
    fits = _read_fits(connection, (MODEL_FIT, ROLE_FITS, TENSOR_FITS)[:owners], list(own), own)
    parts = ([pattern_id], own, fits, statistics)
    tensors = _read_records(connection, TENSORS, TensorRecord, *parts)[pattern_id] if with_tensors else ()
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
        roles=_read_records(connection, ROLES, RoleRecord, *parts)[pattern_id],
        tensors=tensors,
        signature=_read_signature(connection, pattern_id),
        statistics=tuple(statistics.get((pattern_id, None, None), ())),
        clusters=header["clusters"],
        frequency_profile=header["frequency_profile"],
        artifacts=read_artifacts(connection, own),
    )


def read_artifacts(connection: Connection, own: Kept) -> tuple[ArtifactRecord, ...]:
    ((_, (found,)),) = read_parts(connection, [ARTIFACT_ROWS], list(own), kept=own)
    return tuple(ArtifactRecord(**dict(zip(rows.ARTIFACT_FIELDS, row[2:], strict=True))) for row in found)


def _read_records(
    connection: Connection, part: Part, kind: type[Record], ids: Ids, kept: Kept, fits: Fits, statistics: Statistics
) -> Mapping[int, tuple[Record, ...]]:
    """Pattern -> its roles or its tensors in their order, with what belongs to them."""

    def record(pattern_id: int, position: int, *values: Any) -> Record:
        owner = (pattern_id, position, None) if part is ROLES else (pattern_id, None, position)
        own = dict(zip(part.keys[1:], values, strict=True))
        return kind(**own, fit=fits.get(owner), statistics=tuple(statistics.get(owner, ())))

    return {
        pattern_id: tuple(record(*row) for row in found)
        for pattern_id, (found,) in read_parts(connection, [part], ids, kept=kept)
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


def read_statistics(connection: Connection, parts: Sequence[Part], ids: Ids, kept: Kept | None = None) -> Statistics:
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
            *columns_of(SIGNATURE_LAYOUTS, ("version", "names")),
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
