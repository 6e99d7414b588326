"""A run repeated from what the database keeps of its request: every stage anew, in a home that is thrown away.

What the run found stays as it is, so the two can be compared, and nothing that the run left behind is used.
"""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

from dna_zoo.errors import NotMinedError, SettingsError
from dna_zoo.home import DATABASE_NAME, sqlite_url
from patterndb.records import RunRecord
from patterndb.runs.differences import TOLERANCE, Differences, compare_runs
from patterndb.store import PatternDatabase
from pipeline.events import OnEvent, ignore
from pipeline.fetch.request import ModelRequest
from pipeline.runs.runner import mine
from pipeline.settings import AnalysisSettings, FitSettings, MineSettings

__all__ = ["requests_of", "rerun", "settings_of"]

Settings = TypeVar("Settings", FitSettings, AnalysisSettings, MineSettings, ModelRequest)


def rerun(
    run: RunRecord,
    *,
    database: PatternDatabase,
    home: Path,
    on_event: OnEvent = ignore,
    tolerance: float = TOLERANCE,
) -> Differences:
    """Do again what the run was asked, and say what differs.

    Models of the Hub are taken at the commits that the run took. Raises `SettingsError` for a request of another
    version of dna-zoo that this one cannot repeat.
    """
    requests, settings = requests_of(run, database), settings_of(run.request)
    with _scratch(home) as folder, PatternDatabase.open(sqlite_url(folder / DATABASE_NAME)) as found:
        again = mine(requests, settings, database=found, home=folder, on_event=on_event)
        return compare_runs(
            run,
            replace(again, run=f"{run.run} again"),
            lambda key: database.load_pattern(key, run=run.run),
            lambda key: found.load_pattern(key, run=again.run),
            tolerance=tolerance,
        )


def requests_of(run: RunRecord, database: PatternDatabase) -> tuple[ModelRequest, ...]:
    """The models that the run was asked for, pinned to the commits that it took."""
    asked = run.request.get("models")
    if not asked:
        raise SettingsError(f"Run {run.run!r} does not say which models it was asked for.", hint="Mine them by name.")
    keys = [model.key for model in run.models] + [None] * len(asked)
    return tuple(_request(each, key, run, database) for each, key in zip(asked, keys, strict=False))


def _request(asked: Mapping[str, Any], key: str | None, run: RunRecord, database: PatternDatabase) -> ModelRequest:
    weights = asked.get("weights")
    values = {**asked, "weights": Path(weights) if weights else None}
    if not weights and not asked.get("revision") and key is not None:
        values["revision"] = _commit(key, run, database)
    return _made(ModelRequest, values)


def _commit(key: str, run: RunRecord, database: PatternDatabase) -> str | None:
    """The commit that the model was taken from; None for files of this machine."""
    try:
        return database.load_pattern(key, run=run.run, with_tensors=False).model.revision
    except NotMinedError:
        return None


def settings_of(request: Mapping[str, Any]) -> MineSettings:
    """The settings that the run was asked for."""
    kept = dict(request.get("settings", {}))
    kept["fit"] = _made(FitSettings, kept.get("fit", {}))
    kept["analysis"] = _made(AnalysisSettings, kept.get("analysis", {}))
    return _made(MineSettings, kept)


def _made(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    """A record of these values; one that it does not know means that another version wrote them."""
    known = {field.name for field in fields(kind)}
    for name in values:
        if name not in known:
            hint = "Repeat it with that version: `dna-zoo runs RUN --format json` has its number."
            raise SettingsError(f"The run has {name!r}, which this version of dna-zoo does not know.", hint=hint)
    return kind(**values)


@contextmanager
def _scratch(home: Path) -> Iterator[Path]:
    """A folder on the disk of the home, gone at the end."""
    home.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="rerun-", dir=home))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
