"""How the cost of each stage grows with weights, nulls and models: measured exponents with their intervals.

    python -m benchmarks.scaling                 # two or three minutes; run it alone
    python -m benchmarks.scaling --quick         # fewer sizes
    python -m benchmarks.scaling --page          # measure nothing: rewrite the figures of docs/scale.md

An exponent is the slope of log(seconds) over log(size) by least squares, with its 95 % interval (Student's t). Every
size is measured `--repetitions` times, and the fastest counts: what else the machine does only ever adds.

- weights: BERTs of one depth and growing width, mined with few epochs and nulls;
- nulls: one such model, with growing numbers of nulls in the analysis, and of copies (1 + nulls) in the fit;
- models: a database that grows, and what reads all of it; the distances of all pairs of signatures alone; bytes and
  seconds that one model as large as MiniLM-L6 in tensors adds to it.
"""

import argparse
import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.parts.database.catalogs import mined_pattern, save_copies
from benchmarks.parts.database.commands import seconds_of
from benchmarks.parts.database.scale_page import write_page
from benchmarks.parts.random_models import bert_model, write_model
from benchmarks.parts.scaffold import make_parser, write_results
from patterndb.similarity import align, kind_distances, weights_distances
from patterndb.store import PatternDatabase
from pipeline.analyse.lineage_groups import find_related, group_lineages
from pipeline.analyse.questions import ask
from pipeline.analyse.taxonomy import DeclaredModel, taxonomy
from pipeline.events import Event
from pipeline.fetch.request import ModelRequest
from pipeline.runs.runner import mine
from pipeline.settings import AnalysisSettings, MineSettings, preset

STAGES = ("fetch", "extract", "order", "fit", "analyse", "persist")
WIDTHS, QUICK_WIDTHS = (96, 144, 216, 324, 484), (96, 160, 256)
NULLS, QUICK_NULLS = (1, 2, 4, 8, 16), (1, 2, 4)
MODELS, QUICK_MODELS = (25, 50, 100, 200), (10, 20, 40)
SIGNATURES, QUICK_SIGNATURES = (200, 400, 800, 1600), (100, 200, 400)
NULLS_WIDTH = 128
PAIRS = "distances of all pairs"
SETTINGS = MineSettings(
    fit=preset("quick", epochs=60, num_moves=1), analysis=AnalysisSettings(num_nulls=2), device="cpu"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """seconds ~ size ** exponent."""

    exponent: float
    low: float
    high: float
    sizes: tuple[float, ...]
    seconds: tuple[float, ...]

    @classmethod
    def of(cls, sizes: Sequence[float], seconds: Sequence[float]) -> "Growth":
        """Least squares on logarithms; the interval is infinite with two sizes."""
        from scipy.stats import t

        x, y = np.log(sizes), np.log(seconds)
        slope, level = np.polyfit(x, y, 1)
        freedom = len(x) - 2
        half = math.inf
        if freedom > 0:
            spread = math.sqrt(float(np.sum((y - slope * x - level) ** 2)) / freedom)
            half = float(t.ppf(0.975, freedom)) * spread / math.sqrt(float(np.sum((x - x.mean()) ** 2)))
        return cls(
            exponent=float(slope),
            low=float(slope - half),
            high=float(slope + half),
            sizes=tuple(sizes),
            seconds=tuple(seconds),
        )


def main() -> None:
    """All three, or the page alone."""
    options = parse()
    if options.page:
        write_page()
        return
    found: dict[str, Any] = {"options": vars(options)}
    with tempfile.TemporaryDirectory() as folder:
        found["weights"] = by_weights(Path(folder), options)
        found["nulls"] = by_nulls(Path(folder), options)
        found["models"] = by_models(Path(folder), options)
        found["database"] = one_model(Path(folder))
    tell(found)
    write_results(options.out, found)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, out="scaling")
    parser.add_argument("--quick", action="store_true", help="fewer and smaller sizes")
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--page", action="store_true", help="write the figures of docs/scale.md and stop")
    return parser.parse_args()


# Mining.


