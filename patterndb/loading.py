"""Reading patterns inside the caller's transaction, with as many queries for a large pattern as for a small one."""

import difflib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields

from dna_zoo.errors import NotMinedError
from patterndb import pattern_rows as rows
from patterndb.floats import join_special
from patterndb.reading import Cells, Reader, Row
from patterndb.records import (
    ArtifactRecord,
    FitRecord,
    PatternRecord,
    PatternSummary,
    SignatureEntry,
    SignatureRecord,
    Statistic,
    TensorEntry,
    TensorRecord,
)

__all__ = [
    "not_mined",
    "read_current",
    "read_model_statistics",
    "read_pattern",
    "read_signatures",
    "read_summaries",
    "read_tensor_cells",
    "read_tensors",
]

Owner = tuple[int, int | None, int | None]
"""Pattern, and position of the role or the tensor that a fit or a metric belongs to; both None for the model's own."""


def _columns(table: str, names: Iterable[str]) -> str:
    """SQL: columns of a table, in quotes since some of their names are words of the language."""
    return ", ".join(f'{table}."{name}"' for name in names)


DESCRIBED = "patterns JOIN models ON models.id = patterns.model_id JOIN runs ON runs.id = patterns.run_id"
SIGNED = f"""{DESCRIBED} JOIN signatures ON signatures.pattern_id = patterns.id
JOIN signature_layouts ON signature_layouts.id = signatures.layout_id"""
NEWEST_FIRST = "patterns.confirmed_at DESC, patterns.id DESC"
RANK = f"row_number() OVER (PARTITION BY models.key ORDER BY {NEWEST_FIRST})"
"""1 for the current pattern of a model key."""
CURRENT = f"""(
SELECT ranked.id FROM (
    SELECT patterns.id, {RANK} AS place FROM patterns JOIN models ON models.id = patterns.model_id
) AS ranked WHERE ranked.place = 1
)"""
"""Ids of the patterns that are the current ones of their model keys."""
DESCRIPTION = f"{_columns('models', rows.MODEL_FIELDS)}, runs.run"
PATTERN_COLUMNS = (
    "id", "pattern_key", "settings", "provenance", "pattern_class", "class_scores", "class_margin", "special",
    "clusters", "frequency_profile",
)  # fmt: skip
SUMMARY_COLUMNS = ("id", "pattern_key", "confirmed_at", "pattern_class", "class_scores", "class_margin", "special")
"""Without settings, provenance and clusters: JSON that would be parsed for every pattern and thrown away."""
TENSOR_COLUMNS = ("pattern_id", "position", *rows.TENSOR_FIELDS, "class_scores")
OWNER = ("pattern_id", "role", "tensor")


def read_pattern(reader: Reader, name: str, run: str | None, *, with_tensors: bool) -> PatternRecord:
    """The current pattern of the key, or the newest that the run saved or ended with."""
    query = f"SELECT {DESCRIPTION}, {_columns('patterns', PATTERN_COLUMNS)} FROM {DESCRIBED} WHERE models.key = ?"
    parameters = [name]
    if run is not None:
        query += """ AND (runs.run = ? OR patterns.pattern_key IN (
            SELECT run_models.pattern_key FROM run_models JOIN runs AS own ON own.id = run_models.run_id
            WHERE own.run = ?))"""
        parameters += [run, run]
    found = reader.rows(f"{query} ORDER BY {NEWEST_FIRST} LIMIT 1", *parameters)
    if not found:
        raise not_mined(reader, name, run)
    return _assemble(reader, found[0], with_tensors=with_tensors)


