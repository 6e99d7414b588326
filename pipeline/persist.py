"""Persist: put together what the stages found, write the run's folder, keep the pattern in the database.

The only stage that touches the database. What it writes depends on the stages' results alone, so a run that was killed
and resumed leaves the same rows and files as one that was not.
"""

import hashlib
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

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
from patterndb.store import PatternDatabase
from pipeline.analyse.aggregation import TensorAnalysis
from pipeline.analyse.classes import classify
from pipeline.analyse.stage import ModelAnalysis
from pipeline.fetch.model_card import CARD_NAME, describe
from pipeline.fit.report import FitCost, TensorFit, report
from pipeline.settings import MineSettings
from pipeline.stages import write_json
from pipeline.weights.files import WeightFiles
from pipeline.weights.inventory import Inventory

__all__ = [
    "PERSIST_VERSION",
    "Findings",
    "FittedModel",
    "are_intact",
    "build_pattern",
    "findings_of",
    "model_record",
    "persist",
    "summary_of",
    "write_run_folder",
]

PERSIST_VERSION = "2"
TIMES = {"seconds"}
"""Keys left out of the run's files, which are to be the same whenever and however often they are written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What analysis says of a model, as the database keeps it; the fits still missing."""

    tensors: tuple[TensorRecord, ...]
    roles: tuple[RoleRecord, ...]
    statistics: tuple[Statistic, ...]
    signature: SignatureRecord
    pattern_class: str
    class_scores: Mapping[str, float]
    class_margin: float
    clusters: Mapping[str, Any]
    frequency_profile: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedModel:
    """What the fit stage leaves for the record."""

    tensors: tuple[TensorFit, ...]
    cost: FitCost
    history: tuple[Mapping[str, Any], ...]


