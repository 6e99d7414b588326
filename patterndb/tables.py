"""The tables.

What a pattern consists of (`ROLE_PATTERNS`, `TENSOR_PATTERNS`, `FITS`, `METRICS`, ...) is keyed by the pattern and a
position in it, so that a whole pattern is written with one bulk insert a table and no id is ever waited for. A fit or
a metric belongs to the tensor or to the role it names, and to the model as a whole where it names neither.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from patterndb.connection.floats import from_json, to_json
from patterndb.fields import describe
from patterndb.records import FitRecord, ModelRecord, RoleRecord, Statistic, TensorRecord

__all__ = [
    "ARTIFACTS",
    "FITS",
    "METADATA",
    "METRICS",
    "MODELS",
    "MODEL_NOTES",
    "MODEL_TAGS",
    "PAIR_SAMPLES",
    "PATTERNS",
    "ROLE_PATTERNS",
    "RUNS",
    "RUN_MODELS",
    "SIGNATURES",
    "SIGNATURE_LAYOUTS",
    "STAGES",
    "TENSOR_PATTERNS",
    "FloatsJson",
    "UtcDateTime",
]


class UtcDateTime(TypeDecorator[dt.datetime]):
    """An aware time, stored as UTC. SQLite drops the zone, so it is put back on the way out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        """UTC; a naive time is refused, because nobody knows what it means."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"Expected an aware datetime. Got {value!r}.")
        return value.astimezone(dt.UTC)

    def process_result_value(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        """Aware, in UTC, whatever the zone of the server's session."""
        if value is None:
            return None
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


class FloatsJson(TypeDecorator[Any]):
    """Floats nested in mappings and sequences, NaN and infinities among them; sequences come back as tuples."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """JSON with names in place of non-finite numbers."""
        return None if value is None else to_json(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """The floats again."""
        return None if value is None else from_json(value)


# Every constraint has a name from day one, so that a migration can drop it.
METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

OWNER_CHECK = "role IS NULL OR tensor IS NULL"
REQUIRED_OF_FITS = tuple(each.name for each in describe(FitRecord) if each.kind is float and not each.is_optional)
"""Numbers that every fit report has; NULL only where `special` says what stands there."""
KINDS: Mapping[type, TypeEngine[Any]] = {
    str: Text(), int: BigInteger(), float: Double(), bool: Boolean(), tuple: JSON(),
}  # fmt: skip
SMALL = ("num_nulls", "tier", "num_tensors", "tensors", "block")
"""Fields that hold small integers."""


def _of_record(record: type) -> tuple[Column[Any], ...]:
    """A column for each described field, by the field's name; any float may be NULL, see `special`."""
    return tuple(
        Column(
            # NULL is a word of SQL.
            "null_model" if each.name == "null" else each.name,
            Integer() if each.name in SMALL else KINDS[each.kind],
            key=each.name,
            nullable=each.is_optional or each.kind is float,
        )
        for each in describe(record)
    )


def _required(kind: TypeEngine[Any], *names: str) -> tuple[Column[Any], ...]:
    """Columns of one type that are never NULL."""
    return tuple(Column(name, kind, nullable=False) for name in names)


def _optional(kind: TypeEngine[Any], *names: str) -> tuple[Column[Any], ...]:
    """Columns of one type that are NULL where there is nothing to say."""
    return tuple(Column(name, kind) for name in names)


def _id() -> Column[int]:
    return Column("id", Integer(), primary_key=True)


def _digest() -> Column[str]:
    """Of the row, by `patterndb.row_digests`."""
    return Column("digest", Text())


def _is_complete(*columns: str) -> str:
    """SQL: none of the columns is NULL."""
    return " AND ".join(f"{column} IS NOT NULL" for column in columns)


# A checkpoint as it was described when it was mined: another description makes another row.
MODELS = Table(
    "models",
    METADATA,
    _id(),
    # sha256 of the record's canonical JSON.
    Column("digest", Text(), nullable=False, unique=True),
    *_of_record(ModelRecord),
    Index(None, "key"),
    # Models of the same file.
    Index(None, "sha256"),
    Index(None, "is_partial"),
    CheckConstraint("num_weights >= 0 AND num_tensors >= 0", name="counts"),
)

# What people say of a model, by its key: it holds for all versions of the model.
MODEL_TAGS = Table(
    "model_tags", METADATA, _id(), *_required(Text(), "key", "tag"), _digest(), UniqueConstraint("key", "tag")
)
MODEL_NOTES = Table(
    "model_notes", METADATA, _id(), *_required(Text(), "key", "note"), _digest(), UniqueConstraint("key")
)

