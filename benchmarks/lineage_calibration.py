"""Is p of the lineage test right? The distribution of p on pairs of models that share no weights.

    python -m benchmarks.lineage_calibration                               # the table: ten minutes of one core
    python -m benchmarks.lineage_calibration --out lineage-calibration     # and keep it in results/
    python -m benchmarks.lineage_calibration --population FOLDER --out lineage-calibration    # and trained models
    python -m benchmarks.lineage_calibration --page                        # what is kept, in docs/lineage.md

Both tests, by roles and by names, on pairs of models with the shapes of a specimen and drawn values, which may have in
common what models of a kind have in common (`KINDS`), and on pairs of trained networks of an unknown architecture. With
`--population`, which `benchmarks.population` made, also on trained models of one known architecture and another root.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.calibration import Float32, shares
from benchmarks.parts.scaffold import RESULTS, make_parser, read_results, write_figures, write_results
from benchmarks.relatedness.cost import opened
from benchmarks.relatedness.gallery import Member, read_members
from benchmarks.relatedness.lineage import members_weights
from benchmarks.relatedness.unknown_networks import new_network, trained, weights_of
from pipeline.lineage import LINEAGE_VERSION, Lineage, ModelWeights
from pipeline.lineage.by_name import compare_by_name
from pipeline.lineage.compare import compare_by_role
from zoo.tensors import TensorSpec

SPECIMENS = Path(__file__).parents[1] / "data" / "specimens"
LEVELS = (0.01, 0.05, 0.2)
COLUMNS = ("test", "pairs", "n", *(f"p <= {level:g} (95 %)" for level in LEVELS), "highest z", "called related")
PAGE = Path(__file__).parents[1] / "docs" / "lineage.md"
COMMAND = "python -m benchmarks.lineage_calibration --page"
Draw = Callable[[TensorSpec, np.random.Generator, np.random.Generator], Float32]
"""(tensor, randomness of this model, randomness that both models have in common) -> values."""


def _noise(spec: TensorSpec, own: np.random.Generator, common: np.random.Generator) -> Float32:
    return own.standard_normal((spec.rows, spec.cols), dtype=np.float32)


def _scaled(spec: TensorSpec, own: np.random.Generator, common: np.random.Generator) -> Float32:
    rows, cols = np.exp(own.standard_normal((spec.rows, 1))), np.exp(own.standard_normal(spec.cols))
    return np.asarray(own.standard_t(3, (spec.rows, spec.cols)) * rows * cols, dtype=np.float32)


def _means(spec: TensorSpec, own: np.random.Generator, common: np.random.Generator) -> Float32:
    means = common.standard_normal((spec.rows, 1)) + common.standard_normal(spec.cols)
    return (_noise(spec, own, common) + means).astype(np.float32)


def _tables(spec: TensorSpec, own: np.random.Generator, common: np.random.Generator) -> Float32:
    table = common.standard_normal((spec.rows, 2)) @ own.standard_normal((2, spec.cols))
    return (_noise(spec, own, common) + table).astype(np.float32)


def _identity(spec: TensorSpec, own: np.random.Generator, common: np.random.Generator) -> Float32:
    noise = _noise(spec, own, common)
    return noise + 4 * np.eye(spec.rows, dtype=np.float32) if spec.rows == spec.cols else noise


KINDS: Mapping[str, Draw] = {
    "noise": _noise,
    "heavy tails, scaled rows and columns": _scaled,
    "the same means of rows and columns": _means,
    "rows from the same table, other columns": _tables,
    "the same multiple of the identity": _identity,
}


def drawn(specs: Sequence[TensorSpec], kind: str, pair: int, side: int) -> ModelWeights:
    """One model of a pair."""

    def load(spec: TensorSpec) -> Float32:
        place = [pair, *spec.name.encode()]
        return KINDS[kind](spec, np.random.default_rng([side + 1, *place]), np.random.default_rng([0, *place]))

    return ModelWeights(specs=specs, load=load, config={"num_attention_heads": 4})


def drawn_pairs(kind: str, repeats: int, specimen: str = "bert-a") -> Iterator[tuple[ModelWeights, ModelWeights]]:
    """Pairs with the shapes of a specimen."""
    with opened(str(SPECIMENS / specimen)) as model:
        for pair in range(repeats):
            yield drawn(model.specs, kind, pair, 0), drawn(model.specs, kind, pair, 1)


def trained_pairs(repeats: int) -> Iterator[tuple[ModelWeights, ModelWeights]]:
    """Pairs of networks with other first weights and other batches, of one vocabulary and one chemistry."""
    for pair in range(repeats):
        yield tuple(weights_of(trained(new_network(seed), seed=seed)) for seed in (2 * pair, 2 * pair + 1))  # type: ignore[misc]


def population_pairs(members: Sequence[Member], repeats: int) -> Iterator[tuple[Member, Member]]:
    """Unrelated pairs of these members of one architecture, shuffled copies left out; drawn without replacement."""
    whole = [member for member in members if member.relation != "shuffled"]
    pairs = [(a, b) for a, b in combinations(whole, 2) if not a.is_related(b)]
    chosen = np.random.default_rng(0).choice(len(pairs), min(repeats, len(pairs)), replace=False)
    return (pairs[place] for place in sorted(chosen))


def population_rows(folder: Path, home: Path, repeats: int, nulls: int) -> Iterator[dict[str, Any]]:
    """Both tests on trained models of each architecture."""
    members = read_members(folder)
    for architecture in dict.fromkeys(member.architecture for member in members):
        own = [member for member in members if member.architecture == architecture]
        pairs = [(members_weights(a, home), members_weights(b, home)) for a, b in population_pairs(own, repeats)]
        for test, compare in (("by role", compare_by_role), ("by name", compare_by_name)):
            found = [compare(a, b, num_nulls=nulls, seed=seed) for seed, (a, b) in enumerate(pairs)]
            yield row(test, f"trained, {architecture}", found)


def row(test: str, kind: str, found: Sequence[Lineage]) -> dict[str, Any]:
    """Shares of p at or below each level."""
    tested = [each for each in found if each.p is not None]
    return {
        "test": test,
        "pairs": kind,
        "tested": len(tested),
        "called related": sum(each.is_related for each in found),
        "highest z": max((each.z for each in tested if each.z is not None), default=None),
        "shares": [
            asdict(share) | {"interval": share.interval}
            for share in shares([each.p for each in tested if each.p is not None], LEVELS)
        ],
    }


def rows(repeats: int, trainings: int, nulls: int) -> Iterator[dict[str, Any]]:
    """Each kind of pair under each test."""
    for kind in KINDS:
        pairs = list(drawn_pairs(kind, repeats))
        by_role = [compare_by_role(a, b, num_nulls=nulls, seed=seed) for seed, (a, b) in enumerate(pairs)]
        yield row("by role", kind, by_role)
        yield row("by name", kind, [compare_by_name(a, b, num_nulls=nulls, seed=s) for s, (a, b) in enumerate(pairs)])
    found = [compare_by_name(a, b, num_nulls=nulls, seed=s) for s, (a, b) in enumerate(trained_pairs(trainings))]
    yield row("by name", "trained, of an unknown architecture", found)


def table(found: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The rows in Markdown."""
    yield f"| {' | '.join(COLUMNS)} |"
    yield f"|{'---|' * len(COLUMNS)}"
    yield from map(line, found)


