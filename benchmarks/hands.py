"""What a DNA costs in the hand: to open it, to rebuild MiniLM-L6 from it, to evaluate it, and the tour of the README.

    python -m benchmarks.hands                  # mines what `make mine` mines first, into a home of its own
    python -m benchmarks.hands --only tour      # the tour alone, in place of the one that is kept
    python -m benchmarks.hands --home DIR       # a copy of this home, where `make mine` has been: no need to mine again
    python -m benchmarks.hands --only model --model data/specimens/vit-a --out trial
    python -m benchmarks.hands --page

Each is a process of its own, Python's start and imports included, but for the opening: there both are told, the whole
process and the opening alone, which is all that a notebook waits for that has torch already. `evaluate` is timed of a
model as `mine` leaves it, and of one that was mined without nulls: then the DNA of shuffled weights, which mining keeps
otherwise, is fitted first. The tour is what the README has under "A DNA in your hands", line by line and as it is
written, after `make mine`. Mining itself is not timed.
Prints the table and writes it to `benchmarks/results/OUT.json`; `--page` puts it into docs/using.md.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.parts.scaffold import make_parser, read_results, write_figures, write_results
from benchmarks.parts.tour import ROOT, prepare_folder, read_tour

__all__ = ["main", "page_table"]

OPENING, REBUILDING, EVALUATING, TOURING = 1.0, 10.0, 60.0, 300.0
"""Seconds."""
MEMORY = 2 << 30
"""Bytes."""
MINILM = "minilm-l6"
PARTS = ("model", "tour")
PAGE = ROOT / "docs" / "using.md"
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
    parser.add_argument("--model", default=MINILM, help="key, or folder of a specimen")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS)
    parser.add_argument("--home", type=Path, help="a home to copy first; what is mined there is not mined again")
    parser.add_argument("--page", action="store_true", help="put the table into docs/using.md")
    options = parser.parse_args(arguments)
    found = {"model": MINILM, **read_results(options.out), "cores": os.cpu_count()}
    print(f"{'what':34}{'seconds':>9}{'goal':>7}{'MiB':>8}{'goal':>7}")
    with tempfile.TemporaryDirectory() as folder:
        homes = {name: Path(folder) / name / "home" for name in options.only}
        for home in homes.values() if options.home is not None else ():
            shutil.copytree(options.home, home, symlinks=True)
        if "model" in options.only:
            found["model"], found["rows"] = Path(options.model).name, told(measured(options.model, homes["model"]))
        if "tour" in options.only:
            found["tour"] = told(toured(homes["tour"]))
    write_results(options.out, found)
    if options.page:
        write_figures(PAGE, COMMAND, page_table(found))


def told(rows: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, each printed as it comes."""
    found = []
    for row in rows:
        found.append(row)
        print(line_of(row), flush=True)
    return found


def measured(model: str, place: Path) -> Iterator[dict[str, Any]]:
    """What is opened, rebuilt and evaluated, in the home at `place` and in another one beside it."""
    key, home, without = Path(model).name, str(place), str(place.with_name("without"))
    command("mine", model, "--nulls", "1", "--format", "quiet", home=home)
    process = timed([sys.executable, "-c", OPEN, key], home)
    yield row_of("open the DNA", {**process, "seconds": float(process["output"])}, OPENING)
    yield row_of("open the DNA, the whole process", process, None)
    yield row_of("rebuild", command("rebuild", key, "--out", f"{home}/rebuilt", home=home), REBUILDING)
    yield row_of("evaluate", command("evaluate", key, home=home), EVALUATING)
    command("mine", model, "--nulls", "0", "--format", "quiet", home=without)
    yield row_of("evaluate, mined without nulls", command("evaluate", key, home=without), EVALUATING)


def toured(mined: Path) -> Iterator[dict[str, Any]]:
    """The tour's commands and its Python, and all of it; in the home `mined`, with what `make mine` leaves."""
    home, place, tour = str(mined), mined.with_name("checkout"), read_tour()
    place.mkdir(parents=True)
    prepare_folder(place)
    specimens = sorted(str(path.parent) for path in (ROOT / "data" / "specimens").glob("*/config.json"))
    for models in (specimens, [MINILM]):
        command("mine", *models, "--format", "quiet", home=home)
    rows = []
    for words in tour.commands:
        rows.append(row_of(f"tour: {' '.join(words)[:26]}", command(*words, home=home, place=place), None))
        yield rows[-1]
    rows.append(row_of("tour: its Python", timed([sys.executable, "-c", tour.code], home, place), None))
    yield rows[-1]
    whole = {"seconds": sum(row["seconds"] for row in rows), "bytes": max(row["bytes"] for row in rows)}
    yield row_of("the tour of the README", whole, TOURING)


def row_of(what: str, taken: Mapping[str, Any], goal: float | None) -> dict[str, Any]:
    """One measurement beside its goals."""
    goals = {"goal": goal, "goal_bytes": None if goal is None else MEMORY}
    return {"what": what, "seconds": taken["seconds"], "bytes": taken["bytes"], **goals}


def command(*arguments: str, home: str, place: Path | None = None) -> dict[str, Any]:
    """A call of `dna-zoo` with its home in `home`, from the folder `place`."""
    return timed([sys.executable, "-c", "from cli.main import app; app()", "-q", *arguments], home, place)


def timed(arguments: Sequence[str], home: str, place: Path | None = None) -> dict[str, Any]:
    """Seconds from start to end, the largest resident set in bytes, and what was printed. Exits if it fails."""
    environment = {name: value for name, value in os.environ.items() if name != "DNA_ZOO_DB"}
    paths = os.pathsep.join(filter(None, (str(ROOT), environment.get("PYTHONPATH"))))
    environment |= {"DNA_ZOO_HOME": home, "PYTHONPATH": paths}
    began = time.perf_counter()
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment, cwd=place)
    assert process.stdout is not None
    with process.stdout:
        output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if status:
        raise SystemExit(f"{' '.join(arguments[3:]) or 'The Python of the tour'} failed.")
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
    """Markdown: what a DNA costs, and the tour as a whole."""
    yield f"| {found['model']}, {found['cores']} cores | seconds | goal | MiB | goal | met |"
    yield "|---" * 6 + "|"
    for row in [*found.get("rows", ()), *found.get("tour", ())[-1:]]:
        goal = "–" if row["goal"] is None else f"{row['goal']:.0f}"
        most = "–" if row["goal_bytes"] is None else f"{row['goal_bytes'] >> 20}"
        met = "–" if row["goal"] is None else "yes" if is_met(row) else "no"
        cells = (row["what"], f"{row['seconds']:.2f}", goal, f"{row['bytes'] >> 20}", most, met)
        yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
