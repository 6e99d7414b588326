"""What strangers send: a right answer or two sentences; nothing run, nothing beside the home, nothing told."""

import ctypes
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.hostile import judge as judging
from benchmarks.hostile.__main__ import RIGHT, judged, merged, shared_out
from benchmarks.hostile.kinds import KINDS
from benchmarks.hostile.place import Kind, Place, Trial, Wrong
from benchmarks.hostile.strange import changed, damaged, odd_text

INPUTS, SEED = 500, 1
CHEAP = ("values of a header", "bytes of a header", "shapes", "fields of archives", "instructions of pickles")
"""Of which there are as many more as make `INPUTS`."""


def tasks() -> list[tuple[str, int, int]]:
    """Inputs of all kinds: of those that take seconds one each, of the others by their shares."""
    counts = {name: count if KINDS[name].is_quick else 1 for name, count in shared_out(INPUTS // 2).items()}
    more = -(-(INPUTS - sum(counts.values())) // len(CHEAP))
    counts |= {name: counts[name] + more for name in CHEAP}
    return [(name, SEED, number) for name, count in counts.items() for number in range(count)]


@pytest.mark.slow
def test_five_hundred_inputs_are_answered_rightly_or_refused_in_two_sentences() -> None:
    found = list(judged(tasks()))
    assert len(found) >= INPUTS
    wrong = [(each["kind"], each["number"], each["verdict"], each["reason"]) for each in found]
    assert [each for each in wrong if each[2] not in RIGHT] == []


def test_the_shares_make_as_many_inputs_as_are_asked_for_and_leave_no_kind_out() -> None:
    counts = shared_out(10_000)
    assert sum(counts.values()) >= 10_000
    assert counts.keys() == KINDS.keys() and counts["damaged databases"] >= 900


def test_an_input_depends_on_its_kind_seed_and_number_alone() -> None:
    drawn = [[odd_text(np.random.default_rng([SEED, number])) for number in range(50)] for _ in range(2)]
    assert drawn[0] == drawn[1] and len(set(drawn[0])) > 20


def test_damage_changes_bytes_only_where_it_is_asked_to() -> None:
    sound = bytes(range(200))
    for number in range(50):
        found = damaged(sound, np.random.default_rng(number), start=50, stop=100)
        assert found[:50] == sound[:50] and found.endswith(sound[100:])
    assert any(damaged(sound, np.random.default_rng(number)) != sound for number in range(5))


def test_a_changed_value_is_another_one_and_leaves_the_first_alone() -> None:
    sound = {"a": [1, {"b": 2}], "c": "x"}
    found = [changed(sound, np.random.default_rng(number)) for number in range(30)]
    assert sound == {"a": [1, {"b": 2}], "c": "x"} and any(each != sound for each in found)


def test_kinds_that_are_judged_again_replace_their_own_rows_alone() -> None:
    rows = [{"kind": "shapes", "inputs": 2}, {"kind": "GGUF files", "inputs": 3}]
    before = {"seed": 0, "inputs": 5, "rows": rows, "wrong": [{"kind": "shapes"}, {"kind": "GGUF files"}]}
    found = merged(before, {"seed": 0, "inputs": 4, "rows": [{"kind": "shapes", "inputs": 4}], "wrong": []})
    assert found["inputs"] == 7 and found["wrong"] == [{"kind": "GGUF files"}]
    assert merged(before, {"seed": 1, "inputs": 4, "rows": [], "wrong": []})["inputs"] == 4


def _writes_beside(place: Place) -> str:
    (place.root.parent / f"{place.root.name}-beside").write_bytes(b"")
    os.remove(place.root.parent / f"{place.root.name}-beside")
    return "answered"


def _writes_where_it_is(place: Place) -> str:
    ctypes.CDLL(None).mkdir(b"postgresql:", 0o700)  # Python tells nothing of it.
    return "answered"


def _opens_a_database_where_it_is(place: Place) -> str:
    sqlite3.connect("me:secret@host").close()
    return "answered"


def _opens_one_in_the_home(place: Place) -> str:
    place.home.mkdir()
    sqlite3.connect(place.home / "x.db").close()
    os.rename(place.home / "x.db", place.home / "y.db")
    sqlite3.connect(f"file://{place.home}/y.db?mode=ro&immutable=1", uri=True).close()
    return "answered"


def _starts_a_process(place: Place) -> str:
    subprocess.run([sys.executable, "-c", ""], check=True)
    return "answered"


def _works_for_ever(place: Place) -> str:
    while True:
        time.monotonic()


def _takes_memory(place: Place) -> str:
    return "answered" if np.ones(30 << 17).all() else ""


def _raises(place: Place) -> str:
    raise KeyError("x")


def _tells(place: Place) -> str:
    raise Wrong("told", "a password")


@pytest.mark.parametrize(
    ("act", "verdict"),
    [
        (_writes_beside, "escaped"),
        (_writes_where_it_is, "escaped"),
        (_opens_a_database_where_it_is, "escaped"),
        (_opens_one_in_the_home, "answered"),
        (_starts_a_process, "escaped"),
        (_works_for_ever, "hung"),
        (_takes_memory, "memory"),
        (_raises, "crashed"),
        (_tells, "told"),
        (lambda place: "refused", "refused"),
    ],
)
def test_the_judge_sees_what_must_not_be(
    act: Callable[[Place], str], verdict: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def make(place: Place, rng: np.random.Generator) -> Trial:
        return lambda: act(place)

    monkeypatch.setattr(judging, "KINDS", {"x": Kind(make=make)})
    monkeypatch.setattr(judging, "SECONDS", 0.2)
    monkeypatch.setattr(judging, "SPARE_MIB", 15)
    assert judging.judge("x", SEED, 0)["verdict"] == verdict
