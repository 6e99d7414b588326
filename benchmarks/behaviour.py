"""How well models work that are rebuilt from their DNA: behaviour and R2 against bits per weight, beside other codes.

    python -m benchmarks.behaviour                              # every specimen on its own task, and MiniLM-L6
    python -m benchmarks.behaviour --models bert-a --budgets 0.01 --residual-bits 3
    python -m benchmarks.behaviour --home DIR                   # where to mine; what is finished there is reused

Specimens run on what was held out of their own training data: loss on masked characters, perplexity of next ones,
accuracy on digits. MiniLM-L6 runs on graded pairs of sentences that were written for this project. Each budget is one
DNA, with its numbers at 8 bits; `--residual-bits` adds to the DNA of the first budget what it leaves, rounded to so
many bits a weight. Beside each stand truncated SVD, plain rounding, means and the DNA of shuffled weights with as many
bits.
Prints tables, writes `benchmarks/results/OUT.json`, and draws a figure beside it where matplotlib is installed.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.parts.scaffold import make_parser, write_results
from library.evaluate.evaluate import CODES, Evaluation, evaluate
from library.evaluate.inputs import Batch, Inputs
from library.evaluate.pictures import pixel_inputs
from library.rebuild.matrices import Request
from library.rebuild.source import find_model
from patterndb.store import PatternDatabase
from pipeline.fetch.request import ModelRequest
from pipeline.runs.runner import mine
from pipeline.settings import AnalysisSettings, MineSettings, preset

SPECIMENS = Path(__file__).parent.parent / "data" / "specimens"
MINILM = "minilm-l6"
TASK = {"masked-lm": "loss", "decoder": "perplexity", "classifier": "accuracy", "encoder": "spearman"}
"""The figure of a kind of model that needs no other model: how good it is at its task."""
NUM_WINDOWS = 256


def main() -> None:
    """Every model, at every budget and residual."""
    options = parse()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        home = options.home or Path(scratch)
        for name in options.models:
            for found in evaluations(name, home, options):
                show(found)
                rows.append(asdict(found))
                path = write_results(options.out, {"options": vars(options), "evaluations": rows})
    draw(rows, path.with_suffix(".svg"))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, out="behaviour")
    specimens = sorted(path.parent.name for path in SPECIMENS.glob("*/specimen.json"))
    parser.add_argument("--models", nargs="+", default=[*specimens, MINILM])
    parser.add_argument("--budgets", type=float, nargs="+", default=[0.01, 0.045, 0.15, 0.4])
    parser.add_argument("--residual-bits", type=int, nargs="*", default=[1, 2, 3, 4])
    parser.add_argument("--home", type=Path)
    parser.add_argument("--no-shuffled", action="store_true")
    return parser.parse_args()


def evaluations(name: str, home: Path, options: argparse.Namespace) -> list[Evaluation]:
    """One over all budgets, and one for each residual at the first budget."""
    home.mkdir(parents=True, exist_ok=True)
    inputs = None if name == MINILM else own_inputs(SPECIMENS / name)
    with PatternDatabase.open(f"sqlite:///{home / 'dna-zoo.db'}") as database:
        for budget in options.budgets:
            settings = MineSettings(
                fit=preset("quick", budget=budget, max_parameters=10**9), analysis=AnalysisSettings(num_nulls=0)
            )
            request = ModelRequest(name=name if name == MINILM else str(SPECIMENS / name))
            run = mine([request], settings, database=database, home=home)
            assert run.exit_code == 0, run
        models = [find_model(database, name, home=home, budget=budget) for budget in options.budgets]
    with_shuffled = not options.no_shuffled
    found = [evaluate(models, inputs=inputs, with_shuffled=with_shuffled)]
    for bits in options.residual_bits:
        request = Request(bits=8, residual_bits=bits)
        found.append(evaluate(models[:1], request=request, inputs=inputs, with_shuffled=False))
    return found


def own_inputs(folder: Path) -> Callable[[Any], Inputs]:
    """What was held out of the specimen's training data."""
    if str(SPECIMENS) not in sys.path:  # The scripts beside the specimens import each other by bare name.
        sys.path.insert(0, str(SPECIMENS))
    import evaluation
    from tree import FAMILIES

    facts = json.loads((folder / "specimen.json").read_text())
    family, data = FAMILIES[facts["family"]], facts["training"]["data"]
    if family.modality == "vision":
        pictures = evaluation.images(data, family.image_side)
        source = f"{data}, held out"
        return lambda model: pixel_inputs(pictures.held_out, source=source, labels=pictures.held_out_labels)
    return lambda model: windows(evaluation.corpus(data).held_out, family.objective, f"{data}, held out")


def windows(text: torch.Tensor, objective: str, source: str) -> Inputs:
    """Stretches of a held-out text, the same that the specimens' own figures were taken on."""
    from models import CONTEXT
    from training import mask_characters

    starts = torch.linspace(0, len(text) - CONTEXT, NUM_WINDOWS, dtype=torch.float64).long()
    ids = text[starts[:, None] + torch.arange(CONTEXT)]
    masked, targets = ids, ids
    if objective == "masked-lm":
        masked, targets = mask_characters(ids, torch.Generator().manual_seed(0))
    return Inputs(batches=(Batch(arguments={"input_ids": masked}, targets=targets),), source=source)


def show(found: Evaluation) -> None:
    """A table of one evaluation."""
    task, what = TASK[found.kind], f"{found.model} ({found.kind}) on {found.inputs}"
    residual = f", residual of {found.residual_bits} bits" if found.residual_bits else ""
    print(f"\n{what}{residual}; the original's {task} {found.original[task]:.3f}")
    names = list(found.points[0].measured[0].figures)
    print(f"{'budget':>8}  {'weights are':<24}{'bits/w':>8}{'R2':>8}" + "".join(f"{name:>11}" for name in names))
    for point in found.points:
        for each in point.measured:
            figures = "".join(f"{each.figures.get(name, float('nan')):>11.3f}" for name in names)
            size = f"{each.bits_per_weight:>8.3f}{each.r2:>8.3f}"
            print(f"{point.budget:>8g}  {CODES[each.code]:<24}{size}{figures}", flush=True)


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """KL, or 1 - CKA of models without predictions, against bits per weight and against R2."""
    try:
        import matplotlib
    except ImportError:
        return
    matplotlib.use("svg")
    from matplotlib import pyplot

    models = list(dict.fromkeys(row["model"] for row in rows))
    figure, axes = pyplot.subplots(len(models), 2, figsize=(9, 2.6 * len(models)), squeeze=False)
    for (left, right), model in zip(axes, models, strict=True):
        points = [
            each for row in rows if row["model"] == model for point in row["points"] for each in point["measured"]
        ]
        is_predicting = "kl" in points[0]["figures"]
        for code, words in CODES.items():
            own = sorted((p for p in points if p["code"] == code), key=lambda p: p["bits_per_weight"])
            harm = [p["figures"]["kl"] if is_predicting else 1 - p["figures"].get("cka", 0.0) for p in own]
            for axis, name in ((left, "bits_per_weight"), (right, "r2")):
                axis.plot([p[name] for p in own], harm, marker=".", label=words)
        left.set_xscale("log")
        left.set_ylabel(f"{model}\n{'KL, nats' if is_predicting else '1 - CKA'}")
        left.set_xlabel("bits per weight")
        right.set_xlabel("R² of the weights")
    axes[0, 0].legend(fontsize=6)
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    main()
