"""Which of two related models came first: how often the weights tell it, and how often they are wrong.

    python -m benchmarks.direction --population FOLDER                    # made by benchmarks.population
    python -m benchmarks.direction --population FOLDER --out direction    # and keep the tables in results/
    python -m benchmarks.direction --page answers                         # of what is kept, in the page; or `trends`

Every related pair of one architecture: a model and its ancestor, where one is older, and two of which neither descends
from the other, where any answer is wrong. Beside what the product uses, what is said to change while a model learns
(`TRENDS`): the side that is older is chosen on the tuned half of the architectures and judged on the held-out half.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.parts.scaffold import RESULTS, make_parser, read_results, write_figures, write_results
from benchmarks.population.storage import read_facts
from benchmarks.relatedness.gallery import Member, read_members
from benchmarks.relatedness.lineage import every_pair, exact_interval, members_weights
from pipeline.lineage import ModelWeights
from pipeline.lineage.direction import find_older
from pipeline.lineage.records import Matrix

PAGE = Path(__file__).parents[1] / "docs" / "lineage.md"
COMMAND = "python -m benchmarks.direction --page {}"
LEAST_UNITS = 8
HALVES, OUTCOMES, SIBLINGS = ("tuned", "held-out"), ("right", "wrong", "no answer"), "siblings"
REDUCED = ("pruned", "quantised-8", "quantised-4")
TRAINED = ("fine-tuned", "lora", "retrained", "distilled")


def _kurtosis(matrix: Matrix) -> float:
    values = matrix.astype(np.float64) - matrix.mean(dtype=np.float64)
    return float((values**4).mean() / (values**2).mean() ** 2)


def _outlier(matrix: Matrix) -> float:
    return float(np.abs(matrix).max() / np.sqrt(np.square(matrix, dtype=np.float64).mean()))


def _stable_rank(matrix: Matrix) -> float:
    return float(np.linalg.norm(matrix) ** 2 / np.linalg.norm(matrix, ord=2) ** 2)


TRENDS: Mapping[str, Callable[[Matrix], float]] = {
    "norm": lambda matrix: float(np.linalg.norm(matrix)),
    "kurtosis": _kurtosis,
    "largest weight / rms": _outlier,
    "stable rank": _stable_rank,
}
TITLES = {
    "norm": "Frobenius norm",
    "kurtosis": "kurtosis",
    "largest weight / rms": "largest weight over root mean square",
    "stable rank": "stable rank",
}
"""The same, as the page calls them."""


def trends(model: ModelWeights) -> dict[str, float]:
    """Mean logarithm over the matrices."""
    matrices = [model.load(s) for s in model.specs if s.is_matrix and min(s.rows, s.cols) >= LEAST_UNITS]
    return {name: float(np.mean([np.log(of(matrix)) for matrix in matrices])) for name, of in TRENDS.items()}


def answers(members: Sequence[Member], home: Path) -> Iterator[dict[str, Any]]:
    """Of each related pair: its kind, what is true and what the weights tell."""
    parents = {member.name: set(read_facts(member.folder)["parents"]) for member in members}

    @cache
    def ancestors(name: str) -> frozenset[str]:
        return frozenset(parents[name]).union(*(ancestors(parent) for parent in parents[name] if parent in parents))

    for first, second in every_pair(members, num_apart=0, seed=0):
        if first.is_related(second):
            is_older = first.name in ancestors(second.name), second.name in ancestors(first.name)
            child = second if is_older[0] else first
            told = find_older(members_weights(first, home), members_weights(second, home))
            yield {
                "split": first.split,
                "kind": child.relation if any(is_older) else SIBLINGS,
                "true": "a" if is_older[0] else "b" if is_older[1] else None,
                "told": told,
                "pair": (first, second),
            }


def counts(found: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """How many answers there are of each kind, and how many are right."""
    for split in HALVES:
        own = [each for each in found if each["split"] == split]
        for kind in sorted({each["kind"] for each in own}):
            outcomes = Counter(
                "no answer" if each["told"] is None else "right" if each["told"] == each["true"] else "wrong"
                for each in own
                if each["kind"] == kind
            )
            yield {"half": split, "kind": kind, **{name: outcomes[name] for name in OUTCOMES}}
        given = [each for each in own if each["told"] is not None]
        wrong = sum(each["told"] != each["true"] for each in given)
        yield {"half": split, "answers": len(given), "wrong": wrong, "interval": exact_interval(wrong, len(given))}


def trend_rows(found: Sequence[Mapping[str, Any]], home: Path) -> Iterator[dict[str, Any]]:
    """Of each trend: how often it is right on the held-out half, after its sign is chosen on the tuned one."""
    known = [each for each in found if each["true"] is not None and each["kind"] not in REDUCED]
    members = {member for each in known for member in each["pair"]}
    values = {member.name: trends(members_weights(member, home)) for member in members}
    for name in TRENDS:
        for scope, kinds in (("every kind", {each["kind"] for each in known}), ("trained", set(TRAINED))):
            rises = {"tuned": [], "held-out": []}  # type: dict[str, list[bool]]
            for each in known:
                if each["kind"] in kinds:
                    a, b = (values[member.name][name] for member in each["pair"])
                    rises[each["split"]].append(a < b if each["true"] == "a" else b < a)
            grows = 2 * sum(rises["tuned"]) >= len(rises["tuned"])
            right = sum(rise == grows for rise in rises["held-out"])
            total = len(rises["held-out"])
            sign = "grows" if grows else "falls"
            yield {"trend": f"{name} {sign}", "pairs": scope, "n": total, "right": right} | {
                "interval": exact_interval(right, total)
            }


def answers_table(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The table of docs/lineage.md: how many answers on both halves are right, wrong, and not given."""
    yield "| pairs | tuned: right | wrong | no answer | held out: right | wrong | no answer |"
    yield "|---" * 7 + "|"
    kinds = {row["kind"] for row in found if "kind" in row}
    for name, own in (
        ("original and copy pruned, or rounded to 8 or 4 bits", {*REDUCED}),
        ("ancestor and another kind of descendant", kinds - {*REDUCED, SIBLINGS}),
        ("neither is older", {SIBLINGS}),
    ):
        cells = [
            sum(row[outcome] for row in found if row["half"] == half and row.get("kind") in own)
            for half in HALVES
            for outcome in OUTCOMES
        ]
        yield f"| {name} | {' | '.join(f'{count:,}' for count in cells)} |"


