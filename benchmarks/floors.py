"""Floors: the floating-point operations and bytes that each stage cannot do without, and how near a run comes to them.

    python -m benchmarks.floors                     # mines MiniLM-L6 by the default preset; run it alone
    python -m benchmarks.floors --formulas          # the counts alone, nothing is mined
    python -m benchmarks.floors --page              # what was found last, into benchmarks/README.md
    python -m benchmarks.floors --steps             # a step on a GPU, by its formulas alone, into benchmarks/README.md

The formulas are those of `benchmarks/README.md`. The floor of a stage is the larger of its operations at the rate of a
plain product and of its bytes at the rate of a plain copy, both measured in the same run on all cores. Prints the table
and writes it as JSON to `benchmarks/results/OUT.json`.
"""

import argparse
import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.parts.gpu.analysis import count_operations
from benchmarks.parts.random_models import write_model, zoo_model
from benchmarks.parts.scaffold import make_parser, read_results, write_figures, write_results
from patterndb.store import PatternDatabase
from pipeline.analyse.sampling import NUM_SAMPLES
from pipeline.fetch.request import ModelRequest
from pipeline.fetch.stage import fetch
from pipeline.fit.networks import pointwise_parameters, pointwise_shapes, separable_parameters
from pipeline.fit.separable import DIRECTIONS_PER_RANK, INDICES_PER_STEP, LEADING_DIRECTIONS
from pipeline.fit.sizing import choose_size
from pipeline.order import LARGEST_CHAIN, LEAF, NUM_FEATURES
from pipeline.runs.runner import mine
from pipeline.settings import AnalysisSettings, FitSettings, MineSettings, preset
from pipeline.weights.inventory import extract
from zoo.tensors import TensorSpec

PAGE, COMMAND = Path(__file__).with_name("README.md"), "python -m benchmarks.floors --page"
STEPS = "python -m benchmarks.floors --steps"
WIDTH, LAYERS, BATCH, IN_DIM = 256, 5, 8192, 4
GOAL_SECONDS = 60.0
"""Of the preset `reference` on TinyBERT."""
KMEANS = 12 * (8 + 4 + 2)
"""Steps of k-means times centroids, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Floating-point operations in float64, float32 and bfloat16, and bytes to or from memory."""

    double: float = 0.0
    single: float = 0.0
    half: float = 0.0
    bytes: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        return Work(**{name: value + asdict(other)[name] for name, value in asdict(self).items()})

    def __mul__(self, times: float) -> "Work":
        return Work(**{name: value * times for name, value in asdict(self).items()})

    def seconds(self, rates: "Work") -> float:
        """At these rates a second."""
        operations = self.double / rates.double + self.single / rates.single + self.half / rates.half
        return max(operations, self.bytes / rates.bytes)


H100 = Work(double=67e12, single=67e12, half=989e12, bytes=3.35e12)
"""Dense peaks a second of an H100 SXM, by its data sheet."""
UNIT_BYTES = 12
"""A unit and weight where nothing is kept in a cache: bfloat16 product, sine and gradient, each written and read."""


def pointwise_step(kind: str, hidden_dim: int, num_layers: int, batch_size: int) -> Work:
    """A step of one network for a whole model: 6 operations a parameter and weight; activations, Adam, the batch."""
    parameters = pointwise_parameters(kind, IN_DIM, hidden_dim, num_layers)  # type: ignore[arg-type]
    units = sum(width * layers for width, layers in pointwise_shapes(kind, hidden_dim, num_layers))  # type: ignore[arg-type]
    return Work(
        half=6 * parameters * batch_size,
        bytes=28 * parameters + 12 * batch_size + UNIT_BYTES * units * batch_size,
    )


def extract_work(rows: int, cols: int) -> Work:
    """Every weight is read once."""
    return Work(bytes=4 * rows * cols)


