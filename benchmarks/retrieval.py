"""Are related models found by their signatures? The population of `benchmarks.population`, ranked by several distances.

    python -m benchmarks.population --out /tmp/population        # once: about 20 minutes of one core
    python -m benchmarks.retrieval --population /tmp/population  # about 15 minutes of one core, then 2: mined once
    python -m benchmarks.retrieval --population /tmp/population --lineage   # the lineage test on pairs as well

Every model is mined as `dna-zoo mine` does it (extract, order, analyse with fewer nulls; nothing is fitted) and ranked
against all others as `dna-zoo similar` ranks them, by each of its two distances, and by four baselines. How often the
one threshold `RELATED` is right is counted beside it. `benchmarks/relatedness/scoring.py` says how queries and pairs
are counted. Prints the tables and keeps them in `benchmarks/results/OUT.json`.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.parts.scaffold import RESULTS, make_parser, write_results
from benchmarks.relatedness.baselines import BASELINES, Weights
from benchmarks.relatedness.gallery import Member, read_members, signature_of, weight_files
from benchmarks.relatedness.lineage import choose_pairs, lineage_of, score_lineage
from benchmarks.relatedness.scoring import evaluate, rates_within
from benchmarks.relatedness.tables import by_architecture, by_cell, by_relation, lineage_table, rates_table, summary
from patterndb.records import RELATED
from patterndb.similarity import Distances, align, kind_distances, weights_distances
from pipeline.analyse.signature import SIGNATURE_VERSION
from pipeline.settings import AnalysisSettings
from pipeline.weights.inventory import extract
from pipeline.weights.reader import WeightReader

NUM_NULLS = 2
"""Fewer than `mine` draws: a signature needs the mean of the nulls, no p-value."""
SIMILAR = "similar"
WEIGHTS = "its weights"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print everything asked for."""
    options = parse(arguments)
    home = options.home or options.population.with_name(f"{options.population.name}-mined")
    members = read_members(options.population)
    found: dict[str, Any] = {
        "options": {"nulls": options.nulls, "bootstraps": options.bootstraps, "seed": options.seed}
    }
    found |= {"signature_version": SIGNATURE_VERSION, "models": len(members)}
    methods = distances_by_method(members, home, options)
    evaluations = {
        name: evaluate(members, distances, num_bootstraps=options.bootstraps, seed=options.seed)
        for name, distances in methods.items()
    }
    for table in (summary, by_architecture, by_relation):
        print(table(evaluations), end="\n\n", flush=True)
    print(by_cell(SIMILAR, evaluations[SIMILAR]), end="\n\n")
    found["related"] = rates_within(members, methods[WEIGHTS], RELATED)
    print(rates_table(found["related"], RELATED), end="\n\n")
    found["methods"] = {name: asdict(evaluation) for name, evaluation in evaluations.items()}
    if options.lineage:
        scores = measure_lineage(members, home, options)
        print(lineage_table(scores))
        found["lineage"] = {name: asdict(score) for name, score in scores.items()}
    write_results(options.out, found, folder=options.results)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, out="retrieval")
    parser.add_argument("--population", type=Path, required=True, help="folder that benchmarks.population made")
    parser.add_argument("--home", type=Path, help="where mined signatures are kept; beside the population if not given")
    parser.add_argument("--nulls", type=int, default=NUM_NULLS, help="of each statistic")
    parser.add_argument("--bootstraps", type=int, default=200, help="draws of roots behind each interval")
    parser.add_argument("--lineage", action="store_true", help="compare weights pair by pair as well")
    parser.add_argument("--lineage-nulls", type=int, default=199, help="wrong alignments behind each p-value")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def distances_by_method(members: Sequence[Member], home: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Method -> (M, M) distances between all members."""
    settings = AnalysisSettings(num_nulls=options.nulls)
    signatures = [
        signature_of(member, home, settings, options.seed) for member in progress(members, "mined", lambda m: m.name)
    ]
    weights = [read_weights(member, home) for member in members]
    names, values = align(signatures)
    found = Distances(weights=weights_distances(names, values), kind=kind_distances(names, values))
    distances = {SIMILAR: found.in_one, WEIGHTS: found.weights, "its kind": found.kind}
    return distances | {name: baseline(weights) for name, baseline in BASELINES.items()}


def read_weights(member: Member, home: Path) -> Weights:
    """The member's trained matrices."""
    files = weight_files(member, home)
    specs = tuple(spec for spec in extract(files).specs if spec.is_matrix)
    with WeightReader(files) as reader:
        return Weights(specs=specs, matrices=tuple(reader.matrix(spec) for spec in specs))


def measure_lineage(members: Sequence[Member], home: Path, options: argparse.Namespace) -> Mapping[str, Any]:
    """The lineage test on the chosen pairs, scored."""
    pairs = choose_pairs(members)
    found = [
        lineage_of(pair, home, num_nulls=options.lineage_nulls, seed=options.seed)
        for pair in progress(pairs, "compared", lambda pair: f"{pair[0].name} and {pair[1].name}")
    ]
    return score_lineage(pairs, found)


def progress(items: Sequence[Any], verb: str, name: Callable[[Any], str]) -> Any:
    """The items, and a line on stderr after every twentieth."""
    for done, item in enumerate(items, start=1):
        yield item
        if done % 20 == 0 or done == len(items):
            print(f"{verb} {done} of {len(items)}: {name(item)}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
