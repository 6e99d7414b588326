"""A joined model as a folder that transformers loads."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from library.models import quiet

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["write_model"]

BESIDE = (
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "preprocessor_config.json",
)
"""Files beside the weights that make inputs of a model. None of them is code."""


def write_model(folder: Path, model: "PreTrainedModel", *, source: Path, card: str) -> None:
    """Save the model, the files beside the weights of `source` that make its inputs, and a card."""
    with quiet():
        model.save_pretrained(folder)
    for found in sorted(path for pattern in BESIDE for path in source.glob(pattern)):
        if found.is_file() and found.suffix != ".py":
            shutil.copyfile(found, folder / found.name)
    (folder / "README.md").write_text(card, encoding="utf-8")
