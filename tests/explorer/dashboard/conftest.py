"""Databases for the dashboard: of made-up patterns, and of two specimens that were really mined."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from explorer.dashboard.board import Board
from explorer.dashboard.serving import listening
from explorer.source import Source
from patterndb.records import PatternRecord
from patterndb.store import PatternDatabase
from tests.support.mining import database_of, mine_into, request
from tests.support.patterns import make_pattern, save_patterns

SPECIMENS = Path(__file__).parents[3] / "data" / "specimens"
MADE = ("alpha", "beta", "gamma", "delta", "epsilon")

MakeBoard = Callable[..., Board]
Serve = Callable[[Path], str]


def made(key: str, seed: int, *, modality: str = "text", architecture: str = "encoder") -> PatternRecord:
    """A pattern with settings that all of them have."""
    pattern = make_pattern(key, seed)
    model = replace(pattern.model, modality=modality, architecture=architecture)
    return replace(pattern, model=model, settings={"preset": "quick", "seed": 0})


@pytest.fixture
def board_of(tmp_path: Path, migrated_sqlite: Path) -> Iterator[MakeBoard]:
    """Makes a board on a database with these patterns."""
    with ExitStack() as stack:

        def make(*patterns: PatternRecord) -> Board:
            shutil.copy(migrated_sqlite, tmp_path / "dna-zoo.db")
            with database_of(tmp_path) as database:
                save_patterns(database, *patterns)
            opened = PatternDatabase.open(f"sqlite:///{tmp_path / 'dna-zoo.db'}", create=False)
            return Board(source=Source(database=stack.enter_context(opened), home=tmp_path))

        yield make


@pytest.fixture(scope="session")
def made_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five models: three of text, two of vision."""
    kinds = [("text", "encoder"), ("text", "encoder"), ("vision", "cnn"), ("vision", "encoder"), ("text", "decoder")]
    home = tmp_path_factory.mktemp("made")
    with database_of(home) as database:
        save_patterns(
            database,
            *(
                made(key, seed, modality=modality, architecture=architecture)
                for seed, (key, (modality, architecture)) in enumerate(zip(MADE, kinds, strict=True))
            ),
        )
    return home


@pytest.fixture(scope="session")
def board(made_home: Path) -> Iterator[Board]:
    """On these five models; not to be written to."""
    with PatternDatabase.open(f"sqlite:///{made_home / 'dna-zoo.db'}", create=False) as database:
        yield Board(source=Source(database=database, home=made_home))


@pytest.fixture
def own_board(made_home: Path, tmp_path: Path) -> Iterator[Board]:
    """The same on a copy."""
    shutil.copytree(made_home, tmp_path / "home")
    with PatternDatabase.open(f"sqlite:///{tmp_path / 'home' / 'dna-zoo.db'}", create=False) as database:
        yield Board(source=Source(database=database, home=tmp_path / "home"))


@pytest.fixture(scope="session")
def mined_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text encoder and a network for pictures, mined in a few seconds."""
    home = tmp_path_factory.mktemp("dashboard")
    mine_into(home, [request(SPECIMENS / key, key) for key in ("bert-a", "cnn-a")])
    return home


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves a home until the test ends, and says where."""
    with ExitStack() as stack:

        def start(home: Path) -> str:
            database = stack.enter_context(PatternDatabase.open(f"sqlite:///{home / 'dna-zoo.db'}", create=False))
            board = Board(source=Source(database=database, home=home))
            server = stack.enter_context(listening(board, host="127.0.0.1", port=0, tick_seconds=0.5))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_port}/"

        yield start