def _assemble(reader: Reader, header: Row, *, with_tensors: bool) -> PatternRecord:
    """The record from its header: one query for each table of parts."""
    pattern_id = header["id"]
    of_pattern = "pattern_id = ?" if with_tensors else "pattern_id = ? AND tensor IS NULL"
    fits = _read_fits(reader, of_pattern, pattern_id)
    statistics = _read_statistics(reader, of_pattern, pattern_id)
    tensors = _part(reader, "tensor_patterns", TENSOR_COLUMNS, pattern_id) if with_tensors else ()
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
            for row in _part(reader, "role_patterns", ("position", *rows.ROLE_FIELDS), pattern_id)
            for owner in [(pattern_id, row["position"], None)]
        ),
        tensors=tuple(_tensor(row, fits, statistics) for row in tensors),
        signature=_read_signature(reader, pattern_id),
        statistics=tuple(statistics.get((pattern_id, None, None), ())),
        clusters=header["clusters"],
        frequency_profile=header["frequency_profile"],
        artifacts=tuple(
            rows.artifact_record(row)
            for row in _part(reader, "artifacts", [field.name for field in fields(ArtifactRecord)], pattern_id)
        ),
    )


def _part(reader: Reader, table: str, columns: Iterable[str], pattern_id: int) -> Sequence[Row]:
    """A pattern's rows of one table, in the order of the record."""
    return reader.rows(
        f"SELECT {_columns(table, columns)} FROM {table} WHERE pattern_id = ? ORDER BY position", pattern_id
    )


def _tensor(row: Row, fits: Mapping[Owner, FitRecord], statistics: Mapping[Owner, Sequence[Statistic]]) -> TensorRecord:
    """A tensor with what belongs to it."""
    owner = (row["pattern_id"], None, row["position"])
    return rows.tensor_record(row, fits.get(owner), statistics.get(owner, ()))


def _class_margin(header: Row) -> float:
    """The margin, which may be special."""
    margin: float = join_special({"class_margin": header["class_margin"], "special": header["special"]})["class_margin"]
    return margin


def _read_fits(reader: Reader, which: str, *parameters: int) -> Mapping[Owner, FitRecord]:
    """Fits by what they belong to."""
    columns = _columns("fits", (*OWNER, *rows.FIT_COLUMNS))
    return {
        (pattern_id, role, tensor): rows.fit_record(values)
        for pattern_id, role, tensor, *values in reader.cells(f"SELECT {columns} FROM fits WHERE {which}", *parameters)
    }


def _read_statistics(reader: Reader, which: str, *parameters: int) -> Mapping[Owner, Sequence[Statistic]]:
    """Statistics by what they belong to, in the order of the record. There are thousands: rows stay tuples."""
    columns = _columns("metrics", (*OWNER, *rows.STATISTIC_COLUMNS))
    query = f"SELECT {columns} FROM metrics WHERE {which} ORDER BY pattern_id, position"
    found: dict[Owner, list[Statistic]] = defaultdict(list)
    for pattern_id, role, tensor, *values in reader.cells(query, *parameters):
        found[pattern_id, role, tensor].append(rows.statistic(values))
    return found


def _read_signature(reader: Reader, pattern_id: int) -> SignatureRecord:
    """The pattern's signature."""
    (row,) = reader.rows(
        """
        SELECT packed_values, packed_z, packed_p, version, names
        FROM signatures JOIN signature_layouts ON signature_layouts.id = signatures.layout_id WHERE pattern_id = ?
        """,
        pattern_id,
    )
    return rows.signature_record(row, tuple(row["names"]))


def read_signatures(reader: Reader, *, with_nulls: bool) -> tuple[SignatureEntry, ...]:
    """The signature of every key's current pattern, by key; names are read once for each layout."""
    packed = ("packed_values", "packed_z", "packed_p") if with_nulls else ("packed_values",)
    columns = "patterns.pattern_key, patterns.pattern_class, signatures.layout_id, signature_layouts.version"
    query = f"SELECT {DESCRIPTION}, {columns}, {_columns('signatures', packed)} FROM {SIGNED}"
    layouts = reader.rows("SELECT id, names FROM signature_layouts")
    names_of = {layout["id"]: tuple(layout["names"]) for layout in layouts}
    entries = [
        SignatureEntry(
            model=rows.model_record(row),
            pattern_key=row["pattern_key"],
            pattern_class=row["pattern_class"],
            signature=rows.signature_record(row, names_of[row["layout_id"]]),
        )
        for row in reader.rows(f"{query} WHERE patterns.id IN {CURRENT}")
    ]
    return tuple(sorted(entries, key=lambda entry: entry.model.key))


