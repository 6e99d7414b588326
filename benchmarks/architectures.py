"""Seconds and peak memory of every stage, for all fifteen architectures of the zoo at full size.

    python -m benchmarks.architectures                        # all fifteen
    python -m benchmarks.architectures --models tinybert deberta-v3-small

Weights are random (the cost does not depend on them), names, shapes and number formats real. Each model is written to
disk piece by piece, mined by the product's own runner in a process of its own (`one_model.py`), and deleted. Memory is
the largest resident set of the process during a stage, less what `import torch` had taken when it started. Fetching is
from a local folder: a checksum and no network. The signature is part of `analyse`.

The settings are smaller than those of `dna-zoo mine`, and the table says so: by default 20 epochs (there 400), one
move of rows and columns (3), no null in the fit (1), one null of each kind in the analysis (8). Peaks outside the fit
are the same: the analysis makes and drops nulls two at a time. In a fit each null is one more copy.

Prints the table and writes it to `benchmarks/results/OUT.json`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.parts.one_model import STAGES
from benchmarks.parts.random_models import write_model, zoo_model
from benchmarks.parts.scaffold import make_parser, write_results
from zoo.registry import CARDS

GOAL_MIB = 1024.0
STREAMING = ("fetch", "extract", "order", "analyse", "persist")
"""Stages that must stay below `GOAL_MIB`; a fit holds what it fits."""
SEED = 0


def main() -> None:
    """One model after the other; what is done is printed and kept at once."""
    options = parse()
    rows: list[dict[str, Any]] = []
    print(described(options))
    print(f"{'':18}{'weights':>13}  " + "".join(f"{stage:>16}" for stage in STAGES) + f"{'seconds':>10}")
    for key in options.models:
        rows.append(measure(key, options))
        print(line(rows[-1]), flush=True)
        found = {"options": vars(options), "goal_mib": GOAL_MIB, "streaming": STREAMING, "models": rows}
        write_results(options.out, found)
    print(verdict(rows))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, out="architectures")
    parser.add_argument("--models", nargs="+", choices=list(CARDS), default=by_size(), metavar="KEY")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--moves", type=int, default=1)
    parser.add_argument("--fit-nulls", type=int, default=0)
    parser.add_argument("--analysis-nulls", type=int, default=1)
    return parser.parse_args()


def by_size() -> list[str]:
    """All of them, the smallest first."""
    return sorted(CARDS, key=lambda key: CARDS[key].parameters)


def described(options: argparse.Namespace) -> str:
    """What the figures are of."""
    return (
        f"fit: {options.epochs} epochs, {options.moves} moves, {options.fit_nulls} nulls; "
        f"analysis: {options.analysis_nulls} nulls of each kind.\n"
        "A cell: seconds, and MiB of the peak above torch's own."
    )


def measure(key: str, options: argparse.Namespace) -> dict[str, Any]:
    """Write the model, mine it, delete it."""
    model = zoo_model(key)
    with tempfile.TemporaryDirectory(prefix="dna-zoo-bench-") as folder:
        started = time.perf_counter()
        path = write_model(model, Path(folder), SEED)
        row: dict[str, Any] = {"model": key, "weights": CARDS[key].parameters, "file_bytes": path.stat().st_size}
        row["writing_seconds"] = time.perf_counter() - started
        return row | mined(key, folder, options)


def mined(key: str, folder: str, options: argparse.Namespace) -> dict[str, Any]:
    """What the process that mines it tells."""
    settings = {
        "--folder": folder,
        "--epochs": options.epochs,
        "--moves": options.moves,
        "--fit-nulls": options.fit_nulls,
        "--analysis-nulls": options.analysis_nulls,
    }
    arguments = [str(part) for pair in settings.items() for part in pair]
    command = [sys.executable, "-m", "benchmarks.parts.one_model", key, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def line(row: Mapping[str, Any]) -> str:
    """One model."""
    stages = row["stages"]
    cells = "".join(f"{stages[stage]['seconds']:9.1f}{stages[stage]['mib']:7,.0f}" for stage in STAGES)
    total = sum(stages[stage]["seconds"] for stage in STAGES)
    return f"{row['model']:18}{row['weights']:13,}  {cells}{total:10.1f}"


def verdict(rows: Sequence[Mapping[str, Any]]) -> str:
    """The largest peak of the stages that stream, beside the goal."""
    peaks = [(row["stages"][stage]["mib"], row["model"], stage) for row in rows for stage in STREAMING]
    largest, model, stage = max(peaks)
    met = "met" if largest <= GOAL_MIB else "not met"
    return (
        f"largest peak outside the fit: {largest:,.0f} MiB ({stage} of {model}); goal {GOAL_MIB:,.0f}: {met}\n"
        f"torch's own: {rows[0]['torch_mib']:.0f} MiB; memory {rows[0]['method']}"
    )


if __name__ == "__main__":
    main()
