"""`make bench`: what the project promises of a CPU, in at most a quarter of an hour, every figure beside its goal.

    python -m benchmarks.bench
    python -m benchmarks.bench --parts start order

Each part is one of the other benchmarks with fewer repetitions, in a process of its own, one after the other. Their
tables are printed as they come; at the end all that has a goal stands in one table, which goes with the parts' results
into `benchmarks/results/bench.json`; with `--parts` the other parts stay there as they were, if they were run with the
options that they have now. A goal that is not met says so, and so does a part that failed.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.parts.scaffold import RESULTS, read_results, write_results

ROOT = Path(__file__).parents[1]
FOLDER = "bench"
"""Of the parts' results, below `RESULTS`, while this runs."""
MOST_SECONDS = 15 * 60
Found = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One figure beside its goal."""

    what: str
    value: float
    goal: float
    unit: str = "x"
    is_floor: bool = True
    """Whether more is better."""
    least: float | None = None
    most: float | None = None

    @property
    def is_met(self) -> bool:
        """NaN meets nothing."""
        return self.value >= self.goal if self.is_floor else self.value <= self.goal


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A benchmark, its options, and how to read the goals from its results."""

    module: str
    options: str
    read: Callable[[Found], list[Goal]]


def main() -> None:
    """The parts, then the table; ends with 1 if a part failed."""
    options = parse()
    known = kept(RESULTS)
    for name in options.parts:
        found, seconds = run(name, PARTS[name])
        known[name] = {"options": PARTS[name].options, "seconds": seconds, "found": found}
    parts = {name: known[name] for name in PARTS if name in known}
    failed = [name for name, part in parts.items() if part["found"] is None]
    goals = [goal for name, part in parts.items() if name not in failed for goal in PARTS[name].read(part["found"])]
    took = sum(part["seconds"] for part in parts.values())
    goals.append(Goal(what="these parts", value=took, goal=MOST_SECONDS, unit="s", is_floor=False))
    tell(goals, failed)
    content = {"goals": [asdict(goal) | {"is_met": goal.is_met} for goal in goals], "failed": failed, "parts": parts}
    write_results("bench", content)
    shutil.rmtree(RESULTS / FOLDER, ignore_errors=True)
    sys.exit(1 if failed else 0)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    return parser.parse_args()


def kept(folder: Path) -> dict[str, Any]:
    """The parts in the last results, except those that were run with other options than now."""
    parts = read_results("bench", folder=folder).get("parts", {})
    return {name: part for name, part in parts.items() if name in PARTS and part["options"] == PARTS[name].options}


def run(name: str, part: Part) -> tuple[Found | None, float]:
    """The part's results, None if it failed, and the seconds it took."""
    print(f"\n== {part.module} {part.options}", flush=True)
    command = [sys.executable, "-m", f"benchmarks.{part.module}", *part.options.split(), "--out", f"{FOLDER}/{name}"]
    started = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT)
    seconds = time.perf_counter() - started
    print(f"({seconds:.0f} s)", flush=True)
    return (read_results(f"{FOLDER}/{name}") if done.returncode == 0 else None), seconds


def tell(goals: Sequence[Goal], failed: Sequence[str]) -> None:
    """Every figure beside its goal."""
    print(f"\n{'':58}{'measured':>10}  {'least to most':18}{'goal':>10}")
    for goal in goals:
        spread = "" if goal.least is None else f"{shown(goal.least)} to {shown(goal.most or 0.0)}"
        sign = "≥" if goal.is_floor else "≤"
        print(
            f"{goal.what:58}{shown(goal.value):>8} {goal.unit:3}{spread:18}{sign + ' ' + shown(goal.goal):>9}"
            f"  {'met' if goal.is_met else 'NOT MET'}"
        )
    for name in failed:
        print(f"{name:58}{'FAILED':>10}")


