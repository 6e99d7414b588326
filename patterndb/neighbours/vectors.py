"""pgvector, where a PostgreSQL server has it: graphs in which the nearest signatures are found without reading all.

Of each layout there is a table beside the signatures, with three vectors a model and a graph (HNSW) on each: the signs
of the two parts of the fingerprint, and a random projection of the statistics. They are too short to say how far two
models are apart, but among the candidates that they name are the nearest, and exact distances rank those.

The tables are made from the signatures and belong to no schema version; a signature that is saved is put in as well.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, text

from patterndb.neighbours.row_distances import Layout
from patterndb.records import SignatureRecord
from patterndb.similarity import Criterion

__all__ = ["NUM_CANDIDATES", "PREFIX", "Vectors", "enable", "is_there", "keep_vectors"]

Vector = npt.NDArray[np.float64]
PREFIX = "signature_vectors_"
"""How the names of the tables begin; the layout's number follows."""
LEAST_VERSION = (0, 7)
"""The first pgvector that compares bits."""
PROJECTED = 512
"""Numbers of the projection of the statistics: distances keep their order up to 3 %."""
NUM_CANDIDATES = {"roles": 200, "names": 50, "kind": 300}
SEARCH_WIDTH = 400
"""How many places of a graph are kept in mind on the way (`hnsw.ef_search`)."""
BUILD_MEMORY = "512MB"
OPERATORS = {"roles": ("<~>", "bit_hamming_ops"), "names": ("<~>", "bit_hamming_ops"), "kind": ("<->", "vector_l2_ops")}
SEED = 0


def enable(connection: Connection) -> bool:
    """Have pgvector in this database if the server has it and lets us; whether it is there."""
    if connection.dialect.name != "postgresql":
        return False
    if _schema_of_extension(connection) is None:
        known = text("SELECT default_version FROM pg_available_extensions WHERE name = 'vector'")
        version = connection.scalar(known)
        allowed = connection.scalar(text("SELECT has_database_privilege(current_database(), 'CREATE')"))
        if version is None or _as_numbers(version) < LEAST_VERSION or not allowed:
            return False
        connection.execute(text("CREATE EXTENSION IF NOT EXISTS vector SCHEMA public"))
    return _schema_of_extension(connection) is not None


def _schema_of_extension(connection: Connection) -> str | None:
    """Where pgvector's types are; None without it, or with one too old."""
    query = text(
        "SELECT nspname, extversion FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace"
        " WHERE extname = 'vector'"
    )
    found = connection.execute(query).first()
    return None if found is None or _as_numbers(found.extversion) < LEAST_VERSION else str(found.nspname)


def _as_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


