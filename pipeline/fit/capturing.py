"""A step of a fit as one CUDA graph: the device runs all of it without being told operation by operation."""

import contextlib
import functools
import logging
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Protocol

import torch

__all__ = ["CudaRecorder", "Graphs", "Recorder", "side_stream"]

log = logging.getLogger(__name__)

WARM_UP = 3
"""Times that work is done as it is before it is recorded: memory, compiled code and the optimiser's state are made."""
Replay = Callable[[], object]


class Recorder(Protocol):
    """What turns work into something that can be done again at once."""

    def __call__(self, work: Callable[[], None]) -> Replay:
        """Record the work, which is not done by that. Nothing of the host may matter to it."""


class CudaRecorder:
    """By `torch.cuda.graph` on a `side_stream`, all graphs in one pool of memory: no two run at the same time."""

    def __init__(self) -> None:
        self.pool: Any = None

    def __call__(self, work: Callable[[], None]) -> Replay:
        graph = torch.cuda.CUDAGraph()
        # On this stream: the nodes that add up gradients remember the one that they were made on.
        with torch.cuda.graph(
            graph, pool=self.pool, stream=torch.cuda.current_stream(), capture_error_mode="thread_local"
        ):
            work()
        self.pool = graph.pool()
        return graph.replay


@contextlib.contextmanager
def side_stream(device: torch.device) -> Iterator[None]:
    """Work on a stream of its own, as nothing is recorded on CUDA's default one; on other devices nothing changes."""
    if device.type != "cuda":
        yield
        return
    stream, outer = torch.cuda.Stream(device), torch.cuda.current_stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(outer)
    with torch.cuda.stream(stream):
        yield
    outer.wait_stream(stream)


class Graphs:
    """Kinds of steps, each recorded once it has been done a few times; without a recorder each is done as it is.

    Where a step cannot be recorded, `when_refused` undoes what half of it has left, and all steps are done as they are.
    """

    def __init__(self, recorder: Recorder | None, when_refused: Callable[[], None] = lambda: None) -> None:
        self.recorder, self.when_refused = recorder, when_refused
        self.replays: dict[Hashable, Replay] = {}
        self.done: Counter[Hashable] = Counter()

    def run(self, kind: Hashable, work: Callable[[], None]) -> None:
        """Do the work, which is the same for all of one kind."""
        if kind not in self.replays and self.recorder is not None and self.done[kind] >= WARM_UP:
            self._record(kind, work)
        self.done[kind] += 1
        self.replays.get(kind, work)()

    def forget(self) -> None:
        """What the recorded work looks at lies elsewhere now: record it again, after it has been done once."""
        self.replays.clear()
        self.done = Counter({kind: min(count, WARM_UP - 1) for kind, count in self.done.items()})

    def _record(self, kind: Hashable, work: Callable[[], None]) -> None:
        assert self.recorder is not None
        try:
            self.replays[kind] = self.recorder(work)
        except RuntimeError as error:  # Of CUDA's and torch's own: an operation that a graph cannot hold.
            self.recorder = None
            self.when_refused()
            _tell_once(next(iter(str(error).splitlines()), "") or type(error).__name__)


@functools.cache
def _tell_once(reason: str) -> None:
    log.info("A step cannot be captured as a CUDA graph here, so it is run operation by operation: %s", reason)
