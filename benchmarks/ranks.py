"""How much a DNA could hold at the most: the limit that its ranks set, without training.

    python -m benchmarks.ranks --wheels /tmp/wheels    # after `real_models`, whose kept figures stand beside it
    python -m benchmarks.ranks --page                  # what is kept, as the table in docs/fit.md

A separable DNA is a matrix of rank K and the means that it bought, so no training makes it hold more of a tensor than
these means and the K leading singular directions of the rest (Eckart and Young 1936). K is what a fit with the settings
of `dna-zoo mine` gives each tensor, with the first seed and one null. Beside the limit stands what truncated SVD holds
with as many parameters, each next rank where it explains most, and what the DNA was found to hold: medians over seeds.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.parts.scaffold import make_parser, read_matrices, read_results, write_figures, write_results
from benchmarks.real_models import MODELS, place_of, values_of
from pipeline.decomposition import singular_values
from pipeline.fit.prepare import allowance_of
from pipeline.fit.split import split_budget
from pipeline.fit.stacks import plan_stacks
from pipeline.fit.versions import bought_means, outputs_of
from pipeline.nulls import ordinals_of
from pipeline.order import canonicalise, seriate_tensor
from pipeline.settings import FitSettings, preset
from zoo.tensors import TensorSpec

PAGE = Path(__file__).parents[1] / "docs" / "fit.md"
COMMAND = "python -m benchmarks.ranks --page"
Float32 = npt.NDArray[np.float32]


def main() -> None:
    """Every model asked for."""
    options = parse()
    kept = read_results(options.out).get("rows", [])
    if options.page:
        write_figures(PAGE, COMMAND, table(kept, read_results("real-models")["rows"]))
        return
    for model in options.models:
        row = measure(model, options.wheels)
        print("{model:18}limit {limit:.3f}".format(**row), flush=True)
        kept = [other for other in kept if other["model"] != model] + [row]
        write_results(options.out, {"rows": kept})


def table(kept: Sequence[Mapping[str, Any]], measured: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A line a model, as Markdown.

    - `measured`: the rows of `real_models`, by seed.
    """
    yield "| model | ranks | limit of R2 | over SVD's R2 | over the DNA's |"
    yield "|---" * 5 + "|"
    limits = {row["model"]: row for row in kept}
    for model in [model for model in MODELS if model in limits]:
        limit, ranks = limits[model]["limit"], [tensor["rank"] for tensor in limits[model]["tensors"]]
        dna, svd = (float(np.median(values_of(measured, model, key))) for key in ("r2", "svd_r2"))
        spread = f"{min(ranks)} to {max(ranks)}" if len({*ranks}) > 1 else f"{ranks[0]}"
        yield f"| {model} | {spread} | {limit:.3f} | {limit / svd:.2f} | {limit / dna:.2f} |"


def parse() -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, out="ranks")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--wheels", type=Path, help="folder that the packages were installed into")
    parser.add_argument("--page", action="store_true", help="measure nothing: write the table of what is kept")
    return parser.parse_args()


def measure(model: str, wheels: Path | None) -> dict[str, Any]:
    """The limit of R2 of the matrices in the blocks, or of all where a model has none, and of each matrix."""
    place = str(place_of(model, wheels))
    by_spec = read_matrices(place, lambda spec: spec.block is not None) or read_matrices(place, lambda spec: True)
    matrices = {spec: canonicalise(matrix, seriate_tensor(matrix, spec)) for spec, matrix in by_spec.items()}
    settings = preset("quick", budget=0.01, num_nulls=1)
    tensors = list(limits(matrices, settings))
    energy, most = (sum(each[key] for each in tensors) for key in ("energy", "most"))
    return {"model": model, "limit": most / energy, "tensors": tensors}


def limits(matrices: Mapping[TensorSpec, Float32], settings: FitSettings, seed: int = 0) -> list[dict[str, Any]]:
    """For each matrix its squares about the mean, its rank and the most of these squares that the rank can hold."""
    specs = sorted(matrices, key=lambda spec: (spec.rows, spec.cols, spec.name))
    allowed = {spec: allowance_of(spec, specs, settings) for spec in specs}
    bought = {spec.name: bought_means(matrices[spec], allowed[spec]) for spec in specs}
    levels = split_budget(specs, matrices.__getitem__, settings, seed=seed, ordinals=ordinals_of(specs), bought=bought)
    stacks = plan_stacks(specs, settings, levels, bought)
    return [one(spec, matrices[spec], allowed[spec], stack.size.rank) for stack in stacks for spec in stack.specs]


def one(spec: TensorSpec, matrix: Float32, allowed: float, rank: int) -> dict[str, Any]:
    """Of one matrix: the means that it buys, and the `rank` leading directions of what is left."""
    energy = float(np.square(matrix - matrix.mean(dtype=np.float64), dtype=np.float64).sum())
    outputs, scale = outputs_of(matrix, allowed)
    squares = singular_values(outputs) ** 2 * scale**2
    left = float(squares[min(rank, len(squares)) :].sum())
    return {"name": spec.name, "rank": rank, "energy": energy, "most": energy - left}


if __name__ == "__main__":
    main()
