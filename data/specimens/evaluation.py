"""How good a specimen is on data it has not seen, and what is written beside it."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from corpora import Corpus, licence_texts, python_source, unigram_loss
from digits import Images, digits
from models import CONTEXT, model_class
from training import mask_characters
from tree import FAMILIES

__all__ = ["Score", "blind_score", "corpus", "images", "load_specimen", "read_facts", "score"]

_NUM_WINDOWS = 256
_EVALUATION_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A figure on held-out data: `loss` in nats a character (less is better) or `accuracy` in [0, 1]."""

    name: str
    value: float


@cache
def corpus(data: str) -> Corpus:
    """The text called `data`, read once."""
    return {"python-source": python_source, "licence-texts": licence_texts}[data]()


@cache
def images(data: str, side: int) -> Images:
    """The pictures called `data`, made once."""
    return digits(data, side)


def read_facts(folder: Path) -> dict[str, Any]:
    """The specimen's `specimen.json`."""
    facts: dict[str, Any] = json.loads((folder / "specimen.json").read_text(encoding="utf-8"))
    return facts


def load_specimen(folder: Path) -> PreTrainedModel:
    """The model in `folder`, fp32, in evaluation mode."""
    found: PreTrainedModel = model_class(read_facts(folder)["family"]).from_pretrained(folder, local_files_only=True)
    return found.eval()


@torch.no_grad()
def score(model: PreTrainedModel, family: str, data: str) -> Score:
    """What `model` reaches on the part of `data` that is never trained on; the same every time."""
    if FAMILIES[family].modality == "vision":
        pictures = images(data, FAMILIES[family].image_side)
        guesses = model(pixel_values=pictures.held_out).logits.argmax(dim=-1)
        return Score(name="accuracy", value=float((guesses == pictures.held_out_labels).double().mean()))
    text = corpus(data).held_out
    starts = torch.linspace(0, len(text) - CONTEXT, _NUM_WINDOWS, dtype=torch.float64).long()
    ids = text[starts[:, None] + torch.arange(CONTEXT)]
    masked, labels = ids, ids
    if FAMILIES[family].objective == "masked-lm":
        masked, labels = mask_characters(ids, torch.Generator().manual_seed(_EVALUATION_SEED))
    return Score(name="loss", value=float(model(input_ids=masked, labels=labels).loss))


def blind_score(family: str, data: str) -> Score:
    """What is reached without looking: from character frequencies alone, or by always naming the commonest label."""
    if FAMILIES[family].modality == "text":
        return Score(name="loss", value=unigram_loss(corpus(data)))
    pictures = images(data, FAMILIES[family].image_side)
    commonest = pictures.train_labels.mode().values
    return Score(name="accuracy", value=float((pictures.held_out_labels == commonest).double().mean()))
