"""A PostgreSQL server killed or restarted at random moments of a mine, and back a little later; in the end one that is
away for longer than it is waited for."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.faults.commands import run, start
from benchmarks.faults.servers import Server, server
from benchmarks.faults.subject import Kept, difference, kept_in, mine_words, said_wrongly, write_tiny_model
from benchmarks.faults.trial import Place, Trial
from dna_zoo.errors import StoreError
from patterndb.connection.engine import Transactions
from patterndb.connection.retry import Patience
from patterndb.store import PatternDatabase

__all__ = ["try_restarts"]

CASES = {"killed (immediate)": "immediate", "restarted (fast)": "fast"}
NEVER_ANSWERED = "Check that the server runs"
"""Said of a server that has not answered once: it is wrongly named, more likely than away, and is not waited for."""
LONGEST_AWAY = 2.0
"""Seconds that it stays away, at most; a mine waits for two minutes."""
IMPATIENT = Patience(seconds=3.0)
"""What takes the place of the two minutes where the server stays away."""
GIVEN_UP = ("It was asked", "Run the same command again when the server is back")


def try_restarts(place: Place) -> Iterator[Trial]:
    """So many restarts in all, each in a mine of its own, and one server that is not back in time."""
    model = write_tiny_model(place.fresh("model"), seed=1)
    with server(place.fresh("server")) as postgres:
        url, home = postgres.new_database(), place.fresh("home")
        ended = run(*mine_words(model), "--db", url, home=home)
        assert ended.code == 0, ended.err
        expected = kept_in(home, url)
        yield from _restarts(place, postgres, model, expected, ended.seconds)
        yield _not_back_in_time(place, postgres, model, expected)


def _restarts(place: Place, postgres: Server, model: Path, expected: Kept, seconds: float) -> Iterator[Trial]:
    done = 0
    while done < place.count:
        case = [*CASES][done % len(CASES)]
        url, home = postgres.new_database(), place.fresh("home")
        command = start(*mine_words(model), "--db", url, home=home)
        was_early = not command.is_done_within(place.rng.uniform(0, 0.9 * seconds))
        if was_early:
            postgres.stop(CASES[case])
            command.is_done_within(place.rng.uniform(0, LONGEST_AWAY))
            postgres.start()
        ended = command.wait()
        if not was_early:
            continue
        done += 1
        if NEVER_ANSWERED in ended.said:
            again = run(*mine_words(model), "--db", url, home=home)
            wrong = said_wrongly(ended, NEVER_ANSWERED) or difference(kept_in(home, url), expected)
            yield Trial(
                case="away before it was first asked: said, then repeated", wrong=wrong or again.said * bool(again.code)
            )
            continue
        wrong = (
            f"exit code {ended.code}: {ended.said[-600:]}" if ended.code else difference(kept_in(home, url), expected)
        )
        yield Trial(case=case, wrong=wrong or _other_runs(url, "done"))
        shutil.rmtree(home, ignore_errors=True)


def _not_back_in_time(place: Place, postgres: Server, model: Path, expected: Kept) -> Trial:
    """The command ends and says so, its run is lost, and the same command goes on with the server that is back."""
    url, home = postgres.new_database(), place.fresh("home")
    command = start(*mine_words(model), "--db", url, home=home, before=_be_impatient)
    while not command.is_done_within(0.05) and _is_at_no_stage(url):
        pass
    postgres.stop("fast")
    ended = command.wait()
    postgres.start()
    wrong = said_wrongly(ended, *GIVEN_UP) or _other_runs(url, "lost")
    again = run(*mine_words(model), "--db", url, home=home)
    wrong = wrong or again.said * bool(again.code) or difference(kept_in(home, url), expected)
    return Trial(
        case="away for longer than it is waited for: said, then repeated",
        wrong=wrong or _other_runs(url, "done", "lost"),
    )


def _be_impatient() -> None:
    """Let this process wait for a server as long as `IMPATIENT` says."""
    begin = Transactions.__init__

    def begin_impatiently(self: Transactions, *given: Any, **named: Any) -> None:
        begin(self, *given, **named)
        self.patience = IMPATIENT

    Transactions.__init__ = begin_impatiently  # type: ignore[method-assign]


def _is_at_no_stage(url: str) -> bool:
    """Whether no stage of a run is known to the database so far."""
    try:
        with PatternDatabase.open(url, create=False) as database:
            return not any(model.stages for each in database.runs() for model in each.models)
    except StoreError:  # It has no schema yet.
        return True


def _other_runs(url: str, *wanted: str) -> str:
    """What is wrong about the statuses of the runs, the latest first; empty where they are those."""
    with PatternDatabase.open(url, create=False) as database:
        statuses = [each.status for each in database.runs()]
    return "" if statuses == [*wanted] else f"runs are {statuses}"
