"""What the pattern database takes and gives: frozen records, never rows.

The pipeline fills these in, the store keeps them, the command line prints them. Floats may be NaN or infinite where a
statistic is; the store keeps them so. Roles, axes and model kinds are plain strings here: this package knows
nothing of the zoo. What a field means stands next to its type (`patterndb.fields`).
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

__all__ = [
    "RELATED",
    "Activity",
    "ArtifactRecord",
    "ChosenSettings",
    "FitRecord",
    "Invocation",
    "ModelEntry",
    "ModelRecord",
    "Neighbour",
    "PairDistances",
    "PatternRecord",
    "PatternSummary",
    "RoleEntry",
    "RoleRecord",
    "RunModelRecord",
    "RunRecord",
    "SignatureEntry",
    "SignatureRecord",
    "StageCost",
    "StageRecord",
    "Statistic",
    "TensorEntry",
    "TensorRecord",
]

RELATED = 0.95
"""The one threshold for all architectures: at this distance of weights or nearer, models count as related. Set on four
architectures, where none of 28,828 unrelated pairs is as near (`benchmarks/retrieval.py`)."""
CLASS_MEANING = "Winning class: smooth, structured, noisy, sparse or dense; empty where none was given."


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistic:
    """A measured value and its null (`pipeline.analyse.evidence`)."""

    name: Annotated[str, "Name of the statistic."]
    value: Annotated[float, "The statistic's value, in its own unit."]
    null: Annotated[str | None, "Null: shuffle, means, rotate, gaussian or reorder; empty for a description."] = None
    num_nulls: Annotated[int, "Number of draws of the null."] = 0
    null_mean: Annotated[float | None, "Mean over the draws of its null, in the statistic's unit."] = None
    null_std: Annotated[float | None, "Standard deviation over the draws of its null, in the statistic's unit."] = None
    z: Annotated[
        float | None, "(value - null mean) / null standard deviation; empty with fewer than two nulls or no spread."
    ] = None
    p: Annotated[
        float | None,
        "Two-sided p-value: the doubled rank of the value among itself and the draws of its null, or among"
        " recombinations of the values and draws of several tensors.",
    ] = None
    low: Annotated[
        float | None, "Lower end of the 95 % interval over the choice of rows; empty where all rows were used."
    ] = None
    high: Annotated[
        float | None, "Upper end of the 95 % interval over the choice of rows; empty where all rows were used."
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRecord:
    """The fit report of one set of tensors: a DNA, its null, SVD at its size, the mean predictor and the bound.

    The database's columns, the exported columns `fit_...` and the keys `fit....` of docs/json.md follow from it.
    """

    dna_type: Annotated[str, "Kind of DNA: separable, spectral, hierarchical or adaptive."]
    scope: Annotated[str, "tensor: one DNA for each tensor; model: one for all."]
    order: Annotated[str, "Order of rows and columns in the fit: raw (as in the file) or seriated (canonical)."]
    precision: Annotated[str, "Arithmetic of the fit: fp32, bf16 or fp16."]
    device: Annotated[str, "Device of the fit."]
    num_weights: Annotated[int, "Weights that the fit stands for."]
    parameters: Annotated[int, "Parameters of the DNA: of its networks, and the mean and scale of each tensor."]
    bits_per_weight: Annotated[
        float, "All that must be stored, in bits per weight: parameters at their precision, permutations, signs."
    ]
    order_bits_per_weight: Annotated[float, "Share of permutations and signs in `bits_per_weight`."]
    r2: Annotated[float, "R2 of the fit on the original weights; 1 is perfect, 0 what the mean gives."]
    r2_low: Annotated[float | None, "Lower end of the 95 % interval of `r2`, where it was taken on a sample."] = None
    r2_high: Annotated[float | None, "Upper end of the 95 % interval of `r2`, where it was taken on a sample."] = None
    sampled_weights: Annotated[int | None, "Weights in that sample; empty if `r2` is over all."] = None
    additive_r2: Annotated[
        float | None,
        "R2 of the additive model: of the row means and column means that pay for themselves; 0 where none do.",
    ] = None
    additive_numbers: Annotated[int | None, "How many means these are."] = None
    null: Annotated[str, "Null model that the same fit was put through."] = "shuffle"
    num_nulls: Annotated[int, "Number of draws of the null that were fitted."] = 0
    null_r2: Annotated[float | None, "Mean R2 of the fits of the null."] = None
    null_r2_std: Annotated[float | None, "Standard deviation of the R2 of the null's fits."] = None
    gain: Annotated[float | None, "Gain over the null: `r2` - `null_r2`."] = None
    means_null_r2: Annotated[
        float | None,
        "Mean R2 of the fits of the null that keeps row and column means; the same as `null_r2` where no means pay.",
    ] = None
    means_null_r2_std: Annotated[float | None, "Standard deviation of the R2 of these fits."] = None
    gain_beyond_means: Annotated[
        float | None, "Structure gain: `r2` - `means_null_r2`, what is beyond the means and beyond chance."
    ] = None
    svd_r2: Annotated[
        float,
        "R2 of truncated SVD with as many parameters, between whole ranks interpolated; it may buy the means first.",
    ]
    svd_null_r2: Annotated[float | None, "R2 of that SVD on the null."] = None
    svd_gain: Annotated[float | None, "`svd_r2` - `svd_null_r2`."] = None
    svd_means_null_r2: Annotated[float | None, "R2 of that SVD on the null that keeps the means."] = None
    dct_r2: Annotated[
        float | None,
        "R2 of the largest coefficients of the cosine transform, a place and a value each, with as many parameters.",
    ] = None
    dct_null_r2: Annotated[float | None, "R2 of those on the null."] = None
    ceiling_r2: Annotated[
        float,
        "The most R2 that a code of so many bits has on independent Gaussian weights with these tensors' variances.",
    ]
    bits_per_weight_8bit: Annotated[
        float | None,
        "`bits_per_weight` with the DNA's weights at 8 bits, scales counted; empty in old fits.",
    ] = None
    r2_8bit: Annotated[float | None, "R2 of that DNA."] = None
    null_r2_8bit: Annotated[float | None, "Mean R2 of the null's DNAs at 8 bits."] = None
    svd_r2_8bit: Annotated[
        float | None,
        "R2 of truncated SVD with factors at 8 bits and as many bits in all, those of the DNA's order included.",
    ] = None
    svd_null_r2_8bit: Annotated[float | None, "R2 of that SVD on the null."] = None
    svd_bits_width: Annotated[
        int | None, "Bits of a number, 8, 6, 4 or 3, at which that SVD holds most with as many bits in all."
    ] = None
    svd_bits_r2: Annotated[float | None, "R2 of truncated SVD at that width."] = None
    svd_bits_null_r2: Annotated[float | None, "R2 of that SVD on the null, at the width that is best there."] = None
    dct_bits_r2: Annotated[
        float | None,
        "R2 of the largest coefficients of the cosine transform of the matrix in the DNA's order, with as many bits in"
        " all, those of the order included.",
    ] = None
    dct_bits_null_r2: Annotated[float | None, "R2 of those on the null."] = None
    ceiling_r2_8bit: Annotated[float | None, "`ceiling_r2` at `bits_per_weight_8bit`."] = None
    mse: Annotated[float, "Mean squared error, in squared units of the weights."]
    rmse: Annotated[float, "Root mean squared error, in units of the weights."]
    mae: Annotated[float, "Mean absolute error, in units of the weights."]
    smape: Annotated[float, "Symmetric mean absolute percentage error, 0 to 200 %."]
    psnr: Annotated[float, "Peak signal-to-noise ratio in dB, for the peak `peak`."]
    peak: Annotated[float, "max - min of the original weights."]
    mean_mse: Annotated[float, "Mean squared error of the mean predictor (each tensor's own mean)."]
    mean_psnr: Annotated[float, "PSNR of the mean predictor in dB: what explaining nothing scores."]
    steps: Annotated[int, "Optimiser steps of the fit."]
    seconds: Annotated[float, "Time of the fit in seconds."]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRecord:
    """One tensor of a pattern: what it is, its statistics, its fit."""

    name: Annotated[str, "Name of the tensor in the file, with [query] and the like for a part of a fused one."]
    role: Annotated[str, "What the tensor does in its network."]
    block: Annotated[int | None, "Index of its block in execution order, from 0; empty outside the blocks."]
    depth: Annotated[
        float | None, "(block + 0.5) / number of blocks; 0 for embeddings, 1 for heads, empty without meaning."
    ]
    rows: Annotated[int, "Rows of its matrix view; 1 for vectors."]
    cols: Annotated[int, "Columns of its matrix view."]
    num_weights: Annotated[int, "rows times cols."]
    pattern_class: Annotated[str | None, CLASS_MEANING] = None
    class_scores: Mapping[str, float] = field(default_factory=dict)
    fit: FitRecord | None = None
    statistics: tuple[Statistic, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleRecord:
    """All tensors of one role together."""

    role: Annotated[str, "What the tensors do in their network."]
    tensors: Annotated[int, "Number of tensors."]
    weights: Annotated[int, "Number of weights in them."]
    pattern_class: Annotated[str | None, CLASS_MEANING] = None
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

    key: Annotated[str, "Name that the model is asked for by."]
    sha256: Annotated[str, "sha256 of the weight file, or of the concatenated digests of its shards."]
    repo: Annotated[str | None, "Repository on the Hugging Face hub; empty for a local directory."] = None
    revision: Annotated[str | None, "Commit in that repository, 40 hex digits."] = None
    tier: Annotated[int | None, "Tier in the zoo, 1 to 5; empty for a model without a card."] = None
    modality: Annotated[str | None, "What the model was trained on: text, vision, audio, code, ..."] = None
    family: Annotated[str | None, "Family of architectures: bert, gpt2, vit, ..."] = None
    architecture: Annotated[str | None, "encoder, decoder, encoder-decoder, cnn or hybrid."] = None
    specialty: Annotated[str | None, "What it is made for: general, multilingual, code, science, ..."] = None
    objective: Annotated[str | None, "Training objective: masked-lm, causal-lm, classification, ..."] = None
    is_distilled: Annotated[bool | None, "Whether it was distilled from another model."] = None
    shares_layers: Annotated[
        bool | None, "Whether one stored layer serves for several, so that depth has no meaning."
    ] = None
    licence: Annotated[str | None, "Licence of the weights as stated by their authors."] = None
    parents: Annotated[tuple[str, ...], "Models it was made from, as stated, separated by semicolons."] = ()
    num_weights: Annotated[int, "Trained weights in the file: tied ones once, buffers not."] = 0
    num_tensors: Annotated[int, "Trained tensors in the file."] = 0
    quantisation: Annotated[
        str | None, "Scheme by which weights are quantised in the file; empty for plain numbers."
    ] = None
    stored_bits: Annotated[float | None, "Bits in the file of one of these weights, scales included."] = None
    read_bytes: Annotated[int | None, "Bytes of tensors in the file that were read as weights."] = None
    tied_bytes: Annotated[int | None, "Bytes of second copies."] = None
    buffer_bytes: Annotated[int | None, "Bytes of tensors that were never trained."] = None
    unreadable_bytes: Annotated[int | None, "Bytes of tensors that could not be read."] = None
    is_partial: Annotated[bool | None, "Whether a considerable share of the model could not be read."] = None
    wiring_source: Annotated[
        str | None, "What says roles and axes of tensors: `names`, or `names and tracing` of the architecture's code."
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactRecord:
    """A file the run left behind, relative to the home folder."""

    kind: str
    """`checkpoint`, `summary`, `training_history`, `order`, `log`."""
    path: str
    sha256: str
    num_bytes: int
    url: str | None = None
    """Where other machines find it; None if it is in the home folder alone."""


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

    @property
    def num_nulls(self) -> int:
        """Draws of the null that the statistics of a tensor have; those of the fit are its own."""
        return max((each.num_nulls for each in self.statistics if not each.name.startswith("fit.")), default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenSettings:
    """Of the settings of a pattern those that a table shows; None where an old pattern does not say."""

    preset: Annotated[str | None, "Preset that the settings started from."] = None
    budget: Annotated[float | None, "Parameters of the DNA as a share of the weights, as it was asked for."] = None
    epochs: Annotated[int | None, "Passes over the weights, as it was asked for."] = None
    seed: Annotated[int | None, "Random seed."] = None


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
    chosen: ChosenSettings = ChosenSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """One version of a model, in one line: a pattern, and what people say of its model key."""

    model: ModelRecord
    pattern_key: str
    run: str
    confirmed_at: dt.datetime
    """When a run last ended with it."""
    is_current: bool
    """Whether it is the newest pattern of its model key."""
    chosen: ChosenSettings
    device: str | None
    pattern_class: str
    class_margin: float | None
    r2: float | None
    null_r2: float | None
    """Of the null that keeps the means, where it was fitted."""
    gain: float | None
    """`r2` - `null_r2`."""
    bits_per_weight: float | None
    patterns: int = 1
    """Patterns that are kept under its key."""
    versions: int = 1
    """Different weights among them."""
    tags: tuple[str, ...] = ()
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureEntry:
    """What comparing models takes: the signature of a model's current pattern, and what the model is."""

    model: ModelRecord
    pattern_key: str
    pattern_class: str
    signature: SignatureRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class PairDistances:
    """How near two models are, by their weights and by their kind (`patterndb.similarity`)."""

    is_same_file: bool
    """Whether the files of weights are equal."""
    weights: float | None
    """0 for copies, 1 for unrelated weights; None where they cannot be compared."""
    weights_percentile: float | None
    """Among all pairs that have this distance: 0 the nearest, 100 the farthest; None where there is one pair."""
    kind: float | None
    """Root mean square difference of the statistics both have; None if they have none in common."""
    kind_percentile: float | None
    """As above."""
    weights_percentile_error: float | None = None
    """Standard error of `weights_percentile` where it is among a random sample of pairs; None where among all."""
    kind_percentile_error: float | None = None
    """As above."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour(PairDistances):
    """A model near another."""

    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorEntry:
    """A tensor of a model's current pattern, for tables over all models."""

    model: str
    pattern_key: str
    tensor: TensorRecord
    chosen: ChosenSettings = ChosenSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleEntry:
    """A role of a model's pattern, likewise."""

    model: str
    pattern_key: str
    role: RoleRecord
    chosen: ChosenSettings = ChosenSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRecord:
    """One stage of one model in one run."""

    stage: str
    key: str
    status: str
    """`done`, `failed`."""
    is_reused: bool | None = None
    """Whether an earlier run, or an earlier model of this one, had left its result; None in runs of older versions."""
    seconds: float | None = None
    """Of the attempt that made the result, whichever run that was in."""
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCost:
    """What a stage took, and what it had to do."""

    stage: str
    key: str
    seconds: float
    num_weights: int
    """Of the model."""
    settings: Mapping[str, Any]
    """Of the mining."""


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

    @property
    def is_reused(self) -> bool:
        """Whether all that had to be computed was there already; fetching and saving compute nothing."""
        computed = [each.is_reused for each in self.stages if each.stage not in ("fetch", "persist")]
        return self.status == "done" and bool(computed) and all(computed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """A stage that is at work in a run: how far it was when the run last told."""

    model: str
    stage: str
    done: float = 0
    total: float = 0
    """0 where it is not known."""
    unit: str = ""
    seconds: float = 0
    """Since the stage began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """Which process a run is, and how it was called."""

    host: str | None = None
    """Name of the machine, for people."""
    user: str | None = None
    machine: str | None = None
    """What tells this start of this machine (and of this container) from all others; None where nothing does."""
    pid: int | None = None
    process_start: str | None = None
    """When the process began: another process with the same number began at another time."""
    command: str | None = None
    """The command line, without secrets; None where Python called."""
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One invocation of `mine`: what was asked, by whom and where, how it ended."""

    run: str
    status: str
    """`running`, `done`, `failed`, `partial`, `interrupted`; `lost` where it is said to run and its process is gone."""
    request: Mapping[str, Any]
    started: dt.datetime
    finished: dt.datetime | None
    exit_code: int | None
    request_key: str = ""
    """Content key of what was asked: the same in every run of the same request."""
    seconds: float | None = None
    """How long it took by a clock that nobody sets; None while it runs, and in runs of older versions."""
    stopped_by: str | None = None
    """The signal that ended it: SIGINT is Ctrl-C."""
    error: str | None = None
    """Why the run as a whole ended early."""
    heartbeat: dt.datetime | None = None
    """When it last told that it lives."""
    at_work: tuple[Activity, ...] = ()
    """What it was doing then; nothing once it has ended."""
    invocation: Invocation = Invocation()
    models: tuple[RunModelRecord, ...] = ()

    @property
    def folder(self) -> str:
        """Name of the folder of its files, which all runs of one request share."""
        return self.request_key or self.run

    @property
    def last_activity(self) -> dt.datetime:
        """When something was last heard of it."""
        return self.finished or self.heartbeat or self.started

    @property
    def counts(self) -> Mapping[str, int]:
        """Models that are `done` (something was computed), `reused`, `failed` and `pending`."""
        found = ["reused" if model.is_reused else model.status for model in self.models]
        return {name: found.count(name) for name in ("done", "reused", "failed", "pending")}
