"""Mining from Python: the whole chain, as `dna-zoo mine` goes through it."""

import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dna_zoo.errors import DnaZooError, SettingsError, StoreError
from dna_zoo.home import artifacts_url
from dna_zoo.pattern import Pattern
from dna_zoo.zoo import locate
from patterndb.store import PatternDatabase
from pipeline.events import Event, ignore
from pipeline.fetch.plan import expand
from pipeline.fetch.request import ModelRequest
from pipeline.runs.executors.choose import choose
from pipeline.runs.runner import mine as mine_models
from pipeline.settings import make_settings

__all__ = ["mine"]

Progress = bool | Callable[[Event], None]


def mine(
    models: str | Path | ModelRequest | Sequence[str | Path | ModelRequest],
    *,
    preset: str = "quick",
    nulls: int | None = None,
    device: str = "auto",
    seed: int = 0,
    database: str | Path | None = None,
    home: str | Path | None = None,
    force: bool = False,
    jobs: int | None = None,
    on: str | None = None,
    artifacts: str | Path | None = None,
    progress: Progress = False,
    **settings: Any,
) -> list[Pattern]:
    """Mine models and give their patterns, in the order asked; what is done is not done again.

    - `models`: keys of the zoo, Hub ids, folders or files; `pipeline.fetch.request.ModelRequest` for anything else.
    - `preset`, `nulls`, `device`, `seed`, `force`: as the options of `dna-zoo mine`; `settings` are those of the fit
      (`epochs=100`, `dna_type="spectral"`, ...: `pipeline.settings.FitSettings`).
    - `database`, `home`: as in `dna_zoo.open`; both are created if they are not there.
    - `jobs`, `on`: models at a time, and a Ray cluster to mine on, as the options of `dna-zoo mine`.
    - `artifacts`: a folder or URL that is given the files of the patterns, too; without it, DNA_ZOO_ARTIFACTS.
    - `progress`: True for a line on stderr for each finished stage, or a function that takes each `Event`.

    A model that fails does not stop the others: it is warned of, and left out. If all fail, raises `DnaZooError` with
    the reason of the first.
    """
    asked = [models] if isinstance(models, str | Path | ModelRequest) else list(models)
    if not asked:
        raise SettingsError("No model is named.", hint="Give keys of the zoo, Hub ids or folders.")
    named = [each if isinstance(each, ModelRequest) else ModelRequest(name=str(each)) for each in asked]
    requests = [each for request in named for each in expand(request)]
    chosen = make_settings(preset, nulls=nulls, device=device, seed=seed, **settings)
    url, folder = locate(database, home)
    executor = choose(on=on, jobs=jobs, device=device, database_url=url)
    _make(folder)
    opened = PatternDatabase.open(url)
    run = mine_models(
        requests,
        chosen,
        database=opened,
        home=folder,
        on_event=_listener(progress),
        force=force,
        executor=executor,
        artifacts=artifacts_url(artifacts),
    )
    failed = [model for model in run.models if model.status == "failed"]
    if len(failed) == len(run.models):
        opened.close()
        raise DnaZooError(f"{failed[0].key}: {failed[0].error}", hint=failed[0].hint or "")
    for model in failed:
        warnings.warn(f"{model.key} was not mined: {model.error} {model.hint or ''}".rstrip(), stacklevel=2)
    done = [model.key for model in run.models if model.status == "done"]
    records = [opened.load_pattern(key, run=run.run, with_tensors=False) for key in done]
    return [Pattern(record=record, database=opened, home=folder) for record in records]


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"The home folder {str(folder)!r} cannot be created ({error.strerror or error}).",
            hint="Name another with `home` or DNA_ZOO_HOME.",
        ) from error


def _listener(progress: Progress) -> Callable[[Event], None]:
    if callable(progress):
        return progress
    return _say if progress else ignore


def _say(event: Event) -> None:
    if event.kind in ("done", "reused", "failed", "note"):
        print(f"{event.model}: {event.stage} {event.message or event.kind}", file=sys.stderr)
