"""Views: the numbers of a figure, and the words that go with it. Whatever draws takes a view and computes nothing."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["View", "p_text", "three"]


def three(value: float | None) -> str:
    """A number of a sentence, with three digits behind the point."""
    return "unknown" if value is None else f"{value:.3f}"


def p_text(value: float | None) -> str:
    """p or q in a sentence: three digits, smaller ones as a bound."""
    return "<0.001" if value is not None and value < 0.001 else three(value)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View(ABC):
    """What every figure has, whoever draws it. Subclasses add arrays; those are never changed."""

    kind: str
    """Name of the kind of figure, as `dna-zoo plot KIND` has it."""
    subject: tuple[str, ...]
    """Keys of the models that it is about."""
    title: str
    """What is shown, in a few words; no names of tensors, which are long."""
    subtitle: str = ""
    """Of what: model and tensor, in full. It stands below the title, and is shortened in the middle where it must."""
    caption: str
    """Sentences to stand below the figure: what is drawn, of how many values, which null, which settings."""
    alt: str
    """What the figure shows, in words, for who does not see it: the finding, and whether it is beyond its null."""
    n: int
    """How many values, tensors or models it is made of."""
    units: Mapping[str, str] = field(default_factory=dict)
    """Column of the table -> its unit, where it has one."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What was chosen to make it (seed, draws of the null, sample size, perplexity ...); plain values."""

    @abstractmethod
    def table(self) -> "pd.DataFrame":
        """All numbers that are drawn, a row each: what is written as CSV beside the figure."""

    def words(self) -> dict[str, Any]:
        """Caption, alt text and the rest of what is no number, as plain values for JSON."""
        return {
            "kind": self.kind,
            "models": list(self.subject),
            "title": self.title,
            "subtitle": self.subtitle,
            "caption": self.caption,
            "alt": self.alt,
            "n": self.n,
            "units": dict(self.units),
            "settings": dict(self.settings),
        }
