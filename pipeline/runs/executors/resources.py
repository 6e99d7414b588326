"""What mining a model takes of a machine: declared to Ray, which places tasks by it.

The one place where an estimate is plugged in: whatever `resources_of` returns is declared.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from dna_zoo.errors import DnaZooError
from pipeline.runs.executors.work import PlannedModel
from pipeline.settings import MineSettings
from pipeline.weights.folders import find_weights
from zoo.registry import ALL_CARDS

__all__ = ["Resources", "resources_of"]

GIB = 2**30
BASE_BYTES = GIB
"""A process with PyTorch in it, and the matrices that are at work in a small model."""
SHARE_OF_WEIGHTS = 1.0
"""Of the bytes of the weights: tensors are read one at a time, and the fit holds some of them, twice."""
BYTES_A_CORE = GIB // 2
"""Of weights: below that, one core is enough to be busy most of the time."""
MOST_CORES = 8
UNKNOWN_BYTES = 2 * GIB
"""Of a model whose size nobody has looked up yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What one task declares."""

    cpus: int
    gpus: int
    memory: int
    """Bytes."""

    def within(self, *, cpus: float, memory: float) -> "Resources":
        """No more than the largest machine has: a task that asks for more would wait for ever."""
        return replace(self, cpus=max(min(self.cpus, int(cpus)), 1), memory=min(self.memory, int(memory)))


def resources_of(model: PlannedModel, settings: MineSettings) -> Resources:
    """An estimate from the size of the files, or from what the zoo knows. Looks at the disk alone."""
    num_bytes = _num_bytes(model)
    return Resources(
        cpus=min(1 + num_bytes // BYTES_A_CORE, MOST_CORES),
        gpus=1 if settings.device.startswith("cuda") else 0,
        memory=BASE_BYTES + int(num_bytes * SHARE_OF_WEIGHTS),
    )


def _num_bytes(model: PlannedModel) -> int:
    """Of the weights."""
    request = model.request
    path = request.weights or Path(request.name)
    if request.weights is not None or (request.name not in ALL_CARDS and path.exists()):
        try:
            return sum(file.stat().st_size for file in find_weights(path.expanduser()).paths)
        except (DnaZooError, OSError):  # The model will fail, and say why.
            return 0
    card = ALL_CARDS.get(request.name)
    return card.parameters * 4 if card is not None and card.parameters else UNKNOWN_BYTES
