"""Workers that vanish: killed, out of memory, or with the machine they were on."""

from collections import Counter

from patterndb.store import PatternDatabase
from pipeline.events import Event, OnEvent
from pipeline.runs.executors.one_model import fail_model
from pipeline.runs.executors.work import Outcome, PlannedModel, Work

__all__ = ["ATTEMPTS", "LostWorkers"]

ATTEMPTS = 3
"""How often a model is begun before it is given up, because it may be what kills its workers."""


class LostWorkers:
    """Counts how often each model lost its worker."""

    def __init__(self, work: Work, database: PatternDatabase, on_event: OnEvent) -> None:
        self._work, self._database, self._on_event = work, database, on_event
        self._lost: Counter[str] = Counter()

    def give_up(self, model: PlannedModel, reason: str) -> Outcome | None:
        """None if the model is to be begun again, which is told; its failure, recorded, after `ATTEMPTS`.

        - `reason`: why the worker was lost, to stand in a sentence.
        """
        self._lost[model.key] += 1
        if self._lost[model.key] >= ATTEMPTS:
            message = f"Its worker was lost {ATTEMPTS} times, the last time because {reason}."
            hint = f"Often memory is short: mine fewer models at a time. The log is {self._work.log}."
            return fail_model(model, self._work, message, hint, database=self._database, on_event=self._on_event)
        message = f"its worker was lost because {reason}; it goes on in another, after the last finished stage"
        self._on_event(Event(kind="note", model=model.key, stage="mine", message=message))
        return None
