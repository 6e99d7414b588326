"""What `--format json` prints: stable keys, one function for each command whose result is not a record as it is.

`docs/json.md` documents them. Values may be records, times and paths: `cli.output.plain_json` makes them plain.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.whereabouts import Whereabouts
from dna_zoo.text import shell_word
from patterndb.multiplicity import q_values
from patterndb.records import (
    ModelEntry,
    Neighbour,
    PatternRecord,
    RoleRecord,
    RunRecord,
    SignatureRecord,
    Statistic,
)
from zoo.cards import ModelCard

if TYPE_CHECKING:
    from library.initialise import Initialisation
    from library.patterns.records import SharedPattern
    from library.surgery import Combination, Transplant
    from patterndb.comparison import Comparison
    from patterndb.runs.differences import Differences
    from pipeline.analyse.questions import Answer, QuestionsAnswered
    from pipeline.analyse.taxonomy import Taxonomy
    from pipeline.fetch.request import FetchPlan
    from pipeline.lineage import Lineage
    from pipeline.runs.estimate import ModelEstimate
    from pipeline.tuning.study import TuneResult

__all__ = [
    "cards_document",
    "combination_document",
    "comparison_document",
    "differences_document",
    "initialisation_document",
    "library_document",
    "mine_document",
    "mine_plan_document",
    "model_entry_document",
    "neighbours_document",
    "pattern_document",
    "plan_document",
    "questions_document",
    "run_document",
    "shared_pattern_document",
    "taxonomy_document",
    "transplant_document",
    "tune_document",
]

Document = dict[str, Any]


def cards_document(cards: Iterable[ModelCard]) -> list[Document]:
    """`zoo`."""
    keys = ("key", "tier", "repo", "revision", "modality", "family", "architecture", "parameters", "licence")
    return [_fields(card, keys) for card in cards]


def _fields(record: object, keys: Iterable[str]) -> Document:
    """These fields of a record; all None where there is no record."""
    return {key: None if record is None else getattr(record, key) for key in keys}


def plan_document(plan: "FetchPlan") -> Document:
    """`fetch`: one model."""
    files = plan.weights if plan.config is None else (*plan.weights, plan.config)
    return {
        "model": plan.key,
        **_fields(plan, ("repo", "revision", "origin", "num_bytes", "download_bytes")),
        "files": [_fields(file, ("name", "num_bytes", "path")) for file in files],
    }


def pattern_document(pattern: PatternRecord, whereabouts: Whereabouts) -> Document:
    """`show`."""
    from pipeline.analyse.evidence import smallest_p

    model, signature = pattern.model, pattern.signature
    return {
        "model": model.key,
        **_fields(model, ("repo", "revision", "sha256", "licence")),
        "weights": model.num_weights,
        "tensors": model.num_tensors,
        **_fields(model, ACCOUNT_KEYS),
        **{key: pattern.provenance.get(key) for key in READING_KEYS},
        "run": pattern.run,
        "repeat": {"command": whereabouts.command, "rerun": f"dna-zoo rerun {shell_word(pattern.run)}"},
        **_fields(whereabouts, ("found", "source", "same_files", "versions", "folder", "files")),
        **_fields(pattern, ("pattern_key", "pattern_class", "class_scores", "class_margin", "fit")),
        "roles": [_role_document(role) for role in pattern.roles],
        "statistics": _statistic_documents(pattern.statistics),
        "least_tensor_p": smallest_p(pattern.num_nulls),
        "signature_version": signature.version,
        "signature": _signature_documents(signature),
        "settings": pattern.settings,
        "provenance": pattern.provenance,
    }


ACCOUNT_KEYS = (
    "quantisation",
    "stored_bits",
    "read_bytes",
    "tied_bytes",
    "buffer_bytes",
    "unreadable_bytes",
    "is_partial",
    "wiring_source",
)
READING_KEYS = ("notes", "constant", "left_out")
"""Of the provenance: what was said when the files were read; null for models mined before it was kept."""
LINEAGE_KEYS = ("verdict", "reason", "correlation", "z", "p", "older")
RUN_MODEL_KEYS = ("status", "error", "hint", "pattern_key", "stages")
ROLE_FIT_KEYS = (
    "parameters",
    "bits_per_weight",
    "r2",
    "null_r2",
    "gain",
    "additive_r2",
    "additive_numbers",
    "means_null_r2",
    "gain_beyond_means",
    "svd_r2",
    "svd_null_r2",
    "svd_means_null_r2",
    "dct_r2",
    "ceiling_r2",
    "bits_per_weight_8bit",
    "r2_8bit",
    "null_r2_8bit",
    "svd_r2_8bit",
    "svd_bits_r2",
    "svd_bits_width",
    "dct_bits_r2",
    "mse",
    "psnr",
    "mean_psnr",
)


def _role_document(role: RoleRecord) -> Document:
    """A role, its figures of the fit and its counts; null where the role is not fitted."""
    return _fields(role, ("role", "tensors", "weights", "pattern_class")) | _fields(role.fit, ROLE_FIT_KEYS)


def _statistic_documents(statistics: Sequence[Statistic]) -> list[Document]:
    """Values with their nulls; together they are one family of tests."""
    adjusted = q_values([each.p for each in statistics])
    return [asdict(each) | {"q": q} for each, q in zip(statistics, adjusted, strict=True)]


def _signature_documents(signature: SignatureRecord) -> list[Document]:
    """Every dimension; together they are one family of tests."""
    nothing = (None,) * len(signature.names)
    p_values = signature.p or nothing
    rows = zip(signature.names, signature.values, signature.z or nothing, p_values, q_values(p_values), strict=True)
    return [{"name": name, "value": value, "z": z, "p": p, "q": q} for name, value, z, p, q in rows]


Mixed = Mapping[str, Sequence[Any]]
"""Settings in which models that stand beside each other differ, with their values."""


def comparison_document(
    comparison: "Comparison", lineage: "Lineage | None", partial: Collection[str] = (), mixed: Mixed | None = None
) -> Document:
    """`compare`; `lineage` is None where it was not asked for, `partial` are keys of partial models."""
    roles = [_flat_overlap(asdict(role)) for role in comparison.roles]
    named = _partial((comparison.a, comparison.b), partial)
    more = {"roles": roles, "lineage": lineage, "partial": named, "mixed_settings": mixed or {}}
    return _flat_overlap(asdict(comparison)) | more


def _partial(models: Iterable[str], partial: Collection[str]) -> list[str]:
    """Those of the models that are partial, each once."""
    return [model for model in dict.fromkeys(models) if model in partial]


def _flat_overlap(document: Document) -> Document:
    """The cluster overlap as a number, and which kind of overlap it is."""
    overlap = document.pop("cluster_overlap") or {"value": None, "kind": None}
    return document | {"cluster_overlap": overlap["value"], "cluster_overlap_kind": overlap["kind"]}


def neighbours_document(
    model: str,
    neighbours: "Sequence[tuple[Neighbour, Lineage | None]]",
    partial: Collection[str] = (),
    mixed: Mixed | None = None,
) -> Document:
    """`similar`; without a lineage where signatures alone were asked for; `partial` are keys of partial models."""
    return {
        "model": model,
        "partial": _partial((model, *(each.model for each, _ in neighbours)), partial),
        "mixed_settings": mixed or {},
        "neighbours": [
            asdict(each) | {"lineage": _fields(lineage, LINEAGE_KEYS) if lineage else None}
            for each, lineage in neighbours
        ],
    }


def taxonomy_document(found: "Taxonomy", partial: Collection[str] = (), mixed: Mixed | None = None) -> Document:
    """`taxonomy`; `partial` are keys of partial models."""
    return {**asdict(found), "partial": _partial(found.models, partial), "mixed_settings": mixed or {}}


def questions_document(found: "QuestionsAnswered", answers: "Iterable[Answer]") -> Document:
    """`questions`: those of the answers that were asked for."""
    return {"models": found.models, "sample": found.sample, "lineages": found.lineages, "answers": list(answers)}


RUN_KEYS = ("run", "request_key", "status", "started", "finished", "last_activity", "seconds", "exit_code")
END_KEYS = ("stopped_by", "error", "counts", "at_work")
PROCESS_KEYS = ("host", "user", "pid", "command", "versions")


def run_document(run: RunRecord, folder: Path) -> Document:
    """`runs`: one run; the files of all runs of its request are in `folder` if they are there."""
    return {
        **_fields(run, RUN_KEYS),
        **_fields(run.invocation, PROCESS_KEYS),
        **_fields(run, END_KEYS),
        "folder": folder,
        "folder_exists": folder.is_dir(),
        "models": [
            {"model": model.key, "is_reused": model.is_reused} | _fields(model, RUN_MODEL_KEYS) for model in run.models
        ],
        "request": run.request,
    }


def differences_document(found: "Differences") -> Document:
    """`runs --diff` and `rerun`."""
    return {
        **_fields(found, ("a", "b", "tolerance")),
        "equal": found.are_equal,
        "compared": [{"a": a, "b": b} for a, b in found.compared],
        **_fields(found, ("only_a", "only_b")),
        "differences": found.found,
    }


def mine_document(run: RunRecord, folder: Path, patterns: "Iterable[tuple[PatternRecord, Whereabouts]]") -> Document:
    """`mine`: the run, and what it found."""
    return {**run_document(run, folder), "patterns": [pattern_document(*found) for found in patterns]}


def mine_plan_document(found: "Sequence[ModelEstimate]") -> Document:
    """`mine --dry-run`."""
    keys = ("source", "origin", "num_bytes", "download_bytes", "num_weights", "is_counted")
    sums = ("seconds", "memory_bytes", "gpu_bytes", "disk_bytes", "problem")
    return {
        "from_this_machine": all(each.from_this_machine for each in found),
        "models": [
            {"model": each.key, **_fields(each, keys), **_fields(each, sums), "stages": each.stages} for each in found
        ],
    }


def model_entry_document(entry: ModelEntry) -> Document:
    """`models` and `models versions`: one version of a model."""
    model_keys = ("repo", "revision", "sha256", "tier", "modality", "family", "architecture", "licence")
    found_keys = ("pattern_class", "class_margin", "r2", "null_r2", "gain", "bits_per_weight")
    return {
        "model": entry.model.key,
        **_fields(entry.model, model_keys),
        "weights": entry.model.num_weights,
        "tensors": entry.model.num_tensors,
        **_fields(entry, found_keys),
        **asdict(entry.chosen),
        **_fields(entry, ("device", "run", "pattern_key", "confirmed_at", "is_current", "patterns", "versions")),
        **_fields(entry, ("tags", "note")),
    }


def tune_document(found: "TuneResult", best: int | None, command: str | None) -> Document:
    """`tune`: the study, the number of the trial with the largest gain, and the command that repeats its fit."""
    return {
        **_fields(found, ("model", "study", "dna_type", "budget", "tensors")),
        "best": None if best is None else {"number": best, "command": command},
        "trials": [
            {
                "number": trial.number,
                "on_front": trial.is_on_front,
                "error": trial.error or None,
                "settings": trial.values,
                "outcome": trial.outcome,
            }
            for trial in found.trials
        ],
    }


def library_document(found: "SharedPattern") -> Document:
    """`library list`: one pattern in short."""
    return {
        **_fields(found, ("name", "selection")),
        "lineages": len(found.lineages),
        "parts": len(found.parts),
        "tested": len(found.tested),
        "explaining": len(found.holding),
        **_fields(found, ("verdict", "combined")),
    }


def shared_pattern_document(found: "SharedPattern") -> Document:
    """`library show`: one pattern and all its parts."""
    return {
        **library_document(found),
        **_fields(found, ("lineages", "left_out")),
        "draws": found.num_draws,
        "parts": [
            {
                **key._asdict(),
                "lineages": part.lineages,
                **_fields(part.evidence, ("explained", "null", "p", "q")),
                "used": part.is_used,
            }
            for key, part in found.parts.items()
        ],
    }


def initialisation_document(found: "Initialisation", pattern: str, seed: int, folder: Path) -> Document:
    """`init`."""
    return {
        "folder": str(folder.absolute()),
        "pattern": pattern,
        "seed": seed,
        "tensors": [{"name": name, "terms": terms} for name, terms in found.terms.items()],
        "untested": found.untested,
        "default": found.default,
    }


def combination_document(found: "Combination", out: Path | None) -> Document:
    """`combine`."""
    match = found.alignment.match
    rows = zip(found.aligned.shares, found.aligned.scores, found.unaligned.scores, strict=True)
    return {
        **_fields(found, ("a", "b", "share")),
        **_fields(found.score, ("loss", "accuracy")),
        "task": found.task.name,
        "groups": len(found.alignment.groups),
        "cosine": match.after,
        "cosine_unaligned": match.before,
        "barrier": found.aligned.barrier,
        "barrier_unaligned": found.unaligned.barrier,
        "line": [
            {
                "share": share,
                **_fields(one, ("loss", "accuracy")),
                "loss_unaligned": two.loss,
                "accuracy_unaligned": two.accuracy,
            }
            for share, one, two in rows
        ],
        "folder": out,
    }


def transplant_document(found: "Transplant", out: Path) -> Document:
    """`transplant`."""
    match = None if found.alignment is None else found.alignment.match
    return {
        **_fields(found, ("donor", "host")),
        "layers": [{"donor": one, "host": other} for one, other in found.pairs],
        "task": found.task.name,
        "steps": found.steps,
        "cosine": None if match is None else match.after,
        "cosine_unaligned": None if match is None else match.before,
        "resampled": found.resampled,
        "variants": [
            {
                "layers": each.layers,
                "loss_before": each.before.loss,
                "accuracy_before": each.before.accuracy,
                "loss_after": each.after.loss,
                "accuracy_after": each.after.accuracy,
            }
            for each in found.variants
        ],
        "folder": out,
    }
