"""The command line in processes that are forked from this one, which has imported everything: importing takes longer
than mining a tiny model. Each is a process of its own all the same, and can be killed."""

import importlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Command", "Ended", "import_everything", "nothing", "run", "start"]

LONGEST = 300.0
"""Seconds after which a command is taken to hang."""
PAUSE = 0.002


def nothing() -> None:
    """What a command does before it begins, unless it is told otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A command that has ended."""

    code: int
    """Negative: the signal that killed it; `HUNG` where it had to be killed because it did not end."""
    out: str
    err: str
    seconds: float
    modules: tuple[str, ...]
    """What it had imported in the end."""

    @property
    def said(self) -> str:
        """The error on one line."""
        return " ".join(self.err.split())


class Command:
    """One that has been started."""

    def __init__(self, pid: int, folder: Path) -> None:
        self.pid = pid
        self._folder = folder
        self._began = time.monotonic()
        self._status: int | None = None

    def is_done(self) -> bool:
        """Whether it has ended."""
        if self._status is None:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = status if found else None
        return self._status is not None

    def is_done_within(self, seconds: float) -> bool:
        """Wait so long, or until it has ended."""
        until = time.monotonic() + seconds
        while not self.is_done():
            if time.monotonic() >= until:
                return False
            time.sleep(PAUSE)
        return True

    def kill(self) -> None:
        """End it by SIGKILL: no handler, no cleanup, no flush."""
        os.kill(self.pid, signal.SIGKILL)
        self.is_done_within(LONGEST)
        shutil.rmtree(self._folder)

    def wait(self, seconds: float = LONGEST) -> Ended:
        """How it ends; one that takes longer than that is killed, and said to hang in `err`."""
        is_hung = not self.is_done_within(seconds)
        if is_hung:
            os.kill(self.pid, signal.SIGKILL)
            self.is_done_within(LONGEST)
        assert self._status is not None
        out, err, modules = (_text(self._folder / name) for name in ("out", "err", "modules"))
        shutil.rmtree(self._folder)
        return Ended(
            code=os.waitstatus_to_exitcode(self._status),
            out=out,
            err=f"{err} It hung and was killed after {seconds:.0f} s." if is_hung else err,
            seconds=time.monotonic() - self._began,
            modules=tuple(modules.split()),
        )


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def start(
    *arguments: str | Path,
    home: Path,
    environment: Mapping[str, str] | None = None,
    before: Callable[[], None] = nothing,
) -> Command:
    """Start `dna-zoo ARGUMENTS` with this home.

    `before`: what the new process does first.
    """
    folder = Path(tempfile.mkdtemp(prefix="faults-command-"))
    folder.chmod(0o755)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return Command(pid, folder)
    code = 70
    try:
        code = _be_command([str(each) for each in arguments], folder, home, environment or {}, before)
    finally:
        os._exit(code)


def run(
    *arguments: str | Path,
    home: Path,
    environment: Mapping[str, str] | None = None,
    before: Callable[[], None] = nothing,
) -> Ended:
    """Run `dna-zoo ARGUMENTS` to its end."""
    return start(*arguments, home=home, environment=environment, before=before).wait()


def _be_command(
    arguments: list[str], folder: Path, home: Path, environment: Mapping[str, str], before: Callable[[], None]
) -> int:
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT, 0o644), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ |= {"DNA_ZOO_HOME": str(home), "COLUMNS": "400", "HF_HUB_OFFLINE": "1", **environment}
    before()
    from cli.main import app

    try:
        app(arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    finally:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
            (folder / "modules").write_text("\n".join(sys.modules))
    return 0


def import_everything(ended: Ended) -> None:
    """Import what a command imported, so that those forked later find it."""
    for name in ended.modules:
        if name != "__main__":
            with suppress(Exception):  # Some are made by others, and cannot be imported by their names.
                importlib.import_module(name)
