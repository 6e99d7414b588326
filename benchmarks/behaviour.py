"""How well models work that are rebuilt from their DNA: behaviour and R2 against bits per weight, beside other codes.

    python -m benchmarks.behaviour                              # every specimen on its own task, and MiniLM-L6
    python -m benchmarks.behaviour --models bert-a --budgets 0.01 --residual-bits 3
    python -m benchmarks.behaviour --home DIR                   # where to mine; what is finished there is reused

Specimens run on what was held out of their own training data: loss on masked characters, perplexity of next ones,
accuracy on digits. MiniLM-L6 runs on graded pairs of sentences that were written for this project. Each budget is one
DNA, with its numbers at 8 bits; `--residual-bits` adds to the DNA of the first budget what it leaves, rounded to so
many bits a weight. Beside each stand truncated SVD, plain rounding, means and the DNA of shuffled weights with as many
bits.
Prints tables, writes `benchmarks/results/OUT.json` after each model, and draws a figure beside it where matplotlib is
installed: solid lines over budgets, dashed ones over residuals. `--add` goes on with what is kept there: a model that
was run with the same budgets and residuals is left as it is, one that was run with others is run again. `--page` puts
tables into docs/using.md; `--page NAME` one of them, and `--models --add --page` does that alone:

- `codes`: two specimens at the smallest budget, with every code;
- `residuals`: the DNA and plain rounding of one specimen, with each residual and with a larger DNA;
- `specimens`: every model at the smallest and the largest budget and with the residual of 2 bits, and for every budget
  and residual for how many specimens the DNA is nearer to the original than each other code.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.parts.scaffold import RESULTS, make_parser, read_results, write_figures, write_results
from library.evaluate.evaluate import CODES, Evaluation, evaluate
from library.evaluate.inputs import Batch, Inputs
from library.evaluate.pictures import pixel_inputs
from library.rebuild.matrices import Request
from library.rebuild.source import find_model
from patterndb.store import PatternDatabase
from pipeline.fetch.request import ModelRequest
from pipeline.runs.runner import mine
from pipeline.settings import AnalysisSettings, MineSettings, preset

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SPECIMENS = Path(__file__).parent.parent / "data" / "specimens"
MINILM = "minilm-l6"
TASK = {"masked-lm": "loss", "decoder": "perplexity", "classifier": "accuracy", "encoder": "spearman"}
"""The figure of a kind of model that needs no other model: how good it is at its task."""
NUM_WINDOWS = 256
PAGE = Path(__file__).parents[1] / "docs" / "using.md"
COLUMNS = ("dna", "svd", "rounding", "means", "shuffled")
"""Of the table in the page."""
PAGE_RESIDUAL = 2
"""Bits of the residual that the page shows of every model."""
WITH_CODES = ("bert-a", "cnn-a")
"""The specimens of which the page has every code: one that a DNA serves better than others do, and one that it does
not."""
WITH_RESIDUALS = "gpt2-a"
"""The specimen of which the page has every residual."""
LARGER_BUDGET = 0.15
"""Of the DNA that stands beside those with a residual: it takes about as many bits as one with a residual of 1 bit."""


def main() -> None:
    """Every model, at every budget and residual."""
    options = parse()
    torch.set_num_threads(options.threads)
    kept: dict[str, Any] = {"options": {}, "evaluations": [], **(read_results(options.out) if options.add else {})}
    with tempfile.TemporaryDirectory() as scratch:
        home = options.home or Path(scratch)
        for name in (each for each in options.models if not is_done(kept["options"].get(each, {}), options)):
            found = evaluations(name, home, options)
            for each in found:
                show(each)
            kept["options"][name] = {key: value for key, value in vars(options).items() if key != "home"}
            kept["evaluations"] = replaced(kept["evaluations"], name, [asdict(each) for each in found])
            write_results(options.out, kept)
    draw(kept["evaluations"], RESULTS / f"{options.out}.svg")
    for name in TABLES if options.page == [] else options.page or ():
        write_figures(PAGE, command_of(name), TABLES[name](kept["evaluations"]))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, out="behaviour")
    parser.add_argument("--models", nargs="*", default=everything())
    parser.add_argument("--budgets", type=float, nargs="+", default=[0.01, 0.045, 0.15, 0.4])
    parser.add_argument("--residual-bits", type=int, nargs="*", default=[1, 2, 3, 4])
    parser.add_argument("--home", type=Path)
    parser.add_argument("--no-shuffled", action="store_true")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--add", action="store_true", help="models to what is kept under this name")
    parser.add_argument("--page", nargs="*", choices=TABLES, help="put these tables, or all, into docs/using.md")
    return parser.parse_args()


def everything() -> list[str]:
    """Every model that is run, in the order of the tables."""
    return [*sorted(path.parent.name for path in SPECIMENS.glob("*/specimen.json")), MINILM]


def is_done(kept: Mapping[str, Any], options: argparse.Namespace) -> bool:
    """Whether a model was run with these budgets, residuals and controls."""
    return all(kept.get(name) == getattr(options, name) for name in ("budgets", "residual_bits", "no_shuffled"))


def replaced(
    rows: Sequence[Mapping[str, Any]], name: str, found: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """The evaluations with those of one model in place of its earlier ones, in the order of `everything`."""
    order = {model: place for place, model in enumerate(everything())}
    return sorted(
        [*(row for row in rows if row["model"] != name), *found], key=lambda row: order.get(row["model"], len(order))
    )


def evaluations(name: str, home: Path, options: argparse.Namespace) -> list[Evaluation]:
    """One over all budgets, and one for each residual at the first budget."""
    home.mkdir(parents=True, exist_ok=True)
    inputs = None if name == MINILM else own_inputs(SPECIMENS / name)
    with PatternDatabase.open(f"sqlite:///{home / 'dna-zoo.db'}") as database:
        for budget in options.budgets:
            settings = MineSettings(fit=preset("quick", budget=budget), analysis=AnalysisSettings(num_nulls=0))
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


def command_of(name: str) -> str:
    """The command that puts one of `TABLES` into the page, as the page has it."""
    return f"python -m benchmarks.behaviour --page {name}"


def codes_table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Markdown, a row for each code: two specimens at the smallest budget, beside the originals."""
    models = [next(row for row in rows if (row["model"], row["residual_bits"]) == (name, None)) for name in WITH_CODES]
    tasks = [TASK[row["kind"]] for row in models]
    heads = [
        (f"{row['model']}: bits a weight", "R²", "KL", "agreement", task)
        for row, task in zip(models, tasks, strict=True)
    ]
    yield _line("", *(head for own in heads for head in own))
    yield "|---" * (1 + sum(map(len, heads))) + "|"
    originals = [("", "1", "0", "1", f"{row['original'][task]:.3g}") for row, task in zip(models, tasks, strict=True)]
    yield _line("the original's", *(cell for own in originals for cell in own))
    points = [{each["code"]: each for each in row["points"][0]["measured"]} for row in models]
    for code, words in CODES.items():
        cells = [
            cell
            for found, task in zip(points, tasks, strict=True)
            for cell in (*_size(found, code), *(_figure(found, code, name) for name in ("kl", "agreement", task)))
        ]
        yield _line(words, *cells)


