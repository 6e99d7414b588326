"""Opening, creating, upgrading and checking databases."""

import math
import shutil
import sqlite3
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import CheckConstraint, MetaData, event, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from dna_zoo.errors import SchemaVersionError, StoreError
from patterndb.connection import schema
from patterndb.connection.engine import make_engine, masked, parse_url
from patterndb.patterns.rows import digest, layout_row
from patterndb.store import PatternDatabase
from patterndb.tables import METADATA, SIGNATURE_LAYOUTS
from tests.support.patterns import make_pattern, save_patterns

ROOT = Path(__file__).parents[3]
RELEASED = sorted((ROOT / "tests" / "data" / "schema").glob("*.sqlite"))


def execute(url: str, statement: str) -> None:
    """Do something to the database behind the store's back."""
    engine = make_engine(parse_url(url), for_migrations=True)
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


def make_head_differ(url: str, revision: str) -> None:
    execute(url, f"UPDATE alembic_version SET version_num = '{revision}'")


def test_the_newest_migration_is_the_one_the_store_expects() -> None:
    assert ScriptDirectory.from_config(schema.alembic_config()).get_heads() == [schema.head()]


def test_every_migration_is_numbered_in_order() -> None:
    migrations = list(ScriptDirectory.from_config(schema.alembic_config()).walk_revisions())
    assert [each.revision for each in migrations] == sorted((each.revision for each in migrations), reverse=True)


def test_migrations_make_exactly_the_declared_tables(empty_url: str) -> None:
    assert schema.upgrade(empty_url) == schema.head()
    assert schema.current(empty_url) == schema.head()
    assert schema.check(empty_url) == ()


def test_check_sees_a_column_too_many(empty_url: str) -> None:
    schema.upgrade(empty_url)
    execute(empty_url, "ALTER TABLE models ADD COLUMN colour TEXT")
    (difference,) = schema.check(empty_url)
    assert "colour" in difference


@pytest.mark.postgres
def test_check_sees_a_missing_check_constraint(create_postgres: Callable[[], str]) -> None:
    url = create_postgres()
    schema.upgrade(url)
    execute(url, "ALTER TABLE fits DROP CONSTRAINT ck_fits_scope")
    (difference,) = schema.check(url)
    assert "ck_fits_scope" in difference


def test_check_sees_rows_that_refer_to_nothing(migrated_sqlite: Path, tmp_path: Path) -> None:
    shutil.copy(migrated_sqlite, tmp_path / "x.sqlite")
    url = f"sqlite:///{tmp_path / 'x.sqlite'}"
    execute(url, "INSERT INTO stages VALUES (1, 99, 'fit', 'k', 'done', NULL, NULL, NULL, NULL)")
    assert schema.check(url) == ("row 1 of stages refers to nothing in run_models",)


def test_going_back_is_refused(empty_url: str) -> None:
    schema.upgrade(empty_url)
    config = schema.alembic_config()
    with schema.migration_connection(parse_url(empty_url)) as connection:
        config.attributes["connection"] = connection
        with pytest.raises(NotImplementedError, match="never goes back"):
            command.downgrade(config, "base")


def test_an_empty_database_is_given_the_schema_when_opened(empty_url: str) -> None:
    with PatternDatabase.open(empty_url) as database:
        assert database.patterns() == ()
    assert schema.current(empty_url) == schema.head()


def test_several_may_open_an_empty_database_at_once(empty_url: str) -> None:
    failures: list[BaseException] = []
    together = threading.Barrier(3)

    def work() -> None:
        together.wait()
        try:
            PatternDatabase.open(empty_url).close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_another_writer_is_waited_for_before_the_log_is_switched_on(tmp_path: Path) -> None:
    path = tmp_path / "new.sqlite"
    writer = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    writer.execute("BEGIN IMMEDIATE")
    letting_go = threading.Timer(0.3, lambda: writer.execute("ROLLBACK"))
    letting_go.start()
    schema.upgrade(f"sqlite:///{path}")
    letting_go.join()
    writer.close()
    assert schema.current(f"sqlite:///{path}") == schema.head()


