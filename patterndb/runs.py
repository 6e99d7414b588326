"""Runs: what was asked, how far each model came, how it ended. Three queries read them, however many there are."""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, RowMapping, func, select, update

from dna_zoo.errors import NotMinedError, StoreError
from patterndb.engine import Transactions, find_or_insert, upsert
from patterndb.records import RunModelRecord, RunRecord, StageRecord
from patterndb.tables import PATTERNS, RUN_MODELS, RUNS, STAGES

__all__ = ["RunStore"]

RUN_COLUMNS = (RUNS.c.run, RUNS.c.status, RUNS.c.request, RUNS.c.started, RUNS.c.finished, RUNS.c.exit_code)
MODEL_COLUMNS = (
    RUN_MODELS.c.key, RUN_MODELS.c.status, RUN_MODELS.c.error, RUN_MODELS.c.hint, RUN_MODELS.c.pattern_key,
)  # fmt: skip
STAGE_COLUMNS = (STAGES.c.stage, STAGES.c.key, STAGES.c.status, STAGES.c.seconds, STAGES.c.error)


class RunStore(Transactions):
    """The part of the pattern database that keeps runs."""

    def start_run(self, run: str, request: Mapping[str, Any]) -> None:
        """Begin the run, or go on with the one of that name: its start, models and stages stay."""
        row = {"run": run, "request": dict(request), "status": "running", "finished": None, "exit_code": None}
        with self._writing() as connection:
            upsert(connection, RUNS, row | {"started": dt.datetime.now(dt.UTC)}, key=("run",), once=("started",))

    def set_run_models(self, run: str, keys: Iterable[str]) -> None:
        """Say which models the run is about, in this order; those it knows already keep what is known of them."""
        with self._writing() as connection:
            run_id = _find_run(connection, run)
            for position, key in enumerate(dict.fromkeys(keys)):
                _update_model(connection, _find_or_add_model(connection, run_id, key), position=position)

    def record_stage(self, run: str, model_key: str, stage: StageRecord) -> None:
        """Keep how a stage went, in place of what was known of that stage of that model in that run."""
        with self._writing() as connection:
            _keep_stage(connection, _find_or_add_model(connection, _find_run(connection, run), model_key), stage)

    def finish_model(self, run: str, record: RunModelRecord) -> None:
        """Keep how the model fared. Its pattern becomes the model's current one; `record.stages` are added."""
        with self._writing() as connection:
            run_model_id = _find_or_add_model(connection, _find_run(connection, run), record.key)
            if record.pattern_key is not None:
                _confirm_pattern(connection, record.pattern_key)
            outcome = {"status": record.status, "error": record.error, "hint": record.hint}
            _update_model(connection, run_model_id, **outcome, pattern_key=record.pattern_key)
            for stage in record.stages:
                _keep_stage(connection, run_model_id, stage)

    def finish_run(self, run: str, status: str, exit_code: int) -> None:
        """Keep how the run ended: `done`, `failed`, `partial` or `interrupted`."""
        end = {"status": status, "exit_code": exit_code, "finished": dt.datetime.now(dt.UTC)}
        with self._writing() as connection:
            if not connection.execute(update(RUNS).where(RUNS.c.run == run).values(end)).rowcount:
                raise _not_run(run)

    def runs(self) -> tuple[RunRecord, ...]:
        """Every run with its models and stages, the latest first."""
        with self._reading() as connection:
            return _read_runs(connection)

    def run(self, run: str) -> RunRecord:
        """One run; raises `NotMinedError` if there is none of that name."""
        with self._reading() as connection:
            found = _read_runs(connection, RUNS.c.run == run)
        if not found:
            raise _not_run(run)
        return found[0]


def _read_runs(connection: Connection, *which: ColumnElement[bool]) -> tuple[RunRecord, ...]:
    """All runs, or those meant, the latest first."""
    stages: dict[int, list[StageRecord]] = defaultdict(list)
    query = select(STAGES.c.run_model_id, *STAGE_COLUMNS).select_from(STAGES.join(RUN_MODELS).join(RUNS))
    for row in connection.execute(query.where(*which).order_by(STAGES.c.id)).mappings():
        stages[row["run_model_id"]].append(StageRecord(**_values(row, STAGE_COLUMNS)))
    models: dict[int, list[RunModelRecord]] = defaultdict(list)
    query = select(RUN_MODELS.c.id, RUN_MODELS.c.run_id, *MODEL_COLUMNS).select_from(RUN_MODELS.join(RUNS))
    for row in connection.execute(query.where(*which).order_by(RUN_MODELS.c.position)).mappings():
        model = RunModelRecord(**_values(row, MODEL_COLUMNS), stages=tuple(stages[row["id"]]))
        models[row["run_id"]].append(model)
    query = select(RUNS.c.id, *RUN_COLUMNS).where(*which).order_by(RUNS.c.started.desc(), RUNS.c.id.desc())
    return tuple(
        RunRecord(**_values(row, RUN_COLUMNS), models=tuple(models[row["id"]]))
        for row in connection.execute(query).mappings()
    )


def _values(row: RowMapping, columns: Sequence[Column[Any]]) -> dict[str, Any]:
    """The fields of a record, which are called as the columns."""
    return {column.name: row[column.name] for column in columns}


def _not_run(run: str) -> NotMinedError:
    """The error for a run that is not there."""
    return NotMinedError(f"There is no run {run!r} in this database.", hint="See `dna-zoo runs`.")


def _find_run(connection: Connection, run: str) -> int:
    """The id of the run's row."""
    run_id = connection.scalar(select(RUNS.c.id).where(RUNS.c.run == run))
    if run_id is None:
        raise _not_run(run)
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
    upsert(connection, STAGES, {"run_model_id": run_model_id} | asdict(stage), key=("run_model_id", "stage"))
