"""Combine: the straight line between two models of one architecture, before and after their alignment."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dna_zoo.errors import JoinError
from library.models import Loaded
from library.surgery.alignment import Alignment, align, values_of
from library.surgery.layers import require_same_settings
from library.surgery.tasks import Score, Task, estimate_statistics, score

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["CURVE", "LINE", "Combination", "Line", "combine", "interpolated", "require_one_architecture"]

LINE = (0.0, 0.25, 0.5, 0.75, 1.0)
CURVE = tuple(i / 10 for i in range(11))


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The scores along a line, from A (0) to B (1)."""

    shares: tuple[float, ...]
    """Of B."""
    scores: tuple[Score, ...]

    @property
    def barrier(self) -> float:
        """The largest rise of the loss above the straight line between those of the ends, in nats.

        "Linear mode connectivity and the lottery ticket hypothesis", Frankle et al. 2020.
        """
        first, last = self.scores[0].loss, self.scores[-1].loss
        pairs = zip(self.shares, self.scores, strict=True)
        return max(found.loss - (1 - share) * first - share * last for share, found in pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """Two models made into one."""

    a: str
    b: str
    share: float
    """Of B in the model."""
    model: "PreTrainedModel"
    alignment: Alignment
    task: Task
    aligned: Line
    unaligned: Line
    score: Score
    """Of the model."""


def combine(
    a: Loaded,
    b: Loaded,
    *,
    task: Task,
    share: float = 0.5,
    shares: Sequence[float] = LINE,
    turns: bool = True,
    seed: int = 0,
) -> Combination:
    """Align B with A, and take the model at `share` of the way from A to B.

    - `shares`: where the losses are taken, on both lines; 0 and 1 are added.
    - `seed`: of the batches that running statistics of batch norms are taken from again, between the ends.

    Raises `JoinError` for models that have not one architecture.
    """
    require_one_architecture(a, b)
    first, second = values_of(a.model), values_of(b.model)
    alignment = align(first, second, model=a.model, example=task.example, turns=turns)
    moved = alignment.apply(second)
    chosen = sorted({0.0, 1.0, *shares})
    lines = {}
    for name, other in (("aligned", moved), ("unaligned", second)):
        scores = [score(interpolated(a.model, first, other, x, task=task, seed=seed), task) for x in chosen]
        lines[name] = Line(shares=tuple(chosen), scores=tuple(scores))
    model = interpolated(a.model, first, moved, share, task=task, seed=seed)
    return Combination(
        a=a.name, b=b.name, share=share, model=model, alignment=alignment, task=task, score=score(model, task), **lines
    )


@torch.no_grad()
def interpolated(
    model: "PreTrainedModel",
    first: Mapping[str, Tensor],
    second: Mapping[str, Tensor],
    share: float,
    *,
    task: Task,
    seed: int,
) -> "PreTrainedModel":
    """A copy of `model` with weights `(1 - share) first + share second`.

    Between the ends, the statistics of batch norms are taken again.
    """
    found: Any = deepcopy(model)
    for name, tensor in values_of(found).items():
        mean = (1 - share) * first[name].double() + share * second[name].double()
        tensor.copy_(mean)
    if 0 < share < 1:
        estimate_statistics(found, task, seed=seed)
    made: PreTrainedModel = found.eval()
    return made


def require_one_architecture(a: Loaded, b: Loaded) -> None:
    """Raise `JoinError` unless the models have the same tensors, and settings that give them one meaning."""
    kinds = a.config.model_type, b.config.model_type
    if kinds[0] != kinds[1]:
        raise JoinError(
            f"{a.name!r} is a {kinds[0]} and {b.name!r} a {kinds[1]}: their weights have no places in common.",
            hint="Give two models of one architecture.",
        )
    shapes = [{name: tuple(tensor.shape) for name, tensor in values_of(each.model).items()} for each in (a, b)]
    if lone := sorted(shapes[0].keys() ^ shapes[1].keys()):
        owner, other = (a, b) if lone[0] in shapes[0] else (b, a)
        raise JoinError(
            f"{owner.name!r} has {len(lone)} tensors that {other.name!r} has not, {lone[0]!r} among them."
            if all((name in shapes[0]) == (lone[0] in shapes[0]) for name in lone)
            else f"{a.name!r} and {b.name!r} do not have the same tensors, {lone[0]!r} is in one alone.",
            hint="Give two models with the same number of layers and the same head.",
        )
    apart = [name for name in shapes[0] if shapes[0][name] != shapes[1][name]]
    if apart:
        sizes = " and ".join("x".join(map(str, side[apart[0]])) for side in shapes)
        raise JoinError(
            f"{apart[0]!r} has the shapes {sizes} in {a.name!r} and {b.name!r}.",
            hint="Give two models of one width and one vocabulary; `dna-zoo transplant --resample` joins other widths.",
        )
    require_same_settings(a, b)
