"""How each kind of member is made: from random weights, or from its parents in the same folder."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from transformers import PreTrainedModel

from benchmarks.population import surgery
from benchmarks.population.adapters import train_adapter
from benchmarks.population.architectures import Architecture, new_model
from benchmarks.population.lessons import DrawBatch, distil, draw_from, train
from benchmarks.population.members import Member, Relation
from benchmarks.population.shrinking import halve_depth, halve_width, new_vocabulary, with_labels
from benchmarks.population.storage import load
from benchmarks.population.symmetries import permutation

__all__ = ["MAKERS", "Maker"]

SHORT, LONG = 60, 120
"""Steps of a child that is trained a little."""
PRUNED_SHARES = (0.3, 0.4, 0.5)
NOISE = 0.15
NUM_NEW_LABELS = 2

Maker = Callable[[Member, Architecture, Path], PreTrainedModel]
"""(who, its architecture, where its parents lie) -> its model."""


def _root(member: Member, architecture: Architecture, folder: Path) -> PreTrainedModel:
    model = new_model(architecture, seed=member.seed)
    _learn(model, member, architecture, architecture.data, steps=architecture.steps, rate=1.0)
    return model


def _fine_tuned(member: Member, architecture: Architecture, folder: Path) -> PreTrainedModel:
    model = _parent(member, architecture, folder)
    _learn(model, member, architecture, architecture.other_data)
    return model


def _retrained(member: Member, architecture: Architecture, folder: Path) -> PreTrainedModel:
    """As many steps as the root had, at half its rate; pictures with a new head, for even or odd."""
    model, data = _parent(member, architecture, folder), architecture.other_data
    if not architecture.is_text:
        model, data = with_labels(model, architecture, NUM_NEW_LABELS, member.seed), "digits-parity"
    _learn(model, member, architecture, data, steps=architecture.steps, rate=0.5)
    return model


def _lora(member: Member, architecture: Architecture, folder: Path) -> PreTrainedModel:
    model = _parent(member, architecture, folder)
    # A low rank takes a higher rate than all weights do.
    _learn(model, member, architecture, architecture.other_data, steps=LONG, rate=1.0, by=train_adapter)
    return model


def _distilled(member: Member, architecture: Architecture, folder: Path) -> PreTrainedModel:
    teacher = _parent(member, architecture, folder)
    student = halve_depth(teacher, architecture)

    def learn(model: PreTrainedModel, draw: DrawBatch, **schedule: float) -> None:
        distil(model, teacher, draw, **schedule)

    _learn(student, member, architecture, architecture.data, steps=LONG, rate=0.5, by=learn)
    return student


def _half_width(member: Member, architecture: Architecture, folder: Path) -> PreTrainedModel:
    model = halve_width(_parent(member, architecture, folder), architecture)
    _learn(model, member, architecture, architecture.data)
    return model


def _vocabulary(member: Member, architecture: Architecture, folder: Path) -> PreTrainedModel:
    parent = _parent(member, architecture, folder)
    model, ids = new_vocabulary(parent, architecture, _generator(member))
    _learn(model, member, architecture, architecture.data, steps=LONG, vocabulary=ids)
    return model


def _merged(member: Member, architecture: Architecture, folder: Path) -> PreTrainedModel:
    model = _parent(member, architecture, folder)
    surgery.average_into(model, _parent(member, architecture, folder, 1))
    return model


def _permuted(member: Member, architecture: Architecture, folder: Path) -> PreTrainedModel:
    model = _parent(member, architecture, folder)
    model.load_state_dict(permutation().permuted(model, generator=_generator(member)))
    return model


def _rescaled(member: Member, architecture: Architecture, folder: Path) -> PreTrainedModel:
    """Behind every ReLU, and before every batch norm."""
    model, generator = _parent(member, architecture, folder), _generator(member)
    if architecture.has_relu:
        model.load_state_dict(permutation().rescaled_units(model, generator=generator))
    surgery.rescale_before_norms(model, generator)
    return model


def _rotated(member: Member, architecture: Architecture, folder: Path) -> PreTrainedModel:
    model = _parent(member, architecture, folder)
    model.load_state_dict(permutation().rotated_heads(model, generator=_generator(member)))
    return model


def _operated(operate: Callable[[PreTrainedModel, Member], None]) -> Maker:
    """A maker that works on the parent's weights alone."""

    def make(member: Member, architecture: Architecture, folder: Path) -> PreTrainedModel:
        model = _parent(member, architecture, folder)
        operate(model, member)
        return model

    return make


MAKERS: Mapping[Relation, Maker] = {
    "root": _root,
    "fine-tuned": _fine_tuned,
    "pruned": _operated(lambda model, member: surgery.prune(model, PRUNED_SHARES[member.rank % len(PRUNED_SHARES)])),
    "quantised-8": _operated(lambda model, member: surgery.round_to(model, 8, by_row=False)),
    "permuted": _permuted,
    "noised": _operated(lambda model, member: surgery.disturb(model, NOISE, _generator(member))),
    "merged": _merged,
    "quantised-4": _operated(lambda model, member: surgery.round_to(model, 4, by_row=True)),
    "lora": _lora,
    "retrained": _retrained,
    "distilled": _distilled,
    "merged-roots": _merged,
    "half-width": _half_width,
    "vocabulary": _vocabulary,
    "rescaled": _rescaled,
    "rotated": _rotated,
    "shuffled": _operated(lambda model, member: surgery.shuffle(model, _generator(member))),
}


def _parent(member: Member, architecture: Architecture, folder: Path, index: int = 0) -> PreTrainedModel:
    return load(folder / member.parents[index], architecture)


def _generator(member: Member) -> torch.Generator:
    return torch.Generator().manual_seed(member.seed)


def _learn(
    model: PreTrainedModel,
    member: Member,
    architecture: Architecture,
    data: str,
    *,
    steps: int = SHORT,
    rate: float = 0.25,
    vocabulary: torch.Tensor | None = None,
    by: Callable[..., object] = train,
) -> None:
    """`steps` at `rate` times the root's peak learning rate; never more steps than the root had."""
    by(
        model,
        draw_from(architecture, data, vocabulary),
        steps=min(steps, architecture.steps),
        learning_rate=rate * architecture.learning_rate,
        weight_decay=architecture.weight_decay,
        seed=member.seed,
    )
