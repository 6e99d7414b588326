"""What `--format json` prints: plain data with stable keys, one function a command. `docs/json.md` documents them."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from patterndb.multiplicity import q_values

if TYPE_CHECKING:
    from pathlib import Path

    from cli.whereabouts import Whereabouts
    from patterndb.comparison import Comparison
    from patterndb.records import (
        FitRecord,
        PatternRecord,
        RoleRecord,
        RunModelRecord,
        RunRecord,
        SignatureRecord,
        Statistic,
    )
    from patterndb.similarity import Neighbour
    from pipeline.analyse.questions import Answer, QuestionsAnswered
    from pipeline.analyse.taxonomy import Taxonomy
    from pipeline.fetch.request import FetchPlan
    from pipeline.lineage import Lineage
    from pipeline.tuning.study import TuneResult
    from zoo.cards import ModelCard

__all__ = [
    "card_document",
    "cards_document",
    "comparison_document",
    "mine_document",
    "neighbours_document",
    "pattern_document",
    "plan_document",
    "questions_document",
    "run_document",
    "taxonomy_document",
    "tune_document",
]

Document = dict[str, Any]


def cards_document(cards: Iterable["ModelCard"]) -> list[Document]:
    """`zoo`."""
    keys = ("key", "tier", "repo", "revision", "modality", "family", "architecture", "parameters", "licence")
    return [{key: getattr(card, key) for key in keys} for card in cards]


def card_document(card: "ModelCard") -> Document:
    """`zoo show`: every field of the card."""
    return asdict(card)


def plan_document(plan: "FetchPlan") -> Document:
    """`fetch`: one model."""
    files = plan.weights if plan.config is None else (*plan.weights, plan.config)
    return {
        "model": plan.key,
        "repo": plan.repo,
        "revision": plan.revision,
        "origin": plan.origin,
        "num_bytes": plan.num_bytes,
        "download_bytes": plan.download_bytes,
        "files": [
            {"name": file.name, "num_bytes": file.num_bytes, "path": str(file.path) if file.path else None}
            for file in files
        ],
    }


def pattern_document(pattern: "PatternRecord", whereabouts: "Whereabouts") -> Document:
    """`show`."""
    model, signature = pattern.model, pattern.signature
    return {
        "model": model.key,
        "repo": model.repo,
        "revision": model.revision,
        "sha256": model.sha256,
        "licence": model.licence,
        "weights": model.num_weights,
        "tensors": model.num_tensors,
        "run": pattern.run,
        "found": whereabouts.found.isoformat(),
        "source": whereabouts.source,
        "folder": whereabouts.folder,
        "files": [asdict(file) for file in whereabouts.files],
        "pattern_key": pattern.pattern_key,
        "pattern_class": pattern.pattern_class,
        "class_scores": dict(pattern.class_scores),
        "class_margin": pattern.class_margin,
        "fit": _fit_document(pattern.fit),
        "roles": [_role_document(role) for role in pattern.roles],
        "statistics": _statistic_documents(pattern.statistics),
        "signature_version": signature.version,
        "signature": _signature_documents(signature),
        "settings": dict(pattern.settings),
        "provenance": dict(pattern.provenance),
    }


def _fit_document(fit: "FitRecord | None") -> Document | None:
    """The whole fit report."""
    return None if fit is None else asdict(fit)


ROLE_FIT_KEYS = (
    "parameters",
    "bits_per_weight",
    "r2",
    "null_r2",
    "gain",
    "svd_r2",
    "svd_null_r2",
    "dct_r2",
    "ceiling_r2",
    "bits_per_weight_8bit",
    "r2_8bit",
    "null_r2_8bit",
    "svd_r2_8bit",
    "mse",
    "psnr",
    "mean_psnr",
)


def _role_document(role: "RoleRecord") -> Document:
    """A role, its figures of the fit and its counts; null where the role is not fitted."""
    figures = {key: None if role.fit is None else getattr(role.fit, key) for key in ROLE_FIT_KEYS}
    counts = {"tensors": role.tensors, "weights": role.weights, "pattern_class": role.pattern_class}
    return {"role": role.role, **counts, **figures}


def _statistic_documents(statistics: "Sequence[Statistic]") -> list[Document]:
    """Values with their nulls; together they are one family of tests."""
    adjusted = q_values([each.p for each in statistics])
    return [asdict(each) | {"q": q} for each, q in zip(statistics, adjusted, strict=True)]


def _signature_documents(signature: "SignatureRecord") -> list[Document]:
    """Every dimension; together they are one family of tests."""
    nothing = (None,) * len(signature.names)
    p_values = signature.p or nothing
    rows = zip(signature.names, signature.values, signature.z or nothing, p_values, q_values(p_values), strict=True)
    return [{"name": name, "value": value, "z": z, "p": p, "q": q} for name, value, z, p, q in rows]


def comparison_document(comparison: "Comparison", lineage: "Lineage | None") -> Document:
    """`compare`; `lineage` is None where it was not asked for."""
    roles = [_flat_overlap(asdict(role)) for role in comparison.roles]
    return _flat_overlap(asdict(comparison)) | {"roles": roles, "lineage": asdict(lineage) if lineage else None}


def _flat_overlap(document: Document) -> Document:
    """The cluster overlap as a number, and which kind of overlap it is."""
    overlap = document.pop("cluster_overlap") or {"value": None, "kind": None}
    return document | {"cluster_overlap": overlap["value"], "cluster_overlap_kind": overlap["kind"]}


def neighbours_document(model: str, neighbours: Iterable["tuple[Neighbour, Lineage | None]"]) -> Document:
    """`similar`; without a lineage where signatures alone were asked for."""
    return {
        "model": model,
        "neighbours": [asdict(each) | {"lineage": _lineage_in_short(lineage)} for each, lineage in neighbours],
    }


LINEAGE_KEYS = ("verdict", "reason", "correlation", "z", "p")


def _lineage_in_short(lineage: "Lineage | None") -> Document | None:
    """Without the roles."""
    return None if lineage is None else {key: getattr(lineage, key) for key in LINEAGE_KEYS}


def taxonomy_document(found: "Taxonomy") -> Document:
    """`taxonomy`."""
    return asdict(found)


def questions_document(found: "QuestionsAnswered", answers: "Iterable[Answer]") -> Document:
    """`questions`: those of the answers that were asked for."""
    return {
        "models": found.models,
        "lineages": dict(found.lineages),
        "answers": [asdict(answer) for answer in answers],
    }


def run_document(run: "RunRecord", folder: "Path") -> Document:
    """`runs`: one run, whose files are in `folder` if they are there."""
    return {
        "run": run.run,
        "status": run.status,
        "started": run.started.isoformat(),
        "finished": run.finished.isoformat() if run.finished else None,
        "exit_code": run.exit_code,
        "folder": str(folder),
        "folder_exists": folder.is_dir(),
        "models": [_run_model_document(model) for model in run.models],
        "request": dict(run.request),
    }


def _run_model_document(model: "RunModelRecord") -> Document:
    """How one model fared."""
    return {
        "model": model.key,
        "status": model.status,
        "error": model.error,
        "hint": model.hint,
        "pattern_key": model.pattern_key,
        "stages": [asdict(stage) for stage in model.stages],
    }


def mine_document(
    run: "RunRecord", folder: "Path", patterns: "Iterable[tuple[PatternRecord, Whereabouts]]"
) -> Document:
    """`mine`: the run, and what it found."""
    return {**run_document(run, folder), "patterns": [pattern_document(*found) for found in patterns]}


def tune_document(found: "TuneResult", best: int | None, command: str | None) -> Document:
    """`tune`: the study, the number of the trial with the largest gain, and the command that repeats its fit."""
    return {
        "model": found.model,
        "study": found.study,
        "dna_type": found.dna_type,
        "budget": found.budget,
        "tensors": list(found.tensors),
        "best": None if best is None else {"number": best, "command": command},
        "trials": [
            {
                "number": trial.number,
                "on_front": trial.is_on_front,
                "error": trial.error or None,
                "settings": dict(trial.values),
                "outcome": asdict(trial.outcome) if trial.outcome else None,
            }
            for trial in found.trials
        ],
    }
