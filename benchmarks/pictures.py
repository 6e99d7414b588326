"""Seconds and memory of every kind of figure, of the explorer's page and of a report, each beside its goal.

    dna-zoo mine minilm-l6 ...                       # or `make mine`
    python -m benchmarks.pictures                    # of the default database: MiniLM-L6, and a report of the specimens
    python -m benchmarks.pictures --home HOME --model vit-a --out ''

Each is a command in a process of its own, Python's start and imports included. Prints the table and writes it to
`benchmarks/results/OUT.json`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.parts.scaffold import make_parser, write_results
from dna_zoo.home import home_folder
from explorer.kinds import KINDS

FIGURE, PAGE, REPORT = 5.0, 15.0, 30.0
"""Seconds."""
MEMORY = 2 << 30
"""Bytes."""
SPECIMENS = Path(__file__).parents[1] / "data" / "specimens"


def main() -> None:
    """One after the other."""
    options = parse()
    rows = []
    print(f"{'what':24}{'seconds':>9}{'goal':>7}{'MiB':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for name, command, goal in commands(options.model, Path(folder)):
            row = {"what": name, "goal": goal, **measured([*command, "--home", str(options.home)])}
            rows.append(row)
            missed = "" if row["seconds"] <= goal and row["bytes"] <= MEMORY else "  not met"
            print(f"{name:24}{row['seconds']:9.2f}{goal:7.0f}{row['bytes'] / (1 << 20):8.0f}{missed}", flush=True)
    if options.out:
        write_results(options.out, {"model": options.model, "cores": os.cpu_count(), "rows": rows})


def parse() -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, out="pictures")
    parser.add_argument("--model", default="minilm-l6", help="key of a mined model")
    parser.add_argument("--home", type=Path, default=home_folder(None), help="home folder of the mined models")
    return parser.parse_args()


def commands(model: str, folder: Path) -> Iterator[tuple[str, Sequence[str], float]]:
    """Name, arguments of `dna-zoo`, goal in seconds."""
    for kind in KINDS.values():
        of = [model] if kind.subject in ("tensor", "model") else []
        yield kind.name, ["plot", kind.name, *of, "--out", str(folder / f"{kind.name}.png")], FIGURE
    yield "explore", ["explore", model, "--out", str(folder / "page.html")], PAGE
    specimens = sorted(path.parent.name for path in SPECIMENS.glob("*/config.json"))
    yield "report of the specimens", ["report", *specimens, "--out", str(folder / "report")], REPORT


def measured(arguments: Sequence[str]) -> dict[str, Any]:
    """Seconds from start to end and the largest resident set, of one call of `dna-zoo`. Exits if it fails."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", "from cli.main import app; app()", "-q", *arguments],
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"dna-zoo {' '.join(arguments)} failed.")
    return {"seconds": time.perf_counter() - began, "bytes": usage.ru_maxrss * 1024}


if __name__ == "__main__":
    main()