def line(found: Mapping[str, Any]) -> str:
    """A row in Markdown."""
    first = (found["test"], found["pairs"], str(found["tested"]))
    cells = [_share(share) for share in found["shares"]]
    return f"| {' | '.join((*first, *cells, format(found['highest z'], '.1f'), str(found['called related'])))} |"


def _share(share: Mapping[str, Any]) -> str:
    low, high = share["interval"]
    return f"{share['hits'] / share['repeats']:.3f} ({low:.3f} to {high:.3f})"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, out=None)
    parser.add_argument("--repeats", type=int, default=400, help="pairs of each kind")
    parser.add_argument("--trainings", type=int, default=100, help="pairs of trained networks, of each architecture")
    parser.add_argument("--population", type=Path, help="folder that benchmarks.population made")
    parser.add_argument("--nulls", type=int, default=199, help="wrong alignments of each pair")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--page", action="store_true", help="measure nothing: write the table of what is kept")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """The table, and what is kept."""
    options = parse(arguments)
    if options.page:
        write_figures(PAGE, COMMAND, table(read_results("lineage-calibration")["rows"]))
        return
    print("\n".join(table(())))
    found = []
    every = [rows(options.repeats, options.trainings, options.nulls)]
    if options.population:
        home = options.population.with_name(f"{options.population.name}-mined")
        every.append(population_rows(options.population, home, options.trainings, options.nulls))
    for each in chain.from_iterable(every):
        found.append(each)
        print(line(each), flush=True)
    if options.out:
        kept = {"lineage_version": LINEAGE_VERSION, "nulls": options.nulls, "rows": found}
        write_results(options.out, kept, folder=options.results)


if __name__ == "__main__":
    main()
