"""How much a DNA holds: kind x budget x (R2, null, gain, SVD, SVD's gain, DCT top-k, mean), by role.

    python benchmarks/fidelity.py                          # MiniLM-L6's encoder matrices, separable at three budgets
    python benchmarks/fidelity.py --layers 0 --kinds separable spectral --budgets 0.01
    python benchmarks/fidelity.py --scopes tensor model    # one DNA a tensor or one for all, at equal parameters

Prints the table and writes it as JSON to `benchmarks/results/OUT.json`.
"""

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.extract import WeightReader, extract
from pipeline.fetch import ModelRequest, fetch
from pipeline.fit import FitResult, fit
from pipeline.fit_report import report
from pipeline.order import CanonicalOrder, canonicalise, seriate
from pipeline.settings import FitSettings, preset
from zoo.tensors import TensorSpec

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Run every combination asked for."""
    options = parse()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as home:
        files = fetch(ModelRequest(name=options.model), home=Path(home))
        specs = [spec for spec in extract(files).specs if spec.is_matrix and is_wanted(spec, options)]
        with WeightReader(files) as reader:
            matrices = {spec.name: reader.matrix(spec) for spec in specs}
        orders = {s.name: seriate(matrices[s.name], row_axis=s.row_axis, col_axis=s.col_axis) for s in specs}
        canonical = {name: canonicalise(matrix, orders[name]) for name, matrix in matrices.items()}
        for settings in combinations(options):
            rows += measure(specs, canonical, orders, settings, options.seed)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{options.out}.json").write_text(json.dumps({"options": vars(options), "rows": rows}, indent=1) + "\n")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="minilm-l6")
    parser.add_argument("--layers", type=int, nargs="*", help="blocks to take; all when not given")
    parser.add_argument("--embeddings", action="store_true", help="take tensors outside the blocks too")
    parser.add_argument("--kinds", nargs="+", default=["separable"])
    parser.add_argument("--scopes", nargs="+", default=["tensor"])
    parser.add_argument("--budgets", type=float, nargs="+", default=[0.005, 0.01, 0.045])
    parser.add_argument("--epochs", type=int, default=preset("quick").epochs)
    parser.add_argument("--rank", type=int, help="rank of separable; by the budget when not given")
    parser.add_argument("--bandwidth", type=float, help="frequency of separable, see FitSettings")
    parser.add_argument("--nulls", type=int, default=1)
    parser.add_argument("--out", default="fidelity", help="name of the file in benchmarks/results")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def is_wanted(spec: TensorSpec, options: argparse.Namespace) -> bool:
    """Whether the tensor is among the blocks asked for."""
    if spec.block is None:
        return bool(options.embeddings)
    return not options.layers or spec.block in options.layers


def combinations(options: argparse.Namespace) -> list[FitSettings]:
    """Kind x scope x budget."""
    return [
        preset(
            "quick",
            dna_type=kind,
            scope=scope,
            budget=budget,
            epochs=options.epochs,
            num_nulls=options.nulls,
            rank=options.rank,
            bandwidth=options.bandwidth,
            max_parameters=10**9,
            learning_rate=1e-2 if kind == "separable" else 1e-3,
        )
        for kind in options.kinds
        for scope in options.scopes
        for budget in options.budgets
    ]


def measure(
    specs: Sequence[TensorSpec],
    canonical: dict[str, np.ndarray[Any, np.dtype[np.float32]]],
    orders: dict[str, CanonicalOrder],
    settings: FitSettings,
    seed: int,
) -> list[dict[str, Any]]:
    """Fit, print a line a role and one for all, and return them."""
    with tempfile.TemporaryDirectory() as directory:
        result = fit(
            specs,
            lambda spec: canonical[spec.name],
            settings,
            order_bits={name: order.bits for name, order in orders.items()},
            device="cpu",
            seed=seed,
            directory=Path(directory),
        )
    assert result is not None
    print(f"\n{settings.dna_type}, scope {settings.scope}, budget {settings.budget:.2%}, {result.cost.seconds:.0f} s")
    print(f"{'role':20}{'params':>9}{'R2':>8}{'null':>8}{'gain':>8}{'SVD':>8}{'SVD gain':>9}{'DCT':>8}{'ratio':>7}")
    by_role: dict[str, list[str]] = defaultdict(list)
    for item in result.tensors:
        by_role[item.role].append(item.name)
    everything = {"all": [item.name for item in result.tensors]}
    return [line(role, names, result, settings) for role, names in (dict(by_role) | everything).items()]


def line(
    role: str,
    names: Sequence[str],
    result: FitResult,
    settings: FitSettings,
) -> dict[str, Any]:
    """One line of the table, printed. `ratio` is R2 over SVD's, the median over the tensors."""
    fits = [item for item in result.tensors if item.name in set(names)]
    pooled = report(fits, settings, result.cost)
    singles = [report([item], settings, result.cost) for item in fits]
    ratio = float(np.median([single.r2 / single.svd_r2 for single in singles]))
    print(
        f"{role:20}{pooled.parameters:9,}{pooled.r2:8.4f}{pooled.null_r2 or 0:8.4f}{pooled.gain or 0:8.4f}"
        f"{pooled.svd_r2:8.4f}{pooled.svd_gain or 0:9.4f}{pooled.dct_r2 or 0:8.4f}{ratio:7.2f}"
    )
    return {"role": role, "ratio_median": ratio, **asdict(pooled)}


if __name__ == "__main__":
    main()
