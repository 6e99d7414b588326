"""What the shell offers when Tab is pressed: names of models and runs. Where nothing is found, it offers files.

Nothing here may be slow, write anything or fail: a database that does not answer has no keys.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import typer

from cli.session import Session
from zoo.registry import ALL_CARDS

if TYPE_CHECKING:
    from patterndb.store import PatternDatabase

__all__ = ["card_keys", "mined_keys", "model_names", "run_names"]

MOST_RUNS = 1_000
"""Runs that are looked through; older ones are typed."""
SECONDS = "2"
"""How long a database server has to answer."""


def card_keys(incomplete: str) -> list[str]:
    """Keys of the zoo."""
    return [key for key in ALL_CARDS if key.startswith(incomplete)]


def mined_keys(context: typer.Context, incomplete: str) -> list[str]:
    """Keys in the database."""
    with suppress(Exception), _database(context) as database:
        return [key for key in database.model_keys() if key.startswith(incomplete)]
    return []


def model_names(context: typer.Context, incomplete: str) -> list[str]:
    """What can be mined by name: keys of the zoo, and the Hub ids in the database."""
    hub_ids = [key for key in mined_keys(context, incomplete) if "/" in key]
    return sorted({*card_keys(incomplete), *hub_ids})


def run_names(context: typer.Context, incomplete: str) -> list[str]:
    """Runs in the database, the one that was last heard of first."""
    with suppress(Exception), _database(context) as database:
        return [name for name in database.run_names(MOST_RUNS) if name.startswith(incomplete)]
    return []


@contextmanager
def _database(context: typer.Context) -> "Iterator[PatternDatabase]":
    """The database of the command line so far: no command has been called yet, so its options are taken here."""
    contexts: list[Any] = [context]
    while parent := contexts[0].parent:
        contexts.insert(0, parent)
    session = Session()
    for each in contexts:
        session.take(each)
    os.environ.setdefault("PGCONNECT_TIMEOUT", SECONDS)
    with session.database() as database:
        yield database