def residuals_table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Markdown: the DNA and plain rounding of one specimen with as many bits; each residual, and a larger DNA."""
    own = [row for row in rows if row["model"] == WITH_RESIDUALS]
    task = TASK[own[0]["kind"]]
    yield _line("", "bits a weight", "R²", "KL", task)
    yield "|---" * 5 + "|"
    yield _line("the original's", "", "1", "0", f"{own[0]['original'][task]:.3g}")
    points = [
        (f"DNA, residual of {_bits_of(row['residual_bits'])}", row["points"][0]) for row in own if row["residual_bits"]
    ]
    larger = (point for row in own if not row["residual_bits"] for point in row["points"])
    points += [(f"DNA of budget {LARGER_BUDGET:g}", each) for each in larger if each["budget"] == LARGER_BUDGET]
    for words, point in points:
        found = {each["code"]: each for each in point["measured"]}
        for said, code in ((words, "dna"), (CODES["rounding"], "rounding")):
            yield _line(said, *_size(found, code), *(_figure(found, code, name) for name in ("kl", task)))


def specimens_tables(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The table of every model, and the counts over the specimens."""
    yield from page_table(rows)
    yield ""
    yield from counts_table(rows)


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _size(found: "_Codes", code: str) -> tuple[str, str]:
    """Bits a weight and R2 of a code; no sign before a 0."""
    return f"{found[code]['bits_per_weight']:.3f}", f"{found[code]['r2']:.3f}".replace("-0.000", "0.000")


