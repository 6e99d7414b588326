"""What an analysis found, as the records that the database keeps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from patterndb.records import RoleRecord, SignatureRecord, Statistic, TensorRecord
from pipeline.analyse.aggregation import TensorAnalysis
from pipeline.analyse.classes import classify
from pipeline.analyse.stage import ModelAnalysis

__all__ = ["Findings", "findings_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What analysis says of a model; the records of tensors and roles still lack their fits."""

    tensors: tuple[TensorRecord, ...]
    roles: tuple[RoleRecord, ...]
    statistics: tuple[Statistic, ...]
    signature: SignatureRecord
    pattern_class: str
    class_scores: Mapping[str, float]
    class_margin: float
    clusters: Mapping[str, Any]
    frequency_profile: Mapping[str, tuple[float, ...]]


def findings_of(analysis: ModelAnalysis) -> Findings:
    """An analysis as records."""
    return Findings(
        tensors=tuple(_tensor_record(item) for item in analysis.tensors),
        roles=tuple(
            RoleRecord(
                role=item.role.value,
                tensors=item.tensors,
                weights=item.weights,
                pattern_class=item.classification.pattern_class if item.classification else None,
                statistics=item.statistics,
            )
            for item in analysis.roles
        ),
        statistics=analysis.statistics,
        signature=analysis.signature,
        pattern_class=analysis.classification.pattern_class,
        class_scores=dict(analysis.classification.scores),
        class_margin=analysis.classification.margin,
        clusters={role: dict(summary) for role, summary in analysis.clusters.items()},
        frequency_profile=dict(analysis.frequency_profile),
    )


def _tensor_record(item: TensorAnalysis) -> TensorRecord:
    """A vector has no class. `rows_used` says how many canonical rows stand for a tensor that was sampled."""
    spec, sampling = item.spec, Statistic(name="rows_used", value=float(item.rows_used))
    classification = classify([item]) if spec.is_matrix else None
    return TensorRecord(
        name=spec.name,
        role=spec.role.value,
        block=spec.block,
        depth=spec.depth,
        rows=spec.rows,
        cols=spec.cols,
        num_weights=spec.num_weights,
        pattern_class=classification.pattern_class if classification else None,
        class_scores=dict(classification.scores) if classification else {},
        statistics=(*item.statistics, sampling) if item.is_sampled else item.statistics,
    )
