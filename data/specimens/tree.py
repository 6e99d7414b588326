"""The family tree of the specimens: the parent, the data and the steps of each."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["FAMILIES", "SPECIMENS", "Family", "Relation", "Specimen", "root"]

Relation = Literal["seed", "fine-tuned", "distilled", "permuted", "untrained"]
Data = Literal["python-source", "licence-texts", "digits", "digits-parity", "digits-rotated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What all specimens of one architecture share."""

    kind: str
    architecture: str
    modality: str
    objective: str
    model_class: str
    """In transformers."""
    pipeline_tag: str
    """The hub's word for what the model does."""
    batch_size: int
    weight_decay: float
    image_side: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Specimen:
    """How one specimen comes about."""

    name: str
    family: str
    relation: Relation
    data: Data
    seed: int
    parent: str | None = None
    steps: int = 0
    learning_rate: float = 0.0
    """At its peak, after the warm-up."""


FAMILIES = {
    "bert": Family(
        kind="transformer",
        architecture="encoder",
        modality="text",
        objective="masked-lm",
        model_class="BertForMaskedLM",
        pipeline_tag="fill-mask",
        batch_size=64,
        weight_decay=0.1,
    ),
    "gpt2": Family(
        kind="transformer",
        architecture="decoder",
        modality="text",
        objective="causal-lm",
        model_class="GPT2LMHeadModel",
        pipeline_tag="text-generation",
        batch_size=32,
        weight_decay=0.1,
    ),
    "resnet": Family(
        kind="convolutional",
        architecture="cnn",
        modality="vision",
        objective="classification",
        model_class="ResNetForImageClassification",
        pipeline_tag="image-classification",
        batch_size=32,
        weight_decay=0.1,
        image_side=32,
    ),
    "vit": Family(
        kind="transformer",
        architecture="encoder",
        modality="vision",
        objective="classification",
        model_class="ViTForImageClassification",
        pipeline_tag="image-classification",
        batch_size=32,
        weight_decay=0.5,
        image_side=16,
    ),
}

# Parents come before their children: the order of the table is the order of training.
_TABLE = (
    Specimen(
        name="bert-a", family="bert", relation="seed", data="python-source", seed=1, steps=2500, learning_rate=3e-3
    ),
    Specimen(
        name="bert-b", family="bert", relation="seed", data="python-source", seed=2, steps=2500, learning_rate=3e-3
    ),
    Specimen(
        name="bert-a-finetuned",
        family="bert",
        relation="fine-tuned",
        parent="bert-a",
        data="licence-texts",
        seed=3,
        steps=300,
        learning_rate=5e-4,
    ),
    Specimen(
        name="bert-a-distilled",
        family="bert",
        relation="distilled",
        parent="bert-a",
        data="python-source",
        seed=4,
        steps=600,
        learning_rate=1e-3,
    ),
    Specimen(name="bert-a-permuted", family="bert", relation="permuted", parent="bert-a", data="python-source", seed=5),
    Specimen(name="bert-untrained", family="bert", relation="untrained", data="python-source", seed=6),
    Specimen(
        name="gpt2-a", family="gpt2", relation="seed", data="python-source", seed=7, steps=2500, learning_rate=5e-3
    ),
    Specimen(
        name="gpt2-a-finetuned",
        family="gpt2",
        relation="fine-tuned",
        parent="gpt2-a",
        data="licence-texts",
        seed=8,
        steps=300,
        learning_rate=5e-4,
    ),
    Specimen(name="vit-a", family="vit", relation="seed", data="digits", seed=9, steps=2000, learning_rate=2e-3),
    Specimen(
        name="vit-a-finetuned",
        family="vit",
        relation="fine-tuned",
        parent="vit-a",
        data="digits-parity",
        seed=10,
        steps=300,
        learning_rate=3e-4,
    ),
    Specimen(name="cnn-a", family="resnet", relation="seed", data="digits", seed=11, steps=1500, learning_rate=4e-3),
    Specimen(
        name="cnn-a-finetuned",
        family="resnet",
        relation="fine-tuned",
        parent="cnn-a",
        data="digits-rotated",
        seed=12,
        steps=400,
        learning_rate=5e-4,
    ),
)
SPECIMENS = {specimen.name: specimen for specimen in _TABLE}


def root(name: str) -> str:
    """The ancestor without parents, the specimen itself if it has none."""
    parent = SPECIMENS[name].parent
    return name if parent is None else root(parent)
