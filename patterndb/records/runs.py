"""What is kept of an invocation of `mine`, its models and their stages."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Activity", "Invocation", "RunModelRecord", "RunRecord", "StageCost", "StageRecord"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRecord:
    """One stage of one model in one run."""

    stage: str
    key: str
    status: str
    """`done`, `failed`."""
    is_reused: bool | None = None
    """Whether an earlier run, or an earlier model of this one, had left its result; None in runs of older versions."""
    seconds: float | None = None
    """Of the attempt that made the result, whichever run that was in."""
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCost:
    """What a stage took, and what it had to do."""

    stage: str
    key: str
    seconds: float
    num_weights: int
    """Of the model."""
    settings: Mapping[str, Any]
    """Of the mining."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunModelRecord:
    """How one model fared in a run."""

    key: str
    status: str
    """`pending`, `done`, `failed`."""
    error: str | None = None
    hint: str | None = None
    pattern_key: str | None = None
    stages: tuple[StageRecord, ...] = ()

    @property
    def is_reused(self) -> bool:
        """Whether all that had to be computed was there already; fetching and saving compute nothing."""
        computed = [each.is_reused for each in self.stages if each.stage not in ("fetch", "persist")]
        return self.status == "done" and bool(computed) and all(computed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """A stage that is at work in a run: how far it was when the run last told."""

    model: str
    stage: str
    done: float = 0
    total: float = 0
    """0 where it is not known."""
    unit: str = ""
    seconds: float = 0
    """Since the stage began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """Which process a run is, and how it was called."""

    host: str | None = None
    """Name of the machine, for people."""
    user: str | None = None
    machine: str | None = None
    """What tells this start of this machine (and of this container) from all others; None where nothing does."""
    pid: int | None = None
    process_start: str | None = None
    """When the process began: another process with the same number began at another time."""
    command: str | None = None
    """The command line, without secrets; None where Python called."""
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One invocation of `mine`: what was asked, by whom and where, how it ended."""

    run: str
    status: str
    """`running`, `done`, `failed`, `partial`, `interrupted`; `lost` where it is said to run and its process is gone."""
    request: Mapping[str, Any]
    started: dt.datetime
    finished: dt.datetime | None
    exit_code: int | None
    request_key: str = ""
    """Content key of what was asked: the same in every run of the same request."""
    seconds: float | None = None
    """How long it took by a clock that nobody sets; None while it runs, and in runs of older versions."""
    stopped_by: str | None = None
    """The signal that ended it: SIGINT is Ctrl-C."""
    error: str | None = None
    """Why the run as a whole ended early."""
    heartbeat: dt.datetime | None = None
    """When it last told that it lives."""
    at_work: tuple[Activity, ...] = ()
    """What it was doing then; nothing once it has ended."""
    invocation: Invocation = Invocation()
    models: tuple[RunModelRecord, ...] = ()

    @property
    def folder(self) -> str:
        """Name of the folder of its files, which all runs of one request share."""
        return self.request_key or self.run

    @property
    def last_activity(self) -> dt.datetime:
        """When something was last heard of it."""
        return self.finished or self.heartbeat or self.started

    @property
    def counts(self) -> Mapping[str, int]:
        """Models that are `done` (something was computed), `reused`, `failed` and `pending`."""
        found = ["reused" if model.is_reused else model.status for model in self.models]
        return {name: found.count(name) for name in ("done", "reused", "failed", "pending")}
