"""Runs: what was asked, how far each model came, how it ended. Three queries read them, however many there are."""

import datetime as dt
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, RowMapping, func, select, update

from dna_zoo.errors import NotMinedError, StoreError, did_you_mean
from patterndb.connection.engine import Transactions, find_or_insert, require_whole, upsert
from patterndb.connection.retry import survives_restarts
from patterndb.patterns.digests import SUMMARY, keep_digests, read_parts
from patterndb.patterns.writing import newest_time
from patterndb.records import Activity, Invocation, RunModelRecord, RunRecord, StageRecord
from patterndb.row_digests import keep_row_digests, require_rows
from patterndb.runs.processes import is_gone
from patterndb.tables import MODELS, PATTERNS, RUN_MODELS, RUNS, STAGES

__all__ = ["RunStore"]

LATEST_FIRST = (RUNS.c.sequence.desc(), RUNS.c.id.desc())
LAST_ACTIVITY = func.coalesce(RUNS.c.finished, RUNS.c.heartbeat, RUNS.c.started)
Record = TypeVar("Record", StageRecord, RunModelRecord, RunRecord, Invocation)
MOST_NAMED = 500
"""Runs that are asked for by their numbers; of more, all since the oldest are read."""
MOST_SUGGESTED = 1_000
"""Of the latest runs, those among which one is looked for that was meant."""


class RunStore(Transactions):
    """The part of the pattern database that keeps runs."""

    @survives_restarts
    def start_run(
        self,
        run: str,
        request: Mapping[str, Any],
        *,
        request_key: str | None = None,
        invocation: Invocation | None = None,
    ) -> None:
        """Begin the run, or go on with the one of that name: its start, models and stages stay.

        `request_key` is the same in all runs of one request; without it, the run is the only one.
        """
        with self._writing() as connection:
            now = _now(connection)
            row = {
                "run": run, "request": dict(request), "request_key": run if request_key is None else request_key,
                "status": "running", "started": now, "finished": None, "exit_code": None, "heartbeat": now,
                "seconds": None, "stopped_by": None, "error": None, "at_work": None,
                "sequence": _next_in_sequence(connection), **_invocation_row(invocation or Invocation()),
            }  # fmt: skip
            run_id = upsert(connection, RUNS, row, key=("run",), once=("started",))
            keep_row_digests(connection, RUNS, RUNS.c.id == run_id)

    @survives_restarts
    def set_run_models(self, run: str, keys: Iterable[str]) -> None:
        """Say which models the run is about, in this order; those it knows already keep what is known of them."""
        with self._writing() as connection:
            run_id = _find_run(connection, run)
            for position, key in enumerate(dict.fromkeys(keys)):
                _update_model(connection, _find_or_add_model(connection, run_id, key), position=position)

    @survives_restarts
    def record_stage(self, run: str, model_key: str, stage: StageRecord) -> None:
        """Keep how a stage went, in place of what was known of that stage of that model in that run."""
        with self._writing() as connection:
            _keep_stage(connection, _find_or_add_model(connection, _find_run(connection, run), model_key), stage)

    @survives_restarts
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

    def beat(self, run: str, at_work: Sequence[Activity]) -> None:
        """Keep that the run lives, and what it is doing. It is asked once: the next beat comes soon."""
        with self._writing() as connection:
            life = {
                "heartbeat": _now(connection),
                "at_work": [asdict(each) for each in at_work],
                "sequence": _next_in_sequence(connection),
            }
            connection.execute(update(RUNS).where(RUNS.c.run == run, RUNS.c.status == "running").values(life))
            keep_row_digests(connection, RUNS, RUNS.c.run == run, RUNS.c.status == "running")

    @survives_restarts
    def finish_run(
        self,
        run: str,
        status: str,
        exit_code: int,
        *,
        seconds: float | None = None,
        stopped_by: str | None = None,
        error: str | None = None,
    ) -> None:
        """Keep how the run ended: `done`, `failed`, `partial` or `interrupted`.

        - `seconds`: how long it took, by a clock that is never set.
        - `stopped_by`: the signal that ended it. `error`: why it ended early as a whole.
        """
        with self._writing() as connection:
            end = {
                "status": status, "exit_code": exit_code, "finished": _now(connection), "at_work": None,
                "seconds": seconds, "stopped_by": stopped_by, "error": error,
                "sequence": _next_in_sequence(connection),
            }  # fmt: skip
            if not connection.execute(update(RUNS).where(RUNS.c.run == run).values(end)).rowcount:
                raise _not_run(run)
            keep_row_digests(connection, RUNS, RUNS.c.run == run)

    @survives_restarts
    def runs(
        self, *, limit: int | None = None, statuses: Collection[str] = (), since: dt.datetime | None = None
    ) -> tuple[RunRecord, ...]:
        """Runs with their models and stages, the one that was last heard of first; `statuses` empty means any."""
        asked = [LAST_ACTIVITY >= since] if since else []
        if statuses:
            asked.append(RUNS.c.status.in_({"running" if each == "lost" else each for each in statuses}))
        with self._reading(RUNS) as connection:
            return _read_runs(connection, *asked, statuses=statuses, limit=limit)

    @survives_restarts
    def run(self, run: str) -> RunRecord:
        """The run of that name, or else the latest of the request of that key; raises `NotMinedError` if none is."""
        with self._reading() as connection:
            found = _read_runs(connection, RUNS.c.run == run) or _read_runs(
                connection, RUNS.c.request_key == run, limit=1
            )
            if not found:
                require_whole(connection, RUNS)
        if not found:
            raise _not_run(run, self.run_names(MOST_SUGGESTED))
        return found[0]

    @survives_restarts
    def run_names(self, limit: int) -> tuple[str, ...]:
        """The names of so many runs, the one that was last heard of first; nothing else is read."""
        with self._reading() as connection:
            return tuple(connection.scalars(select(RUNS.c.run).order_by(*LATEST_FIRST).limit(limit)))

    @survives_restarts
    def stage_times(self, keys: Collection[str]) -> Mapping[str, Mapping[str, float]]:
        """Stage -> model key -> seconds of its last computation, for these models and one of all others ("")."""
        query = (
            select(STAGES.c.stage, RUN_MODELS.c.key, STAGES.c.seconds)
            .select_from(STAGES.join(RUN_MODELS))
            .where(STAGES.c.status == "done", STAGES.c.seconds.is_not(None), STAGES.c.is_reused.is_not(True))
        )
        means = (
            select(STAGES.c.stage, func.avg(STAGES.c.seconds))
            .where(STAGES.c.status == "done", STAGES.c.is_reused.is_not(True))
            .group_by(STAGES.c.stage)
        )
        found: dict[str, dict[str, float]] = defaultdict(dict)
        with self._reading() as connection:
            for stage, mean in connection.execute(means):
                if mean is not None:
                    found[stage][""] = float(mean)
            known = query.where(RUN_MODELS.c.key.in_(list(keys)[:MOST_NAMED])).order_by(STAGES.c.id)
            for stage, key, seconds in connection.execute(known):
                found[stage][key] = seconds
        return found


