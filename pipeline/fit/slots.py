"""What a stack trains: the table of its slots, one network each."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.nulls import NullKind
from pipeline.settings import FitSettings

__all__ = ["FIT_NULLS", "Slot", "slots_of"]

FIT_NULLS: tuple[NullKind, ...] = ("shuffle", "means")
"""What a fit is compared with. `means` keeps the means of rows and columns; where none pay, it says what `shuffle` says
and is not fitted again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """Tensors that one network stands for, by their numbers: themselves, or one draw of a null of them."""

    tensors: tuple[int, ...]
    kind: NullKind | None = None
    """None: the tensors themselves."""
    draw: int = 0

    @property
    def label(self) -> str:
        """What comes before the tensor's name in a message."""
        return "" if self.kind is None else f"{self.kind} null {self.draw} of "


def slots_of(means_pay: Sequence[bool], settings: FitSettings) -> tuple[Slot, ...]:
    """The slots of a stack of so many tensors, given of which the means pay: the tensors, then the draws of a null.

    With scope `model` there is one slot for all tensors, and for each draw of a null of all.
    """
    every, paying = range(len(means_pay)), [index for index, pays in enumerate(means_pay) if pays]
    groups: dict[NullKind, list[tuple[int, ...]]]
    if settings.scope == "model":
        own: list[tuple[int, ...]] = [tuple(every)]
        groups = {"shuffle": own, "means": own if paying else []}
    else:
        own = [(index,) for index in every]
        groups = {"shuffle": own, "means": [(index,) for index in paying]}
    nulls = [
        Slot(tensors=group, kind=kind, draw=draw)
        for kind in FIT_NULLS
        for draw in range(settings.num_nulls)
        for group in groups[kind]
    ]
    return (*(Slot(tensors=group) for group in own), *nulls)
