"""Reading runs inside the caller's transaction: three queries, however many there are."""

from collections import defaultdict

from dna_zoo.errors import NotMinedError
from patterndb.reading import Reader
from patterndb.records import RunModelRecord, RunRecord, StageRecord

__all__ = ["not_run", "read_runs"]

RUNS = """
SELECT id, run, status, request, started, finished, exit_code FROM runs {which} ORDER BY started DESC, id DESC
"""
RUN_MODELS = """
SELECT run_models.id, run_models.run_id, run_models.key, run_models.status, run_models.error, run_models.hint,
       run_models.pattern_key
FROM run_models JOIN runs ON runs.id = run_models.run_id {which} ORDER BY run_models.position
"""
STAGES = """
SELECT stages.run_model_id, stages.stage, stages.key, stages.status, stages.seconds, stages.error
FROM stages JOIN run_models ON run_models.id = stages.run_model_id JOIN runs ON runs.id = run_models.run_id
{which} ORDER BY stages.id
"""


def read_runs(reader: Reader, run: str | None = None) -> tuple[RunRecord, ...]:
    """All runs with their models and stages, the latest first; or the one of that name, if there is one."""
    which, parameters = ("", ()) if run is None else ("WHERE runs.run = ?", (run,))
    stages: dict[int, list[StageRecord]] = defaultdict(list)
    for run_model_id, stage, key, status, seconds, error in reader.cells(STAGES.format(which=which), *parameters):
        stages[run_model_id].append(StageRecord(stage=stage, key=key, status=status, seconds=seconds, error=error))
    models: dict[int, list[RunModelRecord]] = defaultdict(list)
    found = reader.cells(RUN_MODELS.format(which=which), *parameters)
    for run_model_id, run_id, key, status, error, hint, pattern_key in found:
        model = RunModelRecord(
            key=key,
            status=status,
            error=error,
            hint=hint,
            pattern_key=pattern_key,
            stages=tuple(stages[run_model_id]),
        )
        models[run_id].append(model)
    return tuple(
        RunRecord(
            run=row["run"],
            status=row["status"],
            request=row["request"],
            started=row["started"],
            finished=row["finished"],
            exit_code=row["exit_code"],
            models=tuple(models[row["id"]]),
        )
        for row in reader.rows(RUNS.format(which=which), *parameters)
    )


def not_run(run: str) -> NotMinedError:
    """The error for a run that is not there."""
    return NotMinedError(f"There is no run {run!r} in this database.", hint="See `dna-zoo runs`.")
