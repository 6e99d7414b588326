"""Searches in a catalog that is too large for all pairs, against all pairs: on SQLite and on PostgreSQL."""

import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Connection, event, text

from benchmarks.parts.database.bulk import fill
from benchmarks.parts.database.drawn_models import draw_models
from patterndb.connection import schema
from patterndb.neighbours import code_files, pair_sample, search, vectors
from patterndb.neighbours.row_distances import Layout, row_distances
from patterndb.neighbours.vectors import PREFIX
from patterndb.patterns.writing import write_pattern
from patterndb.records import RELATED, SignatureRecord
from patterndb.similarity import Distances, all_distances
from patterndb.store import PatternDatabase
from tests.support.patterns import make_pattern
from tests.support.signatures import NAMES, DrawnModel, draw_short

pytestmark = pytest.mark.slow

COUNT = 140
MANY = 3_000
MODELS = draw_short(COUNT)
ASKED = ("model-000000", "model-000033", "model-000139")


def signature(model: DrawnModel, names: tuple[str, ...] = NAMES) -> SignatureRecord:
    values = tuple(None if math.isnan(value) else value for value in model.values.tolist())
    return SignatureRecord(version="1", names=names, values=values)


def save(database: PatternDatabase, *models: DrawnModel, run: str = "run") -> None:
    """As patterns with little else in them, in one transaction."""
    bare = replace(make_pattern(num_blocks=1, run=run), roles=(), tensors=(), statistics=(), clusters={})
    database.start_run(run, {})
    with database._writing() as connection:
        for model in models:
            key = f"pattern of {model.key} in {run}"
            sha256 = f"file of {model.lineage if model.key.endswith('7') else key}"
            record = replace(bare.model, key=model.key, sha256=sha256)
            pattern = replace(bare, model=record, pattern_key=key, signature=signature(model))
            write_pattern(connection, pattern, lambda step: None)


@pytest.fixture(autouse=True)
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "EXACT_MODELS", 20)
    monkeypatch.setattr(search, "AT_A_TIME", 16)
    monkeypatch.setattr(pair_sample, "NUM_PAIRS", 400)


@pytest.fixture
def catalog(database: PatternDatabase) -> PatternDatabase:
    save(database, *MODELS)
    return database


def by_all_pairs(database: PatternDatabase, name: str, by: str, count: int) -> list[str]:
    """What is asked for, by every distance there is."""
    entries = database.signatures(with_nulls=False)
    own = [entry.model.key for entry in entries].index(name)
    found = all_distances(entries)
    rank = found.kind if by == "kind" else np.where(found.weights <= RELATED, found.weights, 1 + found.kind)
    order = np.argsort(rank[own].round(9), kind="stable")
    return [entries[place].model.key for place in order if place != own and np.isfinite(rank[own][place])][:count]


@pytest.mark.parametrize("by", ["weights", "kind"])
def test_a_search_finds_what_all_pairs_show(catalog: PatternDatabase, by: str) -> None:
    for name in ASKED:
        found = catalog.get_similar_models(name, 12, by=by)  # type: ignore[arg-type]
        assert [each.model for each in found] == by_all_pairs(catalog, name, by, 12)


def test_all_that_can_be_compared_can_be_asked_for(catalog: PatternDatabase) -> None:
    found = [each.model for each in catalog.get_similar_models(ASKED[0], COUNT)]
    assert found == by_all_pairs(catalog, ASKED[0], "weights", COUNT) and len(found) > 100


def test_models_that_are_new_or_other_are_found_at_once(catalog: PatternDatabase) -> None:
    catalog.get_similar_models(ASKED[0])
    twin = replace(MODELS[0], key="twin")
    other = replace(MODELS[1], values=MODELS[-1].values)
    save(catalog, twin, other, run="again")
    found = [each.model for each in catalog.get_similar_models(ASKED[0], 12)]
    assert found[0] == "twin" and found == by_all_pairs(catalog, ASKED[0], "weights", 12)
    assert catalog.get_similar_models(MODELS[-1].key, 1)[0].model == MODELS[1].key


def test_a_layout_of_its_own_is_searched_too(catalog: PatternDatabase) -> None:
    bare = make_pattern(num_blocks=1, run="other layout")
    mine = signature(MODELS[0])
    turned = replace(mine, names=(*NAMES[::-1], "model/all/added"), values=(*mine.values[::-1], 1.0))
    catalog.start_run("other layout", {})
    catalog.save_pattern(replace(bare, model=replace(bare.model, key="turned"), signature=turned))
    for name in (ASKED[0], "turned"):
        found = [each.model for each in catalog.get_similar_models(name, 12)]
        assert found == by_all_pairs(catalog, name, "weights", 12)


