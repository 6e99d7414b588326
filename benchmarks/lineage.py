"""How far weight-level evidence reaches: the population of `benchmarks.population`, noise, and its cost at full size.

    python -m benchmarks.lineage --population /tmp/population   # some 1,300 pairs: about 5 minutes of one core
    python -m benchmarks.lineage --noise                        # specimens under noise, their order kept and redrawn
    python -m benchmarks.lineage --cost minilm-l6 PATH ...      # seconds and memory of a model against itself, shuffled

Of each set of pairs: how many, the least correlation and z of kin, the largest of strangers, the share called kin.
`--out NAME` writes the population's figures to `benchmarks/results/NAME.json`.
"""

import argparse
import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.kinship.gallery import Member, read_members
from benchmarks.kinship.lineage import Pair, choose_pairs, lineage_of
from pipeline.extract import WeightReader, extract
from pipeline.fetch import ModelRequest, fetch
from pipeline.lineage import LINEAGE_VERSION, Lineage, ModelWeights, compare_weights
from pipeline.lineage.records import Matrix
from zoo.tensors import TensorSpec

ROOT = Path(__file__).parent
SPECIMENS = ROOT.parent / "data" / "specimens"
SHARES = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
NOISED = (("bert-a", "bert-a"), ("bert-a-permuted", "bert-a"), ("cnn-a", "cnn-a"), ("gpt2-a", "gpt2-a"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--population", type=Path, help="folder that benchmarks.population made")
    parser.add_argument("--home", type=Path, help="where results are kept; beside the population if not given")
    parser.add_argument("--noise", action="store_true", help="disturb the specimens")
    parser.add_argument("--cost", nargs="+", default=[], metavar="MODEL", help="keys of the zoo or paths")
    parser.add_argument("--nulls", type=int, default=199, help="wrong alignments of each pair")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="name of the JSON")
    options = parser.parse_args(arguments)
    if options.population:
        rows = population(options.population, options)
        print_table(rows)
        if options.out:
            found = {"lineage_version": LINEAGE_VERSION, "nulls": options.nulls, "pairs": rows}
            (ROOT / "results" / f"{options.out}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if options.noise:
        print_table(noise(options))
    if options.cost:
        print_table(cost(options))


def population(folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each split, each architecture and each relation within a split."""
    home = options.home or folder.with_name(f"{folder.name}-mined")
    pairs = choose_pairs(read_members(folder))
    found = []
    for done, pair in enumerate(pairs, start=1):
        found.append(lineage_of(pair, home, num_nulls=options.nulls, seed=options.seed))
        if done % 100 == 0:
            print(f"compared {done} of {len(pairs)}", file=sys.stderr, flush=True)
    rows = []
    groups: list[Callable[[Member], str]] = [
        lambda m: m.split,
        lambda m: f"{m.split}: {m.architecture}",
        lambda m: f"{m.split}: {m.relation}",
    ]
    for group in groups:
        for name in dict.fromkeys(group(a) for a, _ in pairs):
            rows.append(
                {"pairs": name} | scores([(p, f) for p, f in zip(pairs, found, strict=True) if group(p[0]) == name])
            )
    return rows


def scores(found: Sequence[tuple[Pair, Lineage]]) -> dict[str, Any]:
    """Kin beside strangers; what cannot be said is in the verdicts alone."""
    kin = [lineage for (a, b), lineage in found if a.is_kin(b)]
    others = [lineage for (a, b), lineage in found if not a.is_kin(b)]
    return {
        "kin": len(kin),
        "r min": least(item.correlation for item in kin),
        "r median": median(item.correlation for item in kin),
        "z min": least(item.z for item in kin),
        "same": share(kin, "same lineage"),
        "others": len(others),
        "others r max": most(item.correlation for item in others),
        "others z max": most(item.z for item in others),
        "others same": share(others, "same lineage"),
        "cannot say": Counter(item.verdict for item in (*kin, *others))["cannot say"],
    }


def share(found: Sequence[Lineage], verdict: str) -> float | None:
    return sum(item.verdict == verdict for item in found) / len(found) if found else None


def known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def least(values: Iterable[float | None]) -> float | None:
    return min(known(values), default=None)


def most(values: Iterable[float | None]) -> float | None:
    return max(known(values), default=None)


def median(values: Iterable[float | None]) -> float | None:
    found = known(values)
    return float(np.median(found)) if found else None


def noise(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Gaussian noise of a share of each tensor's standard deviation, added to one of two kin."""
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


def cost(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A model against itself, and against a shuffled copy: where every order has to be searched for."""
    for name in options.cost:
        with opened(name) as model:
            for kind, other in (("itself", model), ("shuffled", altered(model, shuffle))):
                began, cpu = time.perf_counter(), time.process_time()
                found = compare_weights(model, other, num_nulls=options.nulls, seed=options.seed)
                yield {
                    "model": name,
                    "against": kind,
                    "weights": sum(spec.num_weights for spec in model.specs if spec.kind == "weight"),
                    "cpu s": time.process_time() - cpu,
                    "s": time.perf_counter() - began,
                    "peak GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
                } | figures(found)


def shuffle(spec: TensorSpec, values: Matrix) -> Matrix:
    rng = np.random.default_rng(sum(spec.name.encode()))
    return rng.permutation(values.ravel()).reshape(values.shape)


def figures(found: Lineage) -> dict[str, Any]:
    return {"r": found.correlation, "z": found.z, "verdict": found.verdict}


@contextmanager
def opened(name: str) -> Iterator[ModelWeights]:
    """The weights of a model, read when asked for."""
    with TemporaryDirectory() as home:
        files = fetch(ModelRequest(name=name), home=Path(home), offline=True)
    with WeightReader(files) as reader:
        yield ModelWeights(specs=extract(files).specs, load=reader.matrix, config=files.config)


def altered(model: ModelWeights, change: Callable[[TensorSpec, Matrix], Matrix]) -> ModelWeights:
    return replace(model, load=lambda spec: change(spec, model.load(spec)))


def print_table(rows: Iterable[Mapping[str, Any]]) -> None:
    """As the rows come, columns wide enough for what is in them."""
    rows = list(rows)
    lines = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)), flush=True)
    print()


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,.3f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    main()