def trends_table(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The table of docs/lineage.md: how often what is said to change while a model learns is right."""
    yield (
        "| mean over matrices of the logarithm of | every kind of child | only fine-tuned, LoRA, retrained, distilled |"
    )
    yield "|---|---|---|"
    for name, what in TITLES.items():
        cells = (
            f"{row['trend'].removeprefix(f'{name} ')}: {row['right']} of {row['n']} "
            f"({100 * row['interval'][0]:.0f}–{100 * row['interval'][1]:.0f} %)"
            for row in found
            if row["trend"].startswith(f"{name} ")
        )
        yield f"| {what} | {' | '.join(cells)} |"


TABLES: Mapping[str, Callable[[Sequence[Mapping[str, Any]]], Iterator[str]]] = {
    "answers": answers_table,
    "trends": trends_table,
}
"""Part of the results -> its lines in the page."""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, out=None)
    parser.add_argument("--population", type=Path, help="folder that benchmarks.population made")
    parser.add_argument("--home", type=Path, help="where digests are kept; beside the population if not given")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--page", choices=TABLES, help="measure nothing: write a table of what is kept")
    options = parser.parse_args(arguments)
    if not (options.page or options.population):
        parser.error("Give --population FOLDER, or --page.")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Both tables."""
    options = parse(arguments)
    if options.page:
        write_figures(PAGE, COMMAND.format(options.page), TABLES[options.page](read_results("direction")[options.page]))
        return
    home = options.home or options.population.with_name(f"{options.population.name}-mined")
    found = list(answers(read_members(options.population), home))
    told, followed = list(counts(found)), list(trend_rows(found, home))
    for row in (*told, *followed):
        print("  ".join(f"{key} {value}" for key, value in row.items()))
    if options.out:
        write_results(options.out, {"answers": told, "trends": followed}, folder=options.results)


if __name__ == "__main__":
    main()
