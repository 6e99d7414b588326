"""PostgreSQL that ends connections, loses answers or is away for a while: what was asked is asked again."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from sqlalchemy import event, text
from sqlalchemy.engine.interfaces import DBAPIConnection

from dna_zoo.errors import ConnectionLostError, StoreError
from patterndb.connection.engine import parse_url
from patterndb.connection.retry import Patience
from patterndb.patterns.writing import SAVE_STEPS
from patterndb.records import RunModelRecord, StageRecord
from patterndb.store import PatternDatabase
from tests.support.patterns import make_pattern, save_patterns
from tests.support.servers import OwnServer, own_server

pytestmark = pytest.mark.postgres
OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend' AND application_name = 'dna-zoo-test'"
)


def terminate(url: str) -> None:
    """End the connections of the test's own database."""
    plain = parse_url(url).set(drivername="postgresql", query={}).update_query_dict(dict(parse_url(url).query))
    with psycopg.connect(plain.render_as_string(hide_password=False), autocommit=True) as connection:
        connection.execute(OTHERS)


@pytest.fixture
def named_url(postgres_url: str) -> str:
    """The database, and a name by which its connections are known."""
    return postgres_url + "&application_name=dna-zoo-test"


@pytest.fixture
def fragile(named_url: str) -> Iterator[PatternDatabase]:
    with PatternDatabase.open(named_url) as database:
        yield database


def after_statement(database: PatternDatabase, number: int, do: Callable[[], None]) -> list[int]:
    """Do something once, after so many statements; how many there were."""
    seen = [0]

    def count(*given: Any) -> None:
        seen[0] += 1
        if seen[0] == number:
            do()

    event.listen(database._engine, "after_cursor_execute", count)
    return seen


WRITES: dict[str, Callable[[PatternDatabase], None]] = {
    "start_run": lambda database: database.start_run("run-1", {"a": 1}, request_key="x"),
    "set_run_models": lambda database: database.set_run_models("run-1", ["alpha", "beta"]),
    "record_stage": lambda database: database.record_stage(
        "run-1", "alpha", StageRecord(stage="fit", key="k", status="done", seconds=1.0)
    ),
    "save_pattern": lambda database: database.save_pattern(make_pattern()),
    "finish_model": lambda database: database.finish_model(
        "run-1", RunModelRecord(key="alpha", status="done", pattern_key=make_pattern().pattern_key)
    ),
    "finish_run": lambda database: database.finish_run("run-1", "done", 0, seconds=2.0),
}
"""All that a run writes, in order."""


def write_all(database: PatternDatabase, disturb: Callable[[str], None] = lambda name: None) -> Any:
    """Write it; what is in the database afterwards, but for times."""
    for name, write in WRITES.items():
        disturb(name)
        write(database)
    run = database.run("run-1")
    kept = replace(run, started=run.started.min, finished=None, heartbeat=None)
    return kept, database.load_pattern("alpha"), len(database.patterns())


@pytest.mark.parametrize("broken", WRITES)
def test_a_connection_ended_within_a_transaction_is_survived(
    fragile: PatternDatabase, named_url: str, broken: str, database_of_another_run: Any
) -> None:
    def disturb(name: str) -> None:
        if name == broken:
            after_statement(fragile, 1, lambda: terminate(named_url))

    assert write_all(fragile, disturb) == database_of_another_run


@pytest.fixture
def database_of_another_run(postgres_url: str) -> Any:
    """What an undisturbed run leaves; the tables are empty again."""
    from tests.conftest import empty_tables

    with PatternDatabase.open(postgres_url) as database:
        found = write_all(database)
    empty_tables(postgres_url)
    return found


@pytest.mark.parametrize("broken", WRITES)
def test_a_commit_whose_answer_was_lost_is_repeated_without_harm(
    fragile: PatternDatabase, named_url: str, broken: str, database_of_another_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, lost = fragile._engine.dialect.do_commit, []

    def disturb(name: str) -> None:
        def do_commit(connection: DBAPIConnection) -> None:
            commit(connection)
            if not lost:
                lost.append(name)
                terminate(named_url)
                connection.cursor().execute("SELECT 1")  # Raises, as it would while the answer is awaited.

        if name == broken:
            monkeypatch.setattr(fragile._engine.dialect, "do_commit", do_commit)

    assert write_all(fragile, disturb) == database_of_another_run
    assert lost == [broken]


def test_what_is_read_is_read_again(fragile: PatternDatabase, named_url: str) -> None:
    save_patterns(fragile, make_pattern())
    for number, read in enumerate([fragile.runs, fragile.patterns, lambda: fragile.load_pattern("alpha")], 1):
        after_statement(fragile, number, lambda: terminate(named_url))
        assert read()


def test_steps_are_told_again_where_saving_begins_anew(fragile: PatternDatabase, named_url: str) -> None:
    fragile.start_run("run-1", {})
    steps: list[str] = []

    def on_step(step: str) -> None:
        steps.append(step)
        if steps == list(SAVE_STEPS[:3]):
            terminate(named_url)

    fragile.save_pattern(make_pattern(), on_step)
    assert tuple(steps) == SAVE_STEPS[:3] + SAVE_STEPS


def test_an_idle_connection_that_was_ended_is_replaced(fragile: PatternDatabase, named_url: str) -> None:
    terminate(named_url)
    with fragile._reading() as connection:  # Nothing here would ask again.
        assert connection.scalar(text("SELECT 1")) == 1


def test_a_server_that_never_answered_is_not_waited_for() -> None:
    started = time.monotonic()
    with pytest.raises(ConnectionLostError, match="No connection to"):
        PatternDatabase.open("postgresql://u@127.0.0.1:1/d")
    assert time.monotonic() - started < 5


def test_an_error_that_the_server_explains_is_not_repeated(fragile: PatternDatabase) -> None:
    fragile.start_run("run-1", {})
    seen = after_statement(fragile, -1, lambda: None)
    with pytest.raises(StoreError, match="cannot be kept"):
        fragile.finish_model("run-1", RunModelRecord(key="alpha", status="nonsense"))
    assert seen[0] < 8


# The server itself.


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    """One that keeps what it has confirmed, as servers do: `forget_the_disk` would not stand a stop like this."""
    with own_server() as started:
        yield started


@pytest.mark.slow
def test_a_server_that_is_away_for_a_while_is_waited_for(server: OwnServer) -> None:
    with PatternDatabase.open(server.url) as database:
        save_patterns(database, make_pattern())
        server.stop("immediate")
        later = threading.Timer(1.0, server.start)
        later.start()
        database.start_run("run-2", {})
        later.join()
        assert [run.run for run in database.runs()] == ["run-2", "run-1"]


@pytest.mark.slow
@pytest.mark.parametrize("patience", [Patience(seconds=0.3), Patience(attempts=3)])
def test_patience_ends_with_what_to_do(server: OwnServer, patience: Patience) -> None:
    with PatternDatabase.open(server.url) as database:
        database.patience = patience
        server.stop("fast")
        try:
            with pytest.raises(ConnectionLostError, match="It was asked") as caught:
                database.start_run("run-3", {})
        finally:
            server.start()
        assert "Run the same command again" in caught.value.hint
        database.start_run("run-3", {})
