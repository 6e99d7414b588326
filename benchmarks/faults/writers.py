"""Eight processes that mine into one database at once, the same model or different ones, one home or eight."""

from collections.abc import Callable, Iterator
from itertools import cycle, islice, product
from pathlib import Path

from benchmarks.faults.commands import run, start
from benchmarks.faults.servers import server
from benchmarks.faults.subject import mine_words, rows_of, url_of, write_tiny_model
from benchmarks.faults.trial import Place, Trial
from patterndb.store import PatternDatabase

__all__ = ["WRITERS", "try_writers_on_postgresql", "try_writers_on_sqlite"]

WRITERS = 8
Rows = dict[str, tuple[str, ...]]


def try_writers_on_sqlite(place: Place) -> Iterator[Trial]:
    """So many trials, each case in turn."""
    yield from _trials(place, "SQLite", lambda: url_of(_made(place.fresh("database"))))


def try_writers_on_postgresql(place: Place) -> Iterator[Trial]:
    """The same on a server of its own."""
    with server(place.fresh("server")) as postgres:
        yield from _trials(place, "PostgreSQL", postgres.new_database)


def _trials(place: Place, engine: str, new_database: Callable[[], str]) -> Iterator[Trial]:
    models = [write_tiny_model(place.fresh("model"), seed) for seed in range(WRITERS)]
    expected: dict[int, Rows] = {}
    for which, where in islice(
        cycle(product(("different models", "the same model"), ("one home", "a home each"))), place.count
    ):
        mined = [models[0]] * WRITERS if which == "the same model" else models
        homes = (
            [place.fresh("home")] * WRITERS
            if where == "one home"
            else [place.fresh(f"home{i}") for i in range(WRITERS)]
        )
        count, url = len(set(mined)), new_database()
        if count not in expected:
            expected[count] = _one_after_the_other(place, models[:count], new_database())
        wrong = _at_once(mined, homes, url) or _wrong(url, expected[count])
        numbers = {"writers": WRITERS, "rows": sum(map(len, rows_of(url).values()))}
        yield Trial(case=f"{engine}, {which}, {where}", wrong=wrong, numbers=numbers)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _one_after_the_other(place: Place, models: list[Path], url: str) -> Rows:
    for model in models:
        ended = run(*mine_words(model), "--db", url, home=place.fresh("home"))
        assert ended.code == 0, ended.err
    return rows_of(url)


def _at_once(models: list[Path], homes: list[Path], url: str) -> str:
    """Mine each model into its home; how one of them failed, if one did."""
    commands = [start(*mine_words(model), "--db", url, home=home) for model, home in zip(models, homes, strict=True)]
    ended = [command.wait() for command in commands]
    return "; ".join(f"exit code {each.code}: {each.said[-400:]}" for each in ended if each.code)


def _wrong(url: str, expected: Rows) -> str:
    """How the rows differ from those of one process after the other, and the runs from one a process."""
    found = rows_of(url)
    wrong = [
        f"{name} has {len(found[name])} rows, {len(rows)} are right"
        if len(found[name]) != len(rows)
        else f"{name} has other rows"
        for name, rows in expected.items()
        if found[name] != rows
    ]
    with PatternDatabase.open(url, create=False) as database:
        statuses = [each.status for each in database.runs()]
    return "; ".join([*wrong, *([] if statuses == ["done"] * WRITERS else [f"runs are {statuses}"])])
