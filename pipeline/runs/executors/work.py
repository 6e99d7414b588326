"""What an executor takes and gives: the models, what all of them share, and how each ended. All of it can be sent to
another process or machine."""

import os
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol

from dna_zoo import __version__
from patterndb.store import PatternDatabase
from pipeline.events import OnEvent
from pipeline.fetch.request import ModelRequest
from pipeline.persist import RUN_LOG
from pipeline.settings import MineSettings
from zoo.registry import ALL_CARDS

__all__ = ["Executor", "Outcome", "PlannedModel", "Work", "with_whole_paths"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedModel:
    """One model of a run."""

    key: str
    """What it is called in the database."""
    request: ModelRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What all models of a run share."""

    run: str
    request_key: str
    """Content key of what is asked: the folder and the log are those of all runs that ask the same."""
    settings: MineSettings
    home: Path
    artifacts: str | None = None
    """URL of the store of artifacts (`pipeline.kept.artifacts`); None for the home folder alone."""
    force: bool = False
    database_url: str = field(default="", repr=False)
    """Where a worker opens the database, password and all; empty where there are no workers."""
    version: str = __version__
    """Of the dna-zoo that began the run: a worker with another one refuses."""
    is_offline: bool = field(default_factory=lambda: bool(os.environ.get("HF_HUB_OFFLINE")))
    """Whether the Hugging Face client was told to send no request."""

    @property
    def folder(self) -> Path:
        """Where the run's files are."""
        return self.home / "runs" / self.request_key

    @property
    def log(self) -> Path:
        """The run's log, which every process of this machine appends to."""
        return self.folder / RUN_LOG


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a model fared. The database has it already."""

    key: str
    status: Literal["done", "failed"]


class Executor(Protocol):
    """A place where models are mined."""

    def with_device(self, settings: MineSettings) -> MineSettings:
        """The settings with the kind of device that this place has. Raises `SettingsError` where it lacks it."""
        ...

    def outcomes(
        self, work: Work, models: Sequence[PlannedModel], *, database: PatternDatabase, on_event: OnEvent
    ) -> Generator[Outcome, None, None]:
        """Mine the models; an outcome for each, as they end.

        A model that fails is an outcome. A database that fails is a `StoreError`. When the generator is closed, or
        `KeyboardInterrupt` is raised in it, nothing of it goes on: what is unfinished can be taken up again.
        """
        ...


def with_whole_paths(model: PlannedModel) -> PlannedModel:
    """The model for a process that works in another folder: paths from the root, and the key that it had."""
    request = model.request
    return replace(
        model,
        request=replace(
            request,
            name=_whole(request.name),
            weights=request.weights.expanduser().absolute() if request.weights else None,
            key=model.key,
            base=_whole(request.base) if request.base else None,
        ),
    )


def _whole(name: str) -> str:
    return str(Path(name).absolute()) if name not in ALL_CARDS and Path(name).exists() else name
