"""Members on disk: a folder in Hugging Face's format each, with its facts in `member.json`."""

import json
from pathlib import Path
from typing import Any

import transformers
from transformers import PreTrainedModel

from benchmarks.population.architectures import Architecture
from benchmarks.population.members import Member

__all__ = ["is_made", "load", "read_facts", "save"]

FACTS = "member.json"


def is_made(folder: Path) -> bool:
    """Whether the member in `folder` is whole: its facts are written last."""
    return (folder / FACTS).is_file()


def save(model: PreTrainedModel, member: Member, folder: Path) -> None:
    """Write the model and what it is to `folder`."""
    model.save_pretrained(folder)
    facts = {
        "name": member.name,
        "root": member.roots[0],
        "roots": list(member.roots),
        "parents": list(member.parents),
        "architecture": member.architecture,
        "relation": member.relation,
        "hardness": member.hardness,
        "split": member.split,
        "seed": member.seed,
        "weights": sum(parameter.numel() for parameter in model.parameters()),
    }
    (folder / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def read_facts(folder: Path) -> dict[str, Any]:
    """The member's `member.json`."""
    facts: dict[str, Any] = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    return facts


def load(folder: Path, architecture: Architecture) -> PreTrainedModel:
    """The model in `folder`, fp32, in evaluation mode."""
    model_class = getattr(transformers, architecture.model_class)
    model: PreTrainedModel = model_class.from_pretrained(folder, local_files_only=True)
    return model.eval()