def read_summaries(reader: Reader) -> tuple[PatternSummary, ...]:
    """Every pattern in short, by model key, newest first."""
    fits = _read_fits(reader, "position = 0")
    columns = f"{_columns('patterns', SUMMARY_COLUMNS)}, signature_layouts.version, {RANK} AS place"
    found = sorted(
        reader.rows(f"SELECT {DESCRIPTION}, {columns} FROM {SIGNED}"), key=lambda row: (row["key"], row["place"])
    )
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
        )
        for row in found
    )


def read_tensors(reader: Reader, *, with_statistics: bool) -> tuple[TensorEntry, ...]:
    """The tensors of every key's current pattern, by key; at most three queries, however many patterns there are."""
    of_tensors = f"pattern_id IN {CURRENT} AND tensor IS NOT NULL"
    fits = _read_fits(reader, of_tensors)
    statistics = _read_statistics(reader, of_tensors) if with_statistics else {}
    found = reader.rows(
        f"""
        SELECT {_columns("tensor_patterns", TENSOR_COLUMNS)}, models.key, patterns.pattern_key
        FROM tensor_patterns JOIN patterns ON patterns.id = tensor_patterns.pattern_id
        JOIN models ON models.id = patterns.model_id
        WHERE patterns.id IN {CURRENT} ORDER BY tensor_patterns.position
        """
    )
    return tuple(
        TensorEntry(model=row["key"], pattern_key=row["pattern_key"], tensor=_tensor(row, fits, statistics))
        for row in sorted(found, key=lambda row: str(row["key"]))
    )


def read_tensor_cells(reader: Reader) -> Iterator[Cells]:
    """The statistics of tensors of every key's current pattern as bare cells: there are too many for records.

    Each is the pattern's id, the tensor's position, the name, then `rows.STATISTIC_FLOATS`; pattern by pattern.
    """
    names = ("pattern_id", "tensor", "name", *rows.STATISTIC_FLOATS, "special")
    query = f"SELECT {_columns('metrics', names)} FROM metrics WHERE pattern_id IN {CURRENT} AND tensor IS NOT NULL"
    for cells in reader.cells(f"{query} ORDER BY pattern_id, position"):
        special = cells[-1]
        yield tuple(join_special(dict(zip(names, cells, strict=True))).values()) if special else cells[:-1]


def read_current(reader: Reader) -> Mapping[int, str]:
    """Id -> pattern key of every model key's current pattern."""
    current = reader.cells(f"SELECT id, pattern_key FROM patterns WHERE id IN {CURRENT}")
    return {pattern_id: key for pattern_id, key in current}


def read_model_statistics(reader: Reader) -> Mapping[str, tuple[Statistic, ...]]:
    """Pattern key -> statistics of the model as a whole, for every key's current pattern."""
    keys = read_current(reader)
    of_models = f"pattern_id IN {CURRENT} AND role IS NULL AND tensor IS NULL"
    found = _read_statistics(reader, of_models)
    return {keys[pattern_id]: tuple(statistics) for (pattern_id, _, _), statistics in found.items()}


def not_mined(reader: Reader, name: str, run: str | None) -> NotMinedError:
    """The error for a key without a pattern, with the keys that look like it."""
    mined = "SELECT DISTINCT models.key FROM models JOIN patterns ON patterns.model_id = models.id"
    keys = sorted(key for (key,) in reader.cells(mined))
    where = "this database" if run is None else f"run {run!r}"
    near = difflib.get_close_matches(name, keys, n=3)
    if near and name not in keys:
        hint = f"Did you mean {' or '.join(repr(key) for key in near)}?"
    else:
        hint = f"Mine it first: `dna-zoo mine {name}`."
    return NotMinedError(f"There is no pattern of {name!r} in {where}.", hint=hint)