def order_work(rows: int, cols: int) -> Work:
    """Gram matrix, its eigenvectors, features, chains; the matrix is read twice and written in its new order."""
    long, short = max(rows, cols), min(rows, cols)
    spectrum = 2 * long * short**2 + 9 * short**3 + 2 * NUM_FEATURES * long * short
    table = sum(min(length, LARGEST_CHAIN if length <= LARGEST_CHAIN else LEAF) * length for length in (rows, cols))
    cuts = sum(2 * NUM_FEATURES**2 * n * math.log2(n / LEAF) for n in (rows, cols) if n > LARGEST_CHAIN)
    return Work(double=spectrum + 2 * NUM_FEATURES * table + cuts, bytes=16 * rows * cols + 16 * table)


def separable_work(rows: int, cols: int, settings: FitSettings) -> Work:
    """One fit of one matrix: its steps, and what is known of it before the first one."""
    used = _seen(rows)
    steps = settings.epochs * (1 if used == rows else math.ceil(rows / INDICES_PER_STEP))
    long, short = max(rows, cols), min(rows, cols)
    before = Work(single=2 * long * short**2 + 9 * short**3, bytes=8 * rows * cols)
    return separable_step(rows, cols, settings) * steps + before


def separable_step(rows: int, cols: int, settings: FitSettings) -> Work:
    """6 operations a parameter and place of its axis, products with the leading directions (or the matrix), Gram
    matrices of the factors; a parameter costs Adam 28 bytes."""
    shape = choose_size(settings, num_weights=rows * cols, shortest_axis=min(rows, cols), in_dim=1)
    side = separable_parameters(1, shape.hidden_dim, shape.num_layers, shape.rank, shape.num_branches)
    used = _seen(rows)
    directions = max(LEADING_DIRECTIONS, DIRECTIONS_PER_RANK * shape.rank)
    target = min(directions * (used + cols), used * cols)
    return Work(
        single=6 * side * (used + cols) + 4 * shape.rank * target + 6 * shape.rank**2 * (used + cols),
        bytes=8 * target + 2 * 28 * side,
    )


def _seen(rows: int) -> int:
    """Rows that a step sees."""
    return rows if rows <= 2 * INDICES_PER_STEP else INDICES_PER_STEP


def pointwise_work(rows: int, cols: int, settings: FitSettings) -> Work:
    """One fit of one matrix: 6 operations a parameter, weight and epoch; an index and a value from memory."""
    shape = choose_size(settings, num_weights=rows * cols, shortest_axis=min(rows, cols), in_dim=2)
    parameters = pointwise_parameters(settings.dna_type, 2, shape.hidden_dim, shape.num_layers)
    evaluations = settings.epochs * rows * cols
    return Work(half=6 * parameters * evaluations, bytes=12 * evaluations)


def fit_work(rows: int, cols: int, settings: FitSettings) -> Work:
    """The matrix and its nulls, which are put into order again."""
    one = (separable_work if settings.dna_type == "separable" else pointwise_work)(rows, cols, settings)
    return one * (1 + settings.num_nulls) + order_work(rows, cols) * settings.num_nulls


def analyse_work(rows: int, cols: int, settings: AnalysisSettings) -> Work:
    """A matrix, samples of a long one, and every null of each of the three kinds."""
    used = min(rows, settings.max_rows)
    long, short, size = max(used, cols), min(used, cols), used * cols
    spectra = Work(single=2.5 * size * math.log2(size), bytes=24 * size)
    singular = Work(double=2 * long * short**2 + 4 / 3 * short**3, bytes=4 * size)
    clusters = Work(double=4 * KMEANS * size, bytes=8 * size * 12 * 3)
    values = Work(double=20 * size, bytes=4 * size)
    haar = Work(single=2 * (used + cols) * short**2 * 2 + 2 * size * short, bytes=16 * size)
    order = order_work(used, cols)
    once = spectra + singular + clusters + values
    null = Work(bytes=8 * size) + order + once + haar
    samples = NUM_SAMPLES if rows > settings.max_rows else 0
    return once * (1 + samples) + order * (samples + bool(samples)) + null * settings.num_nulls


