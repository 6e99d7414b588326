"""What answering a question gives: frozen records."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Relation = Literal["coincides", "decides", "differs"]
Verdict = Literal["yes", "no evidence", "not enough models"]

__all__ = ["Answer", "Confound", "Finding", "Group", "QuestionsAnswered", "Relation", "Verdict"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The models with one label."""

    label: str
    models: int
    lineages: int
    """Independent ones: this is n."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confound:
    """Something else that goes with the label, so that the pattern may be its doing."""

    label: str
    """`modality`, `family`, ...; `size` for the number of weights."""
    relation: Relation
    """`coincides`: the same groups under other names. `decides`: its groups are parts of these. `differs`: the groups
    differ in it by a permutation test of ranks, p <= 0.05."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that an answer rests on: a dimension of the signature, a statistic, a label."""

    name: str
    effect: float | None
    p: float | None = None
    q: float | None = None
    """p adjusted for all that were tested beside it."""
    values: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A question, its answer, and what that stands on; a number is None where there was nothing to compute it from."""

    name: str
    question: str
    verdict: Verdict
    sentence: str
    measure: str
    """What `effect` is: `omega squared`, `skill` or `share of statistics`."""
    effect: float | None = None
    chance: float | None = None
    """What `observed` is by chance, where that is not 0."""
    observed: float | None = None
    """Pseudo-F, balanced accuracy, or how many statistics."""
    p: float | None = None
    least_p: float | None = None
    """The smallest p that this many lineages allow."""
    q: float | None = None
    """p adjusted for all questions whose least p could be evidence; None for the others."""
    labellings: int | None = None
    """How many labellings p was counted over."""
    is_exact: bool | None = None
    """Whether those are all there are."""
    models: int = 0
    lineages: int = 0
    dimensions: int | None = None
    """Of the signature that all models compared have: what distances are over."""
    unlabelled: int = 0
    """Models left out, because nothing is declared of them that answers the question."""
    groups: tuple[Group, ...] = ()
    needed: Mapping[str, int] = field(default_factory=dict)
    """How many more lineages of which label would allow a small enough p; empty where there are enough."""
    confounds: tuple[Confound, ...] = ()
    findings: tuple[Finding, ...] = ()
    """The strongest, the first the strongest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionsAnswered:
    """Every question asked of one database."""

    models: int
    lineages: Mapping[str, tuple[str, ...]]
    """Name of each lineage -> keys of its models."""
    answers: tuple[Answer, ...]
