"""Questions to a whole catalog, however large: beyond some thousands of models, one of each lineage stands for it.

Models of one lineage are no independent evidence, so little is lost. Lineages are then those of cards and files, since
finding them in the weights takes all pairs; among the representatives they are found in the weights as ever.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from patterndb.records import SignatureEntry
from pipeline.analyse.lineage_groups import group_lineages
from pipeline.analyse.questions import QuestionsAnswered, ask
from pipeline.analyse.taxonomy import Taxonomy, classify

if TYPE_CHECKING:
    from patterndb.store import PatternDatabase

__all__ = ["MOST_LINEAGES", "MOST_MODELS", "Representatives", "ask_all", "choose", "classify_all"]

MOST_MODELS = 2_000
"""Up to so many, every model takes part."""
MOST_LINEAGES = 1_000
"""Of more lineages so many are drawn: an effect that these do not show is small."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Representatives:
    """The models that are asked, and, where these are not all, a sentence that says which they are."""

    entries: tuple[SignatureEntry, ...]
    sample: str = ""


def choose(database: "PatternDatabase", *, without: Collection[str] = (), seed: int = 0) -> Representatives:
    """All models but those `without`, or one of each lineage."""
    models = [model for model in database.current_models() if model.key not in without]
    if len(models) <= MOST_MODELS:
        entries = database.signatures(with_nulls=False)
        return Representatives(entries=tuple(entry for entry in entries if entry.model.key not in without))
    founders = np.array(group_lineages(models).founders)
    count = len(founders)
    if count > MOST_LINEAGES:
        founders = np.sort(np.random.default_rng(seed).choice(founders, MOST_LINEAGES, replace=False))
    drawn = f", of which {MOST_LINEAGES:,} were drawn (seed {seed})" if count > MOST_LINEAGES else ""
    return Representatives(
        entries=database.signatures(with_nulls=False, keys=[models[founder].key for founder in founders]),
        sample=f"{len(models):,} models are in {count:,} lineages by their cards and files{drawn}: one model of each.",
    )


def classify_all(database: "PatternDatabase") -> Taxonomy:
    """`pipeline.analyse.taxonomy.classify` of the models in a database, or of the representatives."""
    chosen = choose(database)
    return replace(classify(chosen.entries), sample=chosen.sample)


def ask_all(database: "PatternDatabase", *, without: Collection[str] = (), seed: int = 0) -> QuestionsAnswered:
    """`pipeline.analyse.questions.ask` of the models in a database, or of the representatives."""
    chosen = choose(database, without=without, seed=seed)
    statistics = database.model_statistics([entry.pattern_key for entry in chosen.entries])
    return replace(ask(chosen.entries, statistics, seed=seed), sample=chosen.sample)
