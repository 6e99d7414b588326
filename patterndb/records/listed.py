"""What is read for lists and tables: patterns, models, tensors and pairs in short."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from patterndb.records.measured import FitRecord, RoleRecord, SignatureRecord, TensorRecord
from patterndb.records.models import ModelRecord

__all__ = [
    "RELATED",
    "ChosenSettings",
    "ModelEntry",
    "Neighbour",
    "PairDistances",
    "PatternSummary",
    "RoleEntry",
    "SignatureEntry",
    "TensorEntry",
]

RELATED = 0.95
"""The one threshold for all architectures: at this distance of weights or nearer, models count as related. Set on four
architectures, where none of 28,828 unrelated pairs is as near (`benchmarks/retrieval.py`)."""


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
