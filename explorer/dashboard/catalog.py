"""All mined models in short, as they are at one moment: what filters choose from."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from explorer.dashboard.state import FACETS, State
from patterndb.records import PatternSummary, RoleRecord
from patterndb.settings import flat

__all__ = ["UNKNOWN", "Catalog", "Difference"]

UNKNOWN = "unknown"
IRRELEVANT = {"device", "seed_source", "checkpoint_every", "compile", "accumulate", "allow_partial", "allow_nonfinite"}
"""Settings that change how a result is come by, and what is let in, but hardly the result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A setting that some models were mined with another value of."""

    name: str
    values: tuple[tuple[str, int], ...]
    """Value -> how many of the models, the most frequent first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """The current pattern of every model key, by key."""

    patterns: tuple[PatternSummary, ...]
    roles: Mapping[str, tuple[RoleRecord, ...]]
    settings: Mapping[str, Mapping[str, Any]]

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(pattern.model.key for pattern in self.patterns)

    def matching(self, state: State) -> tuple[PatternSummary, ...]:
        """The models that all filters leave: of each, one of the values that are marked."""
        wanted = {field: set(getattr(state, field)) for field in FACETS if getattr(state, field)}
        part = state.search.casefold()
        return tuple(
            pattern
            for pattern in self.patterns
            if part in pattern.model.key.casefold()
            and all(chosen.intersection(self.labels(field, pattern)) for field, chosen in wanted.items())
        )

    def chosen(self, state: State) -> tuple[PatternSummary, ...]:
        """The models that were picked and are there, in that order."""
        by_key = {pattern.model.key: pattern for pattern in self.patterns}
        return tuple(by_key[key] for key in state.models if key in by_key)

    def in_view(self, state: State) -> tuple[PatternSummary, ...]:
        """The picked models, else those that the filters leave."""
        return self.chosen(state) or self.matching(state)

    def labels(self, field: str, pattern: PatternSummary) -> Sequence[str]:
        """The model's values of a filter: one, but of roles as many as it has."""
        if field == "roles":
            return [role.role for role in self.roles.get(pattern.model.key, ())]
        value = LABELS[field](pattern)
        return (UNKNOWN if value is None else str(value),)

    def values(self, field: str) -> list[tuple[str, int]]:
        """The values that a filter offers, by name, and how many models have each."""
        counts = Counter(label for pattern in self.patterns for label in self.labels(field, pattern))
        return sorted(counts.items())

    def differences(self, patterns: Sequence[PatternSummary]) -> tuple[Difference, ...]:
        """The settings in which these models do not agree, so that their numbers do not compare outright."""
        settings = [dict(flat(self.settings.get(pattern.model.key, {}))) for pattern in patterns]
        for each, pattern in zip(settings, patterns, strict=True):
            each["signature version"] = pattern.signature_version
        names = sorted({name for each in settings for name in each if IRRELEVANT.isdisjoint(name.split("."))})
        found = ((name, Counter(str(each.get(name, "-")) for each in settings)) for name in names)
        return tuple(
            Difference(name=name, values=tuple(counts.most_common())) for name, counts in found if len(counts) > 1
        )


LABELS: Mapping[str, Callable[[PatternSummary], Any]] = {
    "tiers": lambda pattern: pattern.model.tier,
    "modalities": lambda pattern: pattern.model.modality,
    "architectures": lambda pattern: pattern.model.architecture,
    "classes": lambda pattern: pattern.pattern_class,
}
