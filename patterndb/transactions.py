"""The boundary of the store: one transaction in, the driver's errors out as ours."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from patterndb.engine import IMMEDIATE, translate

__all__ = ["Transactions"]


class Transactions:
    """Transactions on one engine. Callers of the store never see a connection, a row or a driver's exception."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """A transaction that only reads."""
        with self._translating(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """A transaction that is committed at the end, and rolled back if anything is raised."""
        engine = self._engine.execution_options(**{IMMEDIATE: True})
        with self._translating(), engine.begin() as connection:
            yield connection

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise translate(error, self._engine.url) from error
