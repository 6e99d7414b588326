"""Golden results: what one version found in the specimens and in MiniLM-L6, held against what this version finds.

    python -m benchmarks.golden              # mine, compare with the kept results, print a line for each part
    python -m benchmarks.golden --write      # mine, keep the results of this version
    python -m benchmarks.golden --home DIR   # where to mine; what is finished there is reused

Compared are orders (by digest), fits, statistics, signatures, classes, clusters, distances and the verdicts of the
alignment test, and one short fit of each other kind of DNA. Floats are compared bit for bit; a difference is printed
with its size. Exit code 1 if anything differs.
"""

import argparse
import contextlib
import gzip
import hashlib
import itertools
import json
import math
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from patterndb.records import PatternRecord
from patterndb.store import PatternDatabase
from pipeline.fetch.request import ModelRequest
from pipeline.kept.stages import StageStore
from pipeline.lineage.mined import MinedLineage
from pipeline.runs.runner import mine
from pipeline.settings import AnalysisSettings, MineSettings, preset

__all__ = ["GOLDEN", "OTHER_KINDS", "SPECIMENS", "Difference", "compare", "flatten", "read", "sections_of", "take"]

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "tests" / "data" / "golden" / "golden.json.gz"
SPECIMENS = tuple(sorted(path.parent for path in (ROOT / "data" / "specimens").glob("*/specimen.json")))
STATISTIC_FIELDS = ("value", "null_mean", "null_std")
"""Of the single tensors' statistics; z and p follow from the draws behind these."""
OTHER_KINDS: Mapping[str, Mapping[str, Any]] = {
    "spectral": {"dna_type": "spectral"},
    "hierarchical": {"dna_type": "hierarchical"},
    "adaptive": {"dna_type": "adaptive"},
    "spectral-bf16": {"dna_type": "spectral", "precision": "bf16"},
    "hierarchical-model": {"dna_type": "hierarchical", "scope": "model"},
    "separable-model": {"dna_type": "separable", "scope": "model", "epochs": 20},
    "separable-raw": {"order": "raw", "epochs": 20},
}
"""Short fits of one specimen."""
Golden = dict[str, dict[str, Any]]


def take(home: Path, *, with_minilm: bool = True) -> Golden:
    """Mine into `home` and describe what was found: section -> path -> value."""
    names = [str(path) for path in SPECIMENS] + (["minilm-l6"] if with_minilm else [])
    home.mkdir(parents=True, exist_ok=True)
    with PatternDatabase.open(f"sqlite:///{home / 'dna-zoo.db'}") as database:
        run = mine([ModelRequest(name=name) for name in names], MineSettings(), database=database, home=home)
        assert run.exit_code == 0, run
        found = sections_of(database, run.run, home)
    found["other kinds"] = flatten(_other_kinds(home / "other-kinds"))
    return found


def sections_of(database: PatternDatabase, run: str, home: Path) -> Golden:
    """What a run left in the database and in the home."""
    found: dict[str, dict[str, Any]] = {}
    record = database.run(run)
    keys = [model.key for model in record.models]
    for model in record.models:
        pattern = database.load_pattern(model.key)
        for section, value in _pattern_sections(pattern).items():
            found.setdefault(section, {})[model.key] = value
        stage = next(stage for stage in model.stages if stage.stage == "order")
        found.setdefault("orders", {})[model.key] = _orders(
            StageStore(home).directory("order", stage.key) / "order.safetensors"
        )
    frame = database.export_catalog("distances")
    found["distances"] = {
        f"{row.a} {row.b}": [row.weights, row.kind] for row in frame.itertuples() if {row.a, row.b} <= set(keys)
    }
    lineage = MinedLineage.of(database, home=home)
    found["verdicts"] = {f"{a} {b}": asdict(lineage.compare(a, b)) for a, b in itertools.combinations(sorted(keys), 2)}
    return {section: flatten(value) for section, value in found.items()}


def _pattern_sections(pattern: PatternRecord) -> dict[str, Any]:
    """One pattern, section by section, without times and versions."""
    data = asdict(pattern)
    fits = {"model": data["fit"], **{role["role"]: role["fit"] for role in data["roles"]}}
    fits |= {f"tensor {tensor['name']}": tensor["fit"] for tensor in data["tensors"]}
    for fit in fits.values():
        if fit is not None:
            del fit["seconds"]
    statistics = {"model": {each["name"]: each for each in data["statistics"]}}
    statistics |= {role["role"]: {each["name"]: each for each in role["statistics"]} for role in data["roles"]}
    statistics |= {
        f"tensor {tensor['name']}": {
            each["name"]: {field: each[field] for field in STATISTIC_FIELDS} for each in tensor["statistics"]
        }
        for tensor in data["tensors"]
    }
    signature = data["signature"]
    return {
        "fits": fits,
        "statistics": statistics,
        "signatures": {
            "z": _digest(json.dumps(signature["z"]).encode()),
            "p": _digest(json.dumps(signature["p"]).encode()),
            **{
                name: value
                for name, value in zip(signature["names"], signature["values"], strict=True)
                if value is not None
            },
        },
        "classes": {
            "model": {name: data[name] for name in ("pattern_class", "class_scores", "class_margin")},
            "roles": {role["role"]: role["pattern_class"] for role in data["roles"]},
            "tensors": {
                tensor["name"]: [tensor["pattern_class"], tensor["class_scores"]] for tensor in data["tensors"]
            },
        },
        "clusters": {
            role: _digest(json.dumps(cluster, sort_keys=True).encode()) for role, cluster in data["clusters"].items()
        },
        "profiles": data["frequency_profile"],
    }


