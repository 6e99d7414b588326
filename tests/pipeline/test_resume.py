"""Killed anywhere and run again, a run leaves what an undisturbed one leaves, and does no finished stage twice."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from patterndb.patterns.writing import SAVE_STEPS
from tests.support.killing import NEVER
from tests.support.mining import FAST, database_of, run_files, tables
from tests.support.tiny_models import make_tiny_checkpoint

pytestmark = pytest.mark.slow


class Seen(NamedTuple):
    """An event, as the process saw it."""

    kind: str
    stage: str
    message: str
    done: float


Attempt = Callable[..., tuple[int, list[Seen]]]
BOUNDARIES = [
    ("start", "mine"),
    ("reused", "fetch"),
    ("start", "extract"),
    ("done", "extract"),
    ("start", "order"),
    ("done", "order"),
    ("start", "fit"),
    ("done", "fit"),
    ("start", "analyse"),
    ("done", "analyse"),
    ("start", "persist"),
    ("done", "persist"),
    ("done", "mine"),
]
"""Every stage but fetch, which has nothing to do for local files, starts and is done."""


@pytest.fixture(scope="module")
def attempt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attempt]:
    """Mines in a process of its own that may die on the way; gives its exit status and what it saw."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    checkpoint = make_tiny_checkpoint("minilm-l6", tmp_path_factory.mktemp("tiny"), 0).parent
    log = checkpoint / "events.jsonl"
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.killing"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | threads,
    ) as process:

        def run(home: Path, kill_at: int = NEVER) -> tuple[int, list[Seen]]:
            assert process.stdin and process.stdout
            log.unlink(missing_ok=True)
            print(json.dumps([str(home), str(checkpoint), kill_at, str(log)]), file=process.stdin, flush=True)
            code = int(process.stdout.readline())
            return code, [Seen(*json.loads(line)) for line in log.read_text().splitlines()]

        yield run


@pytest.fixture(scope="module")
def undisturbed(attempt: Attempt, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Seen]]:
    """The home of a run that nothing disturbed, and all it saw."""
    home = tmp_path_factory.mktemp("undisturbed")
    code, seen = attempt(home)
    assert code == 0
    return home, seen


def find(seen: list[Seen], kind: str, stage: str, nth: int = 0) -> int:
    """The number, from 1, of the nth event of that kind and stage."""
    return [number for number, event in enumerate(seen, 1) if (event.kind, event.stage) == (kind, stage)][nth]


def finished(seen: list[Seen]) -> set[str]:
    return {event.stage for event in seen if event.kind == "done"}


def assert_ends_like(home: Path, expected: Path) -> None:
    """The same rows but for times, the same files byte for byte, and nothing half written left behind."""
    assert tables(home) == tables(expected)
    assert run_files(home) == run_files(expected)
    left, wanted = (
        {path.relative_to(each).as_posix() for path in (each / "stages").rglob("*")} for each in (home, expected)
    )
    assert left == wanted


def kill_and_resume(attempt: Attempt, home: Path, kill_at: int) -> tuple[list[Seen], list[Seen]]:
    """What the killed process saw, and what the one after it saw."""
    code, before = attempt(home, kill_at)
    assert code == -signal.SIGKILL and len(before) == kill_at
    code, after = attempt(home)
    assert code == 0
    assert not finished(before) & finished(after) - {"mine"}
    assert finished(before) - {"mine"} <= {event.stage for event in after if event.kind == "reused"}
    return before, after


def test_the_boundaries_are_all_there_are(undisturbed: tuple[Path, list[Seen]]) -> None:
    kinds = [(event.kind, event.stage) for event in undisturbed[1] if event.kind not in ("progress", "note")]
    assert kinds == BOUNDARIES


def test_two_undisturbed_runs_leave_the_same(
    attempt: Attempt, undisturbed: tuple[Path, list[Seen]], tmp_path: Path
) -> None:
    assert attempt(tmp_path) == (0, undisturbed[1])
    assert_ends_like(tmp_path, undisturbed[0])


# A stage starts as soon as the one before it is done: the two are one moment to be killed at.
@pytest.mark.parametrize(("kind", "stage"), [each for each in BOUNDARIES if each[0] != "start" or each[1] == "mine"])
def test_killed_at_a_boundary(
    kind: str, stage: str, attempt: Attempt, undisturbed: tuple[Path, list[Seen]], tmp_path: Path
) -> None:
    kill_and_resume(attempt, tmp_path, find(undisturbed[1], kind, stage))
    assert_ends_like(tmp_path, undisturbed[0])


@pytest.mark.parametrize(("nth", "first_step"), [(0, 1), (4, 5), (FAST.fit.epochs + 3, FAST.fit.epochs + 3)])
def test_killed_in_the_middle_of_the_fit(
    nth: int, first_step: int, attempt: Attempt, undisturbed: tuple[Path, list[Seen]], tmp_path: Path
) -> None:
    """Checkpoints are written after every second step; the next process goes on with the step after the last one."""
    _, after = kill_and_resume(attempt, tmp_path, find(undisturbed[1], "progress", "fit", nth))
    again = [event.done for event in after if (event.kind, event.stage) == ("progress", "fit")]
    trained = again[1:] if nth > FAST.fit.epochs else again  # The first stack is done: that is one event.
    assert trained[0] == first_step
    assert_ends_like(tmp_path, undisturbed[0])


@pytest.mark.parametrize("step", (SAVE_STEPS[0], SAVE_STEPS[len(SAVE_STEPS) // 2], SAVE_STEPS[-1]))
def test_killed_in_the_middle_of_persisting(
    step: str, attempt: Attempt, undisturbed: tuple[Path, list[Seen]], tmp_path: Path
) -> None:
    kill_at = undisturbed[1].index(Seen("progress", "persist", step, 0)) + 1
    code, _ = attempt(tmp_path, kill_at)
    assert code == -signal.SIGKILL
    with database_of(tmp_path) as database:
        assert database.patterns() == ()
        assert database.runs()[0].status == "lost"
    assert attempt(tmp_path)[0] == 0
    assert_ends_like(tmp_path, undisturbed[0])


@pytest.mark.parametrize("stage", ["order", "analyse"])
def test_killed_in_the_middle_of_a_stage_without_checkpoints(
    stage: str, attempt: Attempt, undisturbed: tuple[Path, list[Seen]], tmp_path: Path
) -> None:
    kill_and_resume(attempt, tmp_path, find(undisturbed[1], "progress", stage, 2))
    assert_ends_like(tmp_path, undisturbed[0])


def test_killed_again_and_again(attempt: Attempt, undisturbed: tuple[Path, list[Seen]], tmp_path: Path) -> None:
    """Each process gets a little further than the one before it, and none does a finished stage again."""
    done: set[str] = set()
    for kill_at in (4, 14, 24, 34):
        code, seen = attempt(tmp_path, kill_at)
        assert code == -signal.SIGKILL
        assert not finished(seen) & done
        done |= finished(seen)
    assert attempt(tmp_path)[0] == 0
    assert_ends_like(tmp_path, undisturbed[0])
