"""What the pattern database takes and gives: frozen records, never rows.

The pipeline fills these in, the store keeps them, the command line prints them. Floats may be NaN or infinite where a
statistic is; the store keeps them so. Roles, axes and model kinds are plain strings here: this package knows
nothing of the zoo. What a field means stands next to its type (`patterndb.fields`).
"""

from patterndb.records.listed import (
    RELATED,
    ChosenSettings,
    ModelEntry,
    Neighbour,
    PairDistances,
    PatternSummary,
    RoleEntry,
    SignatureEntry,
    TensorEntry,
)
from patterndb.records.measured import FitRecord, RoleRecord, SignatureRecord, Statistic, TensorRecord
from patterndb.records.models import ArtifactRecord, ModelRecord, PatternRecord
from patterndb.records.runs import Activity, Invocation, RunModelRecord, RunRecord, StageCost, StageRecord

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
