"""From a pattern's record to the rows it is kept as, and back; nothing here talks to a database."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import RowMapping

from patterndb.connection.floats import join_special, pack, split_special, unpack
from patterndb.fields import describe
from patterndb.records import (
    ArtifactRecord,
    FitRecord,
    ModelRecord,
    PatternRecord,
    RoleRecord,
    SignatureRecord,
    Statistic,
    TensorRecord,
)

__all__ = [
    "ARTIFACT_FIELDS",
    "FIT_COLUMNS",
    "MODEL_FIELDS",
    "ROLE_FIELDS",
    "STATISTIC_COLUMNS",
    "STATISTIC_FLOATS",
    "TENSOR_FIELDS",
    "Row",
    "digest",
    "fit_record",
    "fit_rows",
    "layout_row",
    "metric_rows",
    "model_record",
    "model_row",
    "part_rows",
    "pattern_row",
    "signature_record",
    "signature_row",
    "statistic",
]

Row = dict[str, Any]


def _names(record: type, kind: type | None = None) -> tuple[str, ...]:
    """The described fields of a record, or those of one kind: they are columns of its table."""
    return tuple(each.name for each in describe(record) if kind in (None, each.kind))


MODEL_FIELDS, ROLE_FIELDS = _names(ModelRecord), _names(RoleRecord)
TENSOR_FIELDS = (*_names(TensorRecord), "class_scores")
ARTIFACT_FIELDS = tuple(field.name for field in fields(ArtifactRecord))
FIT_FLOATS, STATISTIC_FLOATS = _names(FitRecord, float), _names(Statistic, float)
FIT_COLUMNS, STATISTIC_COLUMNS = (*_names(FitRecord), "special"), (*_names(Statistic), "special")


def digest(value: Any) -> str:
    """sha256 of the value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def model_row(model: ModelRecord) -> Row:
    """The row of `models`."""
    row = asdict(model) | {"parents": list(model.parents)}
    return row | {"digest": digest(row)}


def model_record(row: RowMapping) -> ModelRecord:
    """The inverse of `model_row`; other columns of the row do not matter."""
    values = {name: row[name] for name in MODEL_FIELDS}
    return ModelRecord(**values | {"parents": tuple(values["parents"])})


def pattern_row(pattern: PatternRecord) -> Row:
    """The row of `patterns`, but for the columns that refer to others."""
    return {
        "pattern_key": pattern.pattern_key,
        "settings": dict(pattern.settings),
        "provenance": dict(pattern.provenance),
        "pattern_class": pattern.pattern_class,
        "class_scores": dict(pattern.class_scores),
        "clusters": dict(pattern.clusters),
        "frequency_profile": dict(pattern.frequency_profile),
        **split_special({"class_margin": pattern.class_margin}),
    }


def part_rows(pattern_id: int, parts: Sequence[Any], names: Sequence[str]) -> list[Row]:
    """Rows of a table of parts: these fields of each part, in the order of the record."""
    return [
        {"pattern_id": pattern_id, "position": position} | {name: getattr(part, name) for name in names}
        for position, part in enumerate(parts)
    ]


def _owners(pattern: PatternRecord) -> Iterator[tuple[Row, FitRecord | None, tuple[Statistic, ...]]]:
    """The model, every role and every tensor: the columns that name it, its fit, its statistics."""
    yield {"role": None, "tensor": None}, pattern.fit, pattern.statistics
    for position, role in enumerate(pattern.roles):
        yield {"role": position, "tensor": None}, role.fit, role.statistics
    for position, tensor in enumerate(pattern.tensors):
        yield {"role": None, "tensor": position}, tensor.fit, tensor.statistics


def _owned_row(pattern_id: int, position: int, owner: Row, record: FitRecord | Statistic) -> Row:
    """The row of what belongs to the model, a role or a tensor."""
    values = {each.name: getattr(record, each.name) for each in fields(record)}
    floats = FIT_FLOATS if isinstance(record, FitRecord) else STATISTIC_FLOATS
    special = split_special({name: values[name] for name in floats})
    return {"pattern_id": pattern_id, "position": position} | owner | values | special


def fit_rows(pattern_id: int, pattern: PatternRecord) -> list[Row]:
    """Rows of `fits`; position 0 is the model's."""
    owned = enumerate((owner, fit) for owner, fit, _ in _owners(pattern))
    return [_owned_row(pattern_id, position, owner, fit) for position, (owner, fit) in owned if fit is not None]


def fit_record(values: Sequence[Any]) -> FitRecord:
    """The inverse of `fit_rows` for one row: its columns `FIT_COLUMNS`."""
    return FitRecord(**join_special(dict(zip(FIT_COLUMNS, values, strict=True))))


def metric_rows(pattern_id: int, pattern: PatternRecord) -> list[Row]:
    """Rows of `metrics`, in the order of the record."""
    owned = enumerate((owner, each) for owner, _, statistics in _owners(pattern) for each in statistics)
    return [_owned_row(pattern_id, position, owner, each) for position, (owner, each) in owned]


def statistic(values: Sequence[Any]) -> Statistic:
    """The inverse of `metric_rows` for one row: its columns `STATISTIC_COLUMNS`."""
    return Statistic(**join_special(dict(zip(STATISTIC_COLUMNS, values, strict=True))))


def layout_row(signature: SignatureRecord) -> Row:
    """The row of `signature_layouts`."""
    names = list(signature.names)
    return {
        "version": signature.version,
        "length": len(names),
        "names": names,
        "digest": digest([signature.version, names]),
    }


def signature_row(pattern_id: int, layout_id: int, signature: SignatureRecord) -> Row:
    """The row of `signatures`; raises `ValueError` unless there are as many values as names."""
    for name in ("values", "z", "p"):
        length = len(getattr(signature, name))
        if length != len(signature.names) and (length or name == "values"):
            raise ValueError(f"`{name}` of a signature must have length {len(signature.names)}. Got {length}.")
    return {
        "pattern_id": pattern_id,
        "layout_id": layout_id,
        "packed_values": pack(signature.values),
        "packed_z": pack(signature.z) if signature.z else None,
        "packed_p": pack(signature.p) if signature.p else None,
    }


def signature_record(row: RowMapping, names: tuple[str, ...]) -> SignatureRecord:
    """The inverse of `signature_row` and `layout_row`; without z and p from a row that lacks them."""
    z, p = row.get("packed_z"), row.get("packed_p")
    return SignatureRecord(
        version=row["version"],
        names=names,
        values=unpack(row["packed_values"], len(names)),
        z=() if z is None else unpack(z, len(names)),
        p=() if p is None else unpack(p, len(names)),
    )
