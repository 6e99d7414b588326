"""The questions that compare labels, and the label of a model under each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from patterndb.records import ModelRecord

__all__ = ["COMPARISONS", "FACETS", "Comparison", "Facet"]

Facet = Callable[[ModelRecord], str | None]
"""The label of a model; None where nothing is declared."""


def _specialisation(model: ModelRecord) -> str | None:
    if model.specialty is None:
        return None
    return "general" if model.specialty == "general" else "specialised"


def _either(answer: bool | None, yes: str, no: str) -> str | None:
    return None if answer is None else yes if answer else no


FACETS: Mapping[str, Facet] = {
    "modality": lambda model: model.modality,
    "architecture": lambda model: model.architecture,
    "family": lambda model: model.family,
    "objective": lambda model: model.objective,
    "specialty": lambda model: model.specialty,
    "specialisation": _specialisation,
    "distillation": lambda model: _either(model.is_distilled, "distilled", "not-distilled"),
    "sharing": lambda model: _either(model.shares_layers, "shared", "not-shared"),
}
"""All declared properties of models: questions compare them, and each may confound another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A question that compares the labels of one facet."""

    name: str
    question: str
    facet: str
    labels: tuple[str, ...] = ()
    """The labels compared; empty for all."""
    refines: tuple[str, ...] = ()
    """Facets that this one is derived from, which are no confounds."""

    def label_of(self, model: ModelRecord) -> str | None:
        """The model's label, None if it has none or one that is not compared."""
        label = FACETS[self.facet](model)
        return label if not self.labels or label in self.labels else None


COMPARISONS: tuple[Comparison, ...] = (
    Comparison(
        name="architecture",
        question="Encoder or decoder?",
        facet="architecture",
        labels=("encoder", "decoder"),
    ),
    Comparison(name="modality", question="Text, vision or audio?", facet="modality"),
    Comparison(name="sharing", question="Shared parameters or not?", facet="sharing", labels=("shared", "not-shared")),
    Comparison(
        name="distillation",
        question="Distilled or not?",
        facet="distillation",
        labels=("distilled", "not-distilled"),
    ),
    Comparison(name="objective", question="Which training objective?", facet="objective"),
    Comparison(
        name="specialisation",
        question="Specialised or general?",
        facet="specialisation",
        labels=("general", "specialised"),
        refines=("specialty",),
    ),
)
