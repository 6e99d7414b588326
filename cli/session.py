"""What the options of every command set: where the database and the home folder are, how much to say and to draw."""

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cli.output import Format, Output
from dna_zoo.errors import SettingsError, StoreError
from dna_zoo.home import database_url, home_folder
from dna_zoo.text import without_secrets

if TYPE_CHECKING:
    from patterndb.store import PatternDatabase

__all__ = ["OPTIONS", "Session", "offline_mode", "session_of"]


@dataclass(slots=True, kw_only=True)
class Session:
    """One call of `dna-zoo`. Each field but the last is an option that every command has, as it was given."""

    db: str | None = None
    """None for the SQLite file in the home folder."""
    given_home: str | None = None
    """None for the platform's."""
    verbose: bool = False
    quiet: bool = False
    wide: bool = False
    debug: bool = False
    arguments: tuple[str, ...] = field(default=(), metadata={"is_option": False})
    """The words after `dna-zoo`."""

    def take(self, context: typer.Context) -> None:
        """Move these options out of the parameters of a command; what stands later on the command line counts.

        Raises `SettingsError` if they contradict each other.
        """
        for name in OPTIONS:
            value, source = context.params.pop(name, None), context.get_parameter_source(name)
            # The environment does not overrule what was given before the command.
            if value and (not getattr(self, name) or (source and source.name == "COMMANDLINE")):
                setattr(self, name, value)
        if self.verbose and self.quiet:
            raise SettingsError("`-v` and `-q` contradict each other.", hint="Give one of them.")

    @property
    def verbosity(self) -> int:
        """-1 for `-q`, 1 for `-v`."""
        return self.verbose - self.quiet

    def output(self, output_format: Format = Format.TABLE) -> Output:
        """Where the command says what it found."""
        return Output(output_format, verbosity=self.verbosity, wide=self.wide)

    @property
    def home(self) -> Path:
        """Where runs, checkpoints and the default database are."""
        return home_folder(self.given_home)

    @property
    def command_line(self) -> str:
        """The command as it was typed, without what may be a password."""
        from patterndb.connection.engine import without_password

        words = []
        for before, word in zip(("", *self.arguments), self.arguments, strict=False):
            option, equals, value = word.partition("=")
            if before == "--db":
                words.append(without_password(word))
            else:
                words.append(
                    f"--db={without_password(value)}" if option == "--db" and equals else without_secrets(word)
                )
        return shlex.join(["dna-zoo", *words])

    @property
    def database_url(self) -> str:
        """The database's URL, password and all: not to be shown."""
        return database_url(self.db, self.home)

    def make_home(self) -> Path:
        """The home folder, created if it is not there. Raises `StoreError` if it cannot be."""
        try:
            self.home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"The home folder {str(self.home)!r} cannot be created ({error.strerror or error}).",
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
    def database_if_there(self) -> Iterator["PatternDatabase | None"]:
        """The database; None where its SQLite file is not there yet."""
        from patterndb.connection.engine import file_of, parse_url

        path = file_of(parse_url(self.database_url))
        if path is not None and not path.exists():
            yield None
            return
        with self.database() as database:
            yield database


OPTIONS = tuple(each.name for each in fields(Session) if each.metadata.get("is_option", True))
"""The options of every command, by the names of their parameters."""


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
