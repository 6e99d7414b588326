"""`dna-zoo mine` as a process of its own with workers below it, for tests that watch, kill and interrupt it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import select

from patterndb.connection.engine import make_engine, parse_url
from patterndb.store import PatternDatabase
from patterndb.tables import METADATA
from tests.support.mining import HISTORY

ROOT = Path(__file__).parents[2]
START = "from cli.main import app; app()"
NO_ROWS = {"id", "seconds", "started", "finished", "confirmed_at", "digests"}
"""Columns that tell when a row was written, and after which others, or hold a digest of that too."""
REFERENCES = (
    ("model_id", "models", "digest"),
    ("run_id", "runs", "request_key"),
    ("pattern_id", "patterns", "pattern_key"),
    ("layout_id", "signature_layouts", "digest"),
)
"""Columns that hold the number of another row, whose it is, and what that row is told by: numbers depend on what was
written before."""


def environment() -> dict[str, str]:
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return os.environ | threads | {"PYTHONPATH": str(ROOT), "DNA_ZOO_CORES": "2"}


def start_mining(
    folders: Sequence[Path], home: Path, url: str, *options: str, without: Sequence[str] = (), **variables: str
) -> subprocess.Popen[str]:
    """Mine the folders, under their names.

    - `without`: packages that this interpreter finds as little as if they were not installed.
    - `variables`: of its environment, beside those of this process.
    """
    begin = f"import sys; sys.modules.update(dict.fromkeys({list(without)!r})); {START}"
    local = [word for folder in folders for word in ("--local", str(folder), "--name", folder.name)]
    return subprocess.Popen(
        [sys.executable, "-c", begin, "mine", *local, "--home", str(home), "--db", url, "--format", "quiet", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment() | variables,
        cwd=home.parent,
        start_new_session=True,
        preexec_fn=_hear_signals,
    )


def stages_of(url: str, key: str) -> set[str]:
    """The stages of a model that the runs in the database name."""
    with PatternDatabase.open(url) as database:
        models = [each for run in database.runs() for each in run.models]
        return {stage.stage for each in models if each.key == key for stage in each.stages}


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a process that comes to its end."""
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def _hear_signals() -> None:
    """As a terminal starts it: below `nohup`, or in the background of a script, it would ignore what is sent to it."""
    for each in (signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_DFL)


def wait_for(
    condition: Callable[[], Any], seconds: float = 200, *, process: subprocess.Popen[str] | None = None
) -> Any:
    """What the condition gives once that is true.

    - `process`: the one that brings it about. Where it ends before, what it wrote is said at once.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        was_at_work = process is None or process.poll() is None
        if found := condition():
            return found
        if process is not None and not was_at_work:
            raise AssertionError(f"It ended before: {ended(process)}")
        time.sleep(0.05)
    raise AssertionError("It never came.")


def rows_of(url: str) -> dict[str, list[str]]:
    """Every row of every table but those of the history, in an order of its own, with what it refers to by name and
    without times."""
    engine = make_engine(parse_url(url))
    with engine.connect() as connection:
        names = {
            name: {row["id"]: row[column] for row in connection.execute(select(METADATA.tables[table])).mappings()}
            for name, table, column in REFERENCES
        }
        found = {
            table.name: sorted(
                repr({key: _named(key, value, names) for key, value in row.items() if key not in NO_ROWS})
                for row in connection.execute(select(table)).mappings()
            )
            for table in METADATA.sorted_tables
            if table.name not in HISTORY
        }
    engine.dispose()
    return found


def _named(column: str, value: Any, names: dict[str, dict[int, str]]) -> Any:
    return names[column][value] if column in names else value


def processes_below(pid: int) -> Iterator[int]:
    """All children of a process and theirs."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in map(int, children):
        yield child
        yield from processes_below(child)


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