# One invocation of `mine`. Runs of the same request have the same `request_key`.
RUNS = Table(
    "runs",
    METADATA,
    _id(),
    Column("run", Text(), nullable=False, unique=True),
    *_required(Text(), "status"),
    *_required(JSON(), "request"),
    *_required(UtcDateTime(), "started"),
    *_optional(UtcDateTime(), "finished"),
    *_optional(Integer(), "exit_code"),
    Column("request_key", Text(), nullable=False, server_default="", index=True),
    # Counts up over all runs with everything that one of them tells: their order needs no clock.
    Column("sequence", BigInteger(), nullable=False, server_default="0", index=True),
    *_optional(Text(), "host", "user_name", "machine", "process_start", "command", "stopped_by", "error"),
    *_optional(Integer(), "pid"),
    *_optional(JSON(), "versions", "at_work"),
    *_optional(UtcDateTime(), "heartbeat"),
    *_optional(Double(), "seconds"),
    _digest(),
    CheckConstraint("status IN ('running', 'done', 'failed', 'partial', 'interrupted')", name="status"),
    CheckConstraint("(status = 'running') = (finished IS NULL)", name="finished_unless_running"),
    CheckConstraint("finished IS NOT NULL OR exit_code IS NULL", name="exit_code_when_finished"),
)

