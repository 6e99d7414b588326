"""The runner: hands the models of a request to an executor, and keeps how each of them fared.

One failing model does not stop the others. Each call is a run of its own; what it computes is keyed by what was asked,
so the same request after a kill goes on where the one before it was.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dna_zoo.errors import SettingsError
from patterndb.records import RunRecord
from patterndb.runs.processes import this_process
from patterndb.store import PatternDatabase
from pipeline.events import OnEvent, ignore
from pipeline.fetch.naming import Mined
from pipeline.fetch.plan import expand_all, key_of
from pipeline.fetch.request import ModelRequest
from pipeline.fit.stage import resolve_precision
from pipeline.kept.artifacts import store_url
from pipeline.kept.provenance import versions
from pipeline.kept.stages import content_key
from pipeline.runs.executors.here import InThisProcess
from pipeline.runs.executors.run_log import logged_to
from pipeline.runs.executors.work import Executor, PlannedModel, Work
from pipeline.runs.invocation import LiveRun, new_run_name
from pipeline.settings import MineSettings
from zoo.registry import ALL_CARDS

__all__ = ["mine", "models_of", "request_key"]

HERE = InThisProcess()


def mine(
    requests: Sequence[ModelRequest],
    settings: MineSettings,
    *,
    database: PatternDatabase,
    home: Path,
    on_event: OnEvent = ignore,
    force: bool = False,
    command: str | None = None,
    executor: Executor = HERE,
    artifacts: str | None = None,
) -> RunRecord:
    """Mine the models and keep what was found; the record of the run says how each fared.

    A folder or repository of several models is each of them (`expand_all`). Raises `SettingsError` if two would be kept
    under one key.

    Its exit code is 0 if all are done, 3 if some failed, 1 if all failed. `force` does every stage again. Errors of a
    model are recorded, not raised; a database or a cluster that fails ends the run. On Ctrl-C the run is marked
    interrupted.

    - `command`: the command line that called, without secrets;
    - `executor`: where the models are mined;
    - `artifacts`: URL of a store that is given every file of the patterns, too.
    """
    artifacts = store_url(artifacts) if artifacts else None
    if artifacts and artifacts.startswith("memory://") and executor != HERE:
        message = "Workers cannot share artifacts in the memory of a process."
        raise SettingsError(message, hint="Give a folder or a URL that all of them reach.")
    settings = executor.with_device(settings)
    settings = replace(settings, fit=resolve_precision(settings.fit, settings.device))
    asked = models_of(requests, database=database, home=home, on_event=on_event)
    models = tuple(PlannedModel(key=key_of(request), request=request) for request in asked)
    work = Work(
        run=new_run_name(),
        request_key=request_key(asked, settings),
        settings=settings,
        home=home,
        artifacts=artifacts,
        force=force,
    )
    work.folder.mkdir(parents=True, exist_ok=True)
    database.start_run(
        work.run,
        _request(asked, work),
        request_key=work.request_key,
        invocation=this_process(command=command, versions=versions()),
    )
    with logged_to(work.log), LiveRun(work.run, database, on_event) as live:
        database.set_run_models(work.run, [model.key for model in models])
        outcomes = executor.outcomes(work, models, database=database, on_event=live.on_event)
        with contextlib.closing(outcomes):
            statuses = [outcome.status for outcome in outcomes]
        live.finish(statuses)
    return database.run(work.run)


def _request(requests: Sequence[ModelRequest], work: Work) -> dict[str, Any]:
    """What the database keeps of what was asked."""
    asked: dict[str, Any] = {"models": [_asked(request) for request in requests], "settings": work.settings.as_dict()}
    return asked | ({"artifacts": work.artifacts} if work.artifacts else {})


def models_of(
    requests: Sequence[ModelRequest], *, database: PatternDatabase | None, home: Path, on_event: OnEvent = ignore
) -> tuple[ModelRequest, ...]:
    """The models of the requests, under the keys that they get in the database. Raises as `mine`."""
    if database is None:
        return expand_all(requests, home=home, on_event=on_event)
    return expand_all(requests, home=home, origins=lambda keys: _origins(database, keys), on_event=on_event)


def _origins(database: PatternDatabase, keys: Sequence[str]) -> dict[str, list[Mined]]:
    """What keys of the database stand for."""
    found = database.origins(keys)
    return {key: [Mined(source=source, sha256=sha256) for source, sha256 in origins] for key, origins in found.items()}


def request_key(requests: Sequence[ModelRequest], settings: MineSettings) -> str:
    """The content key of what is asked: the same request, the same key, in whichever run."""
    return content_key([_asked(request) for request in requests], settings.as_dict())[:12]


def _asked(request: ModelRequest) -> dict[str, str | None]:
    """What names the request; a path is the same however it is written."""
    is_path = request.name not in ALL_CARDS and Path(request.name).exists()
    return {
        "name": str(Path(request.name).absolute()) if is_path else request.name,
        "key": request.key,
        "weights": str(request.weights.absolute()) if request.weights else None,
        "revision": request.revision,
        "state_dict": request.state_dict,
        "adapter": request.adapter,
        "base": request.base,
        **({"component": request.component} if request.component else {}),
    }
