"""A joined model as a folder that transformers loads."""

from pathlib import Path
from typing import TYPE_CHECKING

from library.models import quiet
from library.rebuild.write import copy_beside

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["write_model"]


def write_model(folder: Path, model: "PreTrainedModel", *, source: Path, card: str) -> None:
    """Save the model, the files beside the weights of `source` that make its inputs and outputs, and a card."""
    with quiet():
        model.save_pretrained(folder)
    copy_beside(source, folder)
    (folder / "README.md").write_text(card, encoding="utf-8")
