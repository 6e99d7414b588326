"""The figures of docs/scale.md, computed from what the benchmarks left in `results/`.

    python -m benchmarks.scaling --page

Needs `scaling.json` and `floors.json`; takes the largest peak of memory from `architectures.json` where that is there.
"""

import math
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.parts.scaffold import filled, read_results, write_figures
from zoo.registry import CARDS

__all__ = ["COMMAND", "PAGE", "page_lines", "write_page"]

PAGE = Path(__file__).parents[3] / "docs" / "scale.md"
COMMAND = "python -m benchmarks.scaling --page"
MODELS = 100_000
PRICE = 0.04
"""Dollars for an hour of one core: an assumption, to be replaced by one's own."""
STAGES = ("extract", "order", "fit", "analyse")
Found = Mapping[str, Any]


def write_page() -> None:
    """Put the figures between the two marks of the page."""
    write_figures(PAGE, COMMAND, page_lines())


def page_lines() -> Iterator[str]:
    """The figures, from what is kept."""
    scaling, floors, peaks = (read_results(name) for name in ("scaling", "floors", "architectures"))
    yield from _mining(scaling, floors)
    yield from _memory(peaks)
    yield from _database(scaling)


def _mining(scaling: Found, floors: Found) -> Iterator[str]:
    """Core-hours and money of each stage."""
    reference, cores = floors["options"]["model"], floors["cores"]
    small, mean = CARDS[reference].parameters, statistics.fmean(card.parameters for card in CARDS.values())
    seconds = {stage["stage"]: stage["seconds"] for stage in floors["stages"]}
    yield filled(
        f"**Mining.** {MODELS:,} models of {mean / 1e6:.0f} M weights, the mean of the zoo's cards,",
        f"at {PRICE} dollars a core-hour. `seconds`: of {reference} ({small / 1e6:.1f} M weights)",
        f"on {cores} cores (`floors.py`). `exponent`: how a stage grows with the weights (`scaling.py`),",
        "which takes it from there to the mean; below 1 it shows the fixed cost of small models and counts as 1.",
    )
    yield ""
    yield "| stage | seconds | exponent | core-hours | dollars |"
    yield "|---|---|---|---|---|"
    total = 0.0
    for stage in STAGES:
        growth = scaling["weights"][stage]
        hours = MODELS * cores * seconds[stage] * (mean / small) ** max(growth["exponent"], 1.0) / 3600
        total += hours
        yield f"| {stage} | {seconds[stage]:.2f} | {_exponent(growth)} | {hours:,.0f} | {hours * PRICE:,.0f} |"
    yield f"| all | | | {total:,.0f} | {total * PRICE:,.0f} |"
    yield ""
    yield filled(
        f"On 1,000 cores that is {total / 1000:.0f} hours, with one null in the fit and 8 in the analysis.",
        f"With 1 + nulls the fit grows by an exponent of {_exponent(scaling['nulls']['fit'])},",
        f"the analysis by {_exponent(scaling['nulls']['analyse'])}.",
    )


def _memory(peaks: Found) -> Iterator[str]:
    """What a worker needs."""
    if not peaks:
        return
    largest = {
        stage: max((row["stages"][stage]["mib"] + row["torch_mib"], row["model"]) for row in peaks["models"])
        for stage in ("analyse", "fit")
    }
    (analyse, analysed), (fit, fitted) = largest.values()
    yield ""
    yield filled(
        f"**Memory.** A worker holds at most {analyse / 1024:.2f} GiB in an analysis ({analysed})",
        f"and {fit / 1024:.2f} GiB in a fit ({fitted}), torch's own in it (`architectures.py`,",
        f"{peaks['options']['fit_nulls']} nulls in the fit; each is one more copy):",
        f"{math.ceil(max(analyse, fit) / 1024)} GiB for each pair of cores are enough for any of them.",
    )


def _database(scaling: Found) -> Iterator[str]:
    """Bytes, and seconds of writing."""
    one = scaling["database"]
    size, hours = one["bytes"] * MODELS / 1e9, one["seconds"] * MODELS / 3600
    yield ""
    yield filled(
        f"**Database.** A model of {one['tensors']} tensors adds {one['bytes'] / 1e6:.2f} MB",
        f"and {one['seconds']:.2f} s of one writer (`scaling.py`, SQLite). {MODELS:,} models make {size:,.0f} GB",
        f"and {hours:,.0f} hours of one writer; their signatures of {one['dimensions']:,} dimensions alone",
        f"are {one['dimensions'] * 4 * MODELS / 1e9:.1f} GB in float32.",
    )


def _exponent(growth: Found) -> str:
    """With its interval."""
    return f"{growth['exponent']:.2f} ({growth['low']:.2f} to {growth['high']:.2f})"