@pytest.mark.slow
@pytest.mark.parametrize("path", RELEASED, ids=lambda path: path.stem)
def test_a_database_of_every_released_schema_is_upgraded_and_used(path: Path, tmp_path: Path) -> None:
    shutil.copy(path, tmp_path / path.name)
    url = f"sqlite:///{tmp_path / path.name}"
    schema.upgrade(url)
    assert schema.check(url) == ()
    with PatternDatabase.open(url) as database:
        kept = database.load_pattern("kept")
        assert (len(kept.tensors), kept.fit and kept.fit.steps, kept.model.parents) == (6, 1000, ("someone/parent",))
        assert math.isnan(kept.statistics[0].value) and math.isinf(kept.statistics[0].z or 0)
        save_patterns(database, replace(kept, pattern_key="new", run="new"), make_pattern("other"))
        assert database.load_pattern("kept").run == "new"
        assert database.get_similar_models("kept")[0].model == "other"


def test_every_released_schema_is_kept() -> None:
    assert [path.stem for path in RELEASED] == [f"{number:04}" for number in range(1, 14)]


def test_statistics_of_older_schemas_have_no_interval(empty_url: str, tmp_path: Path) -> None:
    # A copy, since a database that is opened is switched to write-ahead logging.
    kept = shutil.copy(RELEASED[1], tmp_path / "kept.sqlite")
    migrate_to(empty_url, "0002")
    copy_rows(f"sqlite:///{kept}", empty_url)
    schema.upgrade(empty_url)
    with PatternDatabase.open(empty_url) as database:
        statistics = [each for entry in database.tensors() for each in entry.tensor.statistics]
    assert len(statistics) == 12 and all(each.low is None and each.high is None for each in statistics)


def migrate_to(url: str, revision: str) -> None:
    """The schema as an older version of the software left it."""
    config = schema.alembic_config()
    with schema.migration_connection(parse_url(url)) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def copy_rows(source: str, target: str) -> None:
    """Every row of a database into another of the same schema, whatever server it is on."""
    engines = [make_engine(parse_url(url), for_migrations=True) for url in (source, target)]
    tables, ours = MetaData(), MetaData()
    tables.reflect(engines[0])
    ours.reflect(engines[1])
    with engines[0].connect() as reading, engines[1].begin() as writing:
        for table in tables.sorted_tables:
            rows = [row._asdict() for row in reading.execute(select(table))]
            if table.name != "alembic_version" and rows:
                writing.execute(insert(ours.tables[table.name]), rows)
                if writing.dialect.name == "postgresql" and "id" in table.c:
                    counter = f"pg_get_serial_sequence('{table.name}', 'id')"
                    writing.execute(text(f"SELECT setval({counter}, (SELECT max(id) FROM {table.name}))"))
    for engine in engines:
        engine.dispose()


def test_fits_of_the_first_schema_know_nothing_of_8_bits(empty_url: str, tmp_path: Path) -> None:
    migrate_to(empty_url, "0001")
    shutil.copy(RELEASED[0], tmp_path / "kept.sqlite")  # Our engines leave their mark on a file.
    copy_rows(f"sqlite:///{tmp_path / 'kept.sqlite'}", empty_url)
    schema.upgrade(empty_url)
    assert schema.check(empty_url) == ()
    with PatternDatabase.open(empty_url) as database:
        kept = database.load_pattern("kept")
        assert kept.fit and kept.fit.steps == 1000 and kept.fit.r2_8bit is None and kept.fit.dct_r2 is None
        assert database.export_catalog("catalog")["fit_r2_8bit"].isna().all()


def test_fits_of_older_schemas_know_nothing_of_means(empty_url: str, tmp_path: Path) -> None:
    kept = shutil.copy(RELEASED[3], tmp_path / "kept.sqlite")
    migrate_to(empty_url, "0004")
    copy_rows(f"sqlite:///{kept}", empty_url)
    schema.upgrade(empty_url)
    assert schema.check(empty_url) == ()
    with PatternDatabase.open(empty_url) as database:
        kept_fit = database.load_pattern("kept").fit
    assert kept_fit and kept_fit.gain is not None
    assert (kept_fit.additive_numbers, kept_fit.gain_beyond_means, kept_fit.svd_bits_width) == (None, None, None)


