"""The models of a run one after the other in this process."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

from patterndb.store import PatternDatabase
from pipeline.events import OnEvent
from pipeline.machine.devices import resolve_device
from pipeline.runs.executors.one_model import mine_model
from pipeline.runs.executors.work import Outcome, PlannedModel, Work
from pipeline.settings import MineSettings

__all__ = ["InThisProcess"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InThisProcess:
    """One model after the other, each with all cores."""

    def with_device(self, settings: MineSettings) -> MineSettings:
        """`auto` is CUDA where this machine has it."""
        return replace(settings, device=resolve_device(settings.device))

    def outcomes(
        self, work: Work, models: Sequence[PlannedModel], *, database: PatternDatabase, on_event: OnEvent
    ) -> Generator[Outcome, None, None]:
        """In the order given."""
        for model in models:
            yield mine_model(model, work, database=database, on_event=on_event)
