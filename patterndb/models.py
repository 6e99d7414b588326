"""The tables.

What a pattern consists of (`role_patterns`, `tensor_patterns`, `fits`, `metrics`, ...) is keyed by the pattern and a
position in it, so that a whole pattern is written with one bulk insert a table and no id is ever waited for. A fit or
a metric belongs to the tensor or to the role it names, and to the model as a whole where it names neither.
"""

import datetime as dt
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from patterndb.types import FloatsJson, UtcDateTime

__all__ = [
    "Artifact",
    "Base",
    "Fit",
    "Metric",
    "Model",
    "Pattern",
    "RolePattern",
    "Run",
    "RunModel",
    "Signature",
    "SignatureLayout",
    "Stage",
    "TensorPattern",
]

OWNER_CHECK = "role IS NULL OR tensor IS NULL"
REQUIRED_OF_FITS = (
    "bits_per_weight", "order_bits_per_weight", "r2", "svd_r2", "ceiling_r2",
    "mse", "rmse", "mae", "smape", "psnr", "peak", "mean_mse", "mean_psnr", "seconds",
)  # fmt: skip
"""What every fit report has; NULL only where `special` says what stands there."""


def _is_complete(*columns: str) -> str:
    """SQL: none of the columns is NULL."""
    return " AND ".join(f"{column} IS NOT NULL" for column in columns)


class Base(DeclarativeBase):
    """Every constraint has a name from day one, so that a migration can drop it."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads a plain class attribute.
        str: Text(),
        int: BigInteger(),
        float: Double(),
        bool: Boolean(),
        bytes: LargeBinary(),
        dt.datetime: UtcDateTime(),
    }


class Model(Base):
    """A checkpoint as it was described when it was mined: another description makes another row."""

    __tablename__ = "models"
    __table_args__ = (CheckConstraint("num_weights >= 0 AND num_tensors >= 0", name="counts"),)

    id: Mapped[int] = mapped_column(Integer(), primary_key=True)
    digest: Mapped[str] = mapped_column(unique=True)
    """sha256 of the record's canonical JSON."""
    key: Mapped[str] = mapped_column(index=True)
    sha256: Mapped[str]
    repo: Mapped[str | None]
    revision: Mapped[str | None]
    tier: Mapped[int | None] = mapped_column(Integer())
    modality: Mapped[str | None]
    family: Mapped[str | None]
    architecture: Mapped[str | None]
    specialty: Mapped[str | None]
    objective: Mapped[str | None]
    is_distilled: Mapped[bool | None]
    shares_layers: Mapped[bool | None]
    licence: Mapped[str | None]
    parents: Mapped[list[str]] = mapped_column(JSON())
    num_weights: Mapped[int]
    num_tensors: Mapped[int] = mapped_column(Integer())


class Run(Base):
    """One `mine`."""

    __tablename__ = "runs"
    __table_args__ = (
        CheckConstraint("status IN ('running', 'done', 'failed', 'partial', 'interrupted')", name="status"),
        CheckConstraint("(status = 'running') = (finished IS NULL)", name="finished_unless_running"),
        CheckConstraint("finished IS NOT NULL OR exit_code IS NULL", name="exit_code_when_finished"),
    )

    id: Mapped[int] = mapped_column(Integer(), primary_key=True)
    run: Mapped[str] = mapped_column(unique=True)
    status: Mapped[str]
    request: Mapped[dict[str, Any]] = mapped_column(JSON())
    started: Mapped[dt.datetime]
    finished: Mapped[dt.datetime | None]
    exit_code: Mapped[int | None] = mapped_column(Integer())

    models: Mapped[list["RunModel"]] = relationship(back_populates="of_run", order_by="RunModel.position")


class RunModel(Base):
    """How one model fared in a run."""

    __tablename__ = "run_models"
    __table_args__ = (
        UniqueConstraint("run_id", "key"),
        CheckConstraint("status IN ('pending', 'done', 'failed')", name="status"),
        CheckConstraint("status = 'failed' OR error IS NULL", name="error_only_if_failed"),
    )

    id: Mapped[int] = mapped_column(Integer(), primary_key=True)
    run_id: Mapped[int] = mapped_column(Integer(), ForeignKey("runs.id", ondelete="CASCADE"))
    position: Mapped[int] = mapped_column(Integer())
    key: Mapped[str]
    status: Mapped[str]
    error: Mapped[str | None]
    hint: Mapped[str | None]
    pattern_key: Mapped[str | None] = mapped_column(ForeignKey("patterns.pattern_key"), index=True)

    of_run: Mapped[Run] = relationship(back_populates="models")
    stages: Mapped[list["Stage"]] = relationship(back_populates="of_model", order_by="Stage.id")


