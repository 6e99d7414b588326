"""How much the pointwise kinds hold of one matrix: kind x (parameters, share, R2, null, gain, SVD, seconds).

    python -m benchmarks.pointwise                                # MiniLM-L6, layer 0 ffn_in, 2 % of its parameters
    python -m benchmarks.pointwise --kinds spectral --seeds 0 1 2 --budgets 0.01 0.02
    python -m benchmarks.pointwise --roles attention_query --layers 0 3

One DNA a tensor, seriated, compared with the same fit of a shuffled and equally seriated copy. `seconds` is for both
fits and all they need, on the cores of this process (`taskset -c 0 python ...` for one); `CPU` sums over the cores.
Prints the table and writes it as JSON to `benchmarks/results/OUT.json`.
"""

import argparse
import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.fetch.request import ModelRequest
from pipeline.fetch.stage import fetch
from pipeline.fit.report import report
from pipeline.fit.stage import fit, resolve_precision
from pipeline.order import CanonicalOrder, canonicalise, seriate
from pipeline.settings import FitSettings, preset
from pipeline.weights.inventory import extract
from pipeline.weights.reader import WeightReader
from zoo.tensors import TensorSpec

RESULTS = Path(__file__).parent / "results"
GOAL = {"r2": 0.10, "null_r2": 0.01, "share": 0.02}
"""Of layer 0 ffn_in: R2 at least, null at most, parameters at most."""


def main() -> None:
    """Fit every combination asked for and print a line for each."""
    options = parse()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as home:
        files = fetch(ModelRequest(name=options.model), home=Path(home))
        specs = [
            s for s in extract(files).specs if s.is_matrix and s.block in options.layers and s.role in options.roles
        ]
        with WeightReader(files) as reader:
            matrices = [reader.matrix(spec) for spec in specs]
    head = f"{'kind':13}{'layer':>6} {'role':18}{'seed':>5}{'params':>8}{'share':>8}{'R2':>8}{'null':>8}{'gain':>8}"
    print(f"{head}{'SVD':>8}{'SVD null':>9}{'seconds':>9}{'CPU':>6}")
    for spec, matrix in zip(specs, matrices, strict=True):
        order = seriate(matrix, row_axis=spec.row_axis, col_axis=spec.col_axis)
        canonical = canonicalise(matrix, order)
        for settings in combinations(options):
            rows += [line(spec, canonical, order, settings, seed) for seed in options.seeds]
    print(f"goal for layer 0 ffn_in: R2 >= {GOAL['r2']}, null <= {GOAL['null_r2']}, share <= {GOAL['share']:.0%}")
    RESULTS.mkdir(exist_ok=True)
    content = {"options": vars(options), "goal": GOAL, "rows": rows}
    (RESULTS / f"{options.out}.json").write_text(json.dumps(content, indent=1) + "\n")


def parse() -> argparse.Namespace:
    """The command line; a setting not given is the preset's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="minilm-l6")
    parser.add_argument("--layers", type=int, nargs="+", default=[0])
    parser.add_argument("--roles", nargs="+", default=["ffn_in"])
    parser.add_argument("--kinds", nargs="+", default=["spectral", "hierarchical", "adaptive"])
    parser.add_argument("--budgets", type=float, nargs="+", default=[0.02])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--nulls", type=int, default=1)
    for name in ("omega", "learning-rate"):
        parser.add_argument(f"--{name}", type=float)
    for name in ("epochs", "batch-size", "num-layers"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--precision")
    parser.add_argument("--out", default="pointwise", help="name of the file in benchmarks/results")
    return parser.parse_args()


def combinations(options: argparse.Namespace) -> list[FitSettings]:
    """Kind x budget."""
    names = ("omega", "learning_rate", "epochs", "batch_size", "num_layers", "precision")
    changes = {name: getattr(options, name) for name in names}
    return [
        resolve_precision(preset("quick", dna_type=kind, budget=budget, num_nulls=options.nulls, **changes), "cpu")
        for kind in options.kinds
        for budget in options.budgets
    ]


def line(
    spec: TensorSpec,
    canonical: np.ndarray[Any, np.dtype[np.float32]],
    order: CanonicalOrder,
    settings: FitSettings,
    seed: int,
) -> dict[str, Any]:
    """One fit, printed."""
    with tempfile.TemporaryDirectory() as directory:
        started, worked = time.perf_counter(), time.process_time()
        bits = {spec.name: order.bits}
        result = fit(
            [spec], lambda _: canonical, settings, order_bits=bits, device="cpu", seed=seed, directory=Path(directory)
        )
        seconds, cpu = time.perf_counter() - started, time.process_time() - worked
    assert result is not None
    found = report(result.tensors, settings, result.cost)
    share = found.parameters / spec.num_weights
    place = f"{settings.dna_type:13}{spec.block!s:>6} {spec.role:18}{seed:5}{found.parameters:8,}{share:8.2%}"
    figures = f"{found.r2:8.4f}{found.null_r2 or 0:8.4f}{found.gain or 0:8.4f}{found.svd_r2:8.4f}"
    print(f"{place}{figures}{found.svd_null_r2 or 0:9.4f}{seconds:9.0f}{cpu:6.0f}", flush=True)
    return {
        "layer": spec.block,
        "seed": seed,
        "share": share,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "fit": asdict(found),
    }


if __name__ == "__main__":
    main()
