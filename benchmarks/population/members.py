"""The members of the population: roots, their children, and how each child is related to its root.

Roots of one architecture differ in their seed alone: the same data, the same steps. They are each other's hard
negatives. A child's relation is easy where it leaves nearly every weight near its root's (or in another order), hard
where it does not, or where another root has as large a share.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.population.architectures import ARCHITECTURES, Architecture

__all__ = ["RELATIONS", "Hardness", "Member", "Relation", "plan"]

Hardness = Literal["root", "easy", "hard", "negative"]
Relation = Literal[
    "root",
    "fine-tuned",
    "pruned",
    "quantised-8",
    "permuted",
    "noised",
    "merged",
    "quantised-4",
    "lora",
    "retrained",
    "distilled",
    "merged-roots",
    "half-width",
    "vocabulary",
    "rescaled",
    "rotated",
    "shuffled",
]
RELATIONS: dict[Relation, Hardness] = {
    "root": "root",
    "fine-tuned": "easy",
    "pruned": "easy",
    "quantised-8": "easy",
    "permuted": "easy",
    "noised": "easy",
    "merged": "easy",
    "quantised-4": "hard",
    "lora": "hard",
    "retrained": "hard",
    "distilled": "hard",
    "merged-roots": "hard",
    "half-width": "hard",
    "vocabulary": "hard",
    "rescaled": "hard",
    "rotated": "hard",
    "shuffled": "negative",
}
"""In the order they are made: a relation's parents come before it."""

ROOTS = {"tuned": 4, "held-out": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One model of the population."""

    name: str
    architecture: str
    split: str
    relation: Relation
    roots: tuple[str, ...]
    """Its families: two for a merge of two roots, its own name for a shuffled copy, which is related to none."""
    parents: tuple[str, ...] = ()
    """Members it is made from."""
    rank: int = 0
    """Of its root among those of the architecture."""

    @property
    def hardness(self) -> Hardness:
        return RELATIONS[self.relation]

    @property
    def seed(self) -> int:
        return zlib.crc32(self.name.encode())


def plan(architectures: Sequence[str] = tuple(ARCHITECTURES), *, num_roots: int | None = None) -> tuple[Member, ...]:
    """All members, parents before their children; `num_roots` of each architecture if given."""
    members = []
    for name in architectures:
        architecture = ARCHITECTURES[name]
        count = num_roots or ROOTS[architecture.split]
        roots = [f"{name}-{chr(ord('a') + rank)}" for rank in range(count)]
        by_relation = [_members(architecture, roots, relation) for relation in RELATIONS]
        members += [member for row in by_relation for member in row]
    return tuple(members)


def _members(architecture: Architecture, roots: list[str], relation: Relation) -> list[Member]:
    if not _is_possible(architecture, relation) or (relation == "merged-roots" and len(roots) < 2):
        return []
    return [_member(architecture, roots, rank, relation) for rank in range(len(roots))]


def _is_possible(architecture: Architecture, relation: Relation) -> bool:
    """Whether the architecture has what the relation changes."""
    return {
        "distilled": bool(architecture.half_depth),
        "vocabulary": architecture.is_text,
        # Behind a ReLU, or before a batch norm.
        "rescaled": architecture.has_relu or architecture.is_convolutional,
        "rotated": not architecture.is_convolutional,
    }.get(relation, True)


def _member(architecture: Architecture, roots: list[str], rank: int, relation: Relation) -> Member:
    root = roots[rank]
    name = root if relation == "root" else f"{root}-{relation}"
    families, parents = (root,), (root,)
    if relation == "root":
        parents = ()
    elif relation == "merged":
        parents = (root, f"{root}-fine-tuned")
    elif relation == "merged-roots":
        families = (root, roots[(rank + 1) % len(roots)])
        parents = tuple(f"{family}-fine-tuned" for family in families)
    elif relation == "shuffled":
        families = (name,)
    return Member(
        name=name,
        architecture=architecture.name,
        split=architecture.split,
        relation=relation,
        roots=families,
        parents=parents,
        rank=rank,
    )
