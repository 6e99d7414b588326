"""Many models in a database at once: rows as mining leaves them, written in bulk and not by way of records."""

import datetime as dt
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
from sqlalchemy import Connection, insert

from benchmarks.parts.drawn_models import DrawnModel, draw_models
from patterndb.connection.engine import find_or_insert
from patterndb.connection.floats import pack_array
from patterndb.patterns import rows
from patterndb.records import ModelRecord, SignatureRecord
from patterndb.store import PatternDatabase
from patterndb.tables import METRICS, MODELS, PATTERNS, RUNS, SIGNATURE_LAYOUTS, SIGNATURES

__all__ = ["fill"]

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
        layout_id = find_or_insert(connection, SIGNATURE_LAYOUTS, layout, key=("digest",))
    number = 1
    while some := list(islice(models, AT_A_TIME)):
        ids = range(number, number + len(some))
        with database._writing() as connection:
            connection.execute(insert(MODELS), [_model(i, model) for i, model in zip(ids, some, strict=True)])
            connection.execute(insert(PATTERNS), [_pattern(i, run_id) for i in ids])
            _copy_signatures(connection, [_signature(i, layout_id, m) for i, m in zip(ids, some, strict=True)])
            connection.execute(insert(METRICS), [row for i in ids for row in _metrics(i)])
        number += len(some)


def _copy_signatures(connection: Connection, found: list[dict[str, Any]]) -> None:
    """By PostgreSQL's COPY where it is one: as text, these bytes take most of the time."""
    if connection.dialect.name == "sqlite":
        connection.execute(insert(SIGNATURES), found)
        return
    command = f"COPY signatures ({', '.join(found[0])}) FROM STDIN WITH (FORMAT BINARY)"
    with connection.connection.cursor() as cursor, cursor.copy(command) as copy:  # type: ignore[attr-defined]
        copy.set_types(["int4", "int4", "bytea"])
        for row in found:
            copy.write_row(tuple(row.values()))


def _model(number: int, model: DrawnModel) -> dict[str, Any]:
    record = ModelRecord(
        key=model.key,
        sha256=f"{number:064x}",
        modality=MODALITIES[model.architecture % len(MODALITIES)],
        family=f"family-{model.architecture}",
        architecture=("encoder", "decoder", "cnn")[model.architecture % 3],
        parents=() if model.values is None or number % 3 else (f"someone/root-{model.lineage}",),
        num_weights=1_000_000,
        num_tensors=100,
    )
    return {"id": number} | rows.model_row(record)


def _pattern(number: int, run_id: int) -> dict[str, Any]:
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


def _signature(number: int, layout_id: int, model: DrawnModel) -> dict[str, Any]:
    packed = pack_array(model.values.astype(np.float64))
    return {"pattern_id": number, "layout_id": layout_id, "packed_values": packed}


def _metrics(number: int) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(number)
    for position in range(STATISTICS):
        value = float(rng.normal())
        yield {
            "pattern_id": number, "position": position, "role": None, "tensor": None, "name": f"statistic.{position}",
            "value": value, "null": "shuffle", "null_mean": 0.0, "null_std": 1.0, "z": value, "p": float(rng.random()),
            "num_nulls": 8, "special": None,
        }  # fmt: skip
