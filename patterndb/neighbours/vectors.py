"""pgvector, where a PostgreSQL server has it: models that may be near are found without reading all signatures.

Of each layout there are two tables beside the signatures. One is narrow and read through: the signs of the fingerprint
by role, and the fingerprint by name. Fingerprints of unrelated models are independent numbers, in which no graph shows
the way to the few that are related (`python -m benchmarks.graphs`), and a whole row of theirs takes 0.9 kB. The other
has a random projection of the statistics with a graph (HNSW), and the signatures in codes.

What is found are candidates. Their codes leave out most of them, and exact distances rank the rest. The tables are
made from the signatures and belong to no schema version; a signature that is saved is put in as well.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, text

from patterndb.bulk import Field, copy_rows
from patterndb.neighbours.code_rows import pack_rows
from patterndb.neighbours.codes import encode
from patterndb.neighbours.row_distances import Layout
from patterndb.records import SignatureRecord
from patterndb.similarity import Criterion

__all__ = ["PREFIX", "Vectors", "drop_others", "enable", "is_there", "keep_vectors"]

Ids = npt.NDArray[np.int64]
Vector = npt.NDArray[np.float64]
PREFIX = "signature_vectors_"
"""How the names of all these tables begin."""
TABLES = PREFIX + "2_"
"""How those begin that this version makes; the layout's number follows."""
LEAST_VERSION = (0, 7)
"""The first pgvector that compares bits."""
PROJECTED = 256
"""Numbers of the projection of the statistics: distances keep their order up to 4 %."""
NUM_CANDIDATES: Mapping[Criterion, int] = {"weights": 400, "kind": 400}
SEARCH_WIDTH = 400
"""How many places of a graph are kept in mind on the way (`hnsw.ef_search`)."""
SIGNS_KEEP = 0.8
"""Share of a correlation, in standard deviations of chance, that signs alone show: sqrt(2 / pi)."""
LARGEST = 60_000.0
"""Of a number of 16 bits."""
BUILD_MEMORY = "512MB"
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


def drop_others(connection: Connection, layout_ids: Iterable[int]) -> None:
    """Drop the tables that another version of dna-zoo made of these layouts."""
    for layout_id in layout_ids:
        connection.execute(text(f"DROP TABLE IF EXISTS {PREFIX}{layout_id}"))


