"""One command on one database, measured in this process: `python -m benchmarks.parts.database.commands COMMAND URL`.

Started by `benchmarks.database`; nothing is imported that the command itself does not need.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.parts.peak_memory import resident_mib
from patterndb.store import PatternDatabase

__all__ = ["COMMANDS", "ONCE", "seconds_of"]

REPETITIONS = 3
ONCE = ("index", "export", "export --table distances", "taxonomy", "questions")
"""They take long, and are measured once."""


def similar(database: PatternDatabase) -> object:
    return database.get_similar_models("model-000010", 5)


def similar_by_kind(database: PatternDatabase) -> object:
    return database.get_similar_models("model-000010", 5, by="kind")


def compare(database: PatternDatabase) -> object:
    return database.compare_patterns("model-000010", "model-000020")


def show(database: PatternDatabase) -> object:
    return database.load_pattern("model-000005", with_tensors=False)


def partial(database: PatternDatabase) -> object:
    return database.partial_models()


def export_model(database: PatternDatabase) -> object:
    return export(database, "catalog", keys=["model-000005"]), export(database, "signatures", keys=["model-000005"])


def export_catalog(database: PatternDatabase) -> object:
    return export(database, "catalog")


def export_distances(database: PatternDatabase) -> object:
    return export(database, "distances")


def export(database: PatternDatabase, table: str, *, keys: Sequence[str] | None = None) -> int:
    """As the command does, into a file that is gone afterwards; how many rows it had."""
    from patterndb.exports.files import write_pieces

    with tempfile.TemporaryDirectory() as folder:
        rows = write_pieces(database.export_pieces(table, keys=keys), Path(folder) / "table.csv", table=table)
        database.mixed_settings(keys=keys, signatures_only=table != "catalog")
    return rows


def index(database: PatternDatabase) -> object:
    return database.index()


def taxonomy(database: PatternDatabase) -> object:
    from pipeline.analyse.representatives import classify_all

    return classify_all(database)


def questions(database: PatternDatabase) -> object:
    from pipeline.analyse.representatives import ask_all

    return ask_all(database)


COMMANDS: Mapping[str, Callable[[PatternDatabase], object]] = {
    "show": show,
    "similar": similar,
    "similar --by kind": similar_by_kind,
    "compare": compare,
    "export --model": export_model,
    "partial models": partial,
    "index": index,
    "export": export_catalog,
    "export --table distances": export_distances,
    "taxonomy": taxonomy,
    "questions": questions,
}


def measure(command: str, url: str) -> dict[str, float]:
    """Seconds of the first call and the least of some more, and the peak of memory in MiB, of this process."""
    run = COMMANDS[command]
    with PatternDatabase.open(url, create=False) as database:
        before = time.process_time()
        first = warm = seconds_of(run, database)
        processor = time.process_time() - before
        if command not in ONCE:
            before = time.process_time()
            warm = min(seconds_of(run, database) for _ in range(REPETITIONS))
            processor = (time.process_time() - before) / REPETITIONS
    return {"first": first, "warm": warm, "processor": processor, "mib": resident_mib("VmHWM")}


def seconds_of(run: Callable[..., object], *arguments: object) -> float:
    """Of one call."""
    started = time.perf_counter()
    run(*arguments)
    return time.perf_counter() - started


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:])))