def _read_runs(
    connection: Connection, *which: ColumnElement[bool], statuses: Collection[str] = (), limit: int | None = None
) -> tuple[RunRecord, ...]:
    """All runs, or those meant, the latest first."""
    query = select(RUNS).where(*which).order_by(*LATEST_FIRST)
    # Whether a run is lost is not known to the database.
    is_certain = not {"running", "lost"} & set(statuses)
    found = connection.execute(query.limit(limit) if is_certain else query).mappings().all()
    now = _now(connection) if any(row["status"] == "running" for row in found) else dt.datetime.now(dt.UTC)
    require_rows(connection, RUNS, found)
    seen = [(row, status) for row in found for status in [_status(row, now)] if not statuses or status in statuses]
    models = _read_models(connection, [row for row, _ in seen[:limit]])
    return tuple(_run_record(row, status, models[row["id"]]) for row, status in seen[:limit])


def _read_models(connection: Connection, runs: Sequence[RowMapping]) -> Mapping[int, list[RunModelRecord]]:
    """The models of these runs, and their stages, by the id of the run."""
    if len(runs) <= MOST_NAMED:
        of_these = RUNS.c.id.in_([row["id"] for row in runs])
    else:
        of_these = RUNS.c.sequence >= min(row["sequence"] for row in runs)
    stages: dict[int, list[StageRecord]] = defaultdict(list)
    query = select(STAGES).select_from(STAGES.join(RUN_MODELS).join(RUNS))
    found = connection.execute(query.where(of_these).order_by(STAGES.c.id)).mappings().all()
    require_rows(connection, STAGES, found)
    for row in found:
        stages[row["run_model_id"]].append(_record(StageRecord, row))
    models: dict[int, list[RunModelRecord]] = defaultdict(list)
    query = select(RUN_MODELS).select_from(RUN_MODELS.join(RUNS))
    found = connection.execute(query.where(of_these).order_by(RUN_MODELS.c.position)).mappings().all()
    require_rows(connection, RUN_MODELS, found)
    for row in found:
        models[row["run_id"]].append(_record(RunModelRecord, row, stages=tuple(stages[row["id"]])))
    return models


