"""Stacks: which tensors are trained together, as one problem with a network for each of them and of their nulls."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.fit.footprint import slot_bytes
from pipeline.fit.sizing import NetworkSize, choose_size
from pipeline.machine.devices import SHARE_OF_FREE
from pipeline.settings import FitSettings, Scope
from zoo.tensors import TensorSpec

__all__ = ["STACK_BYTES", "Stack", "plan_stacks"]

STACK_BYTES = 256 << 20
"""Tensors of one shape are trained together up to this much float32, nulls included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Tensors trained together, and the size of their networks, for which the means that are bought leave room."""

    index: int
    specs: tuple[TensorSpec, ...]
    size: NetworkSize
    total_steps: int
    part: str = ""
    """Which half of it, and of that; empty for the whole."""

    @property
    def name(self) -> str:
        return f"stack-{self.index:03d}{self.part}"

    def halves(self) -> tuple["Stack", "Stack"]:
        """Two stacks of half the tensors: their networks do not know of each other."""
        middle = len(self.specs) // 2
        return (
            replace(self, specs=self.specs[:middle], part=f"{self.part}a"),
            replace(self, specs=self.specs[middle:], part=f"{self.part}b"),
        )

    def num_networks(self, scope: Scope) -> int:
        """Networks that stand for tensors, not for nulls."""
        return 1 if scope == "model" else len(self.specs)

    @property
    def cost(self) -> float:
        """Roughly what it takes: weights times steps."""
        return float(self.total_steps) * sum(spec.num_weights for spec in self.specs)


def plan_stacks(
    matrices: Sequence[TensorSpec],
    settings: FitSettings,
    levels: Mapping[str, float] | None = None,
    bought: Mapping[str, int] | None = None,
    *,
    free: int | None = None,
) -> tuple[Stack, ...]:
    """Which tensors train together: all with scope `model`, those of one shape and size of network with scope `tensor`.

    - `levels`: multiples of the even share by name, where a tensor does not have 1;
    - `bought`: how many means the DNA of a tensor buys, by name, where it is not 0;
    - `free`: bytes that the device has, of which stacks take no more than a share.
    """
    bought, levels = bought or {}, levels or {}
    if settings.scope == "model":
        return (_make_stack(0, matrices, matrices, settings, spent=sum(bought.values())),)
    alike: dict[tuple[int, int, float, int], list[TensorSpec]] = defaultdict(list)
    for spec in matrices:
        alike[spec.rows, spec.cols, levels.get(spec.name, 1.0), bought.get(spec.name, 0)].append(spec)
    groups = []
    for (rows, cols, level, spent), members in alike.items():
        nulls = settings.num_nulls * (2 if spent else 1)
        size = max(STACK_BYTES // (4 * rows * cols * (1 + nulls)), 1)
        if free is not None:
            alone = _make_stack(0, members[:1], members[:1], settings, level=level, spent=spent)
            needed = (1 + nulls) * slot_bytes(members[:1], settings, alone.size)
            size = max(min(size, int(SHARE_OF_FREE * free) // needed), 1)
        groups += [(members[start : start + size], level, spent) for start in range(0, len(members), size)]
    return tuple(
        _make_stack(index, group, group[:1], settings, level=level, spent=spent)
        for index, (group, level, spent) in enumerate(groups)
    )


def _make_stack(
    index: int,
    specs: Sequence[TensorSpec],
    slot: Sequence[TensorSpec],
    settings: FitSettings,
    *,
    level: float = 1.0,
    spent: int = 0,
) -> Stack:
    """`slot`: the tensors that one network stands for; `spent`: how many means they have bought."""
    weights = sum(spec.num_weights for spec in slot)
    axes = 1 if settings.dna_type == "separable" else 2
    size = choose_size(
        settings,
        num_weights=weights,
        shortest_axis=min(min(spec.rows, spec.cols) for spec in slot),
        in_dim=axes + (2 if settings.scope == "model" else 0),
        level=level,
        spent=spent,
    )
    batches = 1 if settings.dna_type == "separable" else math.ceil(weights / min(settings.batch_size, weights))
    return Stack(index=index, specs=tuple(specs), size=size, total_steps=settings.epochs * batches)