def shown(value: float) -> str:
    """Three digits are enough."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


# What has a goal in each part.


def of_ratios(what: str, ratios: Sequence[float], goal: float) -> Goal:
    """The median of some turns."""
    return Goal(what=what, value=statistics.median(ratios), goal=goal, least=min(ratios), most=max(ratios))


def fit_goals(found: Found) -> list[Goal]:
    """Speed beside the straightforward loop, and a short fit with `--compile auto`."""
    shortest = found["compile"]
    what = f"fit of {shortest['epochs']} epochs without compiling, over auto"
    kinds = found["speed"]["kinds"].items()
    return [
        *(of_ratios(f"samples/s of {kind}, beside the straightforward loop", of["ratios"], 3.5) for kind, of in kinds),
        of_ratios("time to the same R2, default preset, beside it", found["time_to_r2"]["ratios"], 20.0),
        of_ratios(what, shortest["ratios"], 1.0),
    ]


def analysis_goals(found: Found) -> list[Goal]:
    """Speed beside WeightWatcher."""
    goals = found["goals"]
    return [
        of_ratios(f"analysis of {key}, beside WeightWatcher", model["ratios"], goals[key])
        for key, model in found["models"].items()
    ]


def floors_goals(found: Found) -> list[Goal]:
    """The analyse stage of the mined model."""
    seconds = {stage["stage"]: stage["seconds"] for stage in found["stages"]}
    what = "analyse MiniLM-L6, every statistic, 8 nulls"
    return [Goal(what=what, value=seconds["analyse"], goal=60.0, unit="s", is_floor=False)]


def order_goals(found: Found) -> list[Goal]:
    """The largest table of the zoo."""
    largest, goals = found["shapes"][-1], found["goals"]
    what = f"seriation of {largest['rows']:,} x {largest['cols']}"
    return [
        Goal(what=what, value=largest["seconds"], goal=goals["seconds"], unit="s", is_floor=False),
        Goal(what=f"{what}, peak", value=largest["mib"], goal=goals["mib"], unit="MiB", is_floor=False),
    ]


def start_goals(found: Found) -> list[Goal]:
    """One for each command."""
    return [
        Goal(
            what=f"dna-zoo {line['command']}",
            value=line["median"],
            goal=line["goal"],
            unit="s",
            is_floor=False,
            least=min(line["seconds"]),
            most=max(line["seconds"]),
        )
        for line in found["commands"]
    ]


def fidelity_goals(found: Found) -> list[Goal]:
    """What a DNA holds of one layer, beside SVD of as many parameters."""
    (line,) = (row for row in found["rows"] if row["role"] == "all in blocks")
    return [
        Goal(what="R2 of layer 0 at 1 %, beside SVD, median", value=line["r2_ratio_median"], goal=1.5),
        Goal(what="gain of layer 0 at 1 %, beside SVD, median", value=line["gain_ratio_median"], goal=1.5),
    ]


def memory_goals(found: Found) -> list[Goal]:
    """The largest peak of each model above torch's own, outside the fit."""
    return [
        Goal(
            what=f"peak memory of {model['model']} above torch's own, but the fit",
            value=max(model["stages"][stage]["mib"] for stage in found["streaming"]),
            goal=found["goal_mib"],
            unit="MiB",
            is_floor=False,
        )
        for model in found["models"]
    ]


def scaling_goals(found: Found) -> list[Goal]:
    """Exponents have no goal; the table of `scaling.py` is above."""
    return []


PARTS: Mapping[str, Part] = {
    "fit": Part(module="fit", options="--repetitions 5 --steps 10 --reference-steps 60", read=fit_goals),
    "fidelity": Part(module="fidelity", options="--layers 0 --budgets 0.01", read=fidelity_goals),
    "floors": Part(module="floors", options="", read=floors_goals),
    "analysis": Part(module="analysis", options="--no-stage --repetitions 3", read=analysis_goals),
    "order": Part(module="order", options="", read=order_goals),
    "architectures": Part(module="architectures", options="--models deberta-v3-small --epochs 2", read=memory_goals),
    "scaling": Part(module="scaling", options="--quick", read=scaling_goals),
    "start": Part(module="start", options="--starts 5", read=start_goals),
}
"""In the order in which they run."""


if __name__ == "__main__":
    main()