# How one model fared in a run.
RUN_MODELS = Table(
    "run_models",
    METADATA,
    _id(),
    Column("run_id", Integer(), ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    *_required(Integer(), "position"),
    *_required(Text(), "key", "status"),
    *_optional(Text(), "error", "hint"),
    Column("pattern_key", Text(), ForeignKey("patterns.pattern_key"), index=True),
    _digest(),
    UniqueConstraint("run_id", "key"),
    CheckConstraint("status IN ('pending', 'done', 'failed')", name="status"),
    CheckConstraint("status = 'failed' OR error IS NULL", name="error_only_if_failed"),
)

# One stage of one model in one run.
STAGES = Table(
    "stages",
    METADATA,
    _id(),
    Column("run_model_id", Integer(), ForeignKey("run_models.id", ondelete="CASCADE"), nullable=False),
    *_required(Text(), "stage", "key", "status"),
    *_optional(Double(), "seconds"),
    *_optional(Text(), "error"),
    *_optional(Boolean(), "is_reused"),
    _digest(),
    UniqueConstraint("run_model_id", "stage"),
    CheckConstraint("status IN ('done', 'failed')", name="status"),
    CheckConstraint("seconds >= 0", name="seconds"),
)

# What was found in one model under one set of settings, but for its parts below.
PATTERNS = Table(
    "patterns",
    METADATA,
    _id(),
    Column("pattern_key", Text(), nullable=False, unique=True),
    Column("model_id", Integer(), ForeignKey("models.id"), nullable=False),
    Column("run_id", Integer(), ForeignKey("runs.id"), nullable=False, index=True),
    # When a run last ended with this pattern: the newest is the model's current one.
    *_required(UtcDateTime(), "confirmed_at"),
    *_required(JSON(), "settings", "provenance"),
    *_required(Text(), "pattern_class"),
    *_required(FloatsJson(), "class_scores"),
    *_optional(Double(), "class_margin"),
    *_optional(Text(), "special"),
    *_required(JSON(), "clusters"),
    *_required(FloatsJson(), "frequency_profile"),
    # Of all rows of the pattern, by `patterndb.patterns.digests`.
    *_optional(LargeBinary(), "digests"),
    CheckConstraint("class_margin IS NOT NULL OR special IS NOT NULL", name="margin_or_special"),
    Index(None, "model_id", "confirmed_at"),
)


def _pattern_id() -> Column[int]:
    """The first column of the key of every part of a pattern."""
    return Column("pattern_id", Integer(), ForeignKey("patterns.id", ondelete="CASCADE"), primary_key=True)


def _position() -> Column[int]:
    """The place of a part in its pattern, from 0: with the pattern, the part's key."""
    return Column("position", Integer(), primary_key=True, autoincrement=False)


def _owner_keys() -> tuple[ForeignKeyConstraint, ForeignKeyConstraint]:
    """The role or the tensor of the same pattern that a fit or a metric belongs to."""
    return (
        ForeignKeyConstraint(
            ["pattern_id", "role"], ["role_patterns.pattern_id", "role_patterns.position"], ondelete="CASCADE"
        ),
        ForeignKeyConstraint(
            ["pattern_id", "tensor"], ["tensor_patterns.pattern_id", "tensor_patterns.position"], ondelete="CASCADE"
        ),
    )


# All tensors of one role together.
ROLE_PATTERNS = Table(
    "role_patterns",
    METADATA,
    _pattern_id(),
    _position(),
    *_of_record(RoleRecord),
    UniqueConstraint("pattern_id", "role"),
    CheckConstraint("tensors >= 0 AND weights >= 0", name="counts"),
)

# One tensor.
TENSOR_PATTERNS = Table(
    "tensor_patterns",
    METADATA,
    _pattern_id(),
    _position(),
    *_of_record(TensorRecord),
    *_required(FloatsJson(), "class_scores"),
    UniqueConstraint("pattern_id", "name"),
    CheckConstraint("depth BETWEEN 0 AND 1", name="depth"),
    CheckConstraint("rows >= 0 AND cols >= 0 AND num_weights >= 0", name="counts"),
)

# A fit report: of a tensor, of a role, or (at position 0, and only there) of the model.
FITS = Table(
    "fits",
    METADATA,
    _pattern_id(),
    _position(),
    *_optional(Integer(), "role", "tensor"),
    *_of_record(FitRecord),
    *_optional(Text(), "special"),
    *_owner_keys(),
    UniqueConstraint("pattern_id", "role"),
    UniqueConstraint("pattern_id", "tensor"),
    CheckConstraint(OWNER_CHECK, name="one_owner"),
    CheckConstraint("(position = 0) = (role IS NULL AND tensor IS NULL)", name="model_at_zero"),
    CheckConstraint("scope IN ('tensor', 'model')", name="scope"),
    CheckConstraint("num_weights >= 0 AND parameters >= 0 AND num_nulls >= 0 AND steps >= 0", name="counts"),
    CheckConstraint("special IS NOT NULL OR (" + _is_complete(*REQUIRED_OF_FITS) + ")", name="complete_or_special"),
)

# A statistic with its null: of a tensor, of a role or of the model.
METRICS = Table(
    "metrics",
    METADATA,
    _pattern_id(),
    _position(),
    *_optional(Integer(), "role", "tensor"),
    *_of_record(Statistic),
    *_optional(Text(), "special"),
    *_owner_keys(),
    CheckConstraint(OWNER_CHECK, name="one_owner"),
    CheckConstraint("value IS NOT NULL OR special IS NOT NULL", name="value_or_special"),
    CheckConstraint("num_nulls >= 0", name="num_nulls"),
    CheckConstraint("p BETWEEN 0 AND 1", name="p"),
)

# The names of a signature's dimensions, once for all the signatures that have them.
SIGNATURE_LAYOUTS = Table(
    "signature_layouts",
    METADATA,
    _id(),
    Column("digest", Text(), nullable=False, unique=True),
    *_required(Text(), "version"),
    *_required(Integer(), "length"),
    *_required(JSON(), "names"),
    CheckConstraint("length >= 0", name="length"),
)

# A model's vector, packed by `patterndb.connection.floats.pack`; `z` and `p` are NULL where the signature has none.
SIGNATURES = Table(
    "signatures",
    METADATA,
    _pattern_id(),
    Column("layout_id", Integer(), ForeignKey("signature_layouts.id"), nullable=False, index=True),
    *_required(LargeBinary(), "packed_values"),
    *_optional(LargeBinary(), "packed_z", "packed_p"),
    CheckConstraint("length(packed_z) = length(packed_values)", name="z_length"),
    CheckConstraint("length(packed_p) = length(packed_values)", name="p_length"),
)

# Distances of random pairs of models whose signatures have one version, packed by `patterndb.connection.floats.pack`.
PAIR_SAMPLES = Table(
    "pair_samples",
    METADATA,
    _id(),
    Column("version", Text(), nullable=False, unique=True),
    *_required(Integer(), "num_models", "seed"),
    *_required(LargeBinary(), "packed_weights", "packed_kind"),
    # sha256 of both; a sample that has another is drawn again.
    *_optional(Text(), "digest"),
)

# A file that the run left behind.
ARTIFACTS = Table(
    "artifacts",
    METADATA,
    _pattern_id(),
    _position(),
    *_required(Text(), "kind", "path", "sha256"),
    *_required(BigInteger(), "num_bytes"),
    *_optional(Text(), "url"),
    CheckConstraint("num_bytes >= 0", name="num_bytes"),
)