def main() -> None:
    """Count, mine, and compare; or the page alone."""
    options = parse()
    if options.page:
        write_figures(PAGE, COMMAND, page(read_results(options.out)))
        return
    if options.steps:
        write_figures(PAGE, STEPS, step_page())
        return
    settings = MineSettings(fit=preset("quick", dna_type=options.kind), device="cpu")
    with tempfile.TemporaryDirectory() as home:
        files = fetch(ModelRequest(name=options.model), home=Path(home))
        matrices = [spec for spec in extract(files).specs if spec.is_matrix]
        counts = count(matrices, settings)
        if options.formulas:
            for stage, work in counts.items():
                print(f"{stage:10}{operations(work):10.1f} GFLOP{work.bytes / 1e9:10.2f} GB")
            return
        rates = measure_rates()
        with PatternDatabase.open(f"sqlite:///{home}/floors.db") as database:
            requests = [ModelRequest(name=options.model)]
            (model,) = mine(requests, settings, database=database, home=Path(home), force=True).models
    seconds = {stage.stage: stage.seconds for stage in model.stages if stage.seconds is not None}
    table = [
        {"stage": stage, **asdict(work), "floor": work.seconds(rates), "seconds": seconds[stage]}
        for stage, work in counts.items()
    ]
    tell(table, rates)
    content = {"options": vars(options), "cores": torch.get_num_threads(), "rates": asdict(rates), "stages": table}
    write_results(options.out, content)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, out="floors")
    parser.add_argument("--model", default="minilm-l6")
    parser.add_argument("--kind", default="separable")
    parser.add_argument("--formulas", action="store_true", help="print the counts and stop")
    parser.add_argument("--page", action="store_true", help="write the table of benchmarks/README.md and stop")
    parser.add_argument("--steps", action="store_true", help="write the table of a step on a GPU and stop")
    return parser.parse_args()


def count(matrices: Sequence[TensorSpec], settings: MineSettings) -> dict[str, Work]:
    """The work of each stage on all matrices."""
    shapes = [(spec.rows, spec.cols) for spec in matrices]
    return {
        "extract": sum((extract_work(*shape) for shape in shapes), Work()),
        "order": sum((order_work(*shape) for shape in shapes), Work()),
        "fit": sum((fit_work(*shape, settings.fit) for shape in shapes), Work()),
        "analyse": sum((analyse_work(*shape, settings.analysis) for shape in shapes), Work()),
    }


def operations(work: Work) -> float:
    """In 10^9, of whatever precision."""
    return (work.double + work.single + work.half) / 1e9


def measure_rates() -> Work:
    """Operations and bytes a second of a product of 2,048 x 2,048 and a copy of 256 MiB, the best of ten."""
    rates = {}
    for name, dtype in (("double", torch.float64), ("single", torch.float32), ("half", torch.bfloat16)):
        matrix = torch.randn(2048, 2048).to(dtype)
        rates[name] = 2 * 2048**3 / best_of_ten(lambda matrix=matrix: torch.mm(matrix, matrix))
    source, target = torch.ones(1 << 26), torch.empty(1 << 26)
    rates["bytes"] = 8 * (1 << 26) / best_of_ten(lambda: target.copy_(source))
    return Work(**rates)


def best_of_ten(run: object) -> float:
    """Seconds."""
    assert callable(run)
    best = math.inf
    for _ in range(10):
        started = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - started)
    return best


def tell(table: Sequence[Mapping[str, Any]], rates: Work) -> None:
    """Print it."""
    print(f"rates: {told(rates)}, {torch.get_num_threads()} threads")
    print(f"{'stage':10}{'GFLOP':>10}{'GB':>8}{'floor, s':>10}{'run, s':>9}{'share':>8}")
    for row in table:
        work, floor, seconds = work_of(row), row["floor"], row["seconds"]
        print(
            f"{row['stage']:10}{operations(work):10.1f}{work.bytes / 1e9:8.2f}{floor:10.3f}{seconds:9.2f}"
            f"{floor / seconds:8.1%}"
        )


