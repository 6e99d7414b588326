"""Names of folders, and what is given on the command line: keys, tags, notes, filters and paths."""

import contextlib
import os
import shutil
from pathlib import Path

import numpy as np

from benchmarks.hostile.kinds.models import tensors, write
from benchmarks.hostile.place import Place, Trial
from benchmarks.hostile.product import checked, checked_logs, command
from benchmarks.hostile.sound import OPTIONS, sound_home
from benchmarks.hostile.strange import odd_text, pick

__all__ = ["command_words", "folder_names"]

NAMES = (
    b"run.log",
    b"\xff\xfe",
    b"a\nb",
    b"\x1b[31m",
    b"a" * 255,
    "é".encode() * 100,
    b" ",
    b"-x",
    b"--help",
    b"...",
    b"a b",
    b"*",
    b"[x]",
    b"'",
    b'"',
    b"\\",
    b"$(touch x)",
    b"models--a--b",
    b"snapshots",
    b"checkpoint-1",
    b"\xe2\x80\xae",
    b"=1+1",
    b"m=x",
    b"model.safetensors",
    b"x.bin",
    b"x.gguf",
    b"\x7f",
    b"\xc2\x85",
    b"%s",
    b"~",
    b"con",
    b"minilm-l6",
    b"bert-base",
    b"a,b",
    b";",
)

COMMANDS = (
    "show {text}",
    "show one --run {text}",
    "models rename one {text}",
    "models tag one {text}",
    "models tag one {text} {other} --remove",
    "models note one {text}",
    "models rm {text}",
    "models versions {text}",
    "models --tag {text}",
    "models --family {text}",
    "models --columns {text}",
    "models --sort {text}",
    "models --limit {number}",
    "models --class {text}",
    "models --text {text}",
    "models prune --days {number}",
    "compare one {text}",
    "compare {text} {other}",
    "similar {text}",
    "similar one --limit {number}",
    "runs {text}",
    "runs --diff {text} {other}",
    "runs --limit {number}",
    "runs --since {text}",
    "runs --since {number}",
    "runs --status {text}",
    "rerun {text}",
    "export {text}",
    "export {other}.csv --columns {text}",
    "export x.csv --where {text}",
    "export x.csv --model {text}",
    "export x.csv --table {text}",
    "export x.tex --width {number}",
    "ask {text}",
    "questions {text}",
    "taxonomy {text}",
    "library show {text}",
    "library import {text}",
    "library build {text} --where {other}",
    "library export x {text}",
    "init {text}",
    "fetch {text}",
    "rebuild {text}",
    "evaluate {text}",
    "zoo show {text}",
    "zoo {text}",
    "mine {text} --dry-run",
    "mine --local {text} --name {other}",
    "mine --local {model} --name {text} --dry-run",
    "mine one --weights {text}",
    "mine one --epochs {number}",
    "mine one --nulls {number}",
    "mine one --seed {number}",
    "mine one --device {text}",
    "mine one --jobs {number}",
    "mine one --preset {text}",
    "mine one --state-dict {text} --dry-run",
    "tune {text}",
    "{text}",
    "report {text}",
    "plot {text} one",
    "combine {text} {other}",
    "transplant {text} {other}",
    "{text} {other}",
    "db copy {text} {other}",
    "db backup {text}",
    "db {text}",
    "explore {text}",
    "--home {text} models",
    "models --db sqlite:///{text}",
    "models --db {text}",
    "models --format {text}",
)
"""What is called. `{text}` and `{other}` stand for anything, `{number}` for what may be none, `{model}` for a model."""


def folder_names(place: Place, rng: np.random.Generator) -> Trial:
    """A sound model in a folder whose name is odd, beside one of the same name or below several of them."""
    name = pick(rng, NAMES)
    if rng.integers(3) == 0:
        name = odd_text(rng).encode("utf-8", "surrogateescape" if rng.integers(2) else "replace")[:250]
        name = name.replace(b"/", b"_").replace(b"\x00", b"_")
    name = b"x" if name in (b"", b".", b"..") else name
    depth = int(pick(rng, (1, 1, 1, 2, 8)))
    folder = Path(os.fsdecode(os.path.join(os.fsencode(place.model), *[name] * depth)))
    try:
        folder.mkdir(parents=True)
    except OSError:
        folder = place.model / "x"
        folder.mkdir()
    write(folder, tensors(rng))
    dry = () if place.is_whole else ("--dry-run",)
    key = str(pick(rng, ("m", odd_text(rng)[:300]))) if rng.integers(3) == 0 else None
    given = ("--local", str(folder), "--name", key) if key is not None else (str(folder),)

    def trial() -> str:
        said = checked(command(place.home, "mine", *dry, *OPTIONS, *given))
        checked_logs(place.home)
        checked(command(place.home, "models"))
        checked(command(place.home, "runs"))
        return "refused" if said.code else "answered"

    return trial


def command_words(place: Place, rng: np.random.Generator) -> Trial:
    """Anything in the place of a key, a tag, a note, a filter, a column, a number or a path."""
    shutil.copytree(sound_home(), place.home)
    given = _given(place, rng)
    write(place.model, tensors(rng))
    words = [word.format(**given).replace("\x00", "") for word in pick(rng, COMMANDS).split()]

    def trial() -> str:
        with contextlib.chdir(place.home):
            said = checked(command(place.home, *words), codes=(0, 1, 2, 3))
            checked(command(place.home, "models"), codes=(0,))
        return "refused" if said.code else "answered"

    return trial


def _given(place: Place, rng: np.random.Generator) -> dict[str, str]:
    """What stands in the places of `COMMANDS`."""
    text, other = odd_text(rng)[:3_000], odd_text(rng)[:100]
    number = pick(rng, ("-1", "0", "1e999", "nan", "9" * 400, "1.5", text, "", "inf", "0x10", "１"))
    return {"text": text, "other": other, "number": number, "model": str(place.model)}
