"""Wall seconds of commands, each a process of its own, on a small database.

    python -m benchmarks.start
    python -m benchmarks.start --starts 3 --models 5
    python -m benchmarks.start --db postgresql://USER:PASSWORD@HOST/EMPTY_DATABASE --out start-postgresql

Every command is started once to warm the disk, then they take turns. Median, and least to most, beside the goal. Prints
the table and writes it to `benchmarks/results/OUT.json`. The export of tensors has all their statistics.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.parts.database.catalogs import mined_pattern, save_copies
from patterndb.store import PatternDatabase

RESULTS = Path(__file__).parent / "results"
HELP_GOAL, READING_GOAL, SERVER_GOAL, EXPORT_GOAL = 0.3, 1.0, 1.3, 2.0
"""Seconds: of `--help`, of what reads from a file and from a server, of an export."""
COMMANDS: Mapping[str, Sequence[str]] = {
    "--help": ("--help",),
    "mine --help": ("mine", "--help"),
    "zoo": ("zoo",),
    "zoo show": ("zoo", "show", "minilm-l6"),
    "show": ("show", "model-00000"),
    "runs": ("runs",),
    "similar": ("similar", "model-00000"),
    "compare": ("compare", "model-00000", "model-00001"),
    "taxonomy": ("taxonomy",),
    "questions": ("questions",),
    "db current": ("db", "current"),
    "export csv": ("export", "--force", "{folder}/catalog.csv"),
    "export parquet": ("export", "--force", "{folder}/catalog.parquet"),
    "export tensors": ("export", "--force", "{folder}/tensors.parquet", "--table", "tensors"),
}


def main() -> None:
    """Make the database, start everything, print the table."""
    options = parse()
    program = Path(sys.executable).with_name("dna-zoo")
    with tempfile.TemporaryDirectory() as folder:
        url = options.db or f"sqlite:///{folder}/dna-zoo.db"
        with PatternDatabase.open(url) as database:
            save_copies(database, mined_pattern(), 0, options.models)
        commands = {
            name: [str(program), "-q", *(argument.format(folder=folder) for argument in arguments)]
            for name, arguments in COMMANDS.items()
        }
        environment = os.environ | {"DNA_ZOO_HOME": folder, "DNA_ZOO_DB": url, "HF_HUB_OFFLINE": "1", "COLUMNS": "120"}
        # An installed program has its bytecode; here the first start writes it.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        seconds = {name: [] for name in commands}  # type: dict[str, list[float]]
        for turn in range(1 + options.starts):
            for name, command in commands.items():
                took = start(command, environment)
                seconds[name] += [took] if turn else []
    reading = READING_GOAL if url.startswith("sqlite") else SERVER_GOAL
    rows = [row(name, found, goal_of(name, reading)) for name, found in seconds.items()]
    tell(rows)
    path = RESULTS / f"{options.out}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({"options": vars(options) | {"db": url.partition(":")[0]}, "commands": rows}, indent=1) + "\n"
    )


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=9)
    parser.add_argument("--db", help="URL of an empty database to use in place of a file; it keeps what is put into it")
    parser.add_argument(
        "--models", type=int, default=15, help="in the database, each with as many tensors as MiniLM-L6"
    )
    parser.add_argument("--out", default="start", help="name of the file in benchmarks/results")
    return parser.parse_args()


def start(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """Seconds from start to end; raises if the command fails."""
    started = time.perf_counter()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def goal_of(name: str, reading: float) -> float:
    """Seconds that the command may take."""
    if name == "--help":
        return HELP_GOAL
    return EXPORT_GOAL if name.startswith("export") else reading


def row(name: str, seconds: Sequence[float], goal: float) -> dict[str, Any]:
    """One command with its goal."""
    return {"command": name, "median": statistics.median(seconds), "seconds": seconds, "goal": goal}


def tell(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print it."""
    print(f"{'command':18}{'seconds':>9}  {'least to most':16}{'goal':>6}")
    for found in rows:
        spread = f"{min(found['seconds']):.2f} to {max(found['seconds']):.2f}"
        verdict = f"{found['goal']:6.2f}" + ("" if found["median"] <= found["goal"] else "  not met")
        print(f"dna-zoo {found['command']:14}{found['median']:5.2f}  {spread:16}{verdict}")


if __name__ == "__main__":
    main()
