"""A mine killed at random moments, half of the time twice in a row, and then let go on to its end."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmarks.faults.commands import run, start
from benchmarks.faults.subject import Kept, difference, kept_in, mine_words, url_of, write_tiny_model
from benchmarks.faults.trial import Place, Trial
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
        said = _stage(home)
        ended = run(*mine_words(model), home=home)
        wrong = f"exit code {ended.code}: {ended.said[-600:]}" if ended.code else _wrong(home, expected, kills)
        yield Trial(
            case=f"killed {'once' if kills == 1 else 'twice in a row'}",
            wrong=wrong,
            said=said,
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


def _stage(home: Path) -> str:
    """The last stage that was done in the database when it was killed."""
    if not (home / "dna-zoo.db").exists():
        return "before the database"
    try:
        with PatternDatabase.open(url_of(home), create=False) as database:
            stages = [stage.stage for run in database.runs() for model in run.models for stage in model.stages]
    except Exception:  # It was killed while the schema was made.
        return "in the schema"
    return f"after {stages[-1]}" if stages else "before fetch"


def _wrong(home: Path, expected: Kept, kills: int) -> str:
    """How the home differs from that of an undisturbed run, and its runs from what happened."""
    found = difference(kept_in(home), expected)
    with PatternDatabase.open(url_of(home), create=False) as database:
        statuses = [each.status for each in database.runs()]
    # A process may be killed before it has told of its run.
    if statuses[0] != "done" or set(statuses[1:]) - {"lost"} or len(statuses) > kills + 1:
        found += f" runs are {statuses}"
    return found
