"""The lineage of mined models: where their weights are, what is kept, and when nothing can be said."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file
from sqlalchemy import update

from dna_zoo.errors import FetchError, NotMinedError, StoreError, WeightsChangedError
from patterndb.store import PatternDatabase
from patterndb.tables import RUNS
from pipeline.events import Event
from pipeline.kept.stages import StageStore
from pipeline.lineage.mined import MinedLineage, find_weights
from tests.support.lineages import SPECIMENS, save_as_mined

NAMES = ("bert-a", "bert-a-permuted", "bert-b")


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Copies of some specimens, which a test may spoil."""
    return [Path(shutil.copytree(SPECIMENS / name, tmp_path / "models" / name)) for name in NAMES]


@pytest.fixture
def mined(tmp_path: Path, migrated_sqlite: Path, folders: list[Path]) -> Iterator[MinedLineage]:
    path = shutil.copy(migrated_sqlite, tmp_path / "patterns.sqlite")
    with PatternDatabase.open(f"sqlite:///{path}") as database:
        save_as_mined(database, folders)
        yield replace(MinedLineage.of(database, home=tmp_path / "home"), num_nulls=19)


def test_weights_are_found_where_the_run_found_them(mined: MinedLineage, folders: list[Path]) -> None:
    files = find_weights(mined.patterns["bert-a"], mined.database, home=mined.home)
    assert files.paths == (folders[0] / "model.safetensors",)
    assert files.config["num_attention_heads"] == 4


def test_deleted_weights_are_reported(mined: MinedLineage, folders: list[Path]) -> None:
    shutil.rmtree(folders[0])
    with pytest.raises(FetchError, match="are not on this machine"):
        find_weights(mined.patterns["bert-a"], mined.database, home=mined.home)
    found = mined.compare("bert-a", "bert-b")
    assert (found.verdict, found.reason) == ("cannot say", "the weights of 'bert-a' are not on this machine")


def test_weights_that_changed_are_not_taken_for_those_mined(mined: MinedLineage, folders: list[Path]) -> None:
    shutil.copy(folders[2] / "model.safetensors", folders[0] / "model.safetensors")
    with pytest.raises(WeightsChangedError):
        find_weights(mined.patterns["bert-a"], mined.database, home=mined.home)
    assert "have changed since they were mined" in mined.compare("bert-a", "bert-b").reason


def test_related_and_unrelated_models_are_told_apart(mined: MinedLineage) -> None:
    assert mined.compare("bert-a", "bert-a-permuted").verdict == "same lineage"
    assert mined.compare("bert-a", "bert-b").verdict == "no evidence"


def test_a_result_is_kept_for_either_order(mined: MinedLineage, folders: list[Path]) -> None:
    found = mined.compare("bert-a", "bert-a-permuted")
    shutil.rmtree(folders[0])
    assert mined.compare("bert-a-permuted", "bert-a") == found


def test_a_database_that_cannot_be_read_is_no_verdict(mined: MinedLineage) -> None:
    with mined.database._writing() as connection:
        connection.execute(update(RUNS).values(command="another"))
    with pytest.raises(StoreError, match="not as it was written"):
        mined.compare("bert-a", "bert-b")


def test_cannot_say_is_not_kept(mined: MinedLineage, folders: list[Path]) -> None:
    away = folders[0].rename(folders[0].with_name("away"))
    assert mined.compare("bert-a", "bert-a-permuted").verdict == "cannot say"
    away.rename(folders[0])
    assert mined.compare("bert-a", "bert-a-permuted").verdict == "same lineage"


def test_other_settings_are_kept_apart(mined: MinedLineage) -> None:
    assert mined.compare("bert-a", "bert-b").num_nulls == 19
    assert replace(mined, num_nulls=9).compare("bert-a", "bert-b").num_nulls == 9


def test_without_a_writable_home_there_is_still_a_result(mined: MinedLineage, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(StageStore, "run", full)
    assert mined.compare("bert-a", "bert-a-permuted").verdict == "same lineage"


def test_a_model_that_was_not_mined_is_an_error(mined: MinedLineage) -> None:
    with pytest.raises(NotMinedError):
        mined.compare("bert-a", "bert-c")


def test_progress_is_told_in_blocks(mined: MinedLineage) -> None:
    events: list[Event] = []
    replace(mined, on_event=events.append).compare("bert-a", "bert-b")
    assert [event.kind for event in events] == ["start", *["progress"] * 4, "done"]
    assert events[-2].done == events[-2].total == 3


@pytest.mark.slow
def test_one_file_under_two_keys_is_the_same_file(tmp_path: Path, migrated_sqlite: Path, folders: list[Path]) -> None:
    twin = Path(shutil.copytree(folders[0], tmp_path / "models" / "twin"))
    resaved = Path(shutil.copytree(folders[0], tmp_path / "models" / "resaved"))
    save_file(load_file(resaved / "model.safetensors"), resaved / "model.safetensors", {"format": "pt", "by": "me"})
    with PatternDatabase.open(f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'twins.sqlite')}") as database:
        save_as_mined(database, [folders[0], twin, resaved])
        mined = MinedLineage.of(database, home=tmp_path / "home")
        equal, same = mined.compare("bert-a", "resaved"), mined.compare("bert-a", "twin")
    assert (same.verdict, same.z, same.p) == ("the same file", None, None)
    assert (equal.verdict, equal.z, equal.p) == ("the same weights", None, None)
    assert same.is_related and equal.is_related and same.rank < equal.rank < (2, -106.0)


def test_the_older_model_is_named_by_its_key(tmp_path: Path, migrated_sqlite: Path, folders: list[Path]) -> None:
    pruned = Path(shutil.copytree(folders[0], tmp_path / "models" / "pruned"))
    values = load_file(pruned / "model.safetensors")
    save_file({name: each * (abs(each) > 0.05) for name, each in values.items()}, pruned / "model.safetensors")
    with PatternDatabase.open(f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'pruned.sqlite')}") as database:
        save_as_mined(database, [folders[0], pruned])
        mined = MinedLineage.of(database, home=tmp_path / "home")
        fresh, kept = mined.compare("pruned", "bert-a"), mined.compare("bert-a", "pruned")
    assert fresh == kept and fresh.older == "bert-a"
