"""Damaged rows: what is changed behind the store's back is refused in two sentences, and `damages` names it."""

import json
import sqlite3
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.damage import answer_of, damage_copies, reads
from dna_zoo.errors import DamagedRowsError, DnaZooError
from patterndb.checking import damages
from patterndb.patterns.digests import NUM_BYTES, PARTS
from patterndb.store import PatternDatabase
from tests.support.patterns import make_pattern, save_patterns
from zoo.config import text_in

FLIPS = 60
KEYS = ("alpha", "beta", "gamma")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of three models; leave it as it is."""
    path = tmp_path_factory.mktemp("whole") / "zoo.db"
    with PatternDatabase.open(f"sqlite:///{path}") as database:
        save_patterns(database, *(make_pattern(key, num_blocks=1, seed=seed) for seed, key in enumerate(KEYS)))
    return path


@pytest.fixture
def path(whole: Path, tmp_path: Path) -> Path:
    """A copy of it to work on."""
    source, target = sqlite3.connect(whole), sqlite3.connect(tmp_path / "zoo.db")
    source.backup(target)
    source.close()
    target.close()
    return tmp_path / "zoo.db"


def change(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    assert connection.execute(statement).rowcount == 1
    connection.close()


@pytest.mark.slow
def test_whatever_byte_is_flipped_answers_are_right_or_two_sentences(whole: Path) -> None:
    found = damage_copies(whole, flips=FLIPS, seed=1)
    assert found.wrong == []
    assert found.counts.total() == 10 * FLIPS == found.counts["the same answer"] + found.counts["two sentences"]
    assert found.counts["two sentences"] > FLIPS // 2


@pytest.mark.slow
def test_a_page_that_loses_a_row_makes_no_list_shorter(whole: Path, path: Path) -> None:
    """The number of cells of a page, and where its cells are, of what lists of models are made of."""
    tables = ("models", "patterns", "runs", "signatures")
    connection = sqlite3.connect(path)
    pages = connection.execute(f"SELECT rootpage FROM sqlite_master WHERE tbl_name IN {tables} AND rootpage").fetchall()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    lists = {name: read for name, read in reads("alpha", "beta").items() if name not in ("show", "load")}
    whole_lists = {name: answer_of(whole, read) for name, read in lists.items()}
    content = path.read_bytes()
    for (page,) in pages:
        for byte in (
            4,
            9,
            13,
        ):  # Of the header: cells; of the array that follows: places of a leaf's and a node's cells.
            changed = bytearray(content)
            changed[(page - 1) * size + byte] ^= 1
            path.write_bytes(changed)
            for name, read in lists.items():
                found = answer_of(path, read)
                assert found == whole_lists[name] or isinstance(found, DnaZooError), (page, byte, name)


OF_ALPHA = "WHERE pattern_id = (SELECT p.id FROM patterns p JOIN models m ON m.id = p.model_id WHERE key = 'alpha')"
CHANGES = {
    "what it is": "UPDATE models SET num_weights = num_weights + 1 WHERE key = 'alpha'",
    "its provenance": "UPDATE patterns SET clusters = '{\"x\": 1}' WHERE id = 1",
    "its roles": f"UPDATE role_patterns SET tensors = tensors + 1 {OF_ALPHA} AND position = 1",
    "its tensors": f"UPDATE tensor_patterns SET pattern_class = 'noisy!' {OF_ALPHA} AND position = 2",
    "its fit": f"UPDATE fits SET r2 = r2 + 1e-15 {OF_ALPHA} AND position = 0",
    "the fits of its roles": f"DELETE FROM fits {OF_ALPHA} AND position = 1",
    "the fits of its tensors": f"UPDATE fits SET steps = 7 {OF_ALPHA} AND tensor = 0",
    "its statistics": f"UPDATE metrics SET z = -z {OF_ALPHA} AND role IS NULL AND tensor IS NULL AND z IS NOT NULL",
    "the statistics of its roles": f"UPDATE metrics SET p = NULL {OF_ALPHA} AND role = 1 AND p IS NOT NULL",
    "the statistics of its tensors": f"UPDATE metrics SET value = 0 {OF_ALPHA} AND tensor = 1 AND p IS NOT NULL",
    "its signature": f"UPDATE signatures SET packed_values = zeroblob(length(packed_values)) {OF_ALPHA}",
    "the evidence of its signature": f"UPDATE signatures SET packed_p = packed_z {OF_ALPHA}",
    "its files": f"UPDATE artifacts SET num_bytes = num_bytes + 1 {OF_ALPHA} AND position = 0",
}
"""Part -> a change of one of its rows."""


def test_every_part_of_a_pattern_is_changed_below() -> None:
    assert list(CHANGES) == [part.name for part in PARTS]


@pytest.mark.slow
@pytest.mark.parametrize("part", CHANGES)
def test_a_changed_row_is_refused_by_whatever_reads_it_and_named_by_check(part: str, path: Path) -> None:
    url = f"sqlite:///{path}"
    assert list(damages(url)) == []
    change(path, CHANGES[part])
    with PatternDatabase.open(url) as database:
        with pytest.raises(DamagedRowsError, match=r"'alpha' in .* are damaged") as found:
            database.load_pattern("alpha")
        assert part in found.value.message and "dna-zoo db check" in found.value.hint
        assert database.load_pattern("beta") == make_pattern("beta", num_blocks=1, seed=1)
    assert list(damages(url)) == [f"The pattern of 'alpha': {part} cannot be trusted."]


READERS: dict[str, Callable[[PatternDatabase], object]] = {
    "what it is": lambda database: database.models(),
    "its roles": lambda database: database.roles(),
    "its tensors": lambda database: database.export_catalog("tensors"),
    "its fit": lambda database: database.export_catalog("catalog"),
    "the fits of its roles": lambda database: database.export_catalog("roles"),
    "the fits of its tensors": lambda database: database.tensors(),
    "its statistics": lambda database: database.model_statistics(),
    "the statistics of its roles": lambda database: database.export_catalog("roles"),
    "the statistics of its tensors": lambda database: database.export_catalog("tensors"),
    "its signature": lambda database: database.get_similar_models("beta"),
    "the evidence of its signature": lambda database: database.signatures(),
    "its files": lambda database: database.load_pattern("alpha", with_tensors=False),
}


@pytest.mark.parametrize("part", READERS)
def test_lists_and_exports_refuse_it_too(part: str, path: Path) -> None:
    change(path, CHANGES[part])
    with PatternDatabase.open(f"sqlite:///{path}") as database, pytest.raises(DamagedRowsError, match="'alpha'"):
        READERS[part](database)


def test_names_of_signatures_are_checked_too(path: Path) -> None:
    change(path, "UPDATE signature_layouts SET names = replace(names, 'stable_rank', 'stable_rang')")
    with PatternDatabase.open(f"sqlite:///{path}") as database, pytest.raises(DamagedRowsError, match="names"):
        database.get_similar_models("alpha")
    assert list(damages(f"sqlite:///{path}")) == ["The names of signatures are not as they were written."]


@pytest.mark.slow
@pytest.mark.parametrize("part", CHANGES)
def test_a_model_that_is_mined_again_is_whole_again(part: str, path: Path) -> None:
    change(path, CHANGES[part])
    with PatternDatabase.open(f"sqlite:///{path}") as database:
        database.current_key("alpha")  # The first thing that mining asks does not stop it.
        save_patterns(database, make_pattern("alpha", num_blocks=1))
        assert database.load_pattern("alpha") == make_pattern("alpha", num_blocks=1)
    assert list(damages(f"sqlite:///{path}")) == []


def test_what_is_renamed_or_confirmed_keeps_right_digests_and_what_is_damaged_is_not_blessed(path: Path) -> None:
    with PatternDatabase.open(f"sqlite:///{path}") as database:
        database.rename_model("alpha", "omega")
        save_patterns(database, make_pattern("beta", num_blocks=1, seed=1, run="again"))
        assert database.load_pattern("omega").model.key == "omega"
    assert list(damages(f"sqlite:///{path}")) == []
    change(path, "UPDATE models SET num_weights = num_weights + 1 WHERE key = 'omega'")
    with PatternDatabase.open(f"sqlite:///{path}") as database, pytest.raises(DamagedRowsError, match="'omega'"):
        database.rename_model("omega", "alpha")


def test_digests_take_little_room(path: Path) -> None:
    connection = sqlite3.connect(path)
    (length,) = connection.execute("SELECT max(length(digests)) FROM patterns").fetchone()
    connection.close()
    assert length == NUM_BYTES * len(PARTS) == 104


def test_a_row_that_is_no_row_is_told_in_two_sentences(path: Path) -> None:
    change(path, "UPDATE runs SET request = '{\"models\": ' WHERE id = 1")
    with PatternDatabase.open(f"sqlite:///{path}") as database, pytest.raises(DamagedRowsError, match="cannot be read"):
        database.runs()
    assert list(damages(f"sqlite:///{path}")) == ["The table runs: a row cannot be read."]


CELLS: dict[str, tuple[str, Callable[[PatternDatabase], object], str]] = {
    "JSON that our code parses": (
        "UPDATE patterns SET settings = '{\"preset\": ' WHERE id = 1",
        lambda database: database.mixed_settings(),
        "json.decoder",
    ),
    "JSON that SQLAlchemy parses": (
        "UPDATE runs SET request = '{\"models\": ' WHERE id = 1",
        lambda database: database.runs(),
        "json.decoder",
    ),
    "a time": (
        "UPDATE runs SET started = 'noon' WHERE id = 1",
        lambda database: database.runs(),
        "sqlalchemy.",
    ),
    "bytes for a text": (
        "UPDATE alembic_version SET version_num = x'fffe'",
        lambda database: database._make_ready(create=False),
        "patterndb.connection.schema",
    ),
}
"""What is changed -> the statement, what reads it, and the module in which the error is raised."""


@pytest.mark.parametrize("cell", CELLS)
def test_a_value_that_a_library_below_the_store_stumbles_over_is_damage(cell: str, path: Path) -> None:
    statement, read, module = CELLS[cell]
    with PatternDatabase.open(f"sqlite:///{path}") as database:
        change(path, statement)
        with pytest.raises(DamagedRowsError, match=r"A row of .* cannot be read") as found:
            read(database)
    assert "dna-zoo db check" in found.value.hint
    assert found.value.__cause__ is not None
    (*_, (last, _)) = traceback.walk_tb(found.value.__cause__.__traceback__)
    assert last.f_globals["__name__"].startswith(module)


BUGS: dict[str, Callable[[], object]] = {
    "in a library below the caller": lambda: json.loads("{"),
    "in another package of ours": lambda: text_in(None, "model_type"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("bug", BUGS)
def test_the_same_error_of_what_is_done_with_records_is_a_bug_and_no_damage(bug: str, path: Path) -> None:
    with PatternDatabase.open(f"sqlite:///{path}") as database:
        with pytest.raises((ValueError, AttributeError)) as found, database._reading():
            BUGS[bug]()
    assert not isinstance(found.value, DnaZooError)
