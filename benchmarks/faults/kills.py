"""A mine killed at random moments, half of the time twice in a row, and then let go on to its end."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.faults.commands import run, start
from benchmarks.faults.subject import Kept, difference, kept_in, mine_words, url_of, write_tiny_model
from benchmarks.faults.trial import Place, Trial
from dna_zoo.errors import StoreError
from patterndb.records import RunRecord
from patterndb.store import PatternDatabase

__all__ = ["try_kills"]

ROW = (1, 1, 2)
"""Kills in a row of one mine, in turn: half of all are in pairs."""
SURE = 0.9
"""The share of an undisturbed run's time in which a kill falls."""


def try_kills(place: Place) -> Iterator[Trial]:
    """Kill until there were so many kills in all; each trial is a mine that was killed once or twice."""
    model = write_tiny_model(place.fresh("model"), seed=1)
    expected, seconds = _undisturbed(place, model)
    killed, number = 0, 0
    while killed < place.count:
        kills = min(ROW[number % len(ROW)], place.count - killed)
        home = place.fresh("home")
        while not _killed_in_a_row(place, home, model, kills, seconds):
            shutil.rmtree(home)  # It was done before it was to be killed: that is no kill.
        killed_runs = _runs(home)
        # A process may be killed when its run has told its end: then everything is there already.
        is_done = any(each.status == "done" for each in killed_runs)
        wrong = f"a run is done: {missing}" if is_done and (missing := difference(kept_in(home), expected)) else ""
        ended = run(*mine_words(model), home=home)
        wrong += f"exit code {ended.code}: {ended.said[-600:]}" if ended.code else _wrong(home, expected, killed_runs)
        yield Trial(
            case=f"killed {'once' if kills == 1 else 'twice in a row'}",
            wrong=wrong,
            said=_stage(killed_runs),
            numbers={"kills": kills},
        )
        killed, number = killed + kills, number + 1
        shutil.rmtree(home)


def _undisturbed(place: Place, model: Path) -> tuple[Kept, float]:
    home = place.fresh("home")
    ended = run(*mine_words(model), home=home)
    assert ended.code == 0, ended.err
    return kept_in(home), ended.seconds


def _killed_in_a_row(place: Place, home: Path, model: Path, kills: int, seconds: float) -> bool:
    """Whether so many processes were killed before they were done."""
    for number in range(kills):
        command = start(*mine_words(model), home=home)
        # The second one has less to do.
        if command.is_done_within(place.rng.uniform(0, SURE * seconds / (1 + number))):
            return False
        command.kill()
    home.mkdir(exist_ok=True)
    return True


def _runs(home: Path) -> tuple[RunRecord, ...]:
    """Those that the database tells of, the latest first; none where it was killed before there was a schema."""
    try:
        with PatternDatabase.open(url_of(home), create=False) as database:
            return database.runs()
    except StoreError:
        return ()


def _stage(runs: Sequence[RunRecord]) -> str:
    """How far the killed runs were in the database: the last stage of all, or the end."""
    if not runs:
        return "before the run"
    stages = [stage.stage for each in runs for model in each.models for stage in model.stages]
    return "after its end" if runs[0].status == "done" else f"after {stages[-1]}" if stages else "before fetch"


def _wrong(home: Path, expected: Kept, killed_runs: Sequence[RunRecord]) -> str:
    """How the home differs from that of an undisturbed run, and its runs from what happened."""
    found = difference(kept_in(home), expected)
    before, after = ([each.status for each in runs] for runs in (killed_runs, _runs(home)))
    # What was killed is lost, and stays so.
    if set(before) - {"lost", "done"} or after != ["done", *before]:
        found += f" runs are {after}, and were {before}"
    return found
