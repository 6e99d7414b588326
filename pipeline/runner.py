"""The runner: takes each model of a request through the chain, and keeps how each of them fared.

One failing model does not stop the others. A run is named by what it was asked, so the same request after a kill goes
on with the same run.
"""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from dna_zoo.errors import DnaZooError, RecordRefusedError, StoreError
from dna_zoo.text import printable
from patterndb.records import RunModelRecord, RunRecord
from patterndb.store import PatternDatabase
from pipeline.chain import Chain
from pipeline.events import OnEvent, ignore
from pipeline.fetch.errors import disk_errors
from pipeline.fetch.naming import Mined
from pipeline.fetch.plan import expand_all, key_of
from pipeline.fetch.request import ModelRequest
from pipeline.fit.devices import resolve_device
from pipeline.fit.stage import resolve_precision
from pipeline.settings import MineSettings
from pipeline.stages import content_key
from zoo.registry import ALL_CARDS

__all__ = ["mine", "models_of", "run_id"]

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
) -> RunRecord:
    """Mine the models and keep what was found; the record of the run says how each fared.

    A folder or repository of several models is each of them (`expand_all`). Raises `SettingsError` if two would be kept
    under one key.

    Its exit code is 0 if all are done, 3 if some failed, 1 if all failed. `force` does every stage again. Errors of a
    model are recorded, not raised; a database that fails (`StoreError`) ends the run. On Ctrl-C the run is marked
    interrupted.
    """
    device = resolve_device(settings.device)
    settings = replace(settings, device=device, fit=resolve_precision(settings.fit, device))
    models = models_of(requests, database=database, home=home, on_event=on_event)
    run = run_id(models, settings)
    folder = home / "runs" / run
    folder.mkdir(parents=True, exist_ok=True)
    database.start_run(run, {"models": [_asked(request) for request in models], "settings": settings.as_dict()})
    keys = [key_of(request) for request in models]
    database.set_run_models(run, keys)
    statuses = []
    with _logged_to(folder / "run.log"):
        try:
            for key, request in zip(keys, models, strict=True):
                chain = Chain(
                    request=request,
                    key=key,
                    settings=settings,
                    run=run,
                    database=database,
                    home=home,
                    on_event=on_event,
                    force=force,
                )
                statuses.append(_mine_model(chain))
        except KeyboardInterrupt:
            database.finish_run(run, "interrupted", 130)
            raise
        except StoreError:
            with contextlib.suppress(StoreError):  # What failed may fail again, and is told below.
                database.finish_run(run, "failed", 1)
            raise
    failed = statuses.count("failed")
    status, exit_code = ("done", 0) if not failed else ("failed", 1) if failed == len(statuses) else ("partial", 3)
    database.finish_run(run, status, exit_code)
    return database.run(run)


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
            raise KeyboardInterrupt from error
        log.exception("%s failed because of a bug.", chain.key)
        hint = f"This is a bug; the traceback is in {chain.home / 'runs' / chain.run / 'run.log'}."
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


def run_id(requests: Sequence[ModelRequest], settings: MineSettings) -> str:
    """The name of the run that this request is: the same request, the same run."""
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
    """The pipeline's log, appended to the run's file."""
    handler = logging.FileHandler(path)
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logger = logging.getLogger("pipeline")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()
