"""One model through the chain, and what becomes of its failure: the same wherever it is mined."""

import logging

from dna_zoo.errors import DnaZooError, RecordRefusedError, StoreError
from dna_zoo.text import printable
from patterndb.records import RunModelRecord
from patterndb.store import PatternDatabase
from pipeline.chain import Chain
from pipeline.events import Event, OnEvent
from pipeline.fetch.errors import disk_errors
from pipeline.runs.executors.work import Outcome, PlannedModel, Work

__all__ = ["fail_model", "mine_model"]

log = logging.getLogger(__name__)
LONGEST = 2_000
"""Characters of a message that is kept."""


def mine_model(model: PlannedModel, work: Work, *, database: PatternDatabase, on_event: OnEvent) -> Outcome:
    """Take one model through the stages, and record how it fared.

    Whatever goes wrong with the model fails that model alone; raises `StoreError` for a database that fails.
    """
    chain = Chain(
        request=model.request,
        key=model.key,
        settings=work.settings,
        run=work.run,
        request_key=work.request_key,
        database=database,
        home=work.home,
        artifacts=work.artifacts,
        on_event=on_event,
        force=work.force,
    )
    chain.tell("start", "mine")
    try:
        with disk_errors(work.home):
            pattern_key = chain.take()
    except RecordRefusedError as refused:
        return fail_model(model, work, refused.message, refused.hint, database=database, on_event=on_event)
    except StoreError:
        raise
    except DnaZooError as known:
        return fail_model(model, work, known.message, known.hint, database=database, on_event=on_event)
    except Exception as error:  # One model's bug must not cost the others their results.
        if isinstance(error.__cause__, KeyboardInterrupt):  # Python makes an error of one in `__set_name__`.
            raise KeyboardInterrupt(*error.__cause__.args) from error
        log.exception("%s failed because of a bug.", model.key)
        hint = f"This is a bug; the traceback is in {work.log}."
        message = f"{type(error).__name__}: {error}"
        return fail_model(model, work, message, hint, database=database, on_event=on_event)
    database.finish_model(work.run, RunModelRecord(key=model.key, status="done", pattern_key=pattern_key))
    chain.tell("done", "mine")
    return Outcome(key=model.key, status="done")


def fail_model(
    model: PlannedModel, work: Work, message: str, hint: str, *, database: PatternDatabase, on_event: OnEvent
) -> Outcome:
    """Record that the model failed and why, and tell it."""
    message, hint = printable(message, longest=LONGEST), printable(hint, longest=LONGEST)
    log.warning("%s: %s", model.key, message)
    record = RunModelRecord(key=model.key, status="failed", error=message, hint=hint or None)
    database.finish_model(work.run, record)
    on_event(Event(kind="failed", model=model.key, stage="mine", message=message))
    return Outcome(key=model.key, status="failed")
