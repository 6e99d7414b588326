"""Whether a graph (HNSW of pgvector) finds the relatives of a model among the signs of fingerprints, or a scan has to.

    python -m benchmarks.graphs --models 100000      # 1 GB of disk, some minutes

Models are drawn (`drawn_models.py`). Asked for are the nearest ten relatives of some models, by the fingerprint by
role. Recall: how many of them are among the candidates.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, text

from benchmarks.database import empty, engines
from benchmarks.parts.database.catalogs import mined_pattern
from benchmarks.parts.database.drawn_models import draw_models
from benchmarks.parts.scaffold import make_parser, write_results
from patterndb.bulk import Field, copy_rows
from patterndb.connection.batches import batches
from patterndb.neighbours.row_distances import Layout
from patterndb.neighbours.vectors import enable
from patterndb.records import RELATED
from patterndb.similarity import beyond_chance
from patterndb.store import PatternDatabase

ASKED, NEAREST = 40, 10
WIDTHS = (100, 400, 1_000)
Values = npt.NDArray[np.float32]


def main() -> None:
    """Draw, fill, ask by a scan and by the graph at several widths, print and keep."""
    parser = make_parser(__doc__, out="graphs")
    parser.add_argument("--models", type=int, default=20_000, metavar="N")
    options = parser.parse_args()
    names = mined_pattern(layers=1).signature.names
    with engines(["postgresql"]) as urls, empty(urls["postgresql"], None) as url, PatternDatabase.open(url) as database:
        with database._writing() as connection:
            assert enable(connection), "The server has no pgvector."
        found = {"models": options.models} | measure(database, names, options.models)
    print(found)
    write_results(options.out, found)


def measure(database: PatternDatabase, names: Sequence[str], count: int) -> dict[str, Any]:
    """Recall and median seconds, by a scan and by the graph at each width, and the seconds that the graph takes."""
    asked = np.linspace(0, count - 1, ASKED, dtype=int)
    signs, nearest = draw(names, count, asked)
    found: dict[str, Any] = {}
    with database._writing() as connection:
        # Where `enable` puts it.
        connection.execute(text("SELECT set_config('search_path', current_setting('search_path') || ', public', true)"))
        connection.execute(text(f"CREATE TABLE signs (id INTEGER PRIMARY KEY, roles bit({signs.shape[1]}))"))
        head = np.array([signs.shape[1]], dtype=">i4").tobytes()
        ids = [number.to_bytes(4, "big") for number in range(count)]
        packed = [head + row.tobytes() for row in np.packbits(signs, axis=1)]
        copy_rows(connection, "signs", [Field(name="id", values=ids), Field(name="roles", values=packed)])
        connection.execute(text("ANALYZE signs"))
        found["scan"] = ask(connection, signs, asked, nearest)
        started = time.perf_counter()
        connection.execute(text("SET LOCAL maintenance_work_mem = '512MB'"))
        connection.execute(text("CREATE INDEX ON signs USING hnsw (roles bit_hamming_ops)"))
        found["build"] = time.perf_counter() - started
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        for width in WIDTHS:
            connection.execute(text(f"SET LOCAL hnsw.ef_search = {width}"))
            found[f"graph, width {width}"] = ask(connection, signs, asked, nearest)
    return found


def draw(
    names: Sequence[str], count: int, asked: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.bool_], list[list[int]]]:
    """The signs of all models, and of those that are asked for the nearest relatives; what is missing is drawn."""
    places = Layout(tuple(names)).parts["roles"]
    wanted = {*asked.tolist()}
    own = np.stack([model.values[places] for n, model in enumerate(draw_models(names, count)) if n in wanted])
    signs, unlike, start = np.empty((count, len(places)), dtype=bool), np.empty((len(asked), count)), 0
    rng = np.random.default_rng(0)
    for some in batches(draw_models(names, count), 1_000):
        values = np.stack([model.values[places] for model in some])
        rows = slice(start, start + len(some))
        signs[rows] = np.where(np.isfinite(values), values > 0, rng.random(values.shape) < 0.5)
        unlike[:, rows] = distances(own, values)
        start = rows.stop
    unlike[np.arange(len(asked)), asked] = np.inf
    order = np.argsort(unlike, axis=1)[:, :NEAREST]
    return signs, [[int(j) for j in row if unlike[i, j] <= RELATED] for i, row in enumerate(order)]


def distances(a: Values, b: Values) -> npt.NDArray[np.float64]:
    """Distances of weights by role, (a, b); infinite where there is none."""
    there = [np.isfinite(each).astype(np.float32) for each in (a, b)]
    filled = [np.nan_to_num(each) for each in (a, b)]
    counts = (there[0] @ there[1].T).astype(np.float64)
    sizes = np.sqrt((filled[0] ** 2) @ there[1].T) * np.sqrt(there[0] @ (filled[1] ** 2).T)
    cosines = np.divide(filled[0] @ filled[1].T, sizes, out=np.full_like(sizes, -np.inf), where=sizes > 0)
    return np.where(np.isfinite(cosines), beyond_chance(1 - cosines.astype(np.float64), counts), np.inf)


def ask(
    connection: Connection, signs: npt.NDArray[np.bool_], asked: npt.NDArray[np.intp], nearest: Sequence[Sequence[int]]
) -> dict[str, float]:
    """Of 400 candidates, or as many as the graph gives."""
    query = text(f"SELECT id FROM signs ORDER BY roles <~> CAST(:own AS bit({signs.shape[1]})) LIMIT 400")
    seconds, hits = [], 0
    for own, wanted in zip(asked, nearest, strict=True):
        given = {"own": "".join("01"[bit] for bit in signs[own].tolist())}
        started = time.perf_counter()
        found = connection.scalars(query, given).all()
        seconds.append(time.perf_counter() - started)
        hits += len({*found} & {*wanted})
    return {"recall": hits / sum(map(len, nearest)), "seconds": float(np.median(seconds))}


if __name__ == "__main__":
    main()