def by_weights(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Each stage against the number of weights."""
    widths = QUICK_WIDTHS if options.quick else WIDTHS
    seconds: dict[str, list[float]] = {stage: [] for stage in STAGES}
    sizes = []
    for width in widths:
        sizes.append(make_model(folder / f"width-{width}", width))
        for stage, took in fastest(folder / f"width-{width}", SETTINGS, options.repetitions).items():
            seconds[stage].append(took)
    return {stage: asdict(Growth.of(sizes, found)) for stage, found in seconds.items()}


def by_nulls(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The analysis against its nulls, the fit against its copies."""
    make_model(folder / "nulls", NULLS_WIDTH)
    numbers = QUICK_NULLS if options.quick else NULLS
    seconds: dict[str, list[float]] = {"fit": [], "analyse": []}
    for number in numbers:
        settings = replace(
            SETTINGS,
            fit=replace(SETTINGS.fit, num_nulls=number),
            analysis=replace(SETTINGS.analysis, num_nulls=number),
        )
        took = fastest(folder / "nulls", settings, options.repetitions)
        for stage, found in seconds.items():
            found.append(took[stage])
    copies = [1 + number for number in numbers]
    return {
        "fit": asdict(Growth.of(copies, seconds["fit"])),
        "analyse": asdict(Growth.of(copies, seconds["analyse"])),
    }


def make_model(folder: Path, width: int) -> int:
    """A BERT of two layers in a folder; its weights."""
    model = bert_model(folder.name, width=width, layers=2, vocabulary=8 * width)
    write_model(model, folder, 0)
    num_weights: int = model.num_values
    return num_weights


def fastest(folder: Path, settings: MineSettings, repetitions: int) -> dict[str, float]:
    """Seconds of each stage, the least of some runs."""
    runs = [seconds_of_stages(folder, settings) for _ in range(repetitions)]
    return {stage: min(run[stage] for run in runs) for stage in STAGES}


def seconds_of_stages(folder: Path, settings: MineSettings) -> dict[str, float]:
    """By the events of the runner; a stage begins where the last thing was told to begin."""
    found: dict[str, float] = {}
    started = 0.0

    def listen(event: Event) -> None:
        nonlocal started
        if event.kind == "failed":
            raise SystemExit(f"{event.model} failed: {event.message}")
        if event.kind == "start":
            started = time.perf_counter()
        elif event.kind in ("done", "reused") and event.stage in STAGES:
            found.setdefault(event.stage, time.perf_counter() - started)

    with tempfile.TemporaryDirectory() as home, PatternDatabase.open(f"sqlite:///{home}/one.db") as database:
        request = ModelRequest(name=str(folder), key="model")
        mine([request], settings, database=database, home=Path(home), on_event=listen)
    return found


# The database.


def by_models(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """What reads the whole database, against the number of models in it; and the distances of all pairs alone."""
    counts = QUICK_MODELS if options.quick else MODELS
    seconds: dict[str, list[float]] = {name: [] for name in READERS}
    pattern, kept = mined_pattern(layers=1), 0
    with PatternDatabase.open(f"sqlite:///{folder / 'grows.db'}") as database:
        for count in counts:
            save_copies(database, pattern, kept, count - kept)
            for name, read in READERS.items():
                if not kept:
                    read(database)  # What it imports is none of its cost.
                seconds[name].append(min(seconds_of(read, database) for _ in range(options.repetitions)))
            kept = count
    growths = {name: asdict(Growth.of(counts, found)) for name, found in seconds.items()}
    return growths | {PAIRS: asdict(by_pairs(pattern.signature.names, options))}


def both_distances(names: Sequence[str], values: npt.NDArray[np.float64]) -> None:
    """Of all pairs."""
    weights_distances(names, values)
    kind_distances(names, values)


def by_pairs(names: Sequence[str], options: argparse.Namespace) -> Growth:
    """The distances of all pairs of so many random signatures; no database, so that there can be many."""
    counts = QUICK_SIGNATURES if options.quick else SIGNATURES
    values = np.random.default_rng(0).standard_normal((max(counts), len(names)))
    found = [
        min(seconds_of(both_distances, names, values[:count]) for _ in range(options.repetitions)) for count in counts
    ]
    return Growth.of(counts, found)


def find_taxonomy(database: PatternDatabase) -> None:
    """As `dna-zoo taxonomy` does."""
    entries = database.signatures(with_nulls=False)
    names, values = align([entry.signature for entry in entries])
    groups = group_lineages([entry.model for entry in entries], find_related(names, values))
    declared = [
        DeclaredModel(
            key=entry.model.key,
            modality=entry.model.modality,
            architecture=entry.model.architecture,
            profile=entry.pattern_class,
            lineage_group=groups.names[lineage],
        )
        for entry, lineage in zip(entries, groups.lineages, strict=True)
    ]
    taxonomy(declared, kind_distances(names, values))


READERS: Mapping[str, Callable[[PatternDatabase], object]] = {
    "show": lambda database: database.load_pattern("model-00000", with_tensors=False),
    "read signatures": lambda database: database.signatures(),
    "similar": lambda database: database.get_similar_models("model-00000"),
    "compare": lambda database: database.compare_patterns("model-00000", "model-00001"),
    "taxonomy": find_taxonomy,
    "questions": lambda database: ask(database.signatures(with_nulls=False), database.model_statistics(), seed=0),
    "export catalog": lambda database: database.export_catalog("catalog"),
    "export distances": lambda database: database.export_catalog("distances"),
}


def one_model(folder: Path) -> dict[str, float]:
    """What a model of as many tensors as MiniLM-L6 adds to a database, in bytes and seconds."""
    pattern, count = mined_pattern(), 4
    path = folder / "few.db"
    with PatternDatabase.open(f"sqlite:///{path}") as database:
        save_copies(database, pattern, 0, count)
        before = path.stat().st_size
        seconds = seconds_of(save_copies, database, pattern, count, count)
    return {
        "tensors": len(pattern.tensors),
        "bytes": (path.stat().st_size - before) / count,
        "seconds": seconds / count,
        "dimensions": len(pattern.signature.names),
    }


def tell(found: Mapping[str, Any]) -> None:
    """Every exponent with its interval and the two ends that it comes from."""
    for against in ("weights", "nulls", "models"):
        print(f"\nagainst {against:20}{'exponent':>9}  {'95 % interval':18}seconds, least to most")
        for name, growth in found[against].items():
            interval = f"{growth['low']:.2f} to {growth['high']:.2f}"
            first, last = (f"{growth['seconds'][end]:.3f} at {growth['sizes'][end]:,}" for end in (0, -1))
            print(f"{name:28}{growth['exponent']:9.2f}  {interval:18}{first}, {last}")
    one = found["database"]
    print(f"\na model of {one['tensors']} tensors adds {one['bytes'] / 1e6:.2f} MB and {one['seconds']:.2f} s")


if __name__ == "__main__":
    main()
