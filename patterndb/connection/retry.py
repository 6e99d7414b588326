"""Again when the server was away: PostgreSQL may restart, or end a connection, while a long run writes to it.

What was asked of the database is asked again as a whole, in a new transaction, until it is answered or the patience
ends. It may have been done before, where the answer to a commit was lost: so whatever is repeated must do no harm the
second time. A SQLite file is never away.
"""

import functools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from dna_zoo.errors import ConnectionLostError

__all__ = ["Patience", "survives_restarts"]

log = logging.getLogger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds between two attempts: the first, and what doubling it stops at."""

Given = ParamSpec("Given")
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to go on asking; whichever limit is reached first ends it."""

    attempts: int = 60
    seconds: float = 120.0


class _Patient(Protocol):
    """What has a server that may go away."""

    @property
    def patience(self) -> Patience: ...

    @property
    def is_known_to_answer(self) -> bool:
        """Whether the server has ever answered: one that never did is wrongly named, and is not waited for."""


Owner = TypeVar("Owner", bound=_Patient)


def survives_restarts(
    method: Callable[Concatenate[Owner, Given], Found],
) -> Callable[Concatenate[Owner, Given], Found]:
    """Decorate a method that is one transaction and may be repeated: it is, as often as the connection is lost.

    Raises `ConnectionLostError` when the patience ends.
    """

    @functools.wraps(method)
    def patiently(owner: Owner, /, *given: Given.args, **named: Given.kwargs) -> Found:
        started, attempt = time.monotonic(), 1
        while True:
            try:
                return method(owner, *given, **named)
            except ConnectionLostError as error:
                if not owner.is_known_to_answer:
                    raise
                waited = time.monotonic() - started
                if attempt >= owner.patience.attempts or waited >= owner.patience.seconds:
                    raise _given_up(error, attempt, waited) from error
                log.info("%s Attempt %d of `%s` follows.", error.message, attempt + 1, method.__name__)
                time.sleep(min(FIRST_PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE))
                attempt += 1

    return patiently


def _given_up(error: ConnectionLostError, attempts: int, waited: float) -> ConnectionLostError:
    hint = "Run the same command again when the server is back: finished stages are not repeated."
    return ConnectionLostError(f"{error.message} It was asked {attempts} times in {waited:.0f} s.", hint=hint)