def findings_of(analysis: ModelAnalysis) -> Findings:
    """An analysis as records."""
    return Findings(
        tensors=tuple(
            TensorRecord(
                name=item.spec.name,
                role=item.spec.role.value,
                block=item.spec.block,
                depth=item.spec.depth,
                rows=item.spec.rows,
                cols=item.spec.cols,
                num_weights=item.spec.num_weights,
                **_class_of(item),
                statistics=item.statistics + _sampling(item),
            )
            for item in analysis.tensors
        ),
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


def _class_of(item: TensorAnalysis) -> dict[str, Any]:
    """The class of one matrix; a vector has none."""
    if not item.spec.is_matrix:
        return {}
    classification = classify([item])
    return {"pattern_class": classification.pattern_class, "class_scores": dict(classification.scores)}


def _sampling(item: TensorAnalysis) -> tuple[Statistic, ...]:
    """How many canonical rows stand for a tensor that was analysed on a sample of them."""
    return (Statistic(name="rows_used", value=float(item.rows_used)),) if item.is_sampled else ()


def build_pattern(
    files: WeightFiles,
    inventory: Inventory,
    findings: Findings,
    fitted: FittedModel | None,
    settings: MineSettings,
    *,
    run: str,
    pattern_key: str,
    provenance: Mapping[str, Any],
) -> PatternRecord:
    """The record of one mined model, without its artifacts."""
    fits = {item.name: item for item in fitted.tensors} if fitted else {}

    def record(names: Sequence[str]) -> FitRecord | None:
        chosen = [fits[name] for name in names if name in fits]
        return report(chosen, settings.fit, fitted.cost) if fitted and chosen else None

    def block_statistics() -> tuple[Statistic, ...]:
        names = [tensor.name for tensor in findings.tensors if tensor.block is not None and tensor.name in fits]
        pooled = record(names)
        return _block_statistics(pooled, len(names)) if pooled else ()

    members: dict[str, list[str]] = {}
    for tensor in findings.tensors:
        members.setdefault(tensor.role, []).append(tensor.name)
    return PatternRecord(
        model=model_record(files, inventory),
        pattern_key=pattern_key,
        run=run,
        settings=settings.as_dict(),
        provenance=provenance,
        pattern_class=findings.pattern_class,
        class_scores=findings.class_scores,
        class_margin=findings.class_margin,
        fit=record(list(fits)),
        roles=tuple(replace(role, fit=record(members[role.role])) for role in findings.roles),
        tensors=tuple(replace(tensor, fit=record([tensor.name])) for tensor in findings.tensors),
        signature=findings.signature,
        statistics=findings.statistics + block_statistics(),
        clusters=findings.clusters,
        frequency_profile=findings.frequency_profile,
    )


def _block_statistics(fit: FitRecord, num_tensors: int) -> tuple[Statistic, ...]:
    """The fit of all matrices inside the blocks together: no embeddings, no heads."""

    def beside_null(name: str, value: float, null: float | None, std: float | None = None) -> Statistic:
        z = (value - null) / std if null is not None and std else None
        return Statistic(
            name=f"fit.blocks.{name}",
            value=value,
            null=fit.null,
            num_nulls=fit.num_nulls,
            null_mean=null,
            null_std=std,
            z=z,
        )

    return (
        beside_null("r2", fit.r2, fit.null_r2, fit.null_r2_std),
        beside_null("svd_r2", fit.svd_r2, fit.svd_null_r2),
        Statistic(name="fit.blocks.bits_per_weight", value=fit.bits_per_weight),
        Statistic(name="fit.blocks.weights", value=float(fit.num_weights)),
        Statistic(name="fit.blocks.tensors", value=float(num_tensors)),
    )


def model_record(files: WeightFiles, inventory: Inventory) -> ModelRecord:
    """Who the model is: from its card in the zoo if it has one, else from what it says of itself."""
    common: dict[str, Any] = {
        "key": files.key,
        "sha256": files.digest,
        "repo": files.repo,
        "revision": files.revision,
        "num_weights": inventory.num_weights,
        "num_tensors": inventory.num_tensors,
    }
    card = files.card
    if card is None:
        beside = files.paths[0].parent / CARD_NAME
        return ModelRecord(**common, **describe(files.config, beside, inventory.specs))
    names = ("tier", "modality", "family", "architecture", "specialty", "objective", "is_distilled", "shares_layers")
    facts = {name: getattr(card, name) for name in names}
    return ModelRecord(**common, **facts, licence=card.licence, parents=card.parents)


def write_run_folder(
    folder: Path, home: Path, pattern: PatternRecord, history: Sequence[Mapping[str, Any]], checkpoint: Path | None
) -> tuple[ArtifactRecord, ...]:
    """`summary.json`, `training_history.json` and `checkpoints/dna.pt` under the run's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "summary.json", _plain(summary_of(pattern)), indent=1)
    paths = {"summary": folder / "summary.json"}
    if checkpoint is not None:
        write_json(folder / "training_history.json", _plain(list(history)), indent=1)
        paths["training_history"] = folder / "training_history.json"
        paths["checkpoint"] = folder / "checkpoints" / "dna.pt"
        _copy(checkpoint, paths["checkpoint"])
    return tuple(_artifact(kind, path, home) for kind, path in paths.items())


def are_intact(artifacts: Sequence[ArtifactRecord], home: Path) -> bool:
    """Whether every file is there as it was written."""
    return all(
        (home / each.path).is_file() and _artifact(each.kind, home / each.path, home) == each for each in artifacts
    )


def summary_of(pattern: PatternRecord) -> dict[str, Any]:
    """The findings without the single tensors' statistics, which the database has."""
    data = asdict(pattern)
    for tensor in data["tensors"]:
        del tensor["statistics"]
    for name in ("artifacts", "clusters"):
        del data[name]
    return data


def persist(
    pattern: PatternRecord, database: PatternDatabase, on_step: Callable[[str], None] = lambda step: None
) -> None:
    """Keep the pattern, whole or not at all."""
    database.save_pattern(pattern, on_step)


def _plain(value: Any) -> Any:
    """JSON without times, and without NaN and infinity, which become null."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items() if key not in TIMES}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _copy(source: Path, target: Path) -> None:
    """A link where the file system has them, else a copy; there whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copyfile(source, temporary)
    os.replace(temporary, target)
    temporary.unlink(missing_ok=True)  # Replacing a file by a link to itself leaves both names.


def _artifact(kind: str, path: Path, home: Path) -> ArtifactRecord:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ArtifactRecord(
        kind=kind, path=path.relative_to(home).as_posix(), sha256=digest, num_bytes=path.stat().st_size
    )
