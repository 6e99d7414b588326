"""Which mined models a pattern is built from: by key, or by what is declared of them."""

from collections.abc import Mapping

from dna_zoo.errors import SettingsError, did_you_mean
from patterndb.records import ModelRecord
from pipeline.analyse.questions.labels import FACETS

__all__ = ["SELECTIONS", "describes", "parse_where"]

SELECTIONS: Mapping[str, str] = {
    "text-encoder": "modality=text,architecture=encoder",
    "text-decoder": "modality=text,architecture=decoder",
    "vision-cnn": "modality=vision,architecture=cnn",
    "vision-transformer": "modality=vision,architecture=encoder",
    "universal": "",
}
"""Built-in name -> the where-clause that it stands for; an empty one selects every model."""


def parse_where(clause: str) -> dict[str, str]:
    """Facet -> label of `FACET=LABEL[,FACET=LABEL...]`. Raises `SettingsError` for anything else."""
    found = {}
    for term in filter(None, (each.strip() for each in clause.split(","))):
        facet, equals, label = (piece.strip() for piece in term.partition("="))
        if not equals or facet not in FACETS or not label:
            near = did_you_mean(facet, FACETS)
            raise SettingsError(
                f"`--where` has {term!r}, which is not FACET=LABEL.",
                hint=near
                or f"Facets are {', '.join(FACETS)}, for example `--where modality=text,architecture=decoder`.",
            )
        found[facet] = label
    return found


def describes(where: Mapping[str, str], model: ModelRecord) -> bool:
    """Whether the model has all these labels."""
    return all(FACETS[facet](model) == label for facet, label in where.items())
