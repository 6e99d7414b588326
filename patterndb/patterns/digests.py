"""Digests of what a pattern consists of: kept with the pattern, compared whenever its rows are read for an answer.

A bit that flips on a disk mostly leaves a row that reads well and says something else. A digest for each row would cost
most where rows are many and small; parts are read whole, so each part of a pattern (`PARTS`) has one, of all its rows
in their order: 8 bytes each, together one column of the pattern's row, which is read anyway. They are made of values
and not of bytes on the disk, so SQLite and PostgreSQL have the same.

A column that holds nothing counts for nothing: one that is added later changes no digest until it is filled. A
migration that changes values sets `digests` of the patterns to NULL; they are made anew when it is done.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, groupby
from operator import itemgetter
from typing import Any, Literal

import numpy as np
from sqlalchemy import (
    Column,
    Connection,
    Double,
    FromClause,
    LargeBinary,
    RowMapping,
    Select,
    bindparam,
    or_,
    select,
    update,
)

from dna_zoo.errors import DamagedRowsError
from patterndb.connection.batches import batches
from patterndb.connection.binary import as_bytes
from patterndb.connection.engine import UNREADABLE, masked
from patterndb.connection.floats import pack_array
from patterndb.patterns import rows
from patterndb.patterns.which import DESCRIBED, columns_of
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
    "ARTIFACT_ROWS",
    "DAMAGE_HINT",
    "FINDINGS",
    "MODEL_FIT",
    "MODEL_STATISTICS",
    "NULLS",
    "PARTS",
    "ROLES",
    "ROLE_FITS",
    "ROLE_STATISTICS",
    "SIGNATURE",
    "SUMMARY",
    "TENSORS",
    "TENSOR_FITS",
    "TENSOR_STATISTICS",
    "Ids",
    "Part",
    "damaged",
    "damaged_parts",
    "fill_digests",
    "keep_digests",
    "read_parts",
    "require_layout",
    "require_row",
]

NUM_BYTES = 8
"""Of a digest: damage that goes unseen once in 2^64 times."""
PATTERNS_AT_A_TIME = 50
ROWS_AT_A_TIME = 1_000
DAMAGE_HINT = (
    "Restore the database from a backup, or mine the model again with `--force`; `dna-zoo db check` names all damage."
)
Ids = Sequence[int] | Select[tuple[int]]
Rows = Sequence[Sequence[Any]]
"""Of each row its pattern, then the columns of the part."""
KINDS = {Double: "floats", LargeBinary: "bytes"}


@dataclass(frozen=True, eq=False)
class Part:
    """Rows of a pattern that are always read together."""

    name: str
    """To stand in a sentence."""
    source: FromClause
    columns: Sequence[Column[Any]]
    owner: Literal["model", "role", "tensor"] | None = None
    """Whose rows of the table these are."""

    @cached_property
    def place(self) -> slice:
        """Where its digest is among those of the pattern."""
        start = NUM_BYTES * PARTS.index(self)
        return slice(start, start + NUM_BYTES)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """What its columns are called in a row."""
        return tuple(column.key for column in self.columns)

    @cached_property
    def _kinds(self) -> Mapping[str, list[tuple[int, str]]]:
        """Numbers and names of the columns by how their values are written, by name."""
        found: dict[str, list[tuple[int, str]]] = {"floats": [], "bytes": [], "json": []}
        for number, column in sorted(enumerate(self.columns), key=lambda each: each[1].name):
            kind = next((name for kind, name in KINDS.items() if isinstance(column.type, kind)), "json")
            found[kind].append((number, column.name))
        return found

    def digest(self, columns: Sequence[Sequence[Any]]) -> bytes:
        """Of the values of each column, row by row, in the order of `self.columns`; none without rows.

        What is no float and no bytes is written as JSON, floats by their bits. Raises one of `UNREADABLE` for a value
        that is none of its column.
        """
        # A column in which nothing is counts for nothing.
        is_filled = [values.count(None) < len(values) for values in columns]
        filled = {
            kind: {name: columns[number] for number, name in known if is_filled[number]}
            for kind, known in self._kinds.items()
            if columns
        }
        floats = filled.get("floats", {})
        found = hashlib.sha256(ENCODE([filled.get("json", {}), list(floats)]).encode())
        if floats:
            found.update(pack_array(np.array(list(chain.from_iterable(floats.values())), dtype=np.float64)))
        for name, values in filled.get("bytes", {}).items():
            for value in values:
                found.update(b"-" if value is None else f"{name}{len(value)}".encode() + value)
        return found.digest()[:NUM_BYTES]


def _plain(value: Any) -> str:
    """A time in UTC; nothing else is no JSON."""
    if not isinstance(value, dt.datetime):
        raise TypeError(f"{type(value).__name__} is not a value of a column.")
    return value.astimezone(dt.UTC).isoformat()


ENCODE = json.JSONEncoder(default=_plain, separators=(",", ":")).encode


WITH_SIGNATURES = PATTERNS.join(SIGNATURES).join(SIGNATURE_LAYOUTS)
OWNED = ("position", "role", "tensor")
FIT_COLUMNS = columns_of(FITS, (*OWNED, *rows.FIT_COLUMNS))
STATISTIC_COLUMNS = columns_of(METRICS, (*OWNED, *rows.STATISTIC_COLUMNS))
SUMMARY = Part(
    "what it is",
    DESCRIBED,
    (
        *columns_of(MODELS, rows.MODEL_FIELDS),
        RUNS.c.run,
        *columns_of(
            PATTERNS,
            ("pattern_key", "settings", "confirmed_at", "pattern_class", "class_scores", "class_margin", "special"),
        ),
    ),
)
FINDINGS = Part("its provenance", PATTERNS, columns_of(PATTERNS, ("provenance", "clusters", "frequency_profile")))
ROLES = Part("its roles", ROLE_PATTERNS, columns_of(ROLE_PATTERNS, ("position", *rows.ROLE_FIELDS)))
TENSORS = Part("its tensors", TENSOR_PATTERNS, columns_of(TENSOR_PATTERNS, ("position", *rows.TENSOR_FIELDS)))
MODEL_FIT = Part("its fit", FITS, FIT_COLUMNS, "model")
ROLE_FITS = Part("the fits of its roles", FITS, FIT_COLUMNS, "role")
TENSOR_FITS = Part("the fits of its tensors", FITS, FIT_COLUMNS, "tensor")
MODEL_STATISTICS = Part("its statistics", METRICS, STATISTIC_COLUMNS, "model")
ROLE_STATISTICS = Part("the statistics of its roles", METRICS, STATISTIC_COLUMNS, "role")
TENSOR_STATISTICS = Part("the statistics of its tensors", METRICS, STATISTIC_COLUMNS, "tensor")
SIGNATURE = Part("its signature", WITH_SIGNATURES, (SIGNATURE_LAYOUTS.c.digest, SIGNATURES.c.packed_values))
NULLS = Part("the evidence of its signature", SIGNATURES, columns_of(SIGNATURES, ("packed_z", "packed_p")))
ARTIFACT_ROWS = Part("its files", ARTIFACTS, columns_of(ARTIFACTS, ("position", *rows.ARTIFACT_FIELDS)))
PARTS = (
    SUMMARY, FINDINGS, ROLES, TENSORS, MODEL_FIT, ROLE_FITS, TENSOR_FITS, MODEL_STATISTICS, ROLE_STATISTICS,
    TENSOR_STATISTICS, SIGNATURE, NULLS, ARTIFACT_ROWS,
)  # fmt: skip
"""In the order of their digests: new ones come last."""


def read_parts(
    connection: Connection, parts: Sequence[Part], ids: Ids, *, kept: Mapping[int, Any] | None = None
) -> Iterator[tuple[int, tuple[Rows, ...]]]:
    """Pattern by pattern the rows of these parts of one table, in the order of the record, as they were written.

    - `kept`: pattern -> its digests, where the caller has read them.

    Raises `DamagedRowsError` for rows that are not.
    """
    for pattern_id, digests, found in _read(connection, parts, ids, kept):
        for part, some in zip(parts, found, strict=True):
            if not _is_as_written(part, some, digests):
                raise damaged(connection, pattern_id, part)
        yield pattern_id, found


def require_row(connection: Connection, part: Part, row: RowMapping) -> None:
    """Raise `DamagedRowsError` unless a row that has `id` and `digests` of a pattern and the columns of this part
    is as it was written."""
    values = (row["id"], *(row[key] for key in part.keys))
    if not _is_as_written(part, [values], row["digests"]):
        raise damaged(connection, row["id"], part)


def require_layout(connection: Connection, row: Any) -> None:
    """Raise `DamagedRowsError` unless the names of a layout are those of its digest."""
    if rows.digest([row.version, row.names]) != row.digest:
        raise DamagedRowsError(
            f"{masked(connection.engine.url)} is damaged: the names of signatures are not as they were written.",
            hint="Restore the database from a backup; `dna-zoo db check` names all damage.",
        )


def damaged(connection: Connection, pattern_id: int, part: Part) -> DamagedRowsError:
    """The error for a part that is not as it was written."""
    return DamagedRowsError(
        f"The rows of {_key_of(connection, pattern_id)!r} in {masked(connection.engine.url)} are damaged: {part.name}"
        " cannot be trusted.",
        hint=DAMAGE_HINT,
    )


def damaged_parts(
    connection: Connection, ids: Sequence[int] | None = None, parts: Sequence[Part] = ()
) -> Iterator[tuple[str, str]]:
    """Model key and part for whatever is not as it was written, of these patterns or of all, and these parts or all."""
    if ids is None:
        ids = connection.scalars(select(PATTERNS.c.id).order_by(PATTERNS.c.id)).all()
    for some in batches(ids, PATTERNS_AT_A_TIME):
        for of_table in _by_table(parts or PARTS):
            try:
                found = {pattern_id: (kept, groups) for pattern_id, kept, groups in _read(connection, of_table, some)}
            except UNREADABLE:  # Of one of them; which one is found by asking for each.
                found = {}
            for pattern_id in some:
                for part in _damaged_of(connection, of_table, pattern_id, found.get(pattern_id)):
                    yield _key_of(connection, pattern_id), part.name


def _damaged_of(
    connection: Connection, parts: Sequence[Part], pattern_id: int, known: tuple[Any, Sequence[Rows]] | None
) -> list[Part]:
    """Which of the parts are damaged."""
    if known is None:
        try:
            known = next((kept, groups) for _, kept, groups in _read(connection, parts, [pattern_id]))
        except (*UNREADABLE, StopIteration):
            return list(parts)
    return [part for part, some in zip(parts, known[1], strict=True) if not _is_as_written(part, some, known[0])]


def keep_digests(connection: Connection, ids: Sequence[int], parts: Sequence[Part] = ()) -> None:
    """Keep the digests of these parts of the patterns, or of all, as they are in the database now."""
    for some in batches(ids, PATTERNS_AT_A_TIME):
        kept = {pattern_id: before for pattern_id, before in connection.execute(_kept(some))}
        digests = {
            each: bytearray((before or b"").ljust(NUM_BYTES * len(PARTS), b"\0")) for each, before in kept.items()
        }
        for table in _by_table(parts or PARTS):
            for pattern_id, _, found in _read(connection, table, some, kept):
                for part, own in zip(table, found, strict=True):
                    digests[pattern_id][part.place] = _digest_of(part, own)
        change = update(PATTERNS).where(PATTERNS.c.id == bindparam("pattern")).values(digests=bindparam("made"))
        made = [{"pattern": pattern_id, "made": bytes(each)} for pattern_id, each in digests.items()]
        connection.execute(change, made)


def fill_digests(connection: Connection) -> None:
    """Keep the digests of all patterns that have none: those of an older schema."""
    ids = connection.scalars(select(PATTERNS.c.id).where(PATTERNS.c.digests.is_(None))).all()
    keep_digests(connection, ids)


def _by_table(parts: Sequence[Part]) -> list[list[Part]]:
    """The parts, those of one table together."""
    return [list(each) for _, each in groupby(parts, key=lambda part: part.source)]


def _kept(ids: Ids) -> Select[Any]:
    query = select(PATTERNS.c.id, PATTERNS.c.digests).where(PATTERNS.c.id.in_(ids))
    return query.order_by(PATTERNS.c.id)


def _read(
    connection: Connection, parts: Sequence[Part], ids: Ids, known: Mapping[int, Any] | None = None
) -> Iterator[tuple[int, Any, tuple[Rows, ...]]]:
    """Pattern by pattern its digests, and the rows of these parts of one table; those without any come last."""
    found_digests = connection.execute(_kept(ids)).all() if known is None else known.items()
    kept = {pattern_id: digests for pattern_id, digests in found_digests}
    for pattern_id, found in groupby(_streamed(connection, _query(parts, ids)), key=itemgetter(0)):
        if pattern_id in kept:  # Each comes once, unless an index is damaged.
            yield pattern_id, kept.pop(pattern_id), _split(parts, list(found))
    for pattern_id, digests in kept.items():
        yield pattern_id, digests, ((),) * len(parts)


def _streamed(connection: Connection, query: Select[Any]) -> Iterator[Any]:
    """The rows, fetched many at a time and never all at once."""
    with as_bytes(connection):
        found = connection.execute(query)
    return chain.from_iterable(found.partitions(ROWS_AT_A_TIME))


def _query(parts: Sequence[Part], ids: Ids) -> Select[Any]:
    part = parts[0]
    first, table = part.columns[0], part.columns[0].table
    pattern_id = PATTERNS.c.id if part.source in (DESCRIBED, WITH_SIGNATURES, PATTERNS) else table.c.pattern_id
    query = select(pattern_id, *part.columns).select_from(part.source).where(pattern_id.in_(ids))
    if part.owner is not None:
        query = query.where(or_(*(_is_owned(table, each.owner) for each in parts)))
    return query.order_by(pattern_id, first) if first.name == "position" else query.order_by(pattern_id)


def _is_owned(table: Any, owner: str | None) -> Any:
    if owner == "model":
        return table.c.role.is_(None) & table.c.tensor.is_(None)
    return table.c[owner].is_not(None)


def _split(parts: Sequence[Part], found: Rows) -> tuple[Rows, ...]:
    """The rows of a table among its parts."""
    if len(parts) == 1:
        return (found,)
    split: dict[str | None, list[Sequence[Any]]] = {part.owner: [] for part in parts}
    for row in found:
        _, _, role, tensor, *_ = row
        owner = "role" if role is not None else "tensor" if tensor is not None else "model"
        if owner in split:
            split[owner].append(row)
    return tuple(split[part.owner] for part in parts)


def _digest_of(part: Part, found: Rows) -> bytes:
    return part.digest(list(zip(*found, strict=True))[1:])


def _is_as_written(part: Part, found: Rows, kept: Any) -> bool:
    try:
        return bool(kept is not None and kept[part.place] == _digest_of(part, found))
    except UNREADABLE:
        return False


def _key_of(connection: Connection, pattern_id: int) -> str:
    """What the pattern's model is called, or the number of the pattern where that cannot be read."""
    query = select(MODELS.c.key).select_from(PATTERNS.join(MODELS)).where(PATTERNS.c.id == pattern_id)
    try:
        key = connection.scalar(query)
    except UNREADABLE:
        key = None
    return str(key) if isinstance(key, str) and key else f"pattern {pattern_id}"
