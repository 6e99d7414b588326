"""The pattern database: what other packages open, and the only thing of this package that they need."""

from types import TracebackType
from typing import Self

from patterndb.engine import make_engine, masked, parse_url
from patterndb.pattern_store import PatternStore
from patterndb.run_store import RunStore
from patterndb.schema import prepare, require_existing

__all__ = ["PatternDatabase"]


class PatternDatabase(RunStore, PatternStore):
    """Patterns and runs in a SQLite file or a PostgreSQL database; a context manager that closes it.

    Takes and gives frozen records. Every failure is a `StoreError`; every method is a transaction of its own.
    """

    @classmethod
    def open(cls, url: str, *, create: bool = True) -> Self:
        """Open the database at `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/DATABASE`.

        With `create`, an absent SQLite file and an empty database are given the schema; without, they are errors.
        Raises `SchemaVersionError` for a database with another schema, `StoreError` for one that cannot be opened.
        """
        parsed = parse_url(url)
        if not create:
            require_existing(parsed)
        engine = make_engine(parsed)
        try:
            prepare(engine, create=create)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine)

    @property
    def url(self) -> str:
        """Where it is, fit to be shown: the password masked."""
        return masked(self._engine.url)

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