def told(rates: Work) -> str:
    """What a plain product and a plain copy reach."""
    gflops = ", ".join(f"{name} {getattr(rates, name) / 1e9:.0f}" for name in ("double", "single", "half"))
    return f"{gflops} GFLOP/s, {rates.bytes / 1e9:.1f} GB/s"


def work_of(row: Mapping[str, Any]) -> Work:
    """Of a line of the table."""
    return Work(**{name: float(row[name]) for name in asdict(Work())})


def page(found: Mapping[str, Any]) -> Iterator[str]:
    """The table as the page has it."""
    yield f"{found['options']['model']} on {found['cores']} cores, {told(Work(**found['rates']))}:"
    yield ""
    yield "| stage | GFLOP | GB | floor, s | run, s | share of the floor |"
    yield "|---|---|---|---|---|---|"
    for row in found["stages"]:
        work, floor, seconds = work_of(row), row["floor"], row["seconds"]
        cells = (f"{operations(work):,.1f}", f"{work.bytes / 1e9:.2f}", f"{floor:.3f}", f"{seconds:.2f}")
        yield f"| {row['stage']} | {' | '.join(cells)} | {floor / seconds:.0%} |"


def matrices_of(key: str) -> list[TensorSpec]:
    """Of a model of the zoo, as they are extracted."""
    with tempfile.TemporaryDirectory() as home:
        write_model(zoo_model(key), Path(home), 0)
        return [spec for spec in extract(fetch(ModelRequest(name=home), home=Path(home))).specs if spec.is_matrix]


def step_page() -> Iterator[str]:
    """What a step of each kind takes, and what share of an H100's peaks the goal asks for."""
    reference, matrices = preset("reference"), matrices_of("tinybert")
    steps = reference.epochs * math.ceil(sum(spec.num_weights for spec in matrices) / reference.batch_size)
    seconds = GOAL_SECONDS / steps
    yield (
        f"`reference` on TinyBERT is {steps:,} steps, so {GOAL_SECONDS:.0f} s leave {1e3 * seconds:.2f} ms for each."
        f" An H100 has {H100.half / 1e12:.0f} TFLOP/s in bfloat16 and {H100.bytes / 1e12:.2f} TB/s:"
    )
    yield ""
    yield "| kind | GFLOP a step | MB a step | floor, ms | share of the operations' peak | share of the bytes' peak |"
    yield "|---|---|---|---|---|---|"
    for kind in ("spectral", "hierarchical", "adaptive"):
        work = pointwise_step(kind, WIDTH, LAYERS, BATCH)
        amounts = f"{work.half / 1e9:.1f} | {work.bytes / 1e6:.0f} | {1e3 * work.seconds(H100):.3f}"
        shares = f"{work.half / seconds / H100.half:.1%} | {work.bytes / seconds / H100.bytes:.1%}"
        yield f"| `{kind}` | {amounts} | {shares} |"
    settings = preset("quick")
    work = sum((separable_step(spec.rows, spec.cols, settings) for spec in matrices), Work())
    amounts = f"{work.single / 1e9:.1f} | {work.bytes / 1e6:.0f} | {1e3 * work.seconds(H100):.3f}"
    yield f"| `separable`, all {len(matrices)} matrices, float32 | {amounts} | | |"
    yield ""
    analysis = AnalysisSettings()
    minilm = matrices_of("minilm-l6")
    work = sum((analyse_work(spec.rows, spec.cols, analysis) for spec in minilm), Work())
    stacks, count = count_operations(minilm, analysis)
    yield (
        f"The statistics of MiniLM-L6 with {analysis.num_nulls} nulls are {stacks} stacks, each read once, and"
        f" {count:,} operations of PyTorch. Their floor (above) is {operations(work):,.0f} GFLOP and"
        f" {work.bytes / 1e9:.0f} GB: {1e3 * work.seconds(H100):.0f} ms, if float64 runs at"
        f" {H100.double / 1e12:.0f} TFLOP/s."
    )


if __name__ == "__main__":
    main()
