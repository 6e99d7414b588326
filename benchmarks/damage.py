"""A database on a bad disk: bytes are changed in copies of a SQLite file, and everything that answers from it is asked.

    python -m benchmarks.damage zoo.db --flips 900

Every answer must be the one of the whole file, or two sentences; other exceptions and other answers are counted, named,
and make exit code 1. Half of the changes are anywhere, half at the start of a page, where SQLite keeps what is where.
Of each change that was noticed, `dna-zoo db check` must find something.
"""

import argparse
import random
import shutil
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dna_zoo.errors import DnaZooError
from patterndb.checking import damages
from patterndb.store import PatternDatabase

__all__ = ["Found", "damage_copies"]

PAGE_START = 64
"""Bytes at the start of a page that say what is in it."""
Read = Callable[[PatternDatabase], Any]


@dataclass
class Found:
    """How the answers of damaged copies were."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    """Place of the byte, what was asked, and what came."""


def reads(a: str, b: str) -> Mapping[str, Read]:
    """What commands ask of a database, about all of it and about two of its models."""
    return {
        "show": lambda database: database.load_pattern(a, with_tensors=False),
        "load": lambda database: database.load_pattern(b),
        "compare": lambda database: database.compare_patterns(a, b),
        "similar": lambda database: database.get_similar_models(a),
        "taxonomy": lambda database: (database.signatures(), database.model_statistics()),
        "questions": lambda database: (database.signatures(with_nulls=False), database.current_models()),
        "models": lambda database: database.models(),
        "dashboard": lambda database: (database.patterns(), database.roles(), database.settings()),
        "export": lambda database: database.export_catalog("tensors").to_csv(),
        "export --model": lambda database: database.export_catalog("roles", keys=[a]).to_csv(),
    }


def damage_copies(path: Path, *, flips: int, seed: int) -> Found:
    """Change one byte in each of so many copies of the file, and ask them."""
    found = Found()
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole.db"
        content = _in_one_file(path, whole)
        with PatternDatabase.open(f"sqlite:///{whole}", create=False) as database:
            asked = reads(*(database.model_keys() * 2)[:2])
        right = {name: _answer(whole, read) for name, read in asked.items()}
        for place, changed in _changed(content, flips, seed):
            _judge(Path(folder) / "copy.db", changed, place, asked, right, found)
    return found


def _in_one_file(source: Path, target: Path) -> bytes:
    """A copy without a log beside it."""
    shutil.copy(source, target)
    connection = sqlite3.connect(target, isolation_level=None)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    return target.read_bytes()


def _changed(content: bytes, flips: int, seed: int) -> Iterator[tuple[int, bytes]]:
    rng = random.Random(seed)
    page = int.from_bytes(content[16:18], "big")
    for number in range(flips):
        at_start = page * rng.randrange(len(content) // page) + rng.randrange(PAGE_START)
        place = rng.randrange(len(content)) if number % 2 else at_start
        changed = bytearray(content)
        changed[place] ^= rng.randrange(1, 256)
        yield place, bytes(changed)


def _answer(path: Path, read: Read) -> str | DnaZooError:
    try:
        with PatternDatabase.open(f"sqlite:///{path}", create=False) as database:
            return repr(read(database))
    except DnaZooError as error:
        return error


def _judge(
    path: Path,
    content: bytes,
    place: int,
    asked: Mapping[str, Read],
    right: Mapping[str, str | DnaZooError],
    found: Found,
) -> None:
    for name, read in asked.items():
        path.write_bytes(content)
        try:
            answer = _answer(path, read)
        except Exception as error:  # Whatever it is, it must not come.
            kind, said = "another exception", repr(error)[:100]
        else:
            is_told = isinstance(answer, DnaZooError) and bool(answer.message and answer.hint)
            kind = "the same answer" if answer == right[name] else "two sentences" if is_told else "another answer"
            said = ""
        found.counts[kind] += 1
        if kind not in ("the same answer", "two sentences"):
            found.wrong.append(f"byte {place}, {name}: {kind} {said}")
        if kind != "the same answer" and not _is_found(path):
            found.wrong.append(f"byte {place}, {name}: nothing is found by db check")


def _is_found(path: Path) -> bool:
    try:
        return any(True for _ in damages(f"sqlite:///{path}"))
    except DnaZooError:
        return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database", type=Path)
    parser.add_argument("--flips", type=int, default=900)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    found = damage_copies(chosen.database, flips=chosen.flips, seed=chosen.seed)
    for kind, count in sorted(found.counts.items()):
        print(f"{count:6}  {kind}")
    print("\n".join(found.wrong))
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
