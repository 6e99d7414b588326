"""Independent tasks on threads of their own: order, failure, and one core for each operation."""

import threading
import time

import pytest
import torch

from pipeline.machine.parallel import num_cores, one_thread_each, run_parallel


@pytest.mark.parametrize("num_workers", [1, 3])
def test_results_come_in_the_order_of_the_tasks(num_workers: int) -> None:
    def run(task: int, stop: threading.Event) -> int:
        time.sleep(0.01 * (3 - task % 3))
        return task**2

    assert run_parallel(range(7), run, num_workers=num_workers) == [task**2 for task in range(7)]


@pytest.mark.parametrize("num_workers", [1, 2])
def test_operations_in_a_task_have_one_thread_and_the_setting_comes_back(num_workers: int) -> None:
    before = torch.get_num_threads()
    seen = run_parallel([0, 1], lambda task, stop: torch.get_num_threads(), num_workers=num_workers)
    assert seen == [1, 1]
    assert torch.get_num_threads() == before


def test_a_failure_stops_the_others_and_is_raised() -> None:
    stopped = threading.Event()

    def run(task: int, stop: threading.Event) -> None:
        if task == 0:
            raise ValueError("task 0 failed")
        if stop.wait(timeout=10):
            stopped.set()

    with pytest.raises(ValueError, match="task 0 failed"):
        run_parallel([1, 0, 2, 3], run, num_workers=2)
    assert stopped.is_set()


def test_the_setting_comes_back_after_an_error() -> None:
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError), one_thread_each():
        raise RuntimeError
    assert torch.get_num_threads() == before
    assert num_cores() >= 1
