"""A database on a bad disk: bytes are changed in copies of a SQLite file, and everything that answers from it is asked.

    python -m benchmarks.damage                           # of three tiny models that are mined for it
    python -m benchmarks.damage zoo.db --out ''           # of another one, and keep nothing
    python -m benchmarks.damage --page                    # the table of docs/reliability.md, from the kept result

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
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.faults.commands import run
from benchmarks.faults.subject import mine_words, write_tiny_model
from benchmarks.parts.scaffold import make_parser, read_results, write_figures, write_results
from dna_zoo.errors import DnaZooError
from patterndb.checking import damages
from patterndb.store import PatternDatabase

__all__ = ["Found", "answer_of", "damage_copies", "reads"]

PAGE, COMMAND = Path(__file__).parents[1] / "docs" / "reliability.md", "python -m benchmarks.damage --page"
PAGE_START = 64
"""Bytes at the start of a page that say what is in it."""
SAME, TOLD = "the same answer", "two sentences"
"""What may come of a question."""
Read = Callable[[PatternDatabase], Any]


@dataclass
class Found:
    """How the answers of damaged copies were."""

    of_questions: dict[str, Counter[str]] = field(default_factory=dict)
    """What was asked -> what came, and how often."""
    wrong: list[str] = field(default_factory=list)
    """Place of the byte, what was asked, and what came."""

    @property
    def counts(self) -> Counter[str]:
        """What came, and how often, of all questions."""
        return sum(self.of_questions.values(), Counter())


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
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole.db"
        content = _in_one_file(path, whole)
        with PatternDatabase.open(f"sqlite:///{whole}", create=False) as database:
            asked = reads(*(database.model_keys() * 2)[:2])
        found = Found(of_questions={name: Counter() for name in asked})
        right = {name: answer_of(whole, read) for name, read in asked.items()}
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


def answer_of(path: Path, read: Read) -> str | DnaZooError:
    """What a question gives, written out; the error where it is one of ours."""
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
            answer = answer_of(path, read)
        except Exception as error:  # Whatever it is, it must not come.
            kind, said = "another exception", repr(error)[:100]
        else:
            is_told = isinstance(answer, DnaZooError) and bool(answer.message and answer.hint)
            kind = SAME if answer == right[name] else TOLD if is_told else "another answer"
            said = ""
        found.of_questions[name][kind] += 1
        if kind not in (SAME, TOLD):
            found.wrong.append(f"byte {place}, {name}: {kind} {said}")
        if kind != SAME and not _is_found(path):
            found.wrong.append(f"byte {place}, {name}: nothing is found by db check")


def _is_found(path: Path) -> bool:
    try:
        return any(True for _ in damages(f"sqlite:///{path}"))
    except DnaZooError:
        return True


def mine_three(folder: Path) -> Path:
    """A database of three tiny models."""
    ended = run(*mine_words(*(write_tiny_model(folder / f"model-{seed}", seed) for seed in range(3))), home=folder)
    assert ended.code == 0, ended.err
    return folder / "dna-zoo.db"


def main() -> int:
    """Change bytes, print what came of them, keep the counts."""
    chosen = parse()
    if chosen.page:
        write_figures(PAGE, COMMAND, page_lines(read_results(chosen.out)))
        return 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        path = chosen.database or mine_three(Path(folder))
        found = damage_copies(path, flips=chosen.flips, seed=chosen.seed)
    for kind, count in sorted(found.counts.items()):
        print(f"{count:6}  {kind}")
    print("\n".join(found.wrong))
    if chosen.out:
        seconds = round(time.monotonic() - began)
        kept = {"flips": chosen.flips, "seed": chosen.seed, "seconds": seconds, "wrong": found.wrong}
        write_results(chosen.out, kept | {"of_questions": found.of_questions})
    return 1 if found.wrong else 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, out="damage")
    parser.add_argument("database", type=Path, nargs="?", help="a SQLite file; without it three models are mined")
    parser.add_argument("--flips", type=int, default=900)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--page", action="store_true", help="write the table into docs/reliability.md")
    return parser.parse_args()


def page_lines(kept: Mapping[str, Any]) -> Iterator[str]:
    """The kept counts as a table in Markdown."""
    yield "| what was asked | changed bytes | the same answer | two sentences | not right |"
    yield "|---|---:|---:|---:|---:|"
    for name, counts in kept["of_questions"].items():
        right = [counts.get(kind, 0) for kind in (SAME, TOLD)]
        yield f"| {name} | {kept['flips']:,} | {right[0]:,} | {right[1]:,} | {sum(counts.values()) - sum(right):,} |"
    yield ""
    misses = sum("db check" in each for each in kept["wrong"])
    yield f"Of what was not the same answer `db check` missed {misses:,}. Seed {kept['seed']}, {kept['seconds']:,} s."


if __name__ == "__main__":
    sys.exit(main())