class Stage(Base):
    """One stage of one model in one run."""

    __tablename__ = "stages"
    __table_args__ = (
        UniqueConstraint("run_model_id", "stage"),
        CheckConstraint("status IN ('done', 'failed')", name="status"),
        CheckConstraint("seconds >= 0", name="seconds"),
    )

    id: Mapped[int] = mapped_column(Integer(), primary_key=True)
    run_model_id: Mapped[int] = mapped_column(Integer(), ForeignKey("run_models.id", ondelete="CASCADE"))
    stage: Mapped[str]
    key: Mapped[str]
    status: Mapped[str]
    seconds: Mapped[float | None]
    error: Mapped[str | None]

    of_model: Mapped[RunModel] = relationship(back_populates="stages")


class Pattern(Base):
    """What was found in one model under one set of settings, but for its parts below."""

    __tablename__ = "patterns"
    __table_args__ = (
        CheckConstraint("class_margin IS NOT NULL OR special IS NOT NULL", name="margin_or_special"),
        Index(None, "model_id", "confirmed_at"),
    )

    id: Mapped[int] = mapped_column(Integer(), primary_key=True)
    pattern_key: Mapped[str] = mapped_column(unique=True)
    model_id: Mapped[int] = mapped_column(Integer(), ForeignKey("models.id"))
    run_id: Mapped[int] = mapped_column(Integer(), ForeignKey("runs.id"), index=True)
    confirmed_at: Mapped[dt.datetime]
    """When a run last ended with this pattern: the newest is the model's current one."""
    settings: Mapped[dict[str, Any]] = mapped_column(JSON())
    provenance: Mapped[dict[str, Any]] = mapped_column(JSON())
    pattern_class: Mapped[str]
    class_scores: Mapped[dict[str, float]] = mapped_column(FloatsJson())
    class_margin: Mapped[float | None]
    special: Mapped[str | None]
    clusters: Mapped[dict[str, Any]] = mapped_column(JSON())
    frequency_profile: Mapped[dict[str, tuple[float, ...]]] = mapped_column(FloatsJson())


def _pattern_id() -> Mapped[int]:
    """The first column of the key of every part of a pattern."""
    return mapped_column(Integer(), ForeignKey("patterns.id", ondelete="CASCADE"), primary_key=True)


def _position() -> Mapped[int]:
    """The place of a part in its pattern, from 0: with the pattern, the part's key."""
    return mapped_column(Integer(), primary_key=True, autoincrement=False)


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


class RolePattern(Base):
    """All tensors of one role together."""

    __tablename__ = "role_patterns"
    __table_args__ = (
        UniqueConstraint("pattern_id", "role"),
        CheckConstraint("tensors >= 0 AND weights >= 0", name="counts"),
    )

    pattern_id: Mapped[int] = _pattern_id()
    position: Mapped[int] = _position()
    role: Mapped[str]
    tensors: Mapped[int] = mapped_column(Integer())
    weights: Mapped[int]
    pattern_class: Mapped[str | None]


class TensorPattern(Base):
    """One tensor."""

    __tablename__ = "tensor_patterns"
    __table_args__ = (
        UniqueConstraint("pattern_id", "name"),
        CheckConstraint("depth BETWEEN 0 AND 1", name="depth"),
        CheckConstraint("rows >= 0 AND cols >= 0 AND num_weights >= 0", name="counts"),
    )

    pattern_id: Mapped[int] = _pattern_id()
    position: Mapped[int] = _position()
    name: Mapped[str]
    role: Mapped[str]
    block: Mapped[int | None] = mapped_column(Integer())
    depth: Mapped[float | None]
    rows: Mapped[int]
    cols: Mapped[int]
    num_weights: Mapped[int]
    pattern_class: Mapped[str | None]
    class_scores: Mapped[dict[str, float]] = mapped_column(FloatsJson())


