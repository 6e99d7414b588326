"""Mine one hostile model and show it, in a process of its own, and say what came of it."""

import contextlib
import io
import json
import os
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.hostile.cases import CASES

__all__ = ["SECONDS", "judge"]

SECONDS = 10
"""The most that one input may take."""
SPARE_MIB = 500
"""Memory that is allowed beyond twice the file."""
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What must not reach a terminal."""


class Hung(BaseException):
    """The input took too long."""


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise `Hung` after so many seconds of this process's work, or six times as many on the clock."""

    def stop(number: int, frame: Any) -> None:
        raise Hung

    before = {each: signal.signal(each, stop) for each in (signal.SIGALRM, signal.SIGPROF)}
    signal.setitimer(signal.ITIMER_REAL, 6 * seconds)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        for each, handler in before.items():
            signal.signal(each, handler)


def judge(kind: str, seed: int, number: int) -> dict[str, Any]:
    """What came of input `number` of a kind: `verdict` and, where it is a failure, `reason`."""
    rng = np.random.default_rng([seed, list(CASES).index(kind), number])
    with tempfile.TemporaryDirectory(prefix="hostile-") as name:
        folder = Path(name) / "model"
        folder.mkdir()
        expected = CASES[kind](folder, rng)
        size = sum(p.stat().st_size for p in folder.iterdir() if p.is_file() and p.stat().st_blocks)
        listed = {path.name for path in folder.iterdir()}
        before, start = peak_mib(), time.monotonic()
        try:
            with limited(SECONDS):
                verdict, reason = mine(folder, Path(name) / "home", expected)
        except Hung:
            verdict, reason = "hung", ""
        except BaseException as error:
            verdict, reason = "crashed", "".join(traceback.format_exception(error))[-2500:]
        if {path.name for path in folder.iterdir()} != listed:
            verdict, reason = "escaped", "a file was written into the model's folder"
        grown = peak_mib() - before
        if grown > SPARE_MIB + 2 * size / 2**20:
            verdict, reason = "memory", f"{grown:.0f} MiB for a file of {size:,} bytes; {verdict} {reason}"
    return {"kind": kind, "number": number, "verdict": verdict, "reason": reason, "s": time.monotonic() - start}


def peak_mib() -> float:
    """The largest resident set of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def mine(folder: Path, home: Path, expected: Any) -> tuple[str, str]:
    """Mine the folder through the command line, show it, and hold what was read against `expected`."""
    code, out, err = command(home, "mine", "--local", str(folder), "--name", "m", "--nulls", "1", "--epochs", "1")
    if code not in (0, 1, 3):
        return "crashed", f"exit code {code}: {err[-1500:]}"
    if ("bug" in err.lower() and "traceback" in err.lower()) or "This is a bug" in err:
        return "crashed", err[-1500:] + log_of(home)
    if found := RAW.search(out + err):
        return "leaked", f"{found[0]!r} in {(out + err)[max(0, found.start() - 60) : found.end() + 20]!r}"
    if code != 0:
        _, runs, _ = command(home, "runs", "--format", "json")
        if '"running"' in runs:
            return "stuck", "the run is left running"
        return "refused", err[-300:]
    for reading in (("show", "m"), ("show", "m", "--format", "json"), ("runs",), ("export", str(home / "x.csv"))):
        code, out, err = command(home, *reading)
        if code != 0:
            return "crashed", f"{reading[0]}: exit code {code}: {err[-1500:]}"
        if found := RAW.search(out.replace("\u001b", "\x1b")):
            return "leaked", f"{reading}: {found[0]!r} in {out[max(0, found.start() - 60) : found.end() + 20]!r}"
    if expected is not None:
        wrong = misread(folder, home, expected)
        if wrong:
            return "wrong", wrong
    return "answered", ""


def command(home: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command in this process."""
    from cli.main import app

    out, err = io.StringIO(), io.StringIO()
    os.environ["DNA_ZOO_HOME"], os.environ["COLUMNS"] = str(home), "150"
    os.environ.pop("DNA_ZOO_DB", None)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            app(list(arguments), standalone_mode=True)
            code: Any = 0
        except SystemExit as stop:
            code = stop.code
    return int(code or 0), out.getvalue(), err.getvalue()


def misread(folder: Path, home: Path, expected: Any) -> str:
    """The first tensor that is not read as it was written; empty where all are."""
    from pipeline.fetch.request import ModelRequest
    from pipeline.fetch.stage import fetch
    from pipeline.weights.reader import WeightReader

    with WeightReader(fetch(ModelRequest(name=str(folder)), home=home)) as reader:
        for name, values in expected.items():
            if not np.array_equal(reader.tensor(name), values):
                return f"{name!r} has other values"
    return ""


def log_of(home: Path) -> str:
    """The end of the runs' logs."""
    return "".join(path.read_text(errors="replace")[-1500:] for path in home.glob("runs/*/run.log"))


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(judge(*json.loads(line))), flush=True)
