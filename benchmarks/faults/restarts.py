"""A PostgreSQL server killed or restarted at random moments of a mine, and back a little later."""

import shutil
from collections.abc import Iterator

from benchmarks.faults.commands import run, start
from benchmarks.faults.servers import Server, server
from benchmarks.faults.subject import difference, kept_in, mine_words, said_wrongly, write_tiny_model
from benchmarks.faults.trial import Place, Trial
from patterndb.store import PatternDatabase

__all__ = ["try_restarts"]

CASES = {"killed (immediate)": "immediate", "restarted (fast)": "fast"}
NEVER_ANSWERED = "Check that the server runs"
"""Said of a server that has not answered once: it is wrongly named, more likely than away, and is not waited for."""
LONGEST_AWAY = 2.0
"""Seconds that it stays away, at most; a mine waits for two minutes."""


def try_restarts(place: Place) -> Iterator[Trial]:
    """So many restarts in all, each in a mine of its own."""
    with server(place.fresh("server")) as postgres:
        yield from _restarts(place, postgres)


def _restarts(place: Place, postgres: Server) -> Iterator[Trial]:
    model = write_tiny_model(place.fresh("model"), seed=1)
    url, home = postgres.new_database(), place.fresh("home")
    ended = run(*mine_words(model), "--db", url, home=home)
    assert ended.code == 0, ended.err
    expected, seconds = kept_in(home, url), ended.seconds
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
        if not wrong:
            with PatternDatabase.open(url, create=False) as database:
                statuses = [each.status for each in database.runs()]
            wrong = "" if statuses == ["done"] else f"runs are {statuses}"
        yield Trial(case=case, wrong=wrong)
        shutil.rmtree(home, ignore_errors=True)