def test_runs_of_older_schemas_become_one_invocation_each(empty_url: str, tmp_path: Path) -> None:
    kept = shutil.copy(RELEASED[6], tmp_path / "kept.sqlite")
    migrate_to(empty_url, "0007")
    copy_rows(f"sqlite:///{kept}", empty_url)
    began = "INSERT INTO runs (id, run, status, request, started, finished, exit_code) VALUES "
    old = "'2026-01-02 00:00:00', '2026-01-02 01:00:00', 0"
    execute(empty_url, f"{began} (50, 'old', 'done', '{{}}', {old})")
    execute(empty_url, f"{began} (51, 'killed', 'running', '{{}}', '2026-01-03 00:00:00', NULL, NULL)")
    schema.upgrade(empty_url)
    assert schema.check(empty_url) == ()
    with PatternDatabase.open(empty_url) as database:
        assert [(run.run, run.request_key, run.status) for run in database.runs()] == [
            ("run-1", "run-1", "done"),
            ("killed", "killed", "lost"),
            ("old", "old", "done"),
        ]
        database.start_run("tonight", {}, request_key="run-1")
        assert database.run("run-1").models[0].stages[0].is_reused is None
        assert [run.run for run in database.runs(limit=2)] == ["tonight", "run-1"]


def as_version_6(url: str, names: Sequence[str]) -> None:
    """Give the only layout of a database of schema 0003 these names, and the version that had them."""
    engine = make_engine(parse_url(url), for_migrations=True)
    row = {"names": list(names), "version": "6", "digest": digest(["6", list(names)])}
    with engine.begin() as connection:
        connection.execute(update(SIGNATURE_LAYOUTS), row)
    engine.dispose()


def test_signatures_of_version_6_are_compared_with_those_of_version_7(empty_url: str, tmp_path: Path) -> None:
    kept = shutil.copy(RELEASED[2], tmp_path / "kept.sqlite")
    migrate_to(empty_url, "0003")
    copy_rows(f"sqlite:///{kept}", empty_url)
    statistics = make_pattern("kept").signature.names[:20]
    projections = [f"all/projection_{i}" for i in range(len(make_pattern("kept").signature.names) - 20)]
    as_version_6(empty_url, [*statistics, *(f"kinship/{name}" for name in projections)])
    schema.upgrade(empty_url)
    assert schema.check(empty_url) == ()
    with PatternDatabase.open(empty_url) as database:
        (entry,) = database.signatures()
        assert entry.signature.version == "7"
        assert entry.signature.names == (*statistics, *(f"fingerprint/{name}" for name in projections))
        save_patterns(database, make_pattern("copy", signature=entry.signature))
        assert database.get_similar_models("kept")[0].weights == 0
        with database._reading() as connection:
            assert connection.scalars(select(SIGNATURE_LAYOUTS.c.digest)).all() == [
                layout_row(entry.signature)["digest"]
            ]


def test_signatures_of_older_versions_keep_their_number(tmp_path: Path) -> None:
    kept = shutil.copy(RELEASED[2], tmp_path / "kept.sqlite")
    schema.upgrade(f"sqlite:///{kept}")
    with PatternDatabase.open(f"sqlite:///{kept}") as database:
        assert database.load_pattern("kept").signature == make_pattern("kept", num_blocks=1).signature


@pytest.mark.parametrize(("revision", "hint"), [("0000", "Run `dna-zoo db upgrade`."), ("9999", "newer dna-zoo")])
@pytest.mark.parametrize("create", [True, False])
def test_another_schema_stops_with_what_repairs_it(empty_url: str, revision: str, hint: str, create: bool) -> None:
    schema.upgrade(empty_url)
    make_head_differ(empty_url, revision)
    with pytest.raises(SchemaVersionError, match=f"has schema {revision}, .* needs {schema.head()}") as caught:
        PatternDatabase.open(empty_url, create=create)
    assert hint in caught.value.hint


def test_a_schema_that_no_migration_knows_is_not_upgraded(empty_url: str) -> None:
    schema.upgrade(empty_url)
    make_head_differ(empty_url, "9999")
    with pytest.raises(SchemaVersionError, match="cannot upgrade"):
        schema.upgrade(empty_url)
    assert schema.current(empty_url) == "9999"


