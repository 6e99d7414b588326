"""The fit reports of one model: of all that was fitted, of each role, of each tensor, of all matrices in the blocks."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from patterndb.records import FitRecord, Statistic
from pipeline.fit.report import FitCost, TensorFit, report
from pipeline.settings import FitSettings

__all__ = ["FitReports", "FittedModel", "report_model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedModel:
    """What the fit stage leaves for the record."""

    tensors: tuple[TensorFit, ...]
    cost: FitCost
    history: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitReports:
    """All reports of a model; empty where nothing was fitted."""

    model: FitRecord | None = None
    roles: Mapping[str, FitRecord] = field(default_factory=dict)
    tensors: Mapping[str, FitRecord] = field(default_factory=dict)
    block_statistics: tuple[Statistic, ...] = ()
    """Of the matrices inside the blocks together: no embeddings, no heads."""


def report_model(fitted: FittedModel | None, settings: FitSettings, *, in_blocks: Collection[str]) -> FitReports:
    """The reports of a fit; `in_blocks` names the tensors that lie inside a block."""
    if fitted is None or not fitted.tensors:
        return FitReports()
    cost = fitted.cost

    def grouped(name_of: Callable[[TensorFit], str]) -> dict[str, FitRecord]:
        groups: dict[str, list[TensorFit]] = defaultdict(list)
        for each in fitted.tensors:
            groups[name_of(each)].append(each)
        return {name: report(group, settings, cost) for name, group in groups.items()}

    inside = [each for each in fitted.tensors if each.name in in_blocks]
    return FitReports(
        model=report(fitted.tensors, settings, cost),
        roles=grouped(lambda each: each.role),
        tensors=grouped(lambda each: each.name),
        block_statistics=_block_statistics(report(inside, settings, cost), len(inside)) if inside else (),
    )


def _block_statistics(fit: FitRecord, num_tensors: int) -> tuple[Statistic, ...]:
    def with_null(name: str, value: float, null: float | None, std: float | None = None) -> Statistic:
        return Statistic(
            name=f"fit.blocks.{name}",
            value=value,
            null=fit.null,
            num_nulls=fit.num_nulls,
            null_mean=null,
            null_std=std,
            z=(value - null) / std if null is not None and std else None,
        )

    return (
        with_null("r2", fit.r2, fit.null_r2, fit.null_r2_std),
        with_null("svd_r2", fit.svd_r2, fit.svd_null_r2),
        *(
            Statistic(name=f"fit.blocks.{name}", value=value)
            for name, value in (("additive_r2", fit.additive_r2), ("means_null_r2", fit.means_null_r2))
            if value is not None
        ),
        Statistic(name="fit.blocks.bits_per_weight", value=fit.bits_per_weight),
        Statistic(name="fit.blocks.weights", value=float(fit.num_weights)),
        Statistic(name="fit.blocks.tensors", value=float(num_tensors)),
    )
