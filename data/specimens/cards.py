"""What lies beside a specimen's weights: its card for people, `specimen.json` for programs, and the tree's README."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from evaluation import Score
from tree import FAMILIES, Specimen, root

__all__ = ["Result", "folder_bytes", "table", "write_card"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came out of making a specimen."""

    specimen: Specimen
    parameters: int
    """Tied weights once."""
    reached: Score
    """On data held out."""
    start: Score
    """The same before the first step: of random weights, or of the parent (its head anew where the labels differ)."""
    blind: Score
    """The same without looking at the input."""
    num_bytes: int = 0
    seconds: float = 0.0


_DATA = {
    "python-source": "the source of Python's standard library (modules listed in `corpora.py`), by character",
    "licence-texts": "the licence texts of this project (Apache-2.0), of Python and of NumPy, by character",
    "digits": "scikit-learn's handwritten digits, ten classes",
    "digits-parity": "scikit-learn's handwritten digits, even or odd",
    "digits-rotated": "scikit-learn's handwritten digits turned by 90 degrees, ten classes",
}
_STORY = {
    "seed": "Trained from scratch.",
    "fine-tuned": "`{parent}`, trained on with other data at a lower learning rate.",
    "distilled": "A student of `{parent}`: its first and last layer, taught by the logits of all of it.",
    "permuted": "`{parent}` with neurons, heads and signs in another order: the same function, another file.",
    "untrained": "Random weights as transformers initialises them: there is nothing to find here.",
}


def write_card(folder: Path, result: Result) -> None:
    """Write `specimen.json` and `README.md` into the specimen's folder."""
    facts = json.dumps(_facts(result), indent=2, allow_nan=False)
    (folder / "specimen.json").write_text(facts + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_card(result), encoding="utf-8")


def folder_bytes(folder: Path) -> int:
    """Size of all files of a specimen."""
    return sum(path.stat().st_size for path in folder.iterdir())


def table(results: list[Result]) -> str:
    """The figures as a Markdown table."""
    lines = [
        "| specimen | relation | parent | parameters | KB | steps | held out | reached | at the start | blind |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in results:
        s = r.specimen
        lines.append(
            f"| {s.name} | {s.relation} | {s.parent or ''} | {r.parameters:,} | {r.num_bytes / 1000:.0f} | {s.steps} "
            f"| {s.data}, {r.reached.name} | {r.reached.value:.3f} | {r.start.value:.3f} | {r.blind.value:.3f} |"
        )
    return "\n".join(lines)


def _facts(result: Result) -> dict[str, object]:
    specimen = result.specimen
    family = FAMILIES[specimen.family]
    return {
        "name": specimen.name,
        "family": specimen.family,
        "kind": family.kind,
        "relation": specimen.relation,
        "parent": specimen.parent,
        "root": root(specimen.name),
        "architecture": family.architecture,
        "modality": family.modality,
        "objective": family.objective,
        "model_class": family.model_class,
        "parameters": result.parameters,
        "training": {
            "data": specimen.data,
            "steps": specimen.steps,
            "batch_size": family.batch_size,
            "learning_rate": specimen.learning_rate,
            "weight_decay": family.weight_decay,
            "seed": specimen.seed,
        },
        "metric": {
            **asdict(result.reached),
            "start": result.start.value,
            "blind": result.blind.value,
        },
    }


def _card(result: Result) -> str:
    specimen = result.specimen
    family = FAMILIES[specimen.family]
    base = f"base_model: {specimen.parent}\n" if specimen.parent else ""
    unit = " nats a character" if result.reached.name == "loss" else ""
    return f"""---
license: apache-2.0
library_name: transformers
pipeline_tag: {family.pipeline_tag}
{base}tags:
- dna-zoo-specimen
- {specimen.relation}
---

# {specimen.name}

{_STORY[specimen.relation].format(parent=specimen.parent)}
A `{family.model_class}` with {result.parameters:,} parameters.
`data/specimens/train.py` of dna-zoo made it, to be mined and not to be used.

- Data: {_DATA[specimen.data]}.
- Training: {specimen.steps} steps of {family.batch_size}, AdamW, peak learning rate {specimen.learning_rate:g}, \
weight decay {family.weight_decay:g}, seed {specimen.seed}.
- Held-out {result.reached.name}: {result.reached.value:.3f}{unit}; at the start {result.start.value:.3f}; \
without looking at the input {result.blind.value:.3f}.
"""
