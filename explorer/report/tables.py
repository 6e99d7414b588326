"""The tables of a report: models, and the fits of their roles beside their nulls. Text from outside is as it came."""

from collections.abc import Sequence

from patterndb.records import FitRecord, PatternRecord
from pipeline.analyse.sentences import judge

__all__ = ["Rows", "model_rows", "role_rows"]

Rows = list[list[str]]
"""The heading first."""


def model_rows(patterns: Sequence[PatternRecord]) -> Rows:
    """A row a model: what it is, its class, and its fit beside the null that keeps the means."""
    head = [
        "model",
        "kind",
        "licence",
        "weights",
        "class",
        "margin",
        "findings",
        "R²",
        "null R²",
        "gain",
        "SVD R²",
        "bits/weight",
    ]
    return [head, *(_model_row(each) for each in patterns)]


def _model_row(pattern: PatternRecord) -> list[str]:
    model, judged = pattern.model, judge(pattern.statistics).values()
    kind = " ".join(part for part in (model.modality, model.family, model.architecture) if part)
    return [
        model.key,
        kind or "–",
        model.licence or "–",
        f"{model.num_weights:,}",
        pattern.pattern_class,
        f"{pattern.class_margin:.2f}",
        f"{sum(each.is_found for each in judged)} of {sum(each.q is not None for each in judged)}",
        *_fit_cells(pattern.fit),
    ]


def role_rows(pattern: PatternRecord) -> Rows:
    """A row a role that was fitted."""
    head = ["role", "tensors", "weights", "R²", "null R²", "gain", "SVD R²", "bits/weight", "class"]
    rows = [
        [
            role.role,
            f"{role.tensors:,}",
            f"{role.weights:,}",
            *_fit_cells(role.fit),
            role.pattern_class or "–",
        ]
        for role in pattern.roles
        if role.fit is not None
    ]
    return [head, *rows]


def _fit_cells(fit: FitRecord | None) -> list[str]:
    if fit is None:
        return ["–"] * 5
    return [
        _number(fit.r2),
        _number(fit.strictest_null_r2),
        _number(fit.strictest_gain, "+"),
        _number(fit.svd_r2),
        f"{fit.bits_per_weight:.2f}",
    ]


def _number(value: float | None, sign: str = "") -> str:
    return "–" if value is None else f"{value:{sign}.3f}"
