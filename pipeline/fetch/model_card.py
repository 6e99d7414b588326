"""Who a model is: what our card of it says; without one, what its config, the model card beside it and its file say.

Nothing is guessed: what is not said is None, and no question is asked of it.
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
    said = _front_matter(card)
    licence = said.get("license", [])
    return {
        **_by_config(config),
        "licence": licence[0] if licence else None,
        "parents": tuple(said.get("base_model", [])),
        "is_distilled": True if DISTILLED & {tag.lower() for tag in said.get("tags", [])} else None,
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


def _front_matter(path: Path) -> dict[str, list[str]]:
    """The scalars and lists of strings at the head of a model card, by key; empty for a card without any.

    Only the YAML that such cards are made of is read: `key: value`, `key: [a, b]`, and `- item` lines below a key.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    head = re.match(r"---\s*\n(.*?)\n---\s*(?:\n|$)", text, flags=re.DOTALL)
    found: dict[str, list[str]] = {}
    items: list[str] = []
    for line in head[1].splitlines() if head else ():
        if pair := re.match(r"([\w-]+):\s*(.*)$", line):
            items = found.setdefault(pair[1], [])
            items += [word for part in pair[2].strip("[]").split(",") if (word := _unquoted(part))]
        elif item := re.match(r"\s*-\s+([^:]+)$", line):
            items.append(_unquoted(item[1]))
        elif line[:1].strip():
            items = []
    return found


def _unquoted(text: str) -> str:
    return text.strip().strip("'\"")
