"""The models of a run as tasks on a Ray cluster: of this machine for as long as the run takes, or one that runs.

A task mines one model, declares what that takes (`resources.py`) and opens the database by its URL. A task whose worker
is lost is begun again by this process and not by Ray, so that it is told and counted; the stages that were finished
are found in the home folder.
"""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dna_zoo.errors import DnaZooError, SettingsError
from dna_zoo.text import printable, without_secrets
from patterndb.connection.engine import file_of, parse_url
from patterndb.store import PatternDatabase
from pipeline.events import Event, OnEvent
from pipeline.machine.parallel import num_cores
from pipeline.runs.executors.here import InThisProcess
from pipeline.runs.executors.lost import LostWorkers
from pipeline.runs.executors.mailbox import Mailbox
from pipeline.runs.executors.ray_start import LOCAL, even_if_lost, joined
from pipeline.runs.executors.resources import Resources, resources_of
from pipeline.runs.executors.shares import take_share
from pipeline.runs.executors.work import Outcome, PlannedModel, Work, with_whole_paths
from pipeline.runs.executors.worker import Ending, mine_in_worker
from pipeline.settings import MineSettings

__all__ = ["RayCluster"]

LOOK = 0.25
"""Seconds between two looks at what the tasks tell."""
PATIENCE = 1.5
"""Seconds that cancelled tasks have to end in order, before their processes are killed."""
LONGEST = 300
"""Characters of what Ray says of a lost worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RayCluster:
    """As many models at a time as there is room for, and no more than `jobs`."""

    address: str
    """`local`, or what `ray.init` takes."""
    database_url: str = field(repr=False)
    jobs: int | None = None
    estimate: Callable[[PlannedModel, MineSettings], Resources] = resources_of

    def with_device(self, settings: MineSettings) -> MineSettings:
        """`auto` is CUDA where the cluster has a GPU. Raises `SettingsError` for a GPU it lacks, or one by number."""
        if settings.device == "cpu":
            return settings
        if ":" in settings.device:
            raise SettingsError(
                f"`--device {settings.device}` names one GPU, and Ray hands them out.", hint="Use `--device cuda`."
            )
        if self.address == LOCAL:
            return InThisProcess().with_device(settings)
        with self._joined() as ray:
            num_gpus = ray.cluster_resources().get("GPU", 0)
        if settings.device == "cuda" and not num_gpus:
            raise SettingsError(
                "`--device cuda` was asked for, and the Ray cluster has no GPU.", hint="Use `--device cpu`."
            )
        return replace(settings, device="cuda" if num_gpus else "cpu")

    def outcomes(
        self, work: Work, models: Sequence[PlannedModel], *, database: PatternDatabase, on_event: OnEvent
    ) -> Generator[Outcome, None, None]:
        """As they end."""
        sent = replace(work, database_url=self.database_url)
        lost = LostWorkers(work, database, on_event)
        with self._joined() as ray:
            tasks = _Tasks(ray, sent, self.estimate)
            waiting = deque(map(with_whole_paths, models))
            with contextlib.closing(tasks):
                while waiting or tasks.running:
                    while waiting and len(tasks.running) < (self.jobs or len(models)):
                        tasks.begin(waiting.popleft())
                    for model, ending in tasks.look(on_event):
                        outcome = lost.give_up(model, ending) if isinstance(ending, str) else ending
                        if isinstance(outcome, DnaZooError):
                            raise outcome
                        if outcome is None:
                            waiting.appendleft(model)
                        else:
                            yield outcome

    def _joined(self) -> contextlib.AbstractContextManager[Any]:
        if self.address != LOCAL and file_of(parse_url(self.database_url)) is not None:
            raise SettingsError(
                "A SQLite file cannot be the database of a Ray cluster.",
                hint="Give one that all machines reach: `--db postgresql://USER:PASSWORD@HOST/DATABASE`.",
            )
        return joined(self.address, num_cpus=max(num_cores(), self.jobs or 0))


class _Tasks:
    """Those that were begun, and the mailbox that they tell their progress to."""

    def __init__(self, ray: Any, work: Work, estimate: Callable[[PlannedModel, MineSettings], Resources]) -> None:
        self._ray, self._settings, self._estimate = ray, work.settings, estimate
        self._work = ray.put(work)
        # Near this process, which is not lost with a machine of the others.
        near = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=True
        )
        self._mailbox = ray.remote(Mailbox).options(num_cpus=0, max_restarts=-1, scheduling_strategy=near).remote()
        self._largest = {
            name: max(node["Resources"].get(name, 0.0) for node in ray.nodes() if node["Alive"])
            for name in ("CPU", "memory")
        }
        self._short_of_memory: dict[str, int] = {}
        self.running: dict[Any, PlannedModel] = {}

    def begin(self, model: PlannedModel) -> None:
        """Hand the model to Ray, which begins it where and when there is room."""
        needs = self._estimate(model, self._settings)
        needs = replace(needs, memory=needs.memory * 2 ** self._short_of_memory.get(model.key, 0))
        needs = needs.within(cpus=self._largest["CPU"], memory=self._largest["memory"])
        task = self._ray.remote(_mine).options(
            name=f"mine {model.key}",
            num_cpus=needs.cpus,
            num_gpus=needs.gpus,
            memory=needs.memory,
            max_retries=0,
        )
        self.running[task.remote(model, self._work, needs.cpus, self._mailbox)] = model

    def look(self, on_event: OnEvent) -> list[tuple[PlannedModel, Ending | str]]:
        """Wait for a moment, hand on what the tasks told, and give those that ended; why, where a worker was lost."""
        done, _ = self._ray.wait(list(self.running), num_returns=len(self.running), timeout=LOOK)
        self._tell(on_event)
        return [(self.running[ref], self._ending(ref)) for ref in done]

    def _tell(self, on_event: OnEvent) -> None:
        # Progress is worth no failure: the machine with the mailbox may be lost too.
        with contextlib.suppress(self._ray.exceptions.RayError):
            for event in self._ray.get(self._mailbox.take.remote(), timeout=10 * LOOK):
                on_event(event)

    def _ending(self, ref: Any) -> Ending | str:
        model, errors = self.running.pop(ref), self._ray.exceptions
        try:
            ending: Ending = self._ray.get(ref)
            return ending
        except errors.OutOfMemoryError:
            self._short_of_memory[model.key] = self._short_of_memory.get(model.key, 0) + 1
            return "memory ran out on its machine"
        except errors.NodeDiedError:
            return "its machine is gone"
        except errors.WorkerCrashedError:
            return "its process was killed"
        except errors.RayError as error:
            text = without_secrets(str(error).strip()).splitlines() or [type(error).__name__]
            return f"of an error ({printable(text[-1], longest=LONGEST)})"

    def close(self) -> None:
        """Stop those that run: first in order, then at once. A second interrupt does it at once."""
        try:
            self._cancel(force=False)
            until = time.monotonic() + PATIENCE
            with even_if_lost(self._ray):
                while self.running and time.monotonic() < until:
                    done, _ = self._ray.wait(list(self.running), timeout=max(until - time.monotonic(), 0))
                    for ref in done:
                        del self.running[ref]
        finally:
            self._cancel(force=True)

    def _cancel(self, *, force: bool) -> None:
        with even_if_lost(self._ray):
            for ref in self.running:
                self._ray.cancel(ref, force=force)


def _mine(model: PlannedModel, work: Work, cores: int, mailbox: Any) -> Ending:
    """The task."""
    import ray

    take_share(cores)
    last: list[Any] = []

    def send(event: Event) -> None:
        last[:] = [mailbox.put.remote(event)]

    ending = mine_in_worker(model, work, send)
    with contextlib.suppress(ray.exceptions.RayError):
        ray.get(last, timeout=10 * LOOK)  # What was told is there before the end is.
    return ending
