"""The models of a run in several processes of this machine, cores and GPUs divided among them.

A worker is a fresh Python that mines one model after the other, so that PyTorch is loaded once in each. It is started
by a command and not by `multiprocessing`, which would run the caller's script in it a second time. Whatever it prints
goes to the run's log.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from typing import Any

from dna_zoo.errors import DnaZooError
from patterndb.store import PatternDatabase
from pipeline.events import Event, OnEvent
from pipeline.machine.parallel import num_cores
from pipeline.runs.executors.here import InThisProcess
from pipeline.runs.executors.lost import LostWorkers
from pipeline.runs.executors.shares import Share, shares_of, visible_gpus
from pipeline.runs.executors.work import Outcome, PlannedModel, Work, with_whole_paths
from pipeline.settings import MineSettings

__all__ = ["Processes"]

CODE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    " from pipeline.runs.executors.worker import serve; serve(int(sys.argv[2]))"
)
PATIENCE = 2.0
"""Seconds that a worker has to end in order, before it is killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """`jobs` models at a time."""

    jobs: int
    database_url: str = field(repr=False)

    def with_device(self, settings: MineSettings) -> MineSettings:
        """As in one process; `cuda` is one GPU for each model."""
        return InThisProcess().with_device(settings)

    def outcomes(
        self, work: Work, models: Sequence[PlannedModel], *, database: PatternDatabase, on_event: OnEvent
    ) -> Generator[Outcome, None, None]:
        """As they end. A model whose worker is killed is begun again in a new one."""
        num_workers = min(self.jobs, len(models))
        if num_workers <= 1:
            yield from InThisProcess().outcomes(work, models, database=database, on_event=on_event)
            return
        gpus = visible_gpus() if work.settings.device == "cuda" else ()
        shares = shares_of(num_workers, num_cores=num_cores(), gpus=gpus)
        sent = replace(work, database_url=self.database_url)
        waiting, lost = deque(map(with_whole_paths, models)), LostWorkers(work, database, on_event)
        with _workers(shares, sent) as workers:
            while waiting or any(worker.model for worker in workers):
                for worker in workers:
                    if worker.model is None and waiting:
                        worker.mine(waiting.popleft())
                for worker in _which_spoke(workers):
                    outcome = _heard(worker, on_event, lost, waiting)
                    if outcome is not None:
                        yield outcome


def _which_spoke(workers: Sequence["_Worker"]) -> list["_Worker"]:
    """Wait until a worker says something or is gone."""
    spoke = wait([worker.connection for worker in workers if worker.model])
    return [worker for worker in workers if worker.connection in spoke]


def _heard(worker: "_Worker", on_event: OnEvent, lost: LostWorkers, waiting: deque[PlannedModel]) -> Outcome | None:
    """Take one message of the worker; an outcome if its model has ended."""
    model = worker.model
    assert model is not None
    try:
        message = worker.connection.recv()
    except (EOFError, OSError):
        outcome = lost.give_up(model, worker.bury())
        if outcome is None:
            waiting.appendleft(model)
        return outcome
    if isinstance(message, Event):
        on_event(message)
        return None
    worker.model = None
    if isinstance(message, DnaZooError):
        raise message
    assert isinstance(message, Outcome)
    return message


class _Worker:
    """A process that mines what it is given; started when it is given something."""

    def __init__(self, share: Share, work: Work) -> None:
        self._share, self._work = share, work
        self._process: subprocess.Popen[bytes] | None = None
        self.connection: Connection[Any, Any]
        self.model: PlannedModel | None = None

    def mine(self, model: PlannedModel) -> None:
        """Begin the model; what becomes of it comes through `connection`."""
        self.model = model
        if self._process is None:
            self._start()
        with contextlib.suppress(OSError):  # It died just now: that is heard next.
            self.connection.send(model)

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs, self._work.log.open("ab") as log:
            command = [sys.executable, "-P", "-c", CODE, json.dumps(sys.path), str(theirs.fileno())]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
                env={**os.environ, **self._share.environment},
            )
            self.connection = Connection(ours.detach())
        with contextlib.suppress(OSError):
            self.connection.send(self._work)

    def bury(self) -> str:
        """Make room for a new process; why this one ended, to stand in a sentence."""
        assert self._process is not None
        self.connection.close()
        code = self._process.wait()
        self._process = self.model = None
        return f"it was killed by signal {-code}" if code < 0 else f"it ended with exit code {code}"

    def end(self) -> None:
        """Ask it to end, without waiting."""
        if self._process is not None:
            self.connection.close()
            self._process.terminate()

    def wait(self, until: float) -> None:
        """Wait until that moment, then kill it."""
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(max(until - time.monotonic(), 0))
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def _workers(shares: Sequence[Share], work: Work) -> Iterator[list[_Worker]]:
    """Workers, none of which outlives the block."""
    workers = [_Worker(share, work) for share in shares]
    try:
        yield workers
    finally:
        until = time.monotonic() + PATIENCE
        for worker in workers:
            worker.end()
        for worker in workers:
            worker.wait(until)
