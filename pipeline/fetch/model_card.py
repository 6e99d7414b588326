"""Facts about a model: from its card in the zoo, else from its config, its model card on the Hub and its tensors.

Nothing is guessed: a fact that none of them states is None, and the model is left out where that fact is asked for.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from patterndb.records import ModelRecord
from pipeline.weights.files import WeightFiles
from pipeline.weights.inventory import Inventory
from zoo.tensors import TensorSpec

__all__ = ["CARD_NAME", "describe", "model_record"]

CARD_NAME = "README.md"

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
VISION = ("vit", "deit", "mobilevit", "swin", "beit", "dinov2")
AUDIO = ("whisper", "wav2vec2", "hubert", "wavlm")
DECODERS = ("gpt", "llama", "mistral", "qwen", "opt", "bloom", "falcon", "phi", "gemma")
CONVOLUTIONAL = ("resnet", "mobilenet", "convnext", "regnet", "efficientnet")
OBJECTIVES = (
    (r"ElectraForPreTraining$", "replaced-token-detection"),
    (r"ForMaskedLM$|BertForPreTraining$", "masked-lm"),
    (r"LMHeadModel$|ForCausalLM$", "causal-lm"),
    (r"For\w*Classification$", "classification"),
    (r"ForQuestionAnswering$", "question-answering"),
    (r"ForCTC$|^Whisper\w+$|ForSpeechSeq2Seq$", "transcription"),
    (r"ForMaskedImageModeling$|MAEForPreTraining$", "masked-image"),
)
"""Class that the checkpoint was saved from -> what it was last trained for, in the zoo's words."""
DISTILLED = {"distilled", "distillation", "knowledge-distillation"}
"""Tags of a model card that say so; that a card has none of them says nothing."""


def model_record(files: WeightFiles, inventory: Inventory) -> ModelRecord:
    """The record of a model in the database."""
    common: dict[str, Any] = {
        "key": files.key,
        "sha256": files.digest,
        "repo": files.repo,
        "revision": files.revision,
        "num_weights": inventory.num_weights,
        "num_tensors": inventory.num_tensors,
        "quantisation": ", ".join(sorted(inventory.account.schemes)) or None,
        "stored_bits": inventory.account.bits_per_weight,
        "read_bytes": inventory.account.read,
        "tied_bytes": inventory.account.tied,
        "buffer_bytes": inventory.account.buffer,
        "unreadable_bytes": inventory.account.unreadable,
        "is_partial": inventory.is_partial,
    }
    card = files.card
    if card is None:
        return ModelRecord(**common, **describe(files.config, files.paths[0].parent / CARD_NAME, inventory.specs))
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
    family = config.get("model_type")
    if not isinstance(family, str):
        return {}
    if any(family.startswith(name) for name in VISION + CONVOLUTIONAL):
        modality = "vision"
    else:
        modality = "audio" if any(family.startswith(name) for name in AUDIO) else "text"
    if config.get("is_encoder_decoder"):
        architecture = "encoder-decoder"
    elif any(family.startswith(name) for name in CONVOLUTIONAL):
        architecture = "cnn"
    else:
        architecture = "decoder" if any(family.startswith(name) for name in DECODERS) else "encoder"
    return {"family": family, "modality": modality, "architecture": architecture, "objective": _objective(config)}


def _objective(config: Mapping[str, Any]) -> str | None:
    classes = config.get("architectures")
    name = classes[0] if isinstance(classes, list) and classes else None
    if not isinstance(name, str):
        return None
    return next((objective for pattern, objective in OBJECTIVES if re.search(pattern, name)), None)


def _shares_layers(specs: Sequence[TensorSpec]) -> bool | None:
    """A layer that is stored once and run many times has a block and no depth."""
    inside = [spec for spec in specs if spec.block is not None]
    return any(spec.depth is None for spec in inside) if inside else None


def _metadata(card: Path) -> dict[Any, Any]:
    """The YAML at the head of a model card; empty where there is no card, no head, or a damaged one."""
    from huggingface_hub import metadata_load

    try:
        return metadata_load(card) or {}
    except Exception:  # The card is anybody's text; a damaged one must not fail the model.
        return {}


def _texts(value: object) -> tuple[str, ...]:
    """A text or a list of texts as texts; what is neither says nothing."""
    values = value if isinstance(value, list) else [value]
    return tuple(each for each in values if isinstance(each, str))
