"""Runs: what was asked, how far each model came, how it ended."""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select, true, update

from dna_zoo.errors import NotMinedError, StoreError
from patterndb.records import RunModelRecord, RunRecord, StageRecord
from patterndb.tables import PATTERNS, RUN_MODELS, RUNS, STAGES
from patterndb.transactions import Transactions
from patterndb.upserts import find_or_insert, upsert

__all__ = ["RunStore"]


class RunStore(Transactions):
    """The part of the database that keeps runs. Every method may be repeated without harm."""

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
                raise _unknown_run(run)

    def runs(self) -> tuple[RunRecord, ...]:
        """Every run, the latest first."""
        with self._reading() as connection:
            return _read_runs(connection, true())

    def run(self, run: str) -> RunRecord:
        """One run; raises `NotMinedError` if there is none of that name."""
        with self._reading() as connection:
            found = _read_runs(connection, RUNS.c.run == run)
        if not found:
            raise _unknown_run(run)
        return found[0]


def _unknown_run(run: str) -> NotMinedError:
    return NotMinedError(f"There is no run {run!r} in this database.", hint="See `dna-zoo runs`.")


def _find_run(connection: Connection, run: str) -> int:
    """The id of the run's row."""
    run_id = connection.scalar(select(RUNS.c.id).where(RUNS.c.run == run))
    if run_id is None:
        raise _unknown_run(run)
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


def _read_runs(connection: Connection, which: ColumnElement[bool]) -> tuple[RunRecord, ...]:
    """The runs with their models and stages, the latest first: three queries, however many there are."""
    newest_first = (RUNS.c.started.desc(), RUNS.c.id.desc())
    runs = connection.execute(select(RUNS).where(which).order_by(*newest_first)).all()
    in_runs = RUN_MODELS.join(RUNS)
    run_models = connection.execute(
        select(RUN_MODELS).select_from(in_runs).where(which).order_by(RUN_MODELS.c.position)
    ).all()
    stages: dict[int, list[StageRecord]] = defaultdict(list)
    of_models = select(STAGES).select_from(STAGES.join(in_runs)).where(which).order_by(STAGES.c.id)
    for row in connection.execute(of_models):
        stage = StageRecord(stage=row.stage, key=row.key, status=row.status, seconds=row.seconds, error=row.error)
        stages[row.run_model_id].append(stage)
    models: dict[int, list[RunModelRecord]] = defaultdict(list)
    for row in run_models:
        model = RunModelRecord(
            key=row.key,
            status=row.status,
            error=row.error,
            hint=row.hint,
            pattern_key=row.pattern_key,
            stages=tuple(stages[row.id]),
        )
        models[row.run_id].append(model)
    return tuple(
        RunRecord(
            run=row.run,
            status=row.status,
            request=row.request,
            started=row.started,
            finished=row.finished,
            exit_code=row.exit_code,
            models=tuple(models[row.id]),
        )
        for row in runs
    )
