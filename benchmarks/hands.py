"""What a DNA costs in the hand: to open it, to rebuild MiniLM-L6 from it, to evaluate it, each beside its goal.

    python -m benchmarks.hands                       # mines MiniLM-L6 into a home of its own first, some minutes in all
    python -m benchmarks.hands --model data/specimens/vit-a --out trial
    python -m benchmarks.hands --page

Each is a process of its own, Python's start and imports included, but for the opening: there both are told, the whole
process and the opening alone, which is all that a notebook waits for that has torch already. `evaluate` is timed twice:
the first time it fits the DNA of shuffled weights, which then is kept. Prints the table and writes it to
`benchmarks/results/OUT.json`; `--page` puts it into docs/using.md.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.parts.scaffold import make_parser, write_figures, write_results

__all__ = ["main", "page_table"]

OPENING, REBUILDING, EVALUATING = 1.0, 10.0, 60.0
"""Seconds."""
MEMORY = 2 << 30
"""Bytes."""
PAGE = Path(__file__).parents[1] / "docs" / "using.md"
COMMAND = "python -m benchmarks.hands --page"
OPEN = """
import sys, time
import torch
import dna_zoo
began = time.perf_counter()
dna = dna_zoo.load_dna(sys.argv[1])
print(time.perf_counter() - began)
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Mine, then one after the other."""
    parser = make_parser(__doc__, out="hands")
    parser.add_argument("--model", default="minilm-l6", help="key, or folder of a specimen")
    parser.add_argument("--page", action="store_true", help="put the table into docs/using.md")
    options = parser.parse_args(arguments)
    key, rows = Path(options.model).name, []
    print(f"{'what':34}{'seconds':>9}{'goal':>7}{'MiB':>8}{'goal':>7}")
    with tempfile.TemporaryDirectory() as folder:
        for row in measured(key, mined(options.model, Path(folder))):
            rows.append(row)
            print(line_of(row), flush=True)
    found = {"model": key, "cores": os.cpu_count(), "rows": rows}
    write_results(options.out, found)
    if options.page:
        write_figures(PAGE, COMMAND, page_table(found))


def mined(model: str, home: Path) -> str:
    """The home with the model mined in it."""
    command("mine", model, "--nulls", "0", "--format", "quiet", home=str(home))
    return str(home)


def measured(key: str, home: str) -> Iterator[dict[str, Any]]:
    """What is opened, rebuilt and evaluated."""
    process = timed([sys.executable, "-c", OPEN, key], home)
    yield row_of("open the DNA", {**process, "seconds": float(process["output"])}, OPENING)
    yield row_of("open the DNA, the whole process", process, None)
    yield row_of("rebuild", command("rebuild", key, "--out", f"{home}/rebuilt", home=home), REBUILDING)
    yield row_of("evaluate", command("evaluate", key, home=home), EVALUATING)
    yield row_of("evaluate, the shuffled DNA kept", command("evaluate", key, home=home), EVALUATING)


def row_of(what: str, taken: Mapping[str, Any], goal: float | None) -> dict[str, Any]:
    """One measurement beside its goals."""
    goals = {"goal": goal, "goal_bytes": None if goal is None else MEMORY}
    return {"what": what, "seconds": taken["seconds"], "bytes": taken["bytes"], **goals}


def command(*arguments: str, home: str) -> dict[str, Any]:
    """A call of `dna-zoo` with its home in `home`."""
    return timed([sys.executable, "-c", "from cli.main import app; app()", "-q", *arguments], home)


def timed(arguments: Sequence[str], home: str) -> dict[str, Any]:
    """Seconds from start to end, the largest resident set in bytes, and what was printed. Exits if it fails."""
    environment = {name: value for name, value in os.environ.items() if name != "DNA_ZOO_DB"} | {"DNA_ZOO_HOME": home}
    began = time.perf_counter()
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    with process.stdout:
        output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if status:
        raise SystemExit(f"{' '.join(arguments[3:])} failed.")
    unit = 1 if sys.platform == "darwin" else 1024
    return {"seconds": time.perf_counter() - began, "bytes": usage.ru_maxrss * unit, "output": output}


def line_of(row: Mapping[str, Any]) -> str:
    """One line of what is printed."""
    goal = "" if row["goal"] is None else f"{row['goal']:.0f}"
    most = "" if row["goal_bytes"] is None else f"{row['goal_bytes'] / (1 << 20):.0f}"
    missed = "" if is_met(row) else "  not met"
    return f"{row['what']:34}{row['seconds']:9.2f}{goal:>7}{row['bytes'] / (1 << 20):8.0f}{most:>7}{missed}"


def is_met(row: Mapping[str, Any]) -> bool:
    """Whether it took no more than it may; what has no goal is met."""
    pairs = ((row["seconds"], row["goal"]), (row["bytes"], row["goal_bytes"]))
    return all(goal is None or value <= goal for value, goal in pairs)


def page_table(found: Mapping[str, Any]) -> Iterator[str]:
    """Markdown."""
    yield f"| {found['model']}, {found['cores']} cores | seconds | goal | MiB | goal | met |"
    yield "|---" * 6 + "|"
    for row in found["rows"]:
        goal = "–" if row["goal"] is None else f"{row['goal']:.0f}"
        most = "–" if row["goal_bytes"] is None else f"{row['goal_bytes'] >> 20}"
        met = "–" if row["goal"] is None else "yes" if is_met(row) else "no"
        cells = (row["what"], f"{row['seconds']:.2f}", goal, f"{row['bytes'] >> 20}", most, met)
        yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
