"""Processes that mine and kill themselves: `python -m tests.support.killing` forks one for each line on its stdin.

Importing takes longer than mining a tiny model, so it is done once, before the fork. Every attempt is a process of its
own all the same, and dies of SIGKILL: no handler, no cleanup, no flush.
"""

import json
import os
import signal
import sys
import tempfile
from pathlib import Path

import scipy.fft  # noqa: F401
import torch._dynamo  # noqa: F401  # What torch's optimizers import when they are first made.

from pipeline.events import Event
from tests.support.mining import database_of, mine_into, request

NEVER = 0


def mine_until(home: Path, checkpoint: Path, kill_at: int, log: Path) -> int:
    """Mine, write every event to `log`, and die at event number `kill_at`, counted from 1."""
    seen = 0

    def on_event(event: Event) -> None:
        nonlocal seen
        seen += 1
        with log.open("a") as file:
            file.write(json.dumps([event.kind, event.stage, event.message, event.done]) + "\n")
        if seen == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    return mine_into(home, [request(checkpoint)], on_event=on_event).exit_code or 0


def main() -> None:
    """Read `[home, checkpoint, kill_at, log]` line by line; answer with the exit status of the process."""
    with tempfile.TemporaryDirectory() as folder:
        database_of(Path(folder)).close()
    for line in sys.stdin:
        home, checkpoint, kill_at, log = json.loads(line)
        child = os.fork()
        if child == 0:
            code = 70
            try:
                code = mine_until(Path(home), Path(checkpoint), kill_at, Path(log))
            finally:
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