class Vectors:
    """The tables of one layout, in one transaction."""

    def __init__(self, connection: Connection, layout_id: int, layout: Layout) -> None:
        self._connection, self._layout = connection, layout
        self._signs, self.codes = f"{TABLES}{layout_id}_signs", f"{TABLES}{layout_id}_codes"
        self._sizes = {part: max(len(layout.parts[part]), 1) for part in ("roles", "names")}

    @classmethod
    def find(cls, connection: Connection, layout_id: int, layout: Layout) -> "Vectors | None":
        """The tables, if they are there; pgvector's types can be named from then on."""
        if not is_there(connection, layout_id):
            return None
        found = cls(connection, layout_id, layout)
        found._name_types()
        return found

    def create(self) -> None:
        """Make the tables, empty. What is put in before `index` is faster."""
        self._name_types()
        key = "pattern_id INTEGER PRIMARY KEY REFERENCES signatures ON DELETE CASCADE"
        roles, names = (f"{part} {kind}({self._sizes[part]}) NOT NULL" for part, kind in VECTORS.items())
        codes = (f"{by} bytea STORAGE EXTERNAL NOT NULL" for by in NUM_CANDIDATES)
        for statement in (
            f"CREATE TABLE {self._signs} ({key}, {roles}, {names})",
            f"CREATE TABLE {self.codes} ({key}, projected halfvec({PROJECTED}) NOT NULL, {', '.join(codes)})",
        ):
            self._connection.execute(text(statement))

    def index(self) -> None:
        """Make the graph, and have the server know how large the tables are."""
        self._connection.execute(text(f"SET LOCAL maintenance_work_mem = '{BUILD_MEMORY}'"))
        self._connection.execute(text(f"CREATE INDEX ON {self.codes} USING hnsw (projected halfvec_l2_ops)"))
        for table in (self._signs, self.codes):
            self._connection.execute(text(f"ANALYZE {table}"))

    def put(self, ids: Ids, values: Vector) -> None:
        """Keep the vectors of these patterns, (patterns, D)."""
        if not len(ids):
            return
        coded = encode(self._layout, ids, np.zeros_like(ids), values)
        key = Field(name="pattern_id", values=[int(each).to_bytes(4, "big") for each in ids])
        roles, names = self._signs_of(values, seed=int(ids[0])), self._names_of(values)
        copy_rows(self._connection, self._signs, (key, _bits("roles", roles), _halves("names", names)))
        codes = (Field(name=by, values=pack_rows(self._layout, coded, by)) for by in NUM_CANDIDATES)
        copy_rows(self._connection, self.codes, (key, _halves("projected", self._projected(values)), *codes))

    def candidates(self, values: Vector, by: Criterion) -> list[int]:
        """Patterns that may be among the nearest to these values (D,), some of them not current."""
        if by == "kind":
            self._connection.execute(text(f"SET LOCAL hnsw.ef_search = {SEARCH_WIDTH}"))
            table, order = self.codes, f"projected <-> CAST(:own AS halfvec({PROJECTED}))"
            given: dict[str, Any] = {"own": _as_text(self._projected(values[None])[0])}
        else:
            table, (order, given) = self._signs, self._unlikeness(values)
        query = text(f"SELECT pattern_id FROM {table} ORDER BY {order} LIMIT {NUM_CANDIDATES[by]}")
        return list(self._connection.scalars(query, given)) if order else []

    def _unlikeness(self, values: Vector) -> tuple[str, dict[str, Any]]:
        """In SQL, how far below chance the likeness is, by the nearer of the two parts; empty without any."""
        terms, given = [], {}
        roles, names = self._sizes["roles"], self._sizes["names"]
        if np.isfinite(values[self._layout.parts["roles"]]).any():
            # Of `roles` signs as many differ, by chance, as agree; sqrt(roles) is two standard deviations.
            unit = 2 / (SIGNS_KEEP * np.sqrt(roles))
            terms.append(f"(roles <~> CAST(:roles AS bit({roles}))) * {unit} - {unit * roles / 2}")
            given["roles"] = (self._signs_of(values[None], seed=0)[0] + ord("0")).tobytes().decode()
        if np.isfinite(values[self._layout.parts["names"]]).any():
            terms.append(f"(names <#> CAST(:names AS halfvec({names}))) * {np.sqrt(names)}")
            given["names"] = _as_text(self._names_of(values[None])[0])
        return (f"LEAST({', '.join(terms)})" if terms else ""), given

    def _name_types(self) -> None:
        path = "concat_ws(', ', nullif(current_setting('search_path'), ''), quote_ident(:schema))"
        schema = _schema_of_extension(self._connection)
        self._connection.execute(text(f"SELECT set_config('search_path', {path}, true)"), {"schema": schema})

    def _signs_of(self, values: Vector, *, seed: int) -> npt.NDArray[np.uint8]:
        """Of the fingerprint by role. What is missing is drawn: it agrees with half of anything."""
        own = values[:, self._layout.parts["roles"]]
        drawn = np.random.default_rng((SEED, seed)).random(own.shape, dtype=np.float32) < 0.5
        found: npt.NDArray[np.uint8] = _padded(np.where(np.isfinite(own), own > 0, drawn).astype(np.uint8))
        return found

    def _names_of(self, values: Vector) -> Vector:
        """Unit vectors, or nothing."""
        own = values[:, self._layout.parts["names"]]
        filled = np.where(np.isfinite(own), own, 0.0)
        largest = np.abs(filled).max(axis=1, initial=0.0, keepdims=True)
        scaled = filled / np.where(largest > 0, largest, 1.0)
        lengths = np.linalg.norm(scaled, axis=1, keepdims=True)
        found: Vector = _padded(scaled / np.where(lengths > 0, lengths, 1.0))
        return found

    def _projected(self, values: Vector) -> Vector:
        own = values[:, self._layout.parts["statistics"]]
        with np.errstate(over="ignore", invalid="ignore"):
            found = np.where(np.isfinite(own), own, 0.0) @ _projection(own.shape[1])
        return np.clip(np.nan_to_num(found), -LARGEST, LARGEST)


VECTORS = {"roles": "bit", "names": "halfvec"}


def _padded(values: Any) -> Any:
    """With one column where there is none: a vector has at least one number."""
    return values if values.shape[1] else np.zeros((len(values), 1), dtype=values.dtype)


def _bits(name: str, values: npt.NDArray[np.uint8]) -> Field:
    """As PostgreSQL sends and takes bits: how many, and their bytes."""
    head = np.array([values.shape[1]], dtype=">i4").tobytes()
    return Field(name=name, values=[head + row.tobytes() for row in np.packbits(values, axis=1)])


def _halves(name: str, values: Vector) -> Field:
    """As pgvector does: how many, nothing, and the numbers."""
    head = np.array([values.shape[1], 0], dtype=">i2").tobytes()
    return Field(name=name, values=[head + row.tobytes() for row in values.astype(">f2")])


def _as_text(values: Vector) -> str:
    return f"[{','.join(map('{:.5g}'.format, values.tolist()))}]"


def keep_vectors(connection: Connection, pattern_id: int, layout_id: int, signature: SignatureRecord) -> None:
    """Put in a signature that was just saved, where its layout has tables; what stood there is gone with it."""
    found = Vectors.find(connection, layout_id, Layout(signature.names))
    if found is not None:
        found.put(np.array([pattern_id]), np.array([signature.values], dtype=np.float64))


def is_there(connection: Connection, layout_id: int) -> bool:
    """Whether the layout has its tables."""
    name = {"name": f"{TABLES}{layout_id}_codes"}
    is_postgres = connection.dialect.name == "postgresql"
    return is_postgres and bool(connection.scalar(text("SELECT to_regclass(:name) IS NOT NULL"), name))


@lru_cache(maxsize=4)
def _projection(length: int) -> Vector:
    """(length, PROJECTED): distances stay what they are in the mean (Johnson and Lindenstrauss 1984)."""
    drawn: Vector = np.random.default_rng(SEED).standard_normal((length, PROJECTED))
    return np.asarray(drawn / np.sqrt(PROJECTED))