def _run_record(row: RowMapping, status: str, models: Sequence[RunModelRecord]) -> RunRecord:
    at_work = tuple(Activity(**each) for each in row["at_work"] or ())
    return _record(RunRecord, row, status=status, at_work=at_work, invocation=_invocation(row), models=tuple(models))


def _status(row: RowMapping, now: dt.datetime) -> str:
    """As it was kept, or `lost` where the run cannot end any more."""
    told = row["heartbeat"] or row["started"]
    is_lost = row["status"] == "running" and is_gone(_invocation(row), now - told)
    return "lost" if is_lost else str(row["status"])


def _invocation(row: RowMapping) -> Invocation:
    return _record(Invocation, row, user=row["user_name"], versions=row["versions"] or {})


def _invocation_row(invocation: Invocation) -> dict[str, Any]:
    """`user` is a word of SQL."""
    values = {each.name: getattr(invocation, each.name) for each in fields(invocation)}
    return {"user_name": values.pop("user"), **values, "versions": dict(invocation.versions)}


def _now(connection: Connection) -> dt.datetime:
    """The time of the server, which is one for all machines that ask it; of this machine for a file."""
    if connection.dialect.name == "sqlite":
        return dt.datetime.now(dt.UTC)
    time = connection.scalar(select(func.clock_timestamp()))
    assert isinstance(time, dt.datetime)
    return time


def _next_in_sequence(connection: Connection) -> int:
    """The number after the largest; two runs that ask at the same moment may have the same."""
    return int(connection.scalar(select(func.coalesce(func.max(RUNS.c.sequence), 0))) or 0) + 1


def _record(kind: type[Record], row: RowMapping, **values: Any) -> Record:
    """The record with these values; its other fields are called as their columns."""
    own = {each.name: row[each.name] for each in fields(kind) if each.name not in values}
    return kind(**own, **values)


def _not_run(run: str, known: Iterable[str] = ()) -> NotMinedError:
    """The error for a run that is not there; those known are looked through for one that was meant."""
    near = did_you_mean(run, known)
    return NotMinedError(f"There is no run {run!r} in this database.", hint=near or "See `dna-zoo runs`.")


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
    run_model_id = find_or_insert(connection, RUN_MODELS, row, key=("run_id", "key"))
    keep_row_digests(connection, RUN_MODELS, RUN_MODELS.c.id == run_model_id, RUN_MODELS.c.digest.is_(None))
    return run_model_id


def _update_model(connection: Connection, run_model_id: int, **values: Any) -> None:
    """Change the row of a model in a run."""
    connection.execute(update(RUN_MODELS).where(RUN_MODELS.c.id == run_model_id).values(values))
    keep_row_digests(connection, RUN_MODELS, RUN_MODELS.c.id == run_model_id)


def _confirm_pattern(connection: Connection, pattern_key: str) -> None:
    """Make the pattern that a model ended with its current one; one never saved is a mistake of the caller."""
    owner = select(PATTERNS.c.id, MODELS.c.key).select_from(PATTERNS.join(MODELS))
    found = connection.execute(owner.where(PATTERNS.c.pattern_key == pattern_key)).first()
    if found is None:
        raise StoreError(f"Pattern {pattern_key!r} is not in this database.", hint="Save it before the model's end.")
    deque(read_parts(connection, [SUMMARY], [found.id]), maxlen=0)  # Raises for what is damaged.
    change = update(PATTERNS).where(PATTERNS.c.id == found.id)
    connection.execute(change.values(confirmed_at=newest_time(connection, found.key)))
    keep_digests(connection, [found.id], [SUMMARY])


def _keep_stage(connection: Connection, run_model_id: int, stage: StageRecord) -> None:
    """Insert or replace the row of a stage."""
    row = {"run_model_id": run_model_id} | asdict(stage)
    stage_id = upsert(connection, STAGES, row, key=("run_model_id", "stage"))
    keep_row_digests(connection, STAGES, STAGES.c.id == stage_id)
