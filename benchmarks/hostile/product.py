"""The product, as people use it: its commands in this process, and what must be true of all that it says."""

import contextlib
import io
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.hostile.place import Place, Truth, Wrong
from dna_zoo.errors import DnaZooError

__all__ = ["Said", "checked", "command", "met", "mined", "raw_in", "read", "refused"]

RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What must not reach a terminal."""
SENTENCE = re.compile(r"[.!?:…]['\")`]*(?:\s|$)")
LONGEST = 6_000
"""Characters of what is said of one input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a command said and ended with."""

    words: Sequence[str]
    code: int
    out: str
    err: str


def command(home: Path, *words: str, **environment: str) -> Said:
    """A command of the product in this process, with a home of its own."""
    from cli.main import app

    out, err = io.StringIO(), io.StringIO()
    own = {
        "DNA_ZOO_HOME": str(home),
        "COLUMNS": "150",
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(home / "hub"),
        "MPLCONFIGDIR": str(home),
    }
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _environment(own | environment):
        try:
            app(list(words), standalone_mode=True)
            code: Any = 0
        except SystemExit as stop:
            code = stop.code
    return Said(words=words, code=int(code or 0), out=out.getvalue(), err=err.getvalue())


@contextlib.contextmanager
def _environment(wanted: dict[str, str]) -> Any:
    before = {name: os.environ.get(name) for name in (*wanted, "DNA_ZOO_DB")}
    os.environ.pop("DNA_ZOO_DB", None)
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def checked(said: Said, *, codes: Sequence[int] = (0, 1, 2, 3)) -> Said:
    """The same, where it is an answer or two sentences, and no byte of it steers a terminal."""
    where = f"{list(said.words)!r:.300} ended with {said.code}"
    if said.code not in codes:
        raise Wrong("crashed", f"{where}: {said.err[-1500:]}")
    if "This is a bug" in said.err or "\nUnexpected" in f"\n{said.err}":
        raise Wrong("crashed", f"{where}: {said.err[-2500:]}")
    if "--debug" not in said.words and "Traceback" in said.err:
        raise Wrong("crashed", f"{where}: {said.err[-2500:]}")
    raw_in(said.out, where)
    raw_in(said.err, where)
    is_finding = said.words[:2] == ("db", "check") and bool(said.out)  # What is not as it must be, in rows.
    if said.code in (1, 2) and not is_finding and len(SENTENCE.findall(said.err)) < 2:
        raise Wrong("mute", f"{where} without two sentences: {said.err[-500:]!r}")
    if len(said.err) > LONGEST and "--debug" not in said.words:
        raise Wrong("mute", f"{where} with {len(said.err):,} characters: {said.err[:200]!r}")
    return said


def raw_in(text: str, where: str) -> None:
    """Raise `Wrong` where the text holds what steers a terminal."""
    if found := RAW.search(text):
        around = text[max(0, found.start() - 60) : found.end() + 20]
        raise Wrong("leaked", f"{where}: {found[0]!r} in {around!r}")


def refused(error: DnaZooError) -> str:
    """`refused`, where the error is two sentences that can be shown."""
    from dna_zoo.text import printable

    if not error.message.rstrip().endswith((".", "?", "!")) or not error.hint.rstrip().endswith((".", "?", "!", "`")):
        raise Wrong("mute", f"not two sentences: {error.message[:500]!r}, {error.hint[:500]!r}")
    if len(error.message) + len(error.hint) > LONGEST:
        raise Wrong("mute", f"{len(error.message):,} and {len(error.hint):,} characters: {error.message[:200]!r}")
    raw_in(printable(f"{error.message} {error.hint}", keep="\n"), "an error")
    return "refused"


def asked(question: Callable[[], Any]) -> Any:
    """What the question gives, None where it was refused in two sentences."""
    try:
        return question()
    except DnaZooError as error:
        refused(error)
        return None


def met(place: Place, truth: Callable[[], Truth] | Truth = None) -> Callable[[], str]:
    """The trial of a model in `place.model`: mined and shown, or read alone."""

    def trial() -> str:
        known = truth() if callable(truth) else truth
        return mined(place, known) if place.is_whole else read(place, known)

    return trial


def read(place: Place, truth: Truth) -> str:
    """Fetch and extract the model, describe it, and read every tensor; hold what is stored against the truth."""
    from pipeline.fetch.model_card import model_record
    from pipeline.fetch.request import ModelRequest
    from pipeline.fetch.stage import fetch
    from pipeline.weights.inventory import take_inventory
    from pipeline.weights.reader import WeightReader
    from zoo.tensors import FLOATING

    try:
        files = fetch(ModelRequest(name=str(place.model)), home=place.home, offline=True)
        with WeightReader(files) as reader:
            inventory = take_inventory(reader)
            model_record(files, inventory)
            known = reader.tensors
            for spec in inventory.specs:
                reader.matrix(spec) if spec.is_matrix else reader.tensor(spec.tensor)
            if truth is not None:
                compare(reader.stored, truth)
            looked_at = {spec.tensor for spec in inventory.specs}
            for name, tensor in known.items():
                is_small = prod(tensor.header.shape) < 1 << 22
                if tensor.header.dtype in FLOATING and is_small and name not in looked_at:
                    reader.tensor(name)
    except DnaZooError as error:
        return refused(error)
    return "answered"


def compare(stored: Any, truth: Any) -> None:
    """Raise `Wrong` for a tensor that is stored and not read, or read with other values."""
    if lost := sorted(set(truth) - set(stored)):
        raise Wrong("wrong", f"{lost[0]!r} is in the file, and was dropped without a word")
    for name, values in truth.items():
        found = stored[name].array()
        if found.shape != values.shape or not np.array_equal(found, values, equal_nan=found.dtype.kind == "f"):
            raise Wrong("wrong", f"{name!r} is read with other values")


def mined(place: Place, truth: Truth) -> str:
    """Mine the model through the command line, show and export it, and hold what was read against the truth."""
    said = command(place.home, "mine", "--local", str(place.model), "--name", "m", "--nulls", "1", "--epochs", "1")
    checked(said, codes=(0, 1, 3))
    checked_logs(place.home)
    if said.code != 0:
        runs = command(place.home, "runs", "--format", "json").out
        if '"running"' in runs:
            raise Wrong("stuck", "the run is left running")
        return "refused"
    exported = str(place.home / "x.csv")
    for words in (("show", "m"), ("show", "m", "--format", "json"), ("runs",), ("export", exported)):
        checked(command(place.home, *words), codes=(0,))
    return "answered" if truth is None else read(place, truth)


def checked_logs(home: Path) -> None:
    """Raise `Wrong` where a log has lines that somebody else wrote, or what steers a terminal."""
    for path in home.glob("runs/*/run.log"):
        if path.is_file():
            raw_in(path.read_text(encoding="utf-8", errors="surrogateescape"), path.name)
