"""Runs: what was asked, how far each model came, how it ended."""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, selectinload
from sqlalchemy.sql.base import ExecutableOption

from dna_zoo.errors import NotMinedError, StoreError
from patterndb.models import Pattern, Run, RunModel, Stage
from patterndb.records import RunModelRecord, RunRecord, StageRecord
from patterndb.sessions import Sessions

__all__ = ["RunStore"]


class RunStore(Sessions):
    """The part of the database that keeps runs. Every method may be repeated without harm."""

    def start_run(self, run: str, request: Mapping[str, Any]) -> None:
        """Begin the run, or go on with the one of that name: its start, models and stages stay."""
        with self._writing() as session:
            row = session.scalar(select(Run).where(Run.run == run))
            if row is None:
                row = Run(run=run, started=dt.datetime.now(dt.UTC))
                session.add(row)
            row.request = dict(request)
            row.status, row.finished, row.exit_code = "running", None, None

    def set_run_models(self, run: str, keys: Iterable[str]) -> None:
        """Say which models the run is about, in this order; those it knows already keep what is known of them."""
        with self._writing() as session:
            run_id = _find_run(session, run).id
            for position, key in enumerate(dict.fromkeys(keys)):
                _find_or_add_model(session, run_id, key).position = position

    def record_stage(self, run: str, model_key: str, stage: StageRecord) -> None:
        """Keep how a stage went, in place of what was known of that stage of that model in that run."""
        with self._writing() as session:
            model = _find_or_add_model(session, _find_run(session, run).id, model_key)
            _keep_stage(session, model.id, stage)

    def finish_model(self, run: str, record: RunModelRecord) -> None:
        """Keep how the model fared. Its pattern becomes the model's current one; `record.stages` are added."""
        with self._writing() as session:
            model = _find_or_add_model(session, _find_run(session, run).id, record.key)
            pattern = _find_pattern(session, record.pattern_key)
            if pattern:
                pattern.confirmed_at = dt.datetime.now(dt.UTC)
            model.status, model.error, model.hint = record.status, record.error, record.hint
            model.pattern_key = record.pattern_key
            for stage in record.stages:
                _keep_stage(session, model.id, stage)

    def finish_run(self, run: str, status: str, exit_code: int) -> None:
        """Keep how the run ended: `done`, `failed`, `partial` or `interrupted`."""
        with self._writing() as session:
            row = _find_run(session, run)
            row.status, row.exit_code, row.finished = status, exit_code, dt.datetime.now(dt.UTC)

    def runs(self) -> tuple[RunRecord, ...]:
        """Every run, the latest first."""
        with self._reading() as session:
            rows = session.scalars(select(Run).options(WITH_MODELS).order_by(Run.started.desc(), Run.id.desc()))
            return tuple(_run_record(row) for row in rows)

    def run(self, run: str) -> RunRecord:
        """One run; raises `NotMinedError` if there is none of that name."""
        with self._reading() as session:
            return _run_record(_find_run(session, run, WITH_MODELS))


WITH_MODELS = selectinload(Run.models).selectinload(RunModel.stages)


def _find_run(session: Session, run: str, *options: ExecutableOption) -> Run:
    """The run's row."""
    row = session.scalar(select(Run).where(Run.run == run).options(*options))
    if row is None:
        raise NotMinedError(f"There is no run {run!r} in this database.", hint="See `dna-zoo runs`.")
    return row


def _find_or_add_model(session: Session, run_id: int, key: str) -> RunModel:
    """The model's row in the run; a new one comes last and is `pending`."""
    row = session.scalar(select(RunModel).where(RunModel.run_id == run_id, RunModel.key == key))
    if row is None:
        last = session.scalar(select(func.max(RunModel.position)).where(RunModel.run_id == run_id))
        row = RunModel(run_id=run_id, key=key, status="pending", position=0 if last is None else last + 1)
        session.add(row)
        session.flush()
    return row


def _find_pattern(session: Session, pattern_key: str | None) -> Pattern | None:
    """The pattern that a model ended with; one that was never saved is a mistake of the caller."""
    if pattern_key is None:
        return None
    row = session.scalar(select(Pattern).where(Pattern.pattern_key == pattern_key))
    if row is None:
        raise StoreError(f"Pattern {pattern_key!r} is not in this database.", hint="Save it before the model's end.")
    return row


def _keep_stage(session: Session, run_model_id: int, stage: StageRecord) -> None:
    """Insert or replace the row of a stage."""
    row = session.scalar(select(Stage).where(Stage.run_model_id == run_model_id, Stage.stage == stage.stage))
    if row is None:
        row = Stage(run_model_id=run_model_id, stage=stage.stage)
        session.add(row)
    row.key, row.status, row.seconds, row.error = stage.key, stage.status, stage.seconds, stage.error
    session.flush()


def _run_record(row: Run) -> RunRecord:
    """The row as callers may see it."""
    return RunRecord(
        run=row.run,
        status=row.status,
        request=row.request,
        started=row.started,
        finished=row.finished,
        exit_code=row.exit_code,
        models=tuple(_run_model_record(model) for model in row.models),
    )


def _run_model_record(row: RunModel) -> RunModelRecord:
    """The same of a model in a run."""
    return RunModelRecord(
        key=row.key,
        status=row.status,
        error=row.error,
        hint=row.hint,
        pattern_key=row.pattern_key,
        stages=tuple(
            StageRecord(stage=stage.stage, key=stage.key, status=stage.status, seconds=stage.seconds, error=stage.error)
            for stage in row.stages
        ),
    )
