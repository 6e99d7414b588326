"""How well the lineage test does: on the population of `benchmarks.population`, under noise, and its cost at full size.

    python -m benchmarks.lineage --population /tmp/population   # 13,111 pairs: a quarter of an hour of one core
    python -m benchmarks.lineage --noise                        # specimens under noise, their order kept and redrawn
    python -m benchmarks.lineage --cost                         # seconds and memory at the size of BERT-base
    python -m benchmarks.lineage --cost minilm-l6 PATH ...      # or of these models, each against itself
    python -m benchmarks.lineage --page population              # what is kept, as tables in docs/lineage.md; or `cost`

`benchmarks/relatedness/lineage.py` says how pairs are chosen and counted. With `--out NAME` the results are kept in
`benchmarks/results/NAME.json`, where other parts stay as they are.
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.parts.scaffold import RESULTS, make_parser, read_results, write_figures, write_results
from benchmarks.relatedness.cost import bert_base_pairs, measure, opened
from benchmarks.relatedness.gallery import Member, read_members
from benchmarks.relatedness.lineage import LineageScores, every_pair, lineage_of, score_lineage
from benchmarks.relatedness.lineage_page import COMMAND, PAGE, TABLES
from pipeline.lineage import LINEAGE_VERSION, Lineage, ModelWeights
from pipeline.lineage.compare import compare_weights
from pipeline.lineage.records import CANNOT_SAY, Matrix
from zoo.tensors import TensorSpec

SPECIMENS = Path(__file__).parents[1] / "data" / "specimens"
SHARES = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
NOISED = (("bert-a", "bert-a"), ("bert-a-permuted", "bert-a"), ("cnn-a", "cnn-a"), ("gpt2-a", "gpt2-a"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Each part asked for."""
    options = parse(arguments)
    if options.page:
        write_figures(PAGE, COMMAND.format(options.page), TABLES[options.page](read_results("lineage")[options.page]))
        return
    found: dict[str, Any] = {"lineage_version": LINEAGE_VERSION, "nulls": options.nulls, "seed": options.seed}
    if options.population:
        scores = population(read_members(options.population), options)
        print_table(score_row(name, each) for name, each in scores.items())
        found["population"] = {name: asdict(each) for name, each in scores.items()}
    if options.noise:
        found["noise"] = list(noise(options))
        print_table(found["noise"])
    if options.cost is not None:
        found["cost"] = list(cost(options.cost))
        print_table(found["cost"])
    if options.out:
        write_results(options.out, read_results(options.out, folder=options.results) | found, folder=options.results)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, out=None)
    parser.add_argument("--population", type=Path, help="folder that benchmarks.population made")
    parser.add_argument("--home", type=Path, help="where results are kept; beside the population if not given")
    parser.add_argument("--apart", type=int, default=1000, help="pairs of two architectures, drawn at random")
    parser.add_argument("--noise", action="store_true", help="disturb the specimens")
    parser.add_argument(
        "--cost", nargs="*", metavar="MODEL", help="keys of the zoo or paths; BERT-base's shapes if none"
    )
    parser.add_argument("--page", choices=TABLES, help="measure nothing: write the tables of what is kept")
    parser.add_argument("--nulls", type=int, default=199, help="wrong alignments of each pair")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    return parser.parse_args(arguments)


def population(members: Sequence[Member], options: argparse.Namespace) -> Mapping[str, LineageScores]:
    """All pairs of one architecture and a sample of others, scored."""
    home = options.home or options.population.with_name(f"{options.population.name}-mined")
    pairs = every_pair(members, num_apart=options.apart, seed=options.seed)
    found = []
    for done, pair in enumerate(pairs, start=1):
        found.append(lineage_of(pair, home, num_nulls=options.nulls, seed=options.seed))
        if done % 500 == 0 or done == len(pairs):
            print(f"compared {done} of {len(pairs)}", file=sys.stderr, flush=True)
    return score_lineage(pairs, found, in_detail=True)


def score_row(name: str, scores: LineageScores) -> dict[str, Any]:
    """The row of a set of pairs."""
    low, high = scores.unrelated_interval
    return {
        "pairs": name,
        "related": scores.related_pairs,
        "AUC": scores.auc,
        "TPR@1%": scores.tpr,
        "called": scores.related_called,
        "r min": scores.lowest_of_related[0],
        "z min": scores.lowest_of_related[1],
        "unrelated": scores.unrelated_pairs,
        "of these called": scores.unrelated_called,
        "95 %": "-" if math.isnan(low) else f"{low:.4f}-{high:.4f}",
        "r max": scores.highest_of_unrelated[0],
        "z max": scores.highest_of_unrelated[1],
        "cannot say": sum(
            counts.get(CANNOT_SAY, 0) for counts in (scores.verdicts_on_related, scores.verdicts_on_unrelated)
        ),
    }


def noise(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Gaussian noise of a share of each tensor's standard deviation, added to one of two related models."""
    with ExitStack() as stack:
        names = dict.fromkeys(name for pair in NOISED for name in pair)
        models = {name: stack.enter_context(opened(str(SPECIMENS / name))) for name in names}
        for first, second in NOISED:
            for size in SHARES:
                disturbed = altered(models[second], lambda s, m, size=size: disturb(s, m, size))  # type: ignore[misc]
                found = compare_weights(models[first], disturbed, num_nulls=options.nulls, seed=options.seed)
                kept = 1 / np.sqrt(1 + size**2)
                yield {"a": first, "b": second, "noise": size, "r true": float(kept)} | figures(found)


def disturb(spec: TensorSpec, values: Matrix, size: float) -> Matrix:
    rng = np.random.default_rng(sum(spec.name.encode()))
    return values + np.float32(size) * values.std() * rng.standard_normal(values.shape, dtype=np.float32)


def cost(models: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Seconds and memory: of each model against itself, or of random weights of BERT-base's shapes against copies."""
    for name in models:
        yield {"model": name, "against": "itself"} | measure(name, name)
    if not models:
        with bert_base_pairs() as pairs:
            for kind, folders in pairs.items():
                yield {"model": "BERT-base, random", "against": kind} | measure(*folders)


def figures(found: Lineage) -> dict[str, Any]:
    return {"r": found.correlation, "z": found.z, "verdict": found.verdict}


def altered(model: ModelWeights, change: Callable[[TensorSpec, Matrix], Matrix]) -> ModelWeights:
    return replace(model, load=lambda spec: change(spec, model.load(spec)))


def print_table(rows: Iterable[Mapping[str, Any]]) -> None:
    """Columns wide enough for what is in them."""
    rows = list(rows)
    lines = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)), flush=True)
    print()


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.3f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    main()
