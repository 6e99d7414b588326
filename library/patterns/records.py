"""What a shared pattern is, and the evidence for each of its parts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["ALPHA", "DEPTHS", "Evidence", "Key", "Lineage", "Part", "SharedPattern"]

DEPTHS = np.linspace(0.0, 1.0, 5)
"""Relative depths that a pattern is kept at; between them it is interpolated."""
ALPHA = 0.05
"""Largest q of a part that explains left-out lineages."""


class Key(NamedTuple):
    """Names a part of a pattern."""

    subject: str
    """A role, with what tells it apart (`convolution/3x3`, `attention_query.bias`), or a pair (`query_key`)."""
    term: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """One independent ancestor that a pattern was built from."""

    name: str
    models: tuple[str, ...]
    """Keys of the mined models of the lineage; the first one was measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """How much of a left-out lineage a part explains.

    `explained` is 1 - sum |y - prediction|^2 / sum |y|^2, where y is a lineage's values and the prediction is the
    shrunk mean of the others: 1 if lineages are alike, 0 if random weights predict as well, negative if they predict
    better.
    """

    lineages: int
    explained: float
    null: float
    """Its mean over recombinations with the null."""
    p: float
    """Share of recombinations that explain as much; for scale and vectors, of all their parts together."""
    q: float
    """Benjamini-Hochberg over the tests of the pattern."""

    @property
    def holds(self) -> bool:
        """Whether the part explains left-out lineages beyond chance."""
        return self.q <= ALPHA and self.explained > max(self.null, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """The values of one term of one subject."""

    values: npt.NDArray[np.float32]
    """(depths, length): at `DEPTHS`."""
    lineages: int
    """How many lineages have the subject."""
    evidence: Evidence | None = None
    """None where fewer than three lineages have the subject, or the pattern is a combination."""

    @property
    def is_used(self) -> bool:
        """Whether new models get it: what was tested and explains nothing is left at its default start."""
        return self.evidence is None or self.evidence.holds

    def at(self, depth: float | None) -> npt.NDArray[np.float64]:
        """The values (length,) at a relative depth in [0, 1]; in the middle where depth has no meaning."""
        place = 0.5 if depth is None else float(np.clip(depth, 0.0, 1.0))
        columns = self.values.T.astype(np.float64)
        return np.array([np.interp(place, DEPTHS, column) for column in columns])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SharedPattern:
    """What models of a kind have in common."""

    name: str
    parts: Mapping[Key, Part]
    lineages: tuple[Lineage, ...]
    selection: str = ""
    """How the models were chosen: a where-clause, or their keys."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Model key -> why it was not used though it was selected."""
    combined: Mapping[str, float] = field(default_factory=dict)
    """Of a combination: name of each pattern in it -> its weight."""
    num_draws: int = 0
    """Shuffled copies of each lineage."""
    seed: int = 0

    @property
    def tested(self) -> tuple[Key, ...]:
        return tuple(key for key, part in self.parts.items() if part.evidence is not None)

    @property
    def holding(self) -> tuple[Key, ...]:
        """The parts that explain left-out lineages."""
        return tuple(key for key in self.tested if self.parts[key].is_used)

    @property
    def verdict(self) -> str:
        """What there is to say of the pattern, in one sentence."""
        if self.combined:
            return "A combination: how much of a lineage it explains was not measured."
        if not self.tested:
            return f"Not tested: {len(self.lineages)} lineages are too few to leave one out (at least 3)."
        found = f"{len(self.holding)} of {len(self.tested)} tested parts explain left-out lineages."
        found = found if self.holding else "It explains nothing of a left-out lineage beyond its null."
        if self.least_p <= ALPHA / 2:
            return found
        copies = f"{self.num_draws} shuffled {'copy' if self.num_draws == 1 else 'copies'}"
        return (
            f"{found} With {copies} of each lineage (`--draws`) p of what a shuffle changes is at least"
            f" {self.least_p:.3f}, too much beside the other tests."
        )

    @property
    def least_p(self) -> float:
        """The smallest p that a part has which every lineage has and a shuffle changes: of one recombination among all
        of `library.patterns.evidence`."""
        return 1 / (self.num_draws + 1) ** len(self.lineages) if self.num_draws else 1.0
