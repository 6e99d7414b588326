"""Databases and homes with bytes changed: an answer is the undamaged one's, or there is none."""

import re
import shutil
import sqlite3
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.hostile.place import Place, Trial, Wrong
from benchmarks.hostile.product import checked, command
from benchmarks.hostile.sound import OPTIONS, copy_of_home, sound_home, sound_model
from benchmarks.hostile.strange import damaged, odd_value, pick

__all__ = ["damaged_database", "damaged_home", "odd_rows"]

READINGS = (
    ("show", "one", "--format", "json"),
    ("show", "two"),
    ("models", "--format", "json"),
    ("runs", "--format", "json"),
    ("similar", "one", "--format", "json"),
    ("compare", "one", "two", "--format", "json"),
    ("models", "versions", "one"),
    ("taxonomy", "--format", "json"),
    ("questions", "--format", "json"),
    ("db", "current"),
    ("db", "check"),
    ("export", "{}.csv"),
    ("export", "{}.jsonl", "--table", "tensors"),
    ("export", "{}.csv", "--table", "signatures"),
    ("export", "{}.tex", "--table", "roles"),
    ("export", "{}.md", "--table", "distances"),
)
DATABASE = "dna-zoo.db"


@cache
def _one_file() -> bytes:
    """The sound database as one file, without a log beside it."""
    copy = sound_home().parent / "whole.db"
    shutil.copy(sound_home() / DATABASE, copy)
    for end in ("-wal", "-shm"):
        if (beside := sound_home() / f"{DATABASE}{end}").exists():
            shutil.copy(beside, f"{copy}{end}")
    with sqlite3.connect(copy) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    return copy.read_bytes()


@cache
def _right(words: tuple[str, ...]) -> str:
    """What the sound database answers."""
    home = sound_home().parent / "asked"
    if not home.exists():
        home.mkdir()
        shutil.copytree(sound_home() / "runs", home / "runs")
        (home / DATABASE).write_bytes(_one_file())
    answer = _answer(home, words)
    assert answer is not None
    return answer


def _answer(home: Path, words: tuple[str, ...]) -> str | None:
    """What a command prints or writes, without the home's name; None where it is refused."""
    target = home / "exported"
    said = checked(command(home, *(each.format(target) for each in words)))
    found = sorted(home.glob("exported.*"))
    text = said.out + "".join(path.read_text(encoding="utf-8") for path in found)
    for path in found:
        path.unlink()
    return None if said.code else re.sub(" +", " ", text.replace(str(home), "HOME"))


def damaged_database(place: Place, rng: np.random.Generator) -> Trial:
    """Some bytes of the database changed, a page zeroed or the file cut; one reading of it."""
    data = _one_file()
    place.home.mkdir()
    shutil.copytree(sound_home() / "runs", place.home / "runs")
    (place.home / DATABASE).write_bytes(_damaged_pages(data, rng))
    words = pick(rng, READINGS)
    right = _right(words)

    def trial() -> str:
        answer = _answer(place.home, words)
        if answer is not None and answer != right:
            raise Wrong("other answer", f"{words}: {_first_difference(right, answer)}")
        return "refused" if answer is None else "answered"

    return trial


def _damaged_pages(data: bytes, rng: np.random.Generator) -> bytes:
    if rng.integers(4):
        found = bytearray(data)
        # A page that holds rows: single bits in the whole file would mostly hit space that is free.
        for _ in range(rng.integers(1, 40)):
            found[int(rng.integers(100 if rng.integers(10) else 0, len(data)))] ^= 1 << int(rng.integers(8))
        return bytes(found)
    if rng.integers(2):
        page = int(rng.integers(len(data) // 4096)) * 4096
        return data[:page] + pick(rng, (bytes(4096), b"\xff" * 4096, data[:4096])) + data[page + 4096 :]
    return damaged(data, rng)


def _first_difference(right: str, answer: str) -> str:
    place = next(
        (n for n, (a, b) in enumerate(zip(right, answer, strict=False)) if a != b), min(len(right), len(answer))
    )
    start = max(0, place - 80)
    return f"{right[start : place + 40]!r} became {answer[start : place + 40]!r}"


def odd_rows(place: Place, rng: np.random.Generator) -> Trial:
    """A cell of a sound file that holds another kind of value, as another program may write it; an answer or two
    sentences, right only where the cell does not matter."""
    place.home.mkdir()
    path = place.home / DATABASE
    path.write_bytes(_one_file())
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for _ in range(rng.integers(1, 4)):
            table = pick(rng, [each for each in tables if not each.startswith("sqlite_")])
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            ids = [row[0] for row in connection.execute(f"SELECT rowid FROM {table}")]
            if not ids:
                continue
            try:
                connection.execute(
                    f"UPDATE {table} SET {pick(rng, columns)} = ? WHERE rowid = ?", (_cell(rng), int(pick(rng, ids)))
                )
            except (sqlite3.Error, OverflowError, UnicodeEncodeError):
                continue
    connection.close()
    words = pick(rng, READINGS)

    def trial() -> str:
        return "refused" if _answer(place.home, words) is None else "answered"

    return trial


def _cell(rng: np.random.Generator) -> object:
    value = odd_value(rng)
    kept = isinstance(value, str | int | float) and not isinstance(value, bool)
    return (
        value if kept and rng.integers(3) else pick(rng, (b"\xff\xfe", b"", "{", "[]", "null", "1e999", None, "x", 0))
    )


def damaged_home(place: Place, rng: np.random.Generator) -> Trial:
    """A file of a stage or a run cut, emptied or changed, as a power cut leaves it; the model is mined once more."""
    home = copy_of_home(place.home)
    files = sorted(path for path in home.rglob("*") if path.is_file() and path.suffix not in (".db", ".lock", ".log"))
    files = [path for path in files if not path.name.startswith(DATABASE)]
    for _ in range(rng.integers(1, 4)):
        path = pick(rng, files)
        data = path.read_bytes() if path.exists() else b""
        way = rng.integers(4)
        if way == 0:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(pick(rng, (b"", data[: len(data) // 2], bytes(len(data)), damaged(data or b"x", rng))))
    right = _right(("show", "one", "--format", "json"))
    again = ("mine", "--local", str(sound_model(0)), "--name", "one", *OPTIONS)

    def trial() -> str:
        if checked(command(home, *again), codes=(0, 1, 3)).code:
            return "refused"
        said = checked(command(home, "show", "one", "--format", "json"), codes=(0,))
        if _figures(said.out) != _figures(right):
            raise Wrong(
                "wrong", "mining again gives other figures: " + _first_difference(_figures(right), _figures(said.out))
            )
        checked(command(home, "show", "two"))
        return "answered"

    return trial


def _figures(document: str) -> str:
    """What was found, without when, where and how long."""
    import json

    found = json.loads(document)
    kept = {
        name: each for name, each in found.items() if name in ("fit", "statistics", "roles", "tensors", "signature")
    }
    for each in kept.values():
        _without_time(each)
    return json.dumps(kept, sort_keys=True)


def _without_time(value: object) -> None:
    if isinstance(value, dict):
        for name in [each for each in value if "seconds" in each or "per_second" in each]:
            del value[name]
        for each in value.values():
            _without_time(each)
    elif isinstance(value, list):
        for each in value:
            _without_time(each)
