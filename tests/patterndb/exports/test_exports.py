"""Which rows and columns a table has, and that it comes in pieces."""

import shutil
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.parts.database.bulk import fill
from dna_zoo.errors import NotMinedError, SettingsError
from patterndb.exports import pairs
from patterndb.exports import store as exports
from patterndb.exports.catalog import roles_frame
from patterndb.exports.columns import COLUMNS, TABLES
from patterndb.exports.files import write_pieces, write_table
from patterndb.records import Statistic
from patterndb.store import PatternDatabase
from tests.support.patterns import make_pattern, save_patterns
from tests.support.signatures import NAMES

KEYS = ("alpha", "beta", "gamma", "delta", "epsilon")


@pytest.fixture
def filled(database: PatternDatabase) -> PatternDatabase:
    """Five models, one of them mined twice and one with a statistic of its own."""
    patterns = [make_pattern(key) for key in KEYS]
    own = (Statistic(name="lonely", value=0.5),)
    patterns[4] = replace(patterns[4], roles=(replace(patterns[4].roles[0], statistics=own), *patterns[4].roles[1:]))
    save_patterns(database, make_pattern("alpha", 7, run="old"), *patterns)
    return database


@pytest.fixture
def small(migrated_sqlite: Path, tmp_path: Path) -> Iterator[PatternDatabase]:
    """A SQLite file with nothing in it."""
    shutil.copy(migrated_sqlite, tmp_path / "x.sqlite")
    with PatternDatabase.open(f"sqlite:///{tmp_path / 'x.sqlite'}") as opened:
        yield opened


def test_roles_are_those_of_the_page_with_their_pooled_statistics(filled: PatternDatabase) -> None:
    frame = filled.export_catalog("roles", keys=["beta"])
    shown = roles_frame(make_pattern("beta"))
    assert frame["role"].tolist() == shown.index.tolist() and set(frame["model"]) == {"beta"}
    for column in shown.columns:
        mine, theirs = frame[column].astype(object), shown[column].astype(object)
        assert [a if pd.notna(a) else None for a in mine] == [b if pd.notna(b) else None for b in theirs], column


@pytest.mark.slow
@pytest.mark.parametrize("table", TABLES)
def test_a_table_is_the_same_in_pieces_of_one_model(
    table: str, filled: PatternDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = filled.export_catalog(table)
    monkeypatch.setattr(exports, "MODELS_PER_PIECE", dict.fromkeys(TABLES, 1))
    monkeypatch.setattr(exports, "PAIRS_PER_PIECE", 3)
    pieces = list(filled.export_pieces(table))
    assert len(pieces) == (4 if table == "distances" else 5)
    assert {tuple(piece.columns) for piece in pieces} == {tuple(whole.columns)}
    assert [piece.dtypes.tolist() for piece in pieces] == [whole.dtypes.tolist()] * len(pieces)
    pd.testing.assert_frame_equal(pd.concat(pieces, ignore_index=True), whole, check_exact=True)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", ".md"])
def test_a_file_written_in_pieces_is_the_file_of_the_whole(
    suffix: str, small: PatternDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "MODELS_PER_PIECE", dict.fromkeys(TABLES, 2))
    save_patterns(small, *(make_pattern(key) for key in KEYS))
    whole = small.export_catalog("tensors")
    write_table(whole, tmp_path / f"whole{suffix}")
    assert len(list(small.export_pieces("tensors"))) > 1
    rows = write_pieces(small.export_pieces("tensors"), tmp_path / f"pieces{suffix}", table="tensors")
    assert rows == len(whole)
    if suffix == ".parquet":
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "pieces.parquet"), whole, check_exact=True)
    else:
        assert (tmp_path / f"pieces{suffix}").read_bytes() == (tmp_path / f"whole{suffix}").read_bytes()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_models(
    small: PatternDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "MODELS_PER_PIECE", dict.fromkeys(TABLES, 4))
    peaks = []
    for number in (4, 12):
        save_patterns(small, *(make_pattern(f"m{each}") for each in range(number)))
        list(small.export_pieces("tensors"))  # What is loaded once is not counted.
        tracemalloc.start()
        write_pieces(small.export_pieces("tensors"), tmp_path / "x.csv", table="tensors", force=True)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows_of_a_catalog(
    migrated_sqlite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "MODELS_PER_PIECE", dict.fromkeys(TABLES, 50))
    monkeypatch.setattr(exports, "IDS_PER_QUERY", 50)
    peaks = []
    for number in (100, 600):
        shutil.copy(migrated_sqlite, tmp_path / f"{number}.sqlite")
        with PatternDatabase.open(f"sqlite:///{tmp_path / f'{number}.sqlite'}") as database:
            fill(database, NAMES[:16], number)
            next(iter(database.export_pieces()))  # What is loaded once is not counted.
            tracemalloc.start()
            rows = write_pieces(database.export_pieces(), tmp_path / "x.csv", table="catalog", force=True)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert rows == number
    assert peaks[1] < 1.2 * peaks[0]


