"""Many models in a database at once: rows as mining leaves them, written in bulk and not by way of records."""

import datetime as dt
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np
from sqlalchemy import Connection, Table, text

from benchmarks.parts.database.drawn_models import DrawnModel, draw_models
from patterndb.connection.engine import find_or_insert
from patterndb.connection.floats import pack_array
from patterndb.patterns import rows
from patterndb.patterns.digests import keep_digests
from patterndb.patterns.rows import Row
from patterndb.records import ModelRecord, SignatureRecord
from patterndb.row_digests import keep_row_digests
from patterndb.store import PatternDatabase
from patterndb.tables import METRICS, MODELS, PATTERNS, RUNS, SIGNATURE_LAYOUTS, SIGNATURES

__all__ = ["AT_A_TIME", "fill", "write_many"]

AT_A_TIME = 1_000
STATISTICS = 2
CLASSES = ("smooth", "structured", "noisy", "sparse", "dense")
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
MODALITIES = ("text", "vision", "audio", "code")


def fill(database: PatternDatabase, names: Sequence[str], count: int) -> None:
    """Put in `count` models with signatures of these dimensions; `model-000000` is the first."""
    models = draw_models(names, count)
    layout = rows.layout_row(SignatureRecord(version="benchmark", names=tuple(names), values=(None,) * len(names)))
    with database._writing() as connection:
        run = {"run": "benchmark", "status": "done", "request": {}, "started": NOW, "finished": NOW, "exit_code": 0}
        run_id = find_or_insert(connection, RUNS, run, key=("run",))
        keep_row_digests(connection, RUNS, RUNS.c.id == run_id)
        layout_id = find_or_insert(connection, SIGNATURE_LAYOUTS, layout, key=("digest",))
    number = 1
    while some := list(islice(models, AT_A_TIME)):
        pairs = list(zip(range(number, number + len(some)), some, strict=True))
        with database._writing() as connection:
            write_many(connection, MODELS, [_model(i, model) for i, model in pairs])
            write_many(connection, PATTERNS, [_pattern(i, run_id) for i, _ in pairs])
            write_many(connection, SIGNATURES, [_signature(i, layout_id, model) for i, model in pairs])
            write_many(connection, METRICS, list(_metrics(range(number, number + len(some)))))
            keep_digests(connection, range(number, number + len(some)))
        number += len(some)
    if database.path is None:
        # As a server does by itself when it has the time.
        with database._writing() as connection:
            connection.execute(text("ANALYZE"))


def write_many(connection: Connection, table: Table, found: list[Row]) -> None:
    """Rows that all have the same columns, by the driver: on PostgreSQL with COPY, in a tenth of the time."""
    columns = [table.c[name] for name in found[0]]
    named = ", ".join(connection.dialect.identifier_preparer.quote(column.name) for column in columns)
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" * len(columns))
        processors = [
            column.type.dialect_impl(connection.dialect).bind_processor(connection.dialect) for column in columns
        ]
        given = [
            tuple(value if f is None else f(value) for value, f in zip(row.values(), processors, strict=True))
            for row in found
        ]
        connection.exec_driver_sql(f"INSERT INTO {table.name} ({named}) VALUES ({marks})", given)
        return
    raw: Any = connection.connection
    with raw.cursor() as cursor, cursor.copy(f"COPY {table.name} ({named}) FROM STDIN WITH (FORMAT BINARY)") as copy:
        copy.set_types([column.type.compile(connection.dialect).lower() for column in columns])
        for row in found:
            copy.write_row(tuple(row.values()))


def _model(number: int, model: DrawnModel) -> Row:
    has_parents = number % 3 == 0
    known = {"key": model.key, "sha256": f"{number:064x}", "digest": f"{number:064x}"}
    return (
        _described(model.architecture) | known | {"parents": [f"someone/root-{model.lineage}"] if has_parents else []}
    )


@lru_cache
def _described(architecture: int) -> Row:
    """What models of one architecture have in common, as a row."""
    record = ModelRecord(
        key="",
        sha256="",
        modality=MODALITIES[architecture % len(MODALITIES)],
        family=f"family-{architecture}",
        architecture=("encoder", "decoder", "cnn")[architecture % 3],
        num_weights=1_000_000,
        num_tensors=100,
    )
    return rows.model_row(record)


def _pattern(number: int, run_id: int) -> Row:
    return {
        "id": number,
        "pattern_key": f"{number:032x}",
        "model_id": number,
        "run_id": run_id,
        "confirmed_at": NOW,
        "settings": {"preset": "default"},
        "provenance": {"device": "cpu"},
        "pattern_class": CLASSES[number % len(CLASSES)],
        "class_scores": dict.fromkeys(CLASSES, 0.2),
        "class_margin": 0.1,
        "special": None,
        "clusters": {},
        "frequency_profile": {},
    }


def _signature(number: int, layout_id: int, model: DrawnModel) -> Row:
    packed = pack_array(model.values.astype(np.float64))
    return {"pattern_id": number, "layout_id": layout_id, "packed_values": packed}


def _metrics(numbers: range) -> Iterator[Row]:
    drawn = np.random.default_rng(numbers.start)
    values, p = (
        drawn.normal(size=(len(numbers), STATISTICS)).tolist(),
        drawn.random((len(numbers), STATISTICS)).tolist(),
    )
    for place, number in enumerate(numbers):
        for position in range(STATISTICS):
            value = values[place][position]
            yield {
                "pattern_id": number, "position": position, "role": None, "tensor": None,
                "name": f"statistic.{position}", "value": value, "null": "shuffle", "null_mean": 0.0, "null_std": 1.0,
                "z": value, "p": p[place][position], "num_nulls": 8, "special": None,
            }  # fmt: skip
