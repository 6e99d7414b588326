"""Facts about a model: from its card in the zoo, else from its config, its model card on the Hub and its tensors.

Nothing is guessed: a fact that none of them states is None, and the model is left out where that fact is asked for.
"""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from dna_zoo.text import printable
from patterndb.records import ModelRecord
from pipeline.weights.files import WeightFiles
from pipeline.weights.inventory import Inventory
from zoo.config import flag_in, text_in
from zoo.tensors import TensorSpec

__all__ = ["CARD_NAME", "describe", "model_record"]

CARD_NAME = "README.md"
LONGEST_HEAD = 1 << 18
"""Bytes of a model card in which its metadata must end."""
LONGEST = 200
"""Characters of a text of a stranger's that is kept."""
MOST_TEXTS = 1_000
"""Of a list of texts."""

FACTS = (
    "tier",
    "modality",
    "family",
    "architecture",
    "specialty",
    "objective",
    "is_distilled",
    "shares_layers",
    "licence",
    "parents",
)
"""Fields that a card of ours and a record share."""
TYPES = "model_types.json"
"""Beside the zoo's cards: modality or architecture -> model types of `transformers`."""
MODALITIES = ("multimodal", "audio", "vision", "text")
ARCHITECTURES = ("encoder-decoder", "encoder", "decoder", "cnn", "hybrid")
OBJECTIVES = (
    (r"ElectraForPreTraining$", "replaced-token-detection"),
    (r"ForMaskedLM$|^(?:Bert|Albert|MobileBert|MegatronBert|RoCBert|BigBird)ForPreTraining$", "masked-lm"),
    (r"^(?!XLNet)\w*(?<!With)LMHeadModel$|ForCausalLM$|^ReformerModelWithLMHead$", "causal-lm"),
    (r"For\w*Classification$", "classification"),
    (r"For\w*QuestionAnswering$", "question-answering"),
    (r"For(?:CTC|RNNT|TDT|SpeechToText|SpeechSeq2Seq)$|^Whisper(?:Model|ForConditionalGeneration)$", "transcription"),
    (r"^(?:Speech2Text|Moonshine|MoonshineStreaming|CohereAsr)ForConditionalGeneration$", "transcription"),
    (r"ForMaskedImageModeling$|MAEForPreTraining$", "masked-image"),
    (r"For\w*Segmentation$", "segmentation"),
    (r"For\w*ObjectDetection$", "detection"),
    (r"ForDepthEstimation$", "depth-estimation"),
    (r"^(?:Align|AltCLIP|ChineseCLIP|CLIP|MetaClip2|Siglip2?)Model$", "contrastive"),
)
"""Class that the checkpoint was saved from -> what it was last trained for, in the zoo's words."""
DISTILLED = {"distilled", "distillation", "knowledge-distillation"}
"""Tags of a model card that say so; that a card has none of them says nothing."""


def model_record(source: WeightFiles, inventory: Inventory) -> ModelRecord:
    """The record of a model in the database."""
    common: dict[str, Any] = {
        "key": source.key,
        "sha256": source.digest,
        "repo": source.repo,
        "revision": source.revision,
        "num_weights": inventory.num_weights,
        "num_tensors": inventory.num_tensors,
        "quantisation": ", ".join(sorted(inventory.account.schemes)) or None,
        "stored_bits": inventory.account.bits_per_weight,
        "read_bytes": inventory.account.read,
        "tied_bytes": inventory.account.tied,
        "buffer_bytes": inventory.account.buffer,
        "unreadable_bytes": inventory.account.unreadable,
        "is_partial": inventory.is_partial,
        "wiring_source": inventory.wiring_source,
    }
    card = source.card
    if card is None:
        return ModelRecord(**common, **describe(source.config, source.paths[0].parent / CARD_NAME, inventory.specs))
    return ModelRecord(**common, **{name: getattr(card, name) for name in FACTS})


