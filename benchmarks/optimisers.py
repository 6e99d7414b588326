"""What each optimiser makes of the same matrices at the same cost: optimiser x learning rate x schedule x R2.

    python -m benchmarks.optimisers                                     # layer 0 of MiniLM-L6: query and ffn_in
    python -m benchmarks.optimisers --optimizers sgd muon --ratios 1 3 10 30
    python -m benchmarks.optimisers --schedules cosine-restarts one-cycle plateau --optimizers adam
    python -m benchmarks.optimisers --kind spectral --roles attention_query

`ratio` is the learning rate over the preset's, which is Adam's; without `--ratios` it is the optimiser's own
(`pipeline.settings.RATE_BESIDE_ADAM`). Each fit is the quick preset's but for that, without nulls; R2 is of all these
matrices together, `seconds` of their fits. Prints the table and writes it as JSON to `benchmarks/results/OUT.json`.
"""

import argparse
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from benchmarks.parts.scaffold import make_parser, read_matrices, write_results
from dna_zoo.errors import FitDivergedError
from pipeline.fit.report import report
from pipeline.fit.stage import fit, resolve_precision
from pipeline.order import canonicalise, seriate_tensor
from pipeline.settings import RATE_BESIDE_ADAM, FitSettings, Optimizer, Schedule, preset
from zoo.tensors import TensorSpec

Matrices = Mapping[TensorSpec, npt.NDArray[np.float32]]


def main() -> None:
    """A line for every combination asked for."""
    options = parse()
    matrices = load(options)
    print(f"{'optimiser':10} {'schedule':16}{'ratio':>7}{'rate':>10}{'R2':>9}{'seconds':>9}")
    rows = [line(matrices, settings, ratio) for settings, ratio in combinations(options)]
    content = {"options": vars(options), "tensors": [spec.name for spec in matrices], "rows": rows}
    write_results(options.out, content)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, out="optimisers")
    parser.add_argument("--model", default="minilm-l6")
    parser.add_argument("--layers", type=int, nargs="+", default=[0])
    parser.add_argument("--roles", nargs="+", default=["attention_query", "ffn_in"])
    parser.add_argument("--kind", default="separable")
    parser.add_argument("--budget", type=float, default=0.01)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--optimizers", nargs="+", default=list(get_args(Optimizer)), choices=get_args(Optimizer))
    parser.add_argument("--ratios", type=float, nargs="+", help="default: the optimiser's own")
    parser.add_argument("--schedules", nargs="+", default=["cosine"], choices=get_args(Schedule))
    return parser.parse_args()


def load(options: argparse.Namespace) -> Matrices:
    """The matrices asked for, canonical."""
    found = read_matrices(options.model, lambda spec: spec.block in options.layers and spec.role in options.roles)
    return {spec: canonicalise(matrix, seriate_tensor(matrix, spec)) for spec, matrix in found.items()}


def combinations(options: argparse.Namespace) -> Iterator[tuple[FitSettings, float]]:
    """Optimiser x schedule x ratio."""
    base = preset("quick", dna_type=options.kind, budget=options.budget, epochs=options.epochs, num_nulls=0)
    base = resolve_precision(base, "cpu")
    for optimizer in options.optimizers:
        for schedule in options.schedules:
            for ratio in options.ratios or [RATE_BESIDE_ADAM[optimizer]]:
                rate = base.learning_rate * ratio
                yield replace(base, optimizer=optimizer, schedule=schedule, learning_rate=rate), ratio


def line(matrices: Matrices, settings: FitSettings, ratio: float) -> dict[str, Any]:
    """One fit, printed; without R2 if it diverged."""
    bits = dict.fromkeys((spec.name for spec in matrices), 0.0)
    by_name = {spec.name: matrix for spec, matrix in matrices.items()}
    r2 = seconds = None
    with tempfile.TemporaryDirectory() as directory:
        try:
            result = fit(
                list(matrices),
                lambda spec: by_name[spec.name],
                settings,
                order_bits=bits,
                device="cpu",
                seed=0,
                directory=Path(directory),
            )
            assert result is not None
            found = report(result.tensors, settings, result.cost)
            r2, seconds = found.r2, found.seconds
        except FitDivergedError:
            pass
    figures = "  diverged" if r2 is None else f"{r2:9.4f}{seconds:9.1f}"
    rate = settings.learning_rate
    print(f"{settings.optimizer:10} {settings.schedule:16}{ratio:7g}{rate:10.2g}{figures}", flush=True)
    return {"ratio": ratio, "r2": r2, "seconds": seconds, "settings": asdict(settings)}


if __name__ == "__main__":
    main()
