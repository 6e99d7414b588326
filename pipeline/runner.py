"""The runner: takes each model of a request through the chain, and keeps how each of them fared.

One failing model does not stop the others. Each call is a run of its own; what it computes is keyed by what was asked,
so the same request after a kill goes on where the one before it was.
"""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from dna_zoo.errors import DnaZooError, RecordRefusedError, StoreError
from dna_zoo.text import printable
from patterndb.processes import this_process
from patterndb.records import RunModelRecord, RunRecord
from patterndb.store import PatternDatabase
from pipeline.chain import Chain
from pipeline.events import OnEvent, ignore
from pipeline.fetch.errors import disk_errors
from pipeline.fetch.plan import expand_all, key_of
from pipeline.fetch.request import ModelRequest
from pipeline.fit.devices import resolve_device
from pipeline.fit.stage import resolve_precision
from pipeline.invocation import LiveRun, new_run_name, versions
from pipeline.settings import MineSettings
from pipeline.stages import content_key
from zoo.registry import ALL_CARDS

__all__ = ["mine", "request_key"]

log = logging.getLogger(__name__)
LONGEST = 2_000
"""Characters of a message that is kept."""


def mine(
    requests: Sequence[ModelRequest],
    settings: MineSettings,
    *,
    database: PatternDatabase,
    home: Path,
    on_event: OnEvent = ignore,
    force: bool = False,
    command: str | None = None,
) -> RunRecord:
    """Mine the models and keep what was found; the record of the run says how each fared.

    A folder or repository of several models is each of them (`expand_all`). Raises `SettingsError` if two would be kept
    under one key.

    Its exit code is 0 if all are done, 3 if some failed, 1 if all failed. `force` does every stage again. Errors of a
    model are recorded, not raised; a database that fails (`StoreError`) ends the run. On Ctrl-C the run is marked
    interrupted. `command` is the command line that called, without secrets.
    """
    device = resolve_device(settings.device)
    settings = replace(settings, device=device, fit=resolve_precision(settings.fit, device))
    models = expand_all(requests, home=home)
    asked = request_key(models, settings)
    run = new_run_name()
    folder = home / "runs" / asked
    folder.mkdir(parents=True, exist_ok=True)
    database.start_run(
        run,
        {"models": [_asked(request) for request in models], "settings": settings.as_dict()},
        request_key=asked,
        invocation=this_process(command=command, versions=versions()),
    )
    keys = [key_of(request) for request in models]
    with _logged_to(folder / "run.log"), LiveRun(run, database, on_event) as live:
        database.set_run_models(run, keys)
        statuses = []
        for key, request in zip(keys, models, strict=True):
            chain = Chain(
                request=request,
                key=key,
                settings=settings,
                run=run,
                request_key=asked,
                database=database,
                home=home,
                on_event=live.on_event,
                force=force,
            )
            statuses.append(_mine_model(chain))
        live.finish(statuses)
    return database.run(run)


def _mine_model(chain: Chain) -> str:
    """Take one model through; returns and records `done` or `failed`."""
    chain.tell("start", "mine")
    try:
        with disk_errors(chain.home):
            pattern_key = chain.take()
    except RecordRefusedError as error:
        return _fail(chain, error.message, error.hint)
    except StoreError:
        raise
    except DnaZooError as error:
        return _fail(chain, error.message, error.hint)
    except Exception as error:  # One model's bug must not cost the others their results.
        if isinstance(error.__cause__, KeyboardInterrupt):  # Python makes an error of one in `__set_name__`.
            raise KeyboardInterrupt(*error.__cause__.args) from error
        log.exception("%s failed because of a bug.", chain.key)
        hint = f"This is a bug; the traceback is in {chain.home / 'runs' / chain.request_key / 'run.log'}."
        return _fail(chain, f"{type(error).__name__}: {error}", hint)
    record = RunModelRecord(key=chain.key, status="done", pattern_key=pattern_key)
    chain.database.finish_model(chain.run, record)
    chain.tell("done", "mine")
    return "done"


def _fail(chain: Chain, message: str, hint: str) -> str:
    message, hint = printable(message, longest=LONGEST), printable(hint, longest=LONGEST)
    log.warning("%s: %s", chain.key, message)
    record = RunModelRecord(key=chain.key, status="failed", error=message, hint=hint or None)
    chain.database.finish_model(chain.run, record)
    chain.tell("failed", "mine", message=message)
    return "failed"


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


class _OneLine(logging.Formatter):
    """A message is one line, whatever names are in it; a traceback below it has its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = printable(record.message)
        return super().formatMessage(record)


@contextlib.contextmanager
def _logged_to(path: Path) -> Iterator[None]:
    """The log of pipeline and database, appended to the file of the request's runs."""
    handler = logging.FileHandler(path)
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s %(message)s"))
    loggers = [logging.getLogger(name) for name in ("pipeline", "patterndb")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
        handler.close()
