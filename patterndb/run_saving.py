"""Writing runs inside the caller's transaction."""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, func, select, update

from dna_zoo.errors import StoreError
from patterndb.records import RunModelRecord, StageRecord
from patterndb.run_loading import not_run
from patterndb.tables import PATTERNS, RUN_MODELS, RUNS, STAGES
from patterndb.upserts import find_or_insert, upsert

__all__ = ["write_model", "write_model_keys", "write_run", "write_run_end", "write_stage"]


def write_run(connection: Connection, run: str, request: Mapping[str, Any]) -> None:
    """Begin the run, or begin it again: its start stays."""
    row = {"run": run, "request": dict(request), "status": "running", "finished": None, "exit_code": None}
    upsert(connection, RUNS, row | {"started": dt.datetime.now(dt.UTC)}, key=("run",), once=("started",))


def write_model_keys(connection: Connection, run: str, keys: Iterable[str]) -> None:
    """The models of a run in this order; what is known of them stays."""
    run_id = _find_run(connection, run)
    for position, key in enumerate(dict.fromkeys(keys)):
        _update_model(connection, _find_or_add_model(connection, run_id, key), position=position)


def write_stage(connection: Connection, run: str, model_key: str, stage: StageRecord) -> None:
    """A stage of a model, in place of what was known of it."""
    _keep_stage(connection, _find_or_add_model(connection, _find_run(connection, run), model_key), stage)


def write_model(connection: Connection, run: str, record: RunModelRecord) -> None:
    """How a model fared; its pattern becomes the current one, its stages are added."""
    run_model_id = _find_or_add_model(connection, _find_run(connection, run), record.key)
    if record.pattern_key is not None:
        _confirm_pattern(connection, record.pattern_key)
    outcome = {"status": record.status, "error": record.error, "hint": record.hint}
    _update_model(connection, run_model_id, **outcome, pattern_key=record.pattern_key)
    for stage in record.stages:
        _keep_stage(connection, run_model_id, stage)


def write_run_end(connection: Connection, run: str, status: str, exit_code: int) -> None:
    """How a run ended."""
    end = {"status": status, "exit_code": exit_code, "finished": dt.datetime.now(dt.UTC)}
    if not connection.execute(update(RUNS).where(RUNS.c.run == run).values(end)).rowcount:
        raise not_run(run)


def _find_run(connection: Connection, run: str) -> int:
    """The id of the run's row."""
    run_id = connection.scalar(select(RUNS.c.id).where(RUNS.c.run == run))
    if run_id is None:
        raise not_run(run)
    return int(run_id)


def _find_or_add_model(connection: Connection, run_id: int, key: str) -> int:
    """The id of the model's row in the run; a new one comes last and is `pending`."""
    last = select(func.coalesce(func.max(RUN_MODELS.c.position), -1)).where(RUN_MODELS.c.run_id == run_id)
    row = {"run_id": run_id, "key": key, "status": "pending", "position": last.scalar_subquery() + 1}
    return find_or_insert(connection, RUN_MODELS, row, key=("run_id", "key"))


def _update_model(connection: Connection, run_model_id: int, **values: Any) -> None:
    """Change the row of a model in a run."""
    connection.execute(update(RUN_MODELS).where(RUN_MODELS.c.id == run_model_id).values(values))


def _confirm_pattern(connection: Connection, pattern_key: str) -> None:
    """Make the pattern that a model ended with its current one; one never saved is a mistake of the caller."""
    change = update(PATTERNS).where(PATTERNS.c.pattern_key == pattern_key).values(confirmed_at=dt.datetime.now(dt.UTC))
    if not connection.execute(change).rowcount:
        raise StoreError(f"Pattern {pattern_key!r} is not in this database.", hint="Save it before the model's end.")


def _keep_stage(connection: Connection, run_model_id: int, stage: StageRecord) -> None:
    """Insert or replace the row of a stage."""
    row = {"run_model_id": run_model_id, "stage": stage.stage, "key": stage.key, "status": stage.status}
    row |= {"seconds": stage.seconds, "error": stage.error}
    upsert(connection, STAGES, row, key=("run_model_id", "stage"))
