"""The session boundary: one transaction in, the driver's errors out as ours."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from patterndb.engine import IMMEDIATE, translate

__all__ = ["Sessions"]


class Sessions:
    """Transactions on one engine. Callers of the store never see a session, a row or a driver's exception."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        """A transaction that only reads."""
        with self._translating(), Session(self._engine) as session:
            yield session

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        """A transaction that is committed at the end, and rolled back if anything is raised."""
        engine = self._engine.execution_options(**{IMMEDIATE: True})
        with self._translating(), Session(engine) as session, session.begin():
            yield session

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise translate(error, self._engine.url) from error