def test_a_database_of_something_else_is_left_alone(empty_url: str) -> None:
    execute(empty_url, "CREATE TABLE cats (name TEXT)")
    with pytest.raises(SchemaVersionError, match="no schema of dna-zoo") as caught:
        PatternDatabase.open(empty_url)
    assert "dna-zoo db upgrade" in caught.value.hint
    assert schema.current(empty_url) is None


def test_a_failing_upgrade_leaves_nothing_behind(empty_url: str) -> None:
    execute(empty_url, "CREATE TABLE artifacts (name TEXT)")
    with pytest.raises(StoreError, match="artifacts"):
        schema.upgrade(empty_url)
    assert schema.current(empty_url) is None
    execute(empty_url, "DROP TABLE artifacts")
    assert schema.upgrade(empty_url) == schema.head()


def test_readers_do_not_create_a_file(tmp_path: Path) -> None:
    path = tmp_path / "nosuch.sqlite"
    for ask in (lambda url: PatternDatabase.open(url, create=False), schema.current, schema.check):
        with pytest.raises(StoreError, match="There is no database at") as caught:
            ask(f"sqlite:///{path}")
        assert "dna-zoo mine" in caught.value.hint
    assert not path.exists()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("patterns.sqlite", "'patterns.sqlite' is not a database URL"),
        ("", "'' is not a database URL"),
        ("mysql://u:secret@host/db", "keeps no patterns in 'mysql' databases"),
        ("postgresql://u:secret@host:port/db", "is not a database URL"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("sqlite:////nosuch/directory/x.sqlite", "unable to open database file"),
        ("sqlite:////", "unable to open database file"),
        ("postgresql://u:secret@127.0.0.1:1/db", "No connection to postgresql://u:***@127.0.0.1:1/db"),
        ("postgres://u@127.0.0.1:1/db?password=secret", "No connection to postgresql://u@127.0.0.1:1/db"),
    ],
)
def test_a_wrong_url_is_one_sentence_without_the_password(url: str, message: str) -> None:
    with pytest.raises(StoreError) as caught:
        PatternDatabase.open(url)
    assert message in str(caught.value) and caught.value.hint
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value) + caught.value.hint + repr(caught.value.__cause__)


@pytest.mark.postgres
def test_a_missing_postgres_database_is_named(create_postgres: Callable[[], str]) -> None:
    url = parse_url(create_postgres()).set(database="nosuch").render_as_string(hide_password=False)
    with pytest.raises(StoreError, match='database "nosuch" does not exist'):
        PatternDatabase.open(url)


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Not a database, but long enough for SQLite to have a look at its header. " * 20)
    for ask in (PatternDatabase.open, schema.upgrade, schema.current):
        with pytest.raises(StoreError, match="not a usable SQLite database"):
            ask(f"sqlite:///{path}")
    assert path.read_text().startswith("Not a database")


def test_a_full_disk_is_said_to_be_full(migrated_sqlite: Path, tmp_path: Path) -> None:
    shutil.copy(migrated_sqlite, tmp_path / "x.sqlite")
    with PatternDatabase.open(f"sqlite:///{tmp_path / 'x.sqlite'}") as database:
        database.start_run("run-1", {})
        event.listen(database._engine, "connect", lambda raw, _: raw.execute("PRAGMA max_page_count = 45"))
        with pytest.raises(StoreError, match="has no room: its disk is full") as caught:
            database.save_pattern(make_pattern(num_blocks=24))
        assert "Free some space" in caught.value.hint
        assert database.patterns() == ()


def test_postgres_is_spoken_to_through_psycopg_3() -> None:
    for url in ("postgres://h/d", "postgresql://h/d", "postgresql+psycopg2://h/d"):
        assert parse_url(url).drivername == "postgresql+psycopg"
    assert masked(parse_url("postgresql://u:secret@h/d")) == "postgresql://u:***@h/d"


def test_a_file_has_a_write_ahead_log(migrated_sqlite: Path) -> None:
    connection = sqlite3.connect(migrated_sqlite)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_two_writers_on_one_file_wait_for_each_other(migrated_sqlite: Path, tmp_path: Path) -> None:
    shutil.copy(migrated_sqlite, tmp_path / "x.sqlite")
    failures: list[BaseException] = []

    def work(name: str) -> None:
        try:
            with PatternDatabase.open(f"sqlite:///{tmp_path / 'x.sqlite'}") as database:
                save_patterns(database, *(make_pattern(f"{name}{i}", run=name, num_blocks=1) for i in range(6)))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with PatternDatabase.open(f"sqlite:///{tmp_path / 'x.sqlite'}") as database:
        assert len(database.patterns()) == 12


