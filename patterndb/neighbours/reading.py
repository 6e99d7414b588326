"""Signatures as arrays, read by pattern and held against their digests: which layouts there are, which patterns are the
current ones.

Names are read once for a layout and process: there are thousands, and a layout never changes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, Select, Text, func, select, type_coerce

from patterndb.connection.binary import as_bytes
from patterndb.connection.floats import unpack_array
from patterndb.neighbours.row_distances import Layout
from patterndb.patterns.digests import SIGNATURE, read_parts, require_layout
from patterndb.tables import MODELS, PATTERNS, SIGNATURE_LAYOUTS, SIGNATURES

__all__ = [
    "StoredLayout",
    "layouts_of",
    "read_current",
    "read_layouts",
    "read_own",
    "read_state",
    "read_values",
]

Ids = npt.NDArray[np.int64]
Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLayout:
    """A layout as the database has it."""

    id: int
    version: str
    digest: str
    dimensions: Layout


known_layouts: dict[str, Layout] = {}
"""Digest -> the layout."""


def layouts_of(version: str) -> Select[tuple[int]]:
    """Ids of the layouts of a version."""
    return select(SIGNATURE_LAYOUTS.c.id).where(SIGNATURE_LAYOUTS.c.version == version)


def read_layouts(connection: Connection) -> dict[int, StoredLayout]:
    """All layouts, by id."""
    columns = SIGNATURE_LAYOUTS.c
    found = connection.execute(select(columns.id, columns.version, columns.digest)).all()
    new = [each.id for each in found if each.digest not in known_layouts]
    if new:
        named = select(columns.digest, columns.version, columns.names).where(columns.id.in_(new))
        for row in connection.execute(named).all():
            require_layout(connection, row)
            known_layouts[row.digest] = Layout(tuple(row.names))
    return {
        each.id: StoredLayout(
            id=each.id, version=each.version, digest=each.digest, dimensions=known_layouts[each.digest]
        )
        for each in found
    }


def read_values(
    connection: Connection, layouts: Mapping[int, StoredLayout], wanted: Layout, ids: Sequence[int]
) -> dict[int, Vector]:
    """Pattern -> its signature as values of one layout; NaN for what is missing."""
    names_of, found = {each.digest: each.dimensions.names for each in layouts.values()}, {}
    with as_bytes(connection):
        for pattern_id, (own,) in read_parts(connection, [SIGNATURE], ids):
            ((_, digest, packed),) = own
            found[pattern_id] = wanted.take(names_of[digest], unpack_array(packed, len(names_of[digest])))
    return found


def read_current(connection: Connection, layout_id: int) -> tuple[Ids, Ids]:
    """The current patterns with a signature of this layout, and when they were confirmed.

    Of a hundred thousand models, ranking and parsing times in SQL take longer than reading all rows.
    """
    of_layout = select(SIGNATURES.c.pattern_id).where(SIGNATURES.c.layout_id == layout_id)
    described = PATTERNS.join(MODELS)
    query = select(MODELS.c.key, type_coerce(PATTERNS.c.confirmed_at, Text), PATTERNS.c.id).select_from(described)
    kept = connection.execute(query).all()
    if len({row[0] for row in kept}) < len(kept):
        newest: dict[str, Any] = {}
        for row in kept:
            if row[0] not in newest or tuple(newest[row[0]]) < tuple(row):
                newest[row[0]] = row
        kept = list(newest.values())
    # SQLite gives text, PostgreSQL times with a zone, which numpy does not take.
    times = [time if isinstance(time, str) else time.replace(tzinfo=None) for _, time, _ in kept]
    ids, stamps = np.array([row[2] for row in kept], dtype=np.int64), np.array(times, dtype="datetime64[us]")
    ours = np.isin(ids, np.array(connection.scalars(of_layout).all(), dtype=np.int64))
    order = np.argsort(ids[ours])
    return ids[ours][order], stamps.astype(np.int64)[ours][order]


def read_state(connection: Connection) -> str:
    """What changes whenever another pattern becomes a current one."""
    numbers = (func.count(), func.max(PATTERNS.c.id), func.sum(PATTERNS.c.id))
    newest = func.max(type_coerce(PATTERNS.c.confirmed_at, Text))
    return repr(tuple(connection.execute(select(*numbers, newest).select_from(PATTERNS)).one()))


def read_own(connection: Connection, name: str) -> Any:
    """Pattern, layout, version and file of the model key's current pattern; None without one."""
    query = (
        select(PATTERNS.c.id, SIGNATURES.c.layout_id, SIGNATURE_LAYOUTS.c.version, MODELS.c.sha256)
        .select_from(PATTERNS.join(MODELS).join(SIGNATURES).join(SIGNATURE_LAYOUTS))
        .where(MODELS.c.key == name)
    )
    newest_first = (PATTERNS.c.confirmed_at.desc(), PATTERNS.c.id.desc())
    return connection.execute(query.order_by(*newest_first).limit(1)).first()
