"""Many rows into one table of PostgreSQL at once, as bytes that it takes as they are (COPY in its binary format)."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

__all__ = ["Field", "copy_rows"]

HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
END = b"\xff\xff"
PIECE = 256
"""Rows that are sent together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One column: its name, and a value of each row as the server sends and takes it."""

    name: str
    values: Sequence[bytes]


def copy_rows(connection: Connection, table: str, fields: Sequence[Field]) -> None:
    """Put in the rows, in the transaction of the connection. Raises what SQLAlchemy raises."""
    statement = f"COPY {table} ({', '.join(field.name for field in fields)}) FROM STDIN WITH (FORMAT BINARY)"
    raw: Any = connection.connection
    driver: Any = connection.dialect.dbapi
    try:
        with raw.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(HEAD)
            for piece in _pieces(fields):
                copy.write(piece)
            copy.write(END)
    except driver.Error as error:
        raise DBAPIError.instance(statement, None, error, driver.Error, dialect=connection.dialect) from error


def _pieces(fields: Sequence[Field]) -> Iterator[bytes]:
    head = struct.pack(">h", len(fields))
    lengths = [[struct.pack(">i", len(value)) for value in field.values] for field in fields]
    for start in range(0, len(fields[0].values), PIECE):
        piece = []
        for row in range(start, min(start + PIECE, len(fields[0].values))):
            piece.append(head)
            for sizes, field in zip(lengths, fields, strict=True):
                piece += (sizes[row], field.values[row])
        yield b"".join(piece)