def test_compare_and_similar_agree_on_distances_percentiles_and_errors(catalog: PatternDatabase) -> None:
    for each in catalog.get_similar_models(ASKED[1], 3):
        found = catalog.compare_patterns(ASKED[1], each.model)
        names = ("weights", "weights_percentile", "weights_percentile_error")
        names += ("kind", "kind_percentile", "kind_percentile_error")
        assert [getattr(found, name) for name in names] == [getattr(each, name) for name in names]
        assert found.kind_percentile_error is not None


def test_percentiles_of_a_sample_are_those_of_all_pairs_within_their_errors(catalog: PatternDatabase) -> None:
    entries = catalog.signatures(with_nulls=False)
    kind = all_distances(entries).each_once().kind
    off = []
    for other in MODELS[1:60]:
        found = catalog.compare_patterns(ASKED[0], other.key)
        assert found.kind is not None and found.kind_percentile is not None and found.kind_percentile_error
        exact = 100 * (kind[np.isfinite(kind)] < found.kind).mean()
        off.append((found.kind_percentile - exact) / found.kind_percentile_error)
    assert np.abs(off).max() < 4 and np.abs(off).max() > 0.01


def test_the_sample_is_kept_until_the_catalog_has_grown(catalog: PatternDatabase) -> None:
    first = catalog.compare_patterns(*ASKED[:2]).kind_percentile
    save(catalog, *(replace(model, key=f"more-{model.key}") for model in MODELS[: COUNT // 5]), run="more")
    assert catalog.compare_patterns(*ASKED[:2]).kind_percentile == first
    save(catalog, *(replace(model, key=f"yet-{model.key}") for model in MODELS[:40]), run="yet more")
    assert catalog.compare_patterns(*ASKED[:2]).kind_percentile != first


def test_a_small_catalog_has_percentiles_among_all_pairs(database: PatternDatabase) -> None:
    save(database, *MODELS[:20])
    found = database.get_similar_models(ASKED[0], 3)
    among = all_distances(database.signatures(with_nulls=False)).each_once()
    assert isinstance(among, Distances) and found[0].kind_percentile_error is None
    assert found[0].kind_percentile in {100 * rank / 189 for rank in np.arange(0, 190, 0.5)}


def test_many_names_are_as_one_after_the_other(catalog: PatternDatabase) -> None:
    found = catalog.get_similar_to_each(ASKED, 3)
    assert found == {name: catalog.get_similar_models(name, 3) for name in ASKED}


def test_what_is_asked_of_one_model_reads_no_whole_table(database_url: str) -> None:
    """On SQLite, which says before it does."""
    with PatternDatabase.open(database_url) as database:
        if database.path is None:
            pytest.skip("PostgreSQL plans by the number of rows.")
        save(database, *MODELS[:30])
        statements: list[tuple[str, object]] = []

        def record(connection: object, cursor: object, statement: str, parameters: object, *rest: object) -> None:
            statements.append((statement, parameters))

        event.listen(database._engine, "before_cursor_execute", record)
        database.load_pattern(ASKED[0])
        database.partial_models()
        database.signatures(keys=[ASKED[0]])
        event.remove(database._engine, "before_cursor_execute", record)
        with database._reading() as connection:
            plans = [
                row[3]
                for statement, parameters in statements
                if statement.startswith("SELECT")
                for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()  # type: ignore[arg-type]
            ]
    assert len(plans) > 8
    # Layouts are as many as versions.
    assert [plan for plan in plans if plan.startswith("SCAN") and "signature_layouts" not in plan] == []


class TestFilesOfCodes:
    @pytest.fixture
    def path(self, tmp_path: Path, migrated_sqlite: Path) -> Iterator[Path]:
        path = tmp_path / "zoo.db"
        shutil.copy(migrated_sqlite, path)
        with PatternDatabase.open(f"sqlite:///{path}") as database:
            save(database, *MODELS)
        yield path

    def test_they_are_made_when_asked_for_and_again_when_lost(self, path: Path) -> None:
        with PatternDatabase.open(f"sqlite:///{path}") as database:
            assert database.index() == COUNT
            first = database.get_similar_models(ASKED[0])
            shutil.rmtree(f"{path}-codes")
            assert database.get_similar_models(ASKED[0]) == first
        assert list(Path(f"{path}-codes").rglob("segment-*"))

    def test_where_they_cannot_be_written_every_signature_is_read(self, path: Path) -> None:
        with PatternDatabase.open(f"sqlite:///{path}") as database:
            first = database.get_similar_models(ASKED[0])
            shutil.rmtree(f"{path}-codes")
            Path(f"{path}-codes").write_text("No folder.")
            assert database.get_similar_models(ASKED[0]) == first

    def test_many_small_ones_become_one(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(code_files, "MOST_SEGMENTS", 2)
        with PatternDatabase.open(f"sqlite:///{path}") as database:
            for number in range(4):
                database.get_similar_models(ASKED[0])
                save(database, replace(MODELS[number], key=f"new-{number}"), run=f"run {number}")
            save(database, *MODELS, run="all again")
            found = [each.model for each in database.get_similar_models(ASKED[0], 12)]
            assert found == by_all_pairs(database, ASKED[0], "weights", 12)
            assert database.index() == COUNT + 4
        assert len(list(Path(f"{path}-codes").rglob("segment-*"))) == 1


@pytest.mark.postgres
@pytest.mark.slow
class TestVectors:
    @pytest.fixture
    def indexed(self, postgres_url: str) -> Iterator[PatternDatabase]:
        with PatternDatabase.open(postgres_url) as database:
            save(database, *MODELS[:100])
            if not database.index():
                pytest.skip("The server has no pgvector.")
            save(database, *MODELS[100:])
            yield database
            drop_vectors(database)

    @pytest.mark.parametrize("by", ["weights", "kind"])
    def test_ten_nearest_are_found_nearly_always(
        self, indexed: PatternDatabase, by: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Fewer than there are models, so that others can be missed.
        monkeypatch.setattr(vectors, "NUM_CANDIDATES", {"weights": 40, "kind": 50})
        found = [
            len({*by_all_pairs(indexed, model.key, by, 10)} & {each.model for each in near})
            for model in MODELS[::9]
            for near in [indexed.get_similar_models(model.key, 10, by=by)]  # type: ignore[arg-type]
        ]
        assert np.mean(found) / 10 >= 0.99

    def test_every_model_is_in_both_tables_and_statistics_have_a_graph(self, indexed: PatternDatabase) -> None:
        with indexed._reading() as connection:
            names = tables_of_vectors(connection)
            counts = [connection.scalar(text(f"SELECT count(*) FROM {name}")) for name in names]
            graphs = [
                graph
                for name in names
                for graph in connection.scalars(text(f"SELECT indexdef FROM pg_indexes WHERE tablename = '{name}'"))
            ]
        assert counts == [COUNT, COUNT] and sum("hnsw" in each for each in graphs) == 1

    def test_the_schema_is_still_as_declared(self, indexed: PatternDatabase, postgres_url: str) -> None:
        assert schema.check(postgres_url) == ()


@pytest.mark.postgres
@pytest.mark.slow
@pytest.mark.parametrize("by", ["weights", "kind"])
def test_ten_nearest_of_thousands_are_found_through_pgvector(large: PatternDatabase, by: str) -> None:
    """Of lineages of all sizes, by distances from each of some models to all."""
    values = np.stack([model.values for model in draw_models(NAMES, MANY)]).astype(np.float64)
    found = []
    for own in range(0, MANY, MANY // 30):
        distances = row_distances(Layout(NAMES), values[own : own + 1], values)
        rank = distances.kind if by == "kind" else np.where(distances.weights <= RELATED, distances.weights, np.inf)
        if by == "weights":
            rank = np.where(np.isfinite(rank), rank, 1 + distances.kind)
        rank[own] = np.nan
        nearest = {f"model-{place:06}" for place in np.argsort(rank)[:10]}
        near = large.get_similar_models(f"model-{own:06}", 10, by=by)  # type: ignore[arg-type]
        found.append(len(nearest & {each.model for each in near}) / 10)
    assert np.mean(found) >= 0.99


@pytest.fixture(scope="module")
def large(create_postgres: Callable[[], str]) -> Iterator[PatternDatabase]:
    with pytest.MonkeyPatch.context() as patched, PatternDatabase.open(create_postgres()) as database:
        # A small part of them, so that many can be missed.
        patched.setattr(vectors, "NUM_CANDIDATES", {"weights": MANY // 10, "kind": MANY // 10})
        fill(database, NAMES, MANY)
        if not database.index():
            pytest.skip("The server has no pgvector.")
        yield database


def tables_of_vectors(connection: Connection) -> list[str]:
    query = text(
        f"SELECT relname FROM pg_class WHERE relname LIKE '{PREFIX}%' AND relkind = 'r'"
        " AND relnamespace = current_schema()::regnamespace ORDER BY relname"
    )
    return list(connection.scalars(query))


def drop_vectors(database: PatternDatabase) -> None:
    with database._writing() as connection:
        for name in tables_of_vectors(connection):
            connection.execute(text(f"DROP TABLE IF EXISTS {name}"))