class Vectors:
    """The table of one layout, in one transaction."""

    def __init__(self, connection: Connection, layout_id: int, layout: Layout) -> None:
        self._connection, self._layout, self._table = connection, layout, f"{PREFIX}{layout_id}"
        self._sizes = {part: len(layout.parts[part]) for part in ("roles", "names")}

    @classmethod
    def find(cls, connection: Connection, layout_id: int, layout: Layout) -> "Vectors | None":
        """The table, if it is there; pgvector's types can be named from then on."""
        if not is_there(connection, layout_id):
            return None
        found = cls(connection, layout_id, layout)
        found._name_types()
        return found

    def create(self) -> None:
        """Make the table, empty. What is put in before `index` is faster."""
        self._name_types()
        roles, names = (max(self._sizes[part], 1) for part in ("roles", "names"))
        self._connection.execute(
            text(
                f"CREATE TABLE {self._table} (pattern_id INTEGER PRIMARY KEY REFERENCES signatures ON DELETE CASCADE,"
                f" roles bit({roles}), names bit({names}), kind vector({PROJECTED}))"
            )
        )

    def index(self) -> None:
        """Make the graphs."""
        self._connection.execute(text(f"SET LOCAL maintenance_work_mem = '{BUILD_MEMORY}'"))
        for part, (_, operators) in OPERATORS.items():
            self._connection.execute(text(f"CREATE INDEX ON {self._table} USING hnsw ({part} {operators})"))

    def put(self, ids: Sequence[int], values: Vector) -> None:
        """Keep the vectors of these patterns, (patterns, D)."""
        if not len(ids):
            return
        columns = (ids, *self._columns(ids, values))
        rows = [dict(zip(("pattern_id", *OPERATORS), row, strict=True)) for row in zip(*columns, strict=True)]
        casts = f"CAST(:roles AS {self._bits('roles')}), CAST(:names AS {self._bits('names')}), CAST(:kind AS vector)"
        self._connection.execute(text(f"INSERT INTO {self._table} VALUES (:pattern_id, {casts})"), rows)

    def candidates(self, pattern_id: int, values: Vector, by: Criterion) -> npt.NDArray[np.int64]:
        """Patterns that may be among the nearest to these values (D,)."""
        found: list[int] = []
        columns = zip(OPERATORS.items(), self._columns([pattern_id], values[None]), strict=True)
        self._connection.execute(text(f"SET LOCAL hnsw.ef_search = {SEARCH_WIDTH}"))
        for (part, (operator, _)), (own,) in columns:
            if (part == "kind") != (by == "kind"):
                continue
            kind = "vector" if part == "kind" else self._bits(part)
            query = text(
                f"SELECT pattern_id FROM {self._table} ORDER BY {part} {operator} CAST(:own AS {kind}) LIMIT :count"
            )
            if own is not None:
                found += self._connection.scalars(query, {"own": own, "count": NUM_CANDIDATES[part]})
        return np.unique(np.array(found, dtype=np.int64))

    def _name_types(self) -> None:
        schema = _schema_of_extension(self._connection)
        path = "concat_ws(', ', nullif(current_setting('search_path'), ''), quote_ident(:schema))"
        self._connection.execute(text(f"SELECT set_config('search_path', {path}, true)"), {"schema": schema})

    def _bits(self, part: str) -> str:
        return f"bit({max(self._sizes[part], 1)})"

    def _columns(self, ids: Sequence[int], values: Vector) -> Iterator[list[str | None]]:
        """The vectors as PostgreSQL reads them; None where a model has nothing of the kind."""
        for part in ("roles", "names"):
            own = values[:, self._layout.parts[part]]
            # What is missing is drawn: it agrees with half of anything.
            drawn = np.stack(
                [np.random.default_rng((SEED, pattern_id)).random(own.shape[1]) < 0.5 for pattern_id in ids]
            )
            present = np.isfinite(own)
            bits = np.where(present, own > 0, drawn)
            texts = [(row + ord("0")).tobytes().decode() for row in bits.astype(np.uint8)]
            yield [bits if count else None for bits, count in zip(texts, present.sum(axis=1), strict=True)]
        own = values[:, self._layout.parts["statistics"]]
        projected = np.where(np.isfinite(own), own, 0.0) @ _projection(own.shape[1])
        yield [f"[{','.join(map('{:.6g}'.format, row))}]" for row in np.clip(projected, -1e30, 1e30).tolist()]


def keep_vectors(connection: Connection, pattern_id: int, layout_id: int, signature: SignatureRecord) -> None:
    """Put in a signature that was just saved, where its layout has a table; what stood there is gone with it."""
    found = Vectors.find(connection, layout_id, Layout(signature.names))
    if found is not None:
        found.put([pattern_id], np.array([signature.values], dtype=np.float64))


def is_there(connection: Connection, layout_id: int) -> bool:
    """Whether the layout has a table."""
    name = {"name": f"{PREFIX}{layout_id}"}
    is_postgres = connection.dialect.name == "postgresql"
    return is_postgres and bool(connection.scalar(text("SELECT to_regclass(:name) IS NOT NULL"), name))


@lru_cache(maxsize=4)
def _projection(length: int) -> Vector:
    """(length, PROJECTED): distances stay what they are in the mean (Johnson and Lindenstrauss 1984)."""
    drawn: Vector = np.random.default_rng(SEED).standard_normal((length, PROJECTED))
    return np.asarray(drawn / np.sqrt(PROJECTED))