def counts_table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Markdown, a row for each budget and residual: of how many specimens the DNA has the smaller KL than each other
    code of as many bits, and of which than rounding, which is the best of the others at most sizes."""
    others = {"svd": "SVD", "rounding": "rounding", "means": "the means", "shuffled": "shuffled"}
    heads = ("budget", "residual", "bits a weight", "specimens", *(f"nearer than {words}" for words in others.values()))
    yield _line(*heads, "these nearer than rounding")
    yield "|---" * (len(heads) + 1) + "|"
    for (budget, residual), points in sorted(_points_of(rows).items()):
        sizes = [each["dna"]["bits_per_weight"] for each in points.values()]
        about = (f"{budget:g}", _bits_of(residual), f"{min(sizes):.2f} to {max(sizes):.2f}")
        counts = [_count(points, code) for code in others]
        names = ", ".join(name for name, found in points.items() if _is_nearer(found, "rounding"))
        yield _line(*about, str(len(points)), *counts, names or "–")


_Codes = Mapping[str, Mapping[str, Any]]
"""Code -> what was measured of it."""


def _points_of(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[float, int], dict[str, _Codes]]:
    """(budget, residual) -> specimen -> code -> what was measured, of all that have a KL; 0 for no residual."""
    found: dict[tuple[float, int], dict[str, _Codes]] = {}
    for row in rows:
        for point in row["points"]:
            codes = {each["code"]: each for each in point["measured"]}
            if "kl" in codes["dna"]["figures"]:
                found.setdefault((point["budget"], row["residual_bits"] or 0), {})[row["model"]] = codes
    return found


def _count(points: Mapping[str, _Codes], code: str) -> str:
    measured = [found for found in points.values() if code in found]
    return f"{sum(_is_nearer(found, code) for found in measured)} of {len(measured)}" if measured else "–"


def _is_nearer(found: _Codes, code: str) -> bool:
    """Whether the DNA's predictions are nearer to the original's than those of a code; never where one has none."""
    own, other = (found[name]["figures"].get("kl") if name in found else None for name in ("dna", code))
    return own is not None and other is not None and own < other


def page_table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Markdown: how good the model is at its task with each code, and how far its predictions are from the original's;
    the smallest and the largest budget, and the residual of the page."""
    words = ["DNA", "SVD", "rounding", "means", "shuffled"]
    heads = ("model", "task", "original", "residual", "bits a weight", "R²", *words, *(f"KL: {each}" for each in words))
    yield _line(*heads)
    yield "|---" * len(heads) + "|"
    for row in rows:
        task, residual = TASK[row["kind"]], row["residual_bits"]
        if residual not in (None, PAGE_RESIDUAL):
            continue
        for point in [row["points"][0], *row["points"][1:][-1:]]:
            found = {each["code"]: each for each in point["measured"]}
            about = (row["model"], task, f"{row['original'][task]:.3g}", _bits_of(residual))
            size = _size(found, "dna")
            figures = [_figure(found, code, name) for name in (task, "kl") for code in COLUMNS]
            yield _line(*about, *size, *figures)


TABLES: Mapping[str, Callable[[Sequence[Mapping[str, Any]]], Iterator[str]]] = {
    "codes": codes_table,
    "residuals": residuals_table,
    "specimens": specimens_tables,
}
"""What `--page` puts into the page, each where the page names its command."""


def _bits_of(residual: int | None) -> str:
    return f"{residual} bit{'s' if residual > 1 else ''}" if residual else "–"


def _figure(found: Mapping[str, Any], code: str, name: str) -> str:
    value = found[code]["figures"].get(name) if code in found else None
    return "–" if value is None else f"{value:.3g}"


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """KL, or 1 - CKA of models without predictions, against bits per weight and against R2."""
    try:
        import matplotlib
    except ImportError:
        return
    matplotlib.use("svg")
    from matplotlib import pyplot

    pyplot.rcParams["svg.hashsalt"] = "behaviour"
    models = list(dict.fromkeys(row["model"] for row in rows))
    figure, axes = pyplot.subplots(len(models), 2, figsize=(9, 2.6 * len(models)), squeeze=False)
    for (left, right), model in zip(axes, models, strict=True):
        own = [row for row in rows if row["model"] == model]
        _draw_curves(left, right, own)
        left.set_xscale("log")
        left.set_ylabel(f"{model}\n{'KL, nats' if 'kl' in _measured(own)[0]['figures'] else '1 - CKA'}")
        left.set_xlabel("bits per weight")
        right.set_xlabel("R² of the weights")
    axes[0, 0].legend(fontsize=6)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)


def _draw_curves(left: "Axes", right: "Axes", rows: Sequence[Mapping[str, Any]]) -> None:
    """A colour for each code: solid over budgets, dashed over residuals."""
    for has_residual, style in ((False, "-"), (True, "--")):
        points = _measured([row for row in rows if (row["residual_bits"] is not None) == has_residual])
        for colour, (code, words) in enumerate(CODES.items()):
            own = sorted((each for each in points if each["code"] == code), key=lambda each: each["bits_per_weight"])
            harm = [_harm(each["figures"]) for each in own]
            for axis, name in ((left, "bits_per_weight"), (right, "r2")):
                label = None if has_residual else words
                axis.plot(
                    [each[name] for each in own], harm, marker=".", linestyle=style, color=f"C{colour}", label=label
                )


def _harm(figures: Mapping[str, float | None]) -> float:
    """NaN where a figure could not be had."""
    found = figures["kl"] if "kl" in figures else figures.get("cka")
    return float("nan") if found is None else found if "kl" in figures else 1 - found


def _measured(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [each for row in rows for point in row["points"] for each in point["measured"]]


if __name__ == "__main__":
    main()