def describe(config: Mapping[str, Any], card: Path, specs: Sequence[TensorSpec]) -> dict[str, Any]:
    """Fields of a `ModelRecord`.

    - `config`: `config.json`.
    - `card`: where a model card would be; it need not be there.
    - `specs`: what the file holds.
    """
    said = _metadata(card)
    tags = {tag.lower() for tag in _texts(said.get("tags"))}
    return {
        **_by_config(config),
        "licence": next(iter(_texts(said.get("license"))), None),
        "parents": _texts(said.get("base_model")),
        "is_distilled": True if DISTILLED & tags else None,
        "shares_layers": _shares_layers(specs),
    }


def _by_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Family, modality, architecture and objective; nothing without a `model_type`."""
    family = printable(text_in(config, "model_type"), longest=LONGEST)
    if not family:
        return {}
    saved = _saved_class(config)
    known = _model_types()
    architecture = next((kind for kind in ARCHITECTURES if family in known[kind]), None)
    if flag_in(config, "is_encoder_decoder"):
        architecture = "encoder-decoder"
    elif architecture in ("encoder", "encoder-decoder") and _objective(saved) == "causal-lm":
        architecture = "decoder"
    return {
        "family": family,
        "modality": _modality(family, saved),
        "architecture": architecture,
        "objective": _objective(saved),
    }


def _modality(family: str, saved: str) -> str | None:
    """One tower alone is of its own modality, whatever the whole model reads."""
    if re.search(r"Vision(?:Model|Transformer)\w*$|^(?:CLIP|MetaClip2|Siglip2?)ForImageClassification$", saved):
        return "vision"
    if re.search(r"(?<!2)(?<!To)Text(?:Model|Encoder)\w*$", saved):
        return "text"
    known = _model_types()
    ends = (("vision_model", "vision"), ("text_model", "text"))
    named = next((kind for end, kind in ends if family.endswith(end)), None)
    return next((kind for kind in MODALITIES if family in known[kind]), named)


@cache
def _model_types() -> Mapping[str, frozenset[str]]:
    found = json.loads((files("zoo") / TYPES).read_bytes())
    return {kind: frozenset(types) for kind, types in found.items()}


def _saved_class(config: Mapping[str, Any]) -> str:
    """The class that the checkpoint was saved from; empty where it is not said."""
    return next(iter(_texts(config.get("architectures"))), "")


def _objective(saved: str) -> str | None:
    return next((objective for pattern, objective in OBJECTIVES if re.search(pattern, saved)), None)


def _shares_layers(specs: Sequence[TensorSpec]) -> bool | None:
    """A layer that is stored once and run many times has a block and no depth."""
    inside = [spec for spec in specs if spec.block is not None]
    return any(spec.depth is None for spec in inside) if inside else None


def _metadata(card: Path) -> dict[Any, Any]:
    """The YAML at the head of a model card; empty where there is no card, no head, or a damaged one."""
    from huggingface_hub import ModelCard

    for name in ("repocard", "repocard_data"):  # They warn of what a stranger left out, whatever `-q` says.
        logging.getLogger(f"huggingface_hub.{name}").setLevel(logging.ERROR)
    try:
        if not card.is_file():
            return {}
        found = ModelCard(_head(card), ignore_metadata_errors=True).data.to_dict()  # type: ignore[no-untyped-call]
        return dict(found)
    except Exception:  # The card is anybody's text; a damaged one must not fail the model.
        return {}


def _head(card: Path) -> str:
    """What lies between the first two lines of dashes, with them; blank lines, which cost the parser time, left out.

    Empty where the card does not begin with such a line, or has no second one in its first `LONGEST_HEAD` bytes.
    """
    with card.open("rb") as file:
        text = file.read(LONGEST_HEAD).removeprefix(b"\xef\xbb\xbf")
    lines = [line for line in text.splitlines() if line.strip()]
    ends = [index for index, line in enumerate(lines) if line.rstrip() == b"---"][:2]
    head = lines[: ends[1] + 1] if len(ends) == 2 and ends[0] == 0 else []
    return b"\n".join([*head, b""]).decode()


def _texts(value: object) -> tuple[str, ...]:
    """A text or a list of texts as texts that can be kept and shown; what is neither says nothing."""
    values = value if isinstance(value, list) else [value]
    return tuple(printable(each, longest=LONGEST) for each in values[:MOST_TEXTS] if isinstance(each, str))
