"""Column types that come back as they went in, on SQLite and on PostgreSQL."""

import datetime as dt
from typing import Any

from sqlalchemy import JSON, DateTime
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from patterndb.floats import from_json, to_json
from patterndb.reading import as_utc

__all__ = ["FloatsJson", "UtcDateTime"]


class UtcDateTime(TypeDecorator[dt.datetime]):
    """An aware time, stored as UTC. SQLite drops the zone, so it is put back on the way out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        """UTC; a naive time is refused, because nobody knows what it means."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"Expected an aware datetime. Got {value!r}.")
        return value.astimezone(dt.UTC)

    def process_result_value(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        """Aware, in UTC, whatever the zone of the server's session."""
        return as_utc(value)


class FloatsJson(TypeDecorator[Any]):
    """Floats nested in mappings and sequences, NaN and infinities among them; sequences come back as tuples."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """JSON with names in place of non-finite numbers."""
        return None if value is None else to_json(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """The floats again."""
        return None if value is None else from_json(value)
