"""What surgery is worth: models trained from different seeds joined, and layers of one put into another.

    python -m benchmarks.population --out /tmp/population --relations root permuted fine-tuned   # once
    python -m benchmarks.surgery --population /tmp/population

*Combine*: all pairs of the roots of an architecture (the same data, other seeds). The barrier is the largest rise of
the held-out loss above the straight line between those of the ends, at five places, aligned and as they are.
*Transplant*: the middle layer of each root in the next root, before and after a short fine-tune of all weights, beside
a random layer there; as a check that the alignment works, the middle layer of a root's fine-tuned child, its units in
another order, in the root itself. Losses are held out. *Beyond random*: by how much a variant's loss after the
fine-tune is below that of the random layer, with the 95 % interval of Student's t over hosts: above 0, the layer helps.
Pairs of four roots share models, so that the barriers have a range and no interval.

Prints the tables and writes them to `benchmarks/results/OUT.json` after each architecture; `--add` goes on with what is
kept there; `--page` puts them into docs/using.md.
"""

import argparse
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import t as student

from benchmarks.parts.scaffold import make_parser, read_results, write_figures, write_results
from benchmarks.population.architectures import ARCHITECTURES
from benchmarks.population.symmetries import permutation
from library.surgery import Loaded, Task, combine, open_model, transplant
from library.surgery.layers import layers_of
from library.surgery.tasks import specimen_task

KINDS = ("bert", "gpt2", "vit", "resnet")
ROOTS = "abcd"
PAGE = Path(__file__).parents[1] / "docs" / "using.md"
COMMAND = "python -m benchmarks.surgery --population FOLDER --page"
LAYERS = ("aligned", "unaligned", "random", "host's own")


def main() -> None:
    """One architecture after the other; what is done is kept at once."""
    options = parse()
    torch.set_num_threads(1)
    kept = read_results(options.out) if options.add else {}
    rows: dict[str, list[dict[str, Any]]] = {name: kept.get(name, []) for name in ("combine", "transplant")}
    done = {row["kind"] for row in rows["transplant"]}
    for kind in (each for each in options.kinds if each not in done):
        rows["combine"] += combined(kind, options)
        rows["transplant"] += transplanted(kind, options)
        write_results(options.out, {"steps": options.steps, "seed": options.seed, **rows})
    lines = [*combine_table(rows["combine"]), "", *transplant_table(rows["transplant"], options.steps)]
    print("\n".join(lines))
    if options.page:
        write_figures(PAGE, COMMAND, lines)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, out="surgery")
    parser.add_argument("--population", type=Path, required=True, help="folder that benchmarks.population made")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--steps", type=int, default=50, help="of a fine-tune")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--add", action="store_true", help="architectures to what is kept under this name")
    parser.add_argument("--page", action="store_true", help="put the tables into docs/using.md")
    return parser.parse_args()


def roots(kind: str, options: argparse.Namespace) -> dict[str, Loaded]:
    """The roots that are there, by letter."""
    folders = {letter: options.population / f"{kind}-{letter}" for letter in ROOTS}
    return {letter: open_model(folder) for letter, folder in folders.items() if folder.is_dir()}


def task_of(kind: str, loaded: Loaded) -> Task:
    """What the roots of an architecture have learned."""
    architecture = ARCHITECTURES[kind]
    return specimen_task(loaded, architecture.data, architecture.objective)  # type: ignore[arg-type]


def combined(kind: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The barriers of all pairs, with rotations within heads and without."""
    for a, b in itertools.combinations(roots(kind, options).values(), 2):
        task = task_of(kind, a)
        found, plain = (combine(a, b, task=task, turns=turns, seed=options.seed) for turns in (True, False))
        yield {
            "kind": kind,
            "a": a.name,
            "b": b.name,
            "barrier": found.aligned.barrier,
            "barrier_permuted": plain.aligned.barrier,
            "barrier_unaligned": found.unaligned.barrier,
            "ends": [found.aligned.scores[0].loss, found.aligned.scores[-1].loss],
            "cosine": found.alignment.match.after,
            "cosine_unaligned": found.alignment.match.before,
        }


def transplanted(kind: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Layers of the next root, and of the host's own child in another order."""
    known = roots(kind, options)
    letters = list(known)
    for host, donor in zip(letters, [*letters[1:], letters[0]], strict=True):
        child = options.population / f"{kind}-{host}-fine-tuned"
        donors = {"another seed": known[donor]}
        if child.is_dir():
            donors["its child, reordered"] = reordered(open_model(child), seed=options.seed)
        for relation, each in donors.items():
            middle = len(layers_of(known[host])) // 2
            found = transplant(
                each,
                known[host],
                donor_layers=[middle],
                host_layers=[middle],
                task=task_of(kind, known[host]),
                aligned=True,
                steps=options.steps,
                seed=options.seed,
            )
            losses = {v.layers: [v.before.loss, v.after.loss] for v in found.variants}
            yield {"kind": kind, "relation": relation, "donor": each.name, "host": found.host, "losses": losses}


def reordered(loaded: Loaded, *, seed: int) -> Loaded:
    """The same function, its units in another order."""
    state = permutation().permuted(loaded.model, generator=torch.Generator().manual_seed(seed))
    loaded.model.load_state_dict(state)
    return loaded


def combine_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Barriers: mean and range over pairs."""
    lines = [
        "| architecture | pairs | loss of the ends | barrier, as they are | permuted | permuted, heads rotated |"
        " pairs lowered |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind, own in by(rows, lambda row: row["kind"]):
        ends = np.mean([row["ends"] for row in own])
        cells = [spread([row[name] for row in own]) for name in ("barrier_unaligned", "barrier_permuted", "barrier")]
        lowered = sum(row["barrier"] < row["barrier_unaligned"] for row in own)
        lines.append(f"| {kind} | {len(own)} | {ends:.2f} | {' | '.join(cells)} | {lowered} of {len(own)} |")
    return lines


def transplant_table(rows: Sequence[Mapping[str, Any]], steps: int) -> list[str]:
    """Losses before and after, and how far below the random layer's."""
    lines = [
        f"| architecture | layer of | hosts | layers | loss before | after {steps} steps | beyond random, after |",
        "|---|---|---|---|---|---|---|",
    ]
    for (kind, relation), own in by(rows, lambda row: (row["kind"], row["relation"])):
        for layers in LAYERS:
            before, after = np.mean([row["losses"][layers] for row in own], axis=0)
            gains = [row["losses"]["random"][1] - row["losses"][layers][1] for row in own]
            beyond = "–" if layers == "random" else interval(gains)
            lines.append(f"| {kind} | {relation} | {len(own)} | {layers} | {before:.3f} | {after:.3f} | {beyond} |")
    return lines


def by(rows: Sequence[Mapping[str, Any]], key: Callable[[Mapping[str, Any]], Any]) -> list[tuple[Any, list[Any]]]:
    """The rows by a key, in the order in which the keys first come."""
    groups: dict[Any, list[Any]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return list(groups.items())


def spread(values: Sequence[float]) -> str:
    """Mean and range."""
    return f"{np.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def interval(values: Sequence[float]) -> str:
    """Mean and 95 % interval."""
    if len(values) < 2:
        return f"{values[0]:+.3f}"
    half = student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
    return f"{np.mean(values):+.3f} ± {half:.3f}"


if __name__ == "__main__":
    main()
