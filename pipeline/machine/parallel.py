"""Independent work on several cores: one thread each, every tensor operation on its own core.

Many cores on one small operation wait for each other more than they work, and next to another busy process they wait
ten times longer. One operation a core has no such barrier, and its sums do not depend on how many cores there are.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

import torch

__all__ = ["CORES", "num_cores", "one_thread_each", "run_parallel"]

CORES = "DNA_ZOO_CORES"
"""The variable that holds this process to so many cores, where several share a machine."""
Task = TypeVar("Task")
Result = TypeVar("Result")


def num_cores() -> int:
    """Cores that this process may use."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    given = os.environ.get(CORES, "")
    return max(min(int(given), there), 1) if given.isdecimal() else there


@contextmanager
def one_thread_each() -> Iterator[None]:
    """PyTorch's operations run on one thread in here, in this thread and those it starts."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run_parallel(
    tasks: Sequence[Task], run: Callable[[Task, threading.Event], Result], *, num_workers: int
) -> list[Result]:
    """The results of `run(task, stop)` in the order of the tasks, `num_workers` at a time.

    Tasks are started in their order. When one fails, or on Ctrl-C, `stop` is set, tasks not started are dropped, and
    the error is raised once the running ones have ended; they should look at `stop` and end early.
    """
    stop = threading.Event()
    with one_thread_each():
        if num_workers == 1:
            return [run(task, stop) for task in tasks]
        with ThreadPoolExecutor(num_workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            futures = [pool.submit(run, task, stop) for task in tasks]
            try:
                _raise_first(wait(futures, return_when=FIRST_EXCEPTION).done)
                return [future.result() for future in futures]
            except BaseException:
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _raise_first(done: set[Future[Result]]) -> None:
    for future in done:
        if (error := future.exception()) is not None:
            raise error
