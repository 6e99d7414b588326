"""What the options before the command set: where the database and the home folder are, how much to say."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dna_zoo.errors import StoreError

if TYPE_CHECKING:
    from patterndb.store import PatternDatabase

__all__ = ["DATABASE_NAME", "Session", "default_home", "offline_mode", "session_of"]

DATABASE_NAME = "dna-zoo.db"


def default_home() -> Path:
    """The platform's folder for user data; the same for `make mine` and for a bare `dna-zoo`."""
    from platformdirs import user_data_path

    return user_data_path("dna-zoo", appauthor=False)


@dataclass(slots=True, kw_only=True)
class Session:
    """One call of `dna-zoo`. Filled in by the options before the command, read by the command."""

    db: str | None = None
    """As given; None for the SQLite file in the home folder."""
    given_home: Path | None = None
    """As given; None for the platform's."""
    verbosity: int = 0
    """-1 for `-q`, 1 for `-v`."""
    debug: bool = False

    @property
    def home(self) -> Path:
        """Where runs, checkpoints and the default database are."""
        return self.given_home.expanduser() if self.given_home else default_home()

    @property
    def database_url(self) -> str:
        """The database's URL, password and all: not to be shown."""
        return self.db or f"sqlite:///{self.home / DATABASE_NAME}"

    def make_home(self) -> Path:
        """The home folder, made if it is not there. Raises `StoreError` if it cannot be."""
        try:
            self.home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"The home folder {str(self.home)!r} cannot be made ({error.strerror or error}).",
                hint="Name another with `--home` or DNA_ZOO_HOME.",
            ) from error
        return self.home

    @contextmanager
    def database(self, *, create: bool = False) -> Iterator["PatternDatabase"]:
        """The database, closed at the end; only commands that write may `create` it."""
        from patterndb.store import PatternDatabase

        if create:
            self.make_home()
        with PatternDatabase.open(self.database_url, create=create) as database:
            yield database


@contextmanager
def offline_mode(wanted: bool) -> Iterator[None]:
    """The Hugging Face client's own switch, thrown for as long as the command runs."""
    if not wanted:
        yield
        return
    before = os.environ.get("HF_HUB_OFFLINE")
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["HF_HUB_OFFLINE"]
        else:
            os.environ["HF_HUB_OFFLINE"] = before


def session_of(context: typer.Context) -> Session:
    """The session that the application was started with."""
    session = context.obj
    assert isinstance(session, Session)
    return session