VIOLATIONS = {
    "ck_models_counts": "UPDATE models SET num_weights = -1",
    "ck_runs_status": "UPDATE runs SET status = 'lost'",
    "ck_runs_finished_unless_running": "UPDATE runs SET status = 'running'",
    "ck_runs_exit_code_when_finished": "UPDATE runs SET status = 'running', finished = NULL, exit_code = 0",
    "ck_run_models_status": "UPDATE run_models SET status = 'lost'",
    "ck_run_models_error_only_if_failed": "UPDATE run_models SET error = 'Oh.'",
    "ck_stages_status": "UPDATE stages SET status = 'lost'",
    "ck_stages_seconds": "UPDATE stages SET seconds = -1",
    "ck_patterns_margin_or_special": "UPDATE patterns SET class_margin = NULL",
    "ck_role_patterns_counts": "UPDATE role_patterns SET tensors = -1",
    "ck_tensor_patterns_depth": "UPDATE tensor_patterns SET depth = 1.5",
    "ck_tensor_patterns_counts": "UPDATE tensor_patterns SET rows = -1",
    "ck_fits_one_owner": "UPDATE fits SET tensor = 0, role = 0 WHERE position = 1",
    "ck_fits_model_at_zero": "UPDATE fits SET role = NULL WHERE position = 1",
    "ck_fits_scope": "UPDATE fits SET scope = 'galaxy'",
    "ck_fits_counts": "UPDATE fits SET steps = -1",
    "ck_fits_complete_or_special": "UPDATE fits SET mse = NULL",
    "ck_metrics_one_owner": "UPDATE metrics SET tensor = 0, role = 0",
    "ck_metrics_value_or_special": "UPDATE metrics SET value = NULL",
    "ck_metrics_num_nulls": "UPDATE metrics SET num_nulls = -1",
    "ck_metrics_p": "UPDATE metrics SET p = 2",
    "ck_signature_layouts_length": "UPDATE signature_layouts SET length = -1",
    "ck_signatures_z_length": "UPDATE signatures SET packed_z = packed_p || packed_p",
    "ck_signatures_p_length": "UPDATE signatures SET packed_p = packed_z || packed_z",
    "ck_artifacts_num_bytes": "UPDATE artifacts SET num_bytes = -1",
    "fk_metrics_pattern_id_tensor_tensor_patterns": "UPDATE metrics SET tensor = 99 WHERE tensor IS NOT NULL",
    "fk_patterns_run_id_runs": "UPDATE patterns SET run_id = 99",
    "fk_run_models_pattern_key_patterns": "UPDATE run_models SET pattern_key = 'nosuch'",
}


def test_every_check_constraint_is_tried() -> None:
    declared = {
        str(constraint.name)
        for table in METADATA.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint)
    }
    assert declared == {name for name in VIOLATIONS if name.startswith("ck_")}


def test_constraints_hold(database: PatternDatabase) -> None:
    save_patterns(database, make_pattern(num_blocks=1))
    is_sqlite = database.url.startswith("sqlite")
    for name, statement in VIOLATIONS.items():
        # SQLite does not say which foreign key failed.
        message = "FOREIGN KEY" if is_sqlite and name.startswith("fk_") else name
        with pytest.raises(IntegrityError, match=message), database._engine.begin() as connection:
            connection.execute(text(statement))


@pytest.fixture(scope="module")
def unpacked_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content, as an installation has it."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.mark.slow
def test_the_wheel_brings_its_migrations(unpacked_wheel: Path, tmp_path: Path) -> None:
    script = f"from patterndb.connection import schema; print(schema.migrations_path(), schema.upgrade('sqlite:///{tmp_path}/x.db'))"
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(unpacked_wheel)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(unpacked_wheel / "patterndb" / "_alembic"), schema.head()]


def test_the_wheel_holds_no_tests_and_no_second_alembic(unpacked_wheel: Path) -> None:
    assert not (unpacked_wheel / "tests").exists()
    assert not (unpacked_wheel / "alembic").exists()