class Fit(Base):
    """A fit report: of a tensor, of a role, or (at position 0, and only there) of the model."""

    __tablename__ = "fits"
    __table_args__ = (
        *_owner_keys(),
        UniqueConstraint("pattern_id", "role"),
        UniqueConstraint("pattern_id", "tensor"),
        CheckConstraint(OWNER_CHECK, name="one_owner"),
        CheckConstraint("(position = 0) = (role IS NULL AND tensor IS NULL)", name="model_at_zero"),
        CheckConstraint("scope IN ('tensor', 'model')", name="scope"),
        CheckConstraint("num_weights >= 0 AND parameters >= 0 AND num_nulls >= 0 AND steps >= 0", name="counts"),
        CheckConstraint("special IS NOT NULL OR (" + _is_complete(*REQUIRED_OF_FITS) + ")", name="complete_or_special"),
    )

    pattern_id: Mapped[int] = _pattern_id()
    position: Mapped[int] = _position()
    role: Mapped[int | None] = mapped_column(Integer())
    tensor: Mapped[int | None] = mapped_column(Integer())
    dna_type: Mapped[str]
    scope: Mapped[str]
    order: Mapped[str]
    precision: Mapped[str]
    device: Mapped[str]
    null_model: Mapped[str]
    num_weights: Mapped[int]
    parameters: Mapped[int]
    sampled_weights: Mapped[int | None]
    num_nulls: Mapped[int] = mapped_column(Integer())
    steps: Mapped[int]
    bits_per_weight: Mapped[float | None]
    order_bits_per_weight: Mapped[float | None]
    r2: Mapped[float | None]
    r2_low: Mapped[float | None]
    r2_high: Mapped[float | None]
    null_r2: Mapped[float | None]
    null_r2_std: Mapped[float | None]
    gain: Mapped[float | None]
    svd_r2: Mapped[float | None]
    svd_null_r2: Mapped[float | None]
    svd_gain: Mapped[float | None]
    dct_r2: Mapped[float | None]
    dct_null_r2: Mapped[float | None]
    ceiling_r2: Mapped[float | None]
    bits_per_weight_8bit: Mapped[float | None]
    r2_8bit: Mapped[float | None]
    null_r2_8bit: Mapped[float | None]
    svd_r2_8bit: Mapped[float | None]
    svd_null_r2_8bit: Mapped[float | None]
    ceiling_r2_8bit: Mapped[float | None]
    mse: Mapped[float | None]
    rmse: Mapped[float | None]
    mae: Mapped[float | None]
    smape: Mapped[float | None]
    psnr: Mapped[float | None]
    peak: Mapped[float | None]
    mean_mse: Mapped[float | None]
    mean_psnr: Mapped[float | None]
    seconds: Mapped[float | None]
    special: Mapped[str | None]


class Metric(Base):
    """A statistic beside its null: of a tensor, of a role or of the model."""

    __tablename__ = "metrics"
    __table_args__ = (
        *_owner_keys(),
        CheckConstraint(OWNER_CHECK, name="one_owner"),
        CheckConstraint("value IS NOT NULL OR special IS NOT NULL", name="value_or_special"),
        CheckConstraint("num_nulls >= 0", name="num_nulls"),
        CheckConstraint("p BETWEEN 0 AND 1", name="p"),
    )

    pattern_id: Mapped[int] = _pattern_id()
    position: Mapped[int] = _position()
    role: Mapped[int | None] = mapped_column(Integer())
    tensor: Mapped[int | None] = mapped_column(Integer())
    name: Mapped[str]
    null_model: Mapped[str | None]
    num_nulls: Mapped[int] = mapped_column(Integer())
    value: Mapped[float | None]
    null_mean: Mapped[float | None]
    null_std: Mapped[float | None]
    z: Mapped[float | None]
    p: Mapped[float | None]
    low: Mapped[float | None]
    high: Mapped[float | None]
    special: Mapped[str | None]


class SignatureLayout(Base):
    """The names of a signature's dimensions, once for all the signatures that have them."""

    __tablename__ = "signature_layouts"
    __table_args__ = (CheckConstraint("length >= 0", name="length"),)

    id: Mapped[int] = mapped_column(Integer(), primary_key=True)
    digest: Mapped[str] = mapped_column(unique=True)
    version: Mapped[str]
    length: Mapped[int] = mapped_column(Integer())
    names: Mapped[list[str]] = mapped_column(JSON())


class Signature(Base):
    """A model's vector, packed by `patterndb.floats.pack`; `z` and `p` are NULL where the signature has none."""

    __tablename__ = "signatures"
    __table_args__ = (
        CheckConstraint("length(packed_z) = length(packed_values)", name="z_length"),
        CheckConstraint("length(packed_p) = length(packed_values)", name="p_length"),
    )

    pattern_id: Mapped[int] = _pattern_id()
    layout_id: Mapped[int] = mapped_column(Integer(), ForeignKey("signature_layouts.id"), index=True)
    packed_values: Mapped[bytes]
    packed_z: Mapped[bytes | None]
    packed_p: Mapped[bytes | None]


class Artifact(Base):
    """A file that the run left behind."""

    __tablename__ = "artifacts"
    __table_args__ = (CheckConstraint("num_bytes >= 0", name="num_bytes"),)

    pattern_id: Mapped[int] = _pattern_id()
    position: Mapped[int] = _position()
    kind: Mapped[str]
    path: Mapped[str]
    sha256: Mapped[str]
    num_bytes: Mapped[int]
