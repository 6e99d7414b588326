"""The answers to questions, as frozen records."""

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
    recall: float | None = None
    """Share of its lineages that are predicted correctly when left out; None for a label that is not tested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confound:
    """Another property that coincides with the label, so that it may be the cause."""

    label: str
    """`modality`, `family`, ...; `size` for the number of weights."""
    relation: Relation
    """`coincides`: the same groups under other names. `decides`: its groups are subsets of these. `differs`: the groups
    differ in it by a permutation test (of ranks for the size, chi-square for others), p <= 0.05."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Detail of an answer: a dimension of the signature or a statistic."""

    name: str
    effect: float | None
    p: float | None = None
    q: float | None = None
    """p adjusted for all tests of the same answer."""
    values: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A question, its answer and the evidence; a number is None where it could not be computed."""

    name: str
    question: str
    verdict: Verdict = "not enough models"
    sentence: str = ""
    measure: str
    """What `effect` is: `skill` or `share of statistics`."""
    effect: float | None = None
    chance: float | None = None
    """Expected `observed` by chance, where that is not 0."""
    observed: float | None = None
    """Balanced accuracy, or how many statistics."""
    p: float | None = None
    least_p: float | None = None
    """The smallest possible p with so many lineages."""
    q: float | None = None
    """p adjusted for all questions whose smallest possible p is at most alpha; None for the others."""
    labellings: int | None = None
    """Number of labellings that p was computed over."""
    is_exact: bool | None = None
    """Whether those are all labellings that exist."""
    models: int = 0
    lineages: int = 0
    dimensions: int | None = None
    """Dimensions that all models compared have: the test is over these."""
    unlabelled: int = 0
    """Models left out because they have none of the labels compared."""
    groups: tuple[Group, ...] = ()
    needed: Mapping[str, int] = field(default_factory=dict)
    """Label -> number of further lineages for a small enough p; empty where there are enough."""
    confounds: tuple[Confound, ...] = ()
    findings: tuple[Finding, ...] = ()
    """The strongest, in descending order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionsAnswered:
    """All answers about one database."""

    models: int
    lineages: Mapping[str, tuple[str, ...]]
    """Name of each lineage -> keys of its models."""
    answers: tuple[Answer, ...]
    sample: str = ""
    """Which models these are, where they stand for a larger catalog."""