def _orders(path: Path) -> dict[str, str]:
    """Digest of each permutation and sign vector."""
    return {name: _digest(array.tobytes()) for name, array in load_file(path).items()}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _other_kinds(home: Path) -> dict[str, Any]:
    """Fit reports of short fits of the kinds that are not the default."""
    source = next(path for path in SPECIMENS if path.name == "bert-b")
    found = {}
    for name, changes in OTHER_KINDS.items():
        settings = replace(preset("quick", **{"epochs": 2, "precision": "fp32", **changes}), num_nulls=1, budget=0.05)
        folder = home / name
        folder.mkdir(parents=True, exist_ok=True)
        with PatternDatabase.open(f"sqlite:///{folder / 'dna-zoo.db'}") as database:
            run = mine(
                [ModelRequest(name=str(source))],
                MineSettings(fit=settings, analysis=AnalysisSettings(num_nulls=0)),
                database=database,
                home=folder,
            )
            assert run.exit_code == 0, run
            found[name] = _pattern_sections(database.load_pattern("bert-b"))["fits"]
    return found


def flatten(value: Any, path: str = "") -> dict[str, Any]:
    """Leaves by their path: numbers, strings and None."""
    if isinstance(value, Mapping):
        items: Iterator[tuple[object, Any]] = iter(value.items())
    elif isinstance(value, list | tuple):
        items = iter(enumerate(value))
    else:
        return {path: value}
    return {
        name: leaf for key, item in items for name, leaf in flatten(item, f"{path}/{key}" if path else str(key)).items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How one section of two results differs."""

    same: int
    """Leaves that are equal, floats bit for bit."""
    changed: tuple[str, ...]
    """Paths of leaves that differ."""
    largest: float
    """Largest relative difference of two finite numbers among them."""
    missing: tuple[str, ...]
    """Paths that the golden results have and the others have not."""
    added: tuple[str, ...]

    @property
    def is_none(self) -> bool:
        return not (self.changed or self.missing or self.added)


def compare(golden: Mapping[str, Any], found: Mapping[str, Any]) -> Difference:
    """One section of the golden results beside the same of others, both flat."""
    shared = [path for path in golden if path in found]
    changed = [path for path in shared if not _same(golden[path], found[path])]
    sizes = [_size(golden[path], found[path]) for path in changed]
    return Difference(
        same=len(shared) - len(changed),
        changed=tuple(changed),
        largest=max(sizes, default=0.0),
        missing=tuple(path for path in golden if path not in found),
        added=tuple(path for path in found if path not in golden),
    )


def _same(a: Any, b: Any) -> bool:
    return a == b or (isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b))


def _size(a: Any, b: Any) -> float:
    numbers = (int, float)
    if not (isinstance(a, numbers) and isinstance(b, numbers)) or not (math.isfinite(a) and math.isfinite(b)):
        return math.inf
    return abs(a - b) / max(abs(a), abs(b))


def read(path: Path = GOLDEN) -> Golden:
    """The kept results."""
    golden: Golden = json.loads(gzip.decompress(path.read_bytes()))
    return golden


def write(found: Golden, path: Path = GOLDEN) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(json.dumps(found, separators=(",", ":")).encode(), mtime=0))


def report(golden: Golden, found: Golden, *, num_shown: int = 5) -> bool:
    """Print a line for each section; whether all are the same."""
    differences = {section: compare(golden[section], found.get(section, {})) for section in golden}
    for section, each in differences.items():
        total = each.same + len(each.changed) + len(each.missing)
        print(f"{section:12} {each.same:7,} of {total:7,} the same", end="")
        print(f", largest relative difference {each.largest:.2e}" if each.changed else "")
        for word, paths in (("differs", each.changed), ("missing", each.missing), ("new", each.added)):
            for path in paths[:num_shown]:
                shown = f": {golden[section][path]!r} -> {found[section][path]!r}" if word == "differs" else ""
                print(f"    {word}: {path}{shown}")
            if len(paths) > num_shown:
                print(f"    ... {word}: {len(paths) - num_shown:,} more")
    same = sum(each.same for each in differences.values())
    total = sum(len(section) for section in golden.values())
    print(f"golden: {same:,} of {total:,} values the same")
    return all(each.is_none for each in differences.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="keep the results in place of the kept ones")
    parser.add_argument("--home", type=Path, help="where to mine (default: a temporary folder)")
    parser.add_argument("--no-minilm", action="store_true", help="the specimens alone")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        home = options.home or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dna-zoo-golden-")))
        found = take(home, with_minilm=not options.no_minilm)
    if options.write:
        write(found)
        return 0
    golden = read()
    if options.no_minilm:
        golden = {
            section: {path: value for path, value in values.items() if "minilm-l6" not in path}
            for section, values in golden.items()
        }
    return 0 if report(golden, found) else 1


if __name__ == "__main__":
    sys.exit(main())
