"""Tables of cells that strangers wrote, and places where a table must not be written."""

import csv
import json
import os
import re
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.hostile.place import Place, Trial, Wrong
from benchmarks.hostile.product import checked, command, raw_in
from benchmarks.hostile.sound import sound_home
from benchmarks.hostile.strange import odd_text, pick

__all__ = ["export_targets", "strange_cells"]

SUFFIXES = (".csv", ".md", ".tex", ".jsonl", ".parquet")
TABLES = ("catalog", "tensors", "roles", "signatures", "distances")
FORMULAS = ("=", "@", "+", "-", "\t", "\r")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|-?inf")


def strange_cells(place: Place, rng: np.random.Generator) -> Trial:
    """Models whose key, licence, family and tensors are anything; exported, listed and shown."""
    from dna_zoo.errors import StoreError
    from patterndb.store import PatternDatabase

    place.home.mkdir()
    path = place.home / "dna-zoo.db"
    shutil.copy(sound_home() / "dna-zoo.db", path)
    for end in ("-wal", "-shm"):
        if (beside := sound_home() / f"dna-zoo.db{end}").exists():
            shutil.copy(beside, f"{path}{end}")
    texts = [odd_text(rng)[:2_000] for _ in range(5)]
    with PatternDatabase.open(f"sqlite:///{path}") as database:
        pattern = database.load_pattern("one")
        model = replace(
            pattern.model, key=texts[0] or "k", family=texts[1], licence=texts[2], repo=texts[3], parents=(texts[4],)
        )
        first = replace(pattern.tensors[0], name=texts[2] or "t")
        try:
            # Before its key ends in a hash of the strange one: a pattern belongs to one model.
            database.save_pattern(
                replace(
                    pattern, pattern_key=pattern.pattern_key[::-1], model=model, tensors=(first, *pattern.tensors[1:])
                )
            )
        except StoreError:
            pass
    table, suffix = pick(rng, TABLES), pick(rng, SUFFIXES)
    file = place.home / f"x{suffix}"
    listing = pick(
        rng,
        (
            ("models",),
            ("models", "--format", "quiet"),
            ("similar", "two"),
            ("taxonomy",),
            ("questions",),
            ("show", texts[0] or "k"),
            ("compare", "two", texts[0] or "k"),
            ("models", "--text", texts[2]),
        ),
    )

    def trial() -> str:
        if not any("\x00" in word or "\ud800" <= word <= "\udfff" for word in listing):
            checked(command(place.home, *listing))
        said = checked(command(place.home, "export", str(file), "--table", table))
        if said.code:
            return "refused"
        CHECKS[suffix](file)
        return "answered"

    return trial


def _check_csv(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    raw_in(text, "the CSV file")
    rows = list(csv.reader(text.splitlines()))
    if {len(row) for row in rows} != {len(rows[0])}:
        raise Wrong("wrong", "rows of the CSV file have different lengths")
    for cell in (cell for row in rows[1:] for cell in row):
        if cell.startswith(FORMULAS) and not NUMBER.fullmatch(cell):
            raise Wrong("leaked", f"a spreadsheet computes the cell {cell[:100]!r}")


def _check_markdown(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    raw_in(text, "the Markdown file")
    lines = text.splitlines()
    counts = {len(re.sub(r"\\.", "", line).split("|")) for line in lines}
    if len(counts) != 1:
        raise Wrong("leaked", f"a cell of the Markdown file ends early: {counts}")
    plain = re.sub(r"\\.", "", text)
    if found := re.search(r"<\w|\]\(|`|(?<!\|)!\[|\bjavascript:[^ ]*\)", plain):
        raise Wrong("leaked", f"Markdown holds {found[0]!r}")


def _check_latex(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    raw_in(text, "the LaTeX file")
    allowed = {"\\", "{", "}"}
    for line in text.splitlines():
        if line.startswith("%"):
            continue
        if re.match(r"\s*\[", line):
            raise Wrong("leaked", "a row of the LaTeX file begins with [")
        if re.search(r"\\(input|write|immediate|include|openin|csname|catcode)", line):
            raise Wrong("leaked", f"the LaTeX file holds a command: {line[:200]!r}")
        if re.search(r"(?<!\\)[%#]", line):
            raise Wrong("leaked", f"the LaTeX file holds a bare sign: {line[:200]!r}")
    depth = 0
    for sign in re.sub(r"\\[{}\\]", "", text):
        depth += (sign == "{") - (sign == "}") if sign in allowed else 0
        if depth < 0:
            raise Wrong("leaked", "braces of the LaTeX file are not balanced")
    if depth:
        raise Wrong("leaked", "braces of the LaTeX file are not balanced")


def _check_lines(path: Path) -> None:
    for line in path.read_text(encoding="utf-8").split("\n"):
        if line:
            json.loads(line, parse_constant=lambda name: _refuse(name))


def _refuse(name: str) -> None:
    raise Wrong("wrong", f"JSON lines hold {name}")


def _check_parquet(path: Path) -> None:
    import pandas as pd

    if pd.read_parquet(path).empty:
        raise Wrong("wrong", "the Parquet file holds nothing")


CHECKS = {
    ".csv": _check_csv,
    ".md": _check_markdown,
    ".tex": _check_latex,
    ".jsonl": _check_lines,
    ".parquet": _check_parquet,
}


def export_targets(place: Place, rng: np.random.Generator) -> Trial:
    """A table for a place where something is: a file, a pipe, a socket, a folder, the database."""
    shutil.copytree(sound_home(), place.home)
    suffix = pick(rng, (*SUFFIXES, "", ".txt", ".db", ".CSV"))
    path = place.home / f"there{suffix}"
    database, content = place.home / "dna-zoo.db", b"precious"
    ways = (
        lambda: path.write_bytes(content),
        lambda: os.mkfifo(path),
        path.mkdir,
        lambda: path.symlink_to(database),
        lambda: os.link(database, path),
        lambda: path.symlink_to("/dev/null"),
        lambda: path.symlink_to(place.home / "nowhere"),
        lambda: path.symlink_to(path),
        lambda: _socket_at(path),
        lambda: (path.write_bytes(content), path.chmod(0o400)),
    )
    pick(rng, ways)()
    force = ("--force",) if rng.integers(3) == 0 else ()
    target = str(pick(rng, (path, path, path, place.home / "no" / "x.csv", database, f"{path}/x.csv", place.home)))
    before, listed = _state(path), sorted(each.name for each in place.home.iterdir())

    def trial() -> str:
        said = checked(command(place.home, "export", target, "--table", pick(rng, TABLES), *force))
        checked(command(place.home, "models"), codes=(0,))
        if (said.code or not force) and _state(path) != before:
            raise Wrong("overwritten", f"{target!r} was replaced")
        if said.code and sorted(each.name for each in place.home.iterdir()) != listed:
            raise Wrong("overwritten", "something is left of a table that was refused")
        return "refused" if said.code else "answered"

    return trial


def _socket_at(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # The name of a socket may have a hundred characters.
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def _state(path: Path) -> tuple[object, ...]:
    state = os.lstat(path)
    is_database = os.path.exists(path) and os.path.isfile(path) and path.read_bytes()[:6] == b"SQLite"
    content = path.read_bytes() if os.path.isfile(path) and not is_database else b""
    return (state.st_mode, state.st_ino, content)
