"""What the pattern database takes and gives: frozen records, never rows.

The pipeline fills these in, the store keeps them, the command line prints them. Floats may be NaN or infinite where a
statistic is; the store keeps them so. Roles, axes and model kinds are plain strings here: this package knows
nothing of the zoo.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "ArtifactRecord",
    "FitRecord",
    "ModelRecord",
    "PatternRecord",
    "PatternSummary",
    "RoleRecord",
    "RunModelRecord",
    "RunRecord",
    "SignatureEntry",
    "SignatureRecord",
    "StageRecord",
    "Statistic",
    "TensorEntry",
    "TensorRecord",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistic:
    """A measured value beside its null.

    `null` names the null model (`shuffle`, `rotate`, `gaussian`), None for a plain description that has none.
    `z` is None with fewer than two nulls or a null of zero spread. `p` is (k + 1) / (n + 1), k the number of nulls at
    least as extreme, two-sided about the null mean. `low` and `high` are the 95 % interval over the choice of rows,
    where a sample of them stands for the tensor.
    """

    name: str
    value: float
    null: str | None = None
    num_nulls: int = 0
    null_mean: float | None = None
    null_std: float | None = None
    z: float | None = None
    p: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRecord:
    """The fit report of one set of tensors: a DNA beside its null, SVD at its size, the mean and the bound."""

    dna_type: str
    scope: str
    """`tensor` (one DNA each) or `model` (one DNA for all)."""
    order: str
    """`raw` or `seriated`."""
    precision: str
    device: str
    num_weights: int
    parameters: int
    """Of the DNA: network parameters plus mean and scale of each tensor."""
    bits_per_weight: float
    """All that must be stored: parameters at their precision, means, scales, permutations and signs."""
    order_bits_per_weight: float
    """The share of permutations and signs in `bits_per_weight`."""
    r2: float
    r2_low: float | None = None
    """95 % interval, where R2 was evaluated on a sample of the weights."""
    r2_high: float | None = None
    sampled_weights: int | None = None
    null: str = "shuffle"
    num_nulls: int = 0
    null_r2: float | None = None
    null_r2_std: float | None = None
    gain: float | None = None
    """Structure gain: `r2 - null_r2`."""
    svd_r2: float
    """Truncated SVD with the same number of parameters, fractional ranks interpolated."""
    svd_null_r2: float | None = None
    svd_gain: float | None = None
    dct_r2: float | None = None
    """The largest coefficients of the cosine transform, a place and a value each, with as many parameters in all."""
    dct_null_r2: float | None = None
    ceiling_r2: float
    """1 - 2^(-2 bits): the most any code of this size reaches on iid Gaussian weights."""
    bits_per_weight_8bit: float | None = None
    """The same sum with the DNA's weights at 8 bits, their scales counted."""
    r2_8bit: float | None = None
    null_r2_8bit: float | None = None
    svd_r2_8bit: float | None = None
    """Truncated SVD with factors at 8 bits and as many bits in all, the bits of the DNA's order included."""
    svd_null_r2_8bit: float | None = None
    ceiling_r2_8bit: float | None = None
    mse: float
    rmse: float
    mae: float
    smape: float
    """Symmetric mean absolute percentage error, in [0, 200] %."""
    psnr: float
    """dB, peak = `peak`."""
    peak: float
    """max - min of the original weights."""
    mean_mse: float
    """Of the mean predictor (each tensor's own mean)."""
    mean_psnr: float
    steps: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRecord:
    """One tensor of a pattern: what it is, its statistics, its fit."""

    name: str
    role: str
    block: int | None
    depth: float | None
    rows: int
    cols: int
    num_weights: int
    pattern_class: str | None = None
    class_scores: Mapping[str, float] = field(default_factory=dict)
    fit: FitRecord | None = None
    statistics: tuple[Statistic, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleRecord:
    """All tensors of one role together."""

    role: str
    tensors: int
    weights: int
    pattern_class: str | None = None
    fit: FitRecord | None = None
    """None for roles that are not fitted (norms, biases)."""
    statistics: tuple[Statistic, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureRecord:
    """A model as a fixed-length float32 vector; `values[i]` is None where the model has nothing for a dimension."""

    version: str
    names: tuple[str, ...]
    values: tuple[float | None, ...]
    z: tuple[float | None, ...] = ()
    p: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecord:
    """The mined checkpoint. `sha256` identifies the weights; `key` is the name people ask by."""

    key: str
    sha256: str
    """Of the weight file, or of the concatenated digests of its shards."""
    repo: str | None = None
    revision: str | None = None
    tier: int | None = None
    modality: str | None = None
    family: str | None = None
    architecture: str | None = None
    specialty: str | None = None
    objective: str | None = None
    is_distilled: bool | None = None
    shares_layers: bool | None = None
    licence: str | None = None
    parents: tuple[str, ...] = ()
    num_weights: int = 0
    """Trained weights in the file, tied ones once, buffers not."""
    num_tensors: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactRecord:
    """A file the run left behind, relative to the home folder."""

    kind: str
    """`checkpoint`, `summary`, `training_history`, `order`, `log`."""
    path: str
    sha256: str
    num_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternRecord:
    """Everything found in one model under one set of settings."""

    model: ModelRecord
    pattern_key: str
    """Content key: the same weights, settings, seed, device kind and stage versions give the same key."""
    run: str
    settings: Mapping[str, Any]
    provenance: Mapping[str, Any]
    """Versions, device, seed."""
    pattern_class: str
    class_scores: Mapping[str, float]
    class_margin: float
    fit: FitRecord | None
    """Over all fitted tensors together; None where nothing could be fitted."""
    roles: tuple[RoleRecord, ...]
    tensors: tuple[TensorRecord, ...]
    signature: SignatureRecord
    statistics: tuple[Statistic, ...] = ()
    """Of the model as a whole."""
    clusters: Mapping[str, Any] = field(default_factory=dict)
    """Finite JSON for `compare`'s cluster overlap: role -> `labels` of the rows (a list, or one for each tensor by
    name), and `centroids` with their `weights`, or `norms` with their `sizes`."""
    frequency_profile: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Role -> band energies (null-calibrated), for `compare`'s frequency correlation."""
    artifacts: tuple[ArtifactRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternSummary:
    """A pattern in short, for lists."""

    model: ModelRecord
    pattern_key: str
    run: str
    confirmed_at: dt.datetime
    """When a run last ended with it."""
    is_current: bool
    """Whether it is the newest pattern of its model key."""
    pattern_class: str
    class_scores: Mapping[str, float]
    class_margin: float
    fit: FitRecord | None
    signature_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureEntry:
    """What comparing models takes: the signature of a model's current pattern, and what the model is."""

    model: ModelRecord
    pattern_key: str
    pattern_class: str
    signature: SignatureRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorEntry:
    """A tensor of a model's current pattern, for tables over all models."""

    model: str
    pattern_key: str
    tensor: TensorRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRecord:
    """One stage of one model in one run."""

    stage: str
    key: str
    status: str
    """`done`, `failed`."""
    seconds: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunModelRecord:
    """How one model fared in a run."""

    key: str
    status: str
    """`pending`, `done`, `failed`."""
    error: str | None = None
    hint: str | None = None
    pattern_key: str | None = None
    stages: tuple[StageRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One `mine`: what was asked, how it ended."""

    run: str
    status: str
    """`running`, `done`, `failed`, `partial`, `interrupted`."""
    request: Mapping[str, Any]
    started: dt.datetime
    finished: dt.datetime | None
    exit_code: int | None
    models: tuple[RunModelRecord, ...] = ()