def test_distances_in_blocks_are_those_of_all_pairs_at_once(
    small: PatternDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(small, NAMES, 40)
    order = ["a", "b"]
    whole = small.export_catalog("distances").sort_values(order, ignore_index=True)
    monkeypatch.setattr(pairs, "EXACT_MODELS", 20)
    monkeypatch.setattr(pairs, "ROWS", 7)
    monkeypatch.setattr(pairs, "COLUMNS", 9)
    blocks = list(small.export_pieces("distances"))
    assert len(blocks) > 10 and max(map(len, blocks)) <= 63
    found = pd.concat(blocks).sort_values(order, ignore_index=True)
    pd.testing.assert_frame_equal(found, whole, rtol=1e-9, atol=1e-12)


def test_only_the_models_that_are_asked_for_are_there(filled: PatternDatabase) -> None:
    for table in ("catalog", "tensors", "roles", "signatures"):
        assert list(dict.fromkeys(filled.export_catalog(table, keys=["gamma", "beta"])["model"])) == ["beta", "gamma"]
    assert filled.export_catalog("distances", keys=["gamma", "beta"])[["a", "b"]].values.tolist() == [["beta", "gamma"]]
    with pytest.raises(NotMinedError, match="no pattern of 'gama'"):
        filled.export_catalog(keys=["beta", "gama"])


def test_a_run_gives_what_it_found_in_place_of_the_current_version(filled: PatternDatabase) -> None:
    old = make_pattern("alpha", 7, run="old")
    for table in ("catalog", "tensors", "roles", "signatures"):
        assert set(filled.export_catalog(table, run="old")["pattern_key"]) == {old.pattern_key}
    assert old.pattern_key not in set(filled.export_catalog()["pattern_key"])


def test_columns_are_those_that_were_chosen_in_their_order(filled: PatternDatabase) -> None:
    (frame,) = filled.export_pieces("roles", keys=["epsilon"], columns=["lonely", "model", "fit_r2"])
    assert list(frame.columns) == ["lonely", "model", "fit_r2"] and frame["lonely"].tolist()[0] == 0.5
    with pytest.raises(SettingsError, match="no column 'fit_r'") as caught:
        list(filled.export_pieces("roles", columns=["fit_r"]))
    assert "fit_r2" in caught.value.hint


@pytest.mark.parametrize("table", ["catalog", "tensors", "roles"])
def test_preset_budget_epochs_and_seed_are_columns(table: str, filled: PatternDatabase) -> None:
    row = filled.export_catalog(table, run="old").iloc[0]
    assert (row["preset"], row["budget"], row["seed"]) == ("quick", 0.01, 7) and pd.isna(row["epochs"])
    assert {"preset", "budget", "epochs", "seed"} <= set(COLUMNS[table])
