"""Faults in small numbers: what `python -m benchmarks.faults` counts in large ones."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
MOUNTED = {"full-disk", "no-locks"}
"""Kinds that mount file systems, and are left out where nobody may."""


def tried(folder: Path, *kinds: str) -> dict[str, int]:
    """Case -> how often it was tried, each time with the outcome that it must have."""
    words = [sys.executable, "-m", "benchmarks.faults", "--small", "--folder", str(folder), "--kinds", *kinds]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=500)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads((folder / "faults.json").read_text())
    assert {kind for kind in kinds if not found[kind]["rows"]} <= MOUNTED
    return {row["case"]: row["tried"] for kind in kinds for row in found[kind]["rows"]}


def test_kills_full_disks_closed_ones_jumps_of_the_clock_and_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    found = tried(tmp_path, "kills", "full-disk", "file-limit", "read-only", "no-locks", "clocks", "writers")
    assert found["killed once"] and found["killed twice in a row"] and found["a heartbeat from the future"] == 5
    assert found["a limit on the size of files"] and found["in a read-only folder: read"]
    assert found["SQLite, different models, one home"] == 1


@pytest.mark.postgres
def test_a_server_that_is_killed_and_back_is_waited_for_and_takes_eight_writers(tmp_path: Path) -> None:
    found = tried(tmp_path, "servers", "server-writers")
    at_once = found.pop("PostgreSQL, different models, one home")
    assert at_once == 1 and sum(found.values()) == 3
    assert found["away for longer than it is waited for: said, then repeated"] == 1
