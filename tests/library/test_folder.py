"""A folder is there when it is complete: nothing of one that failed or was killed, nothing overwritten unasked."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dna_zoo.errors import OutputError
from library.folder import new_folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def make_model(path: Path) -> None:
    with new_folder(path) as folder:
        (folder / "config.json").write_text("old")


def test_it_appears_when_the_block_ends(tmp_path: Path) -> None:
    with new_folder(tmp_path / "deep" / "out") as folder:
        (folder / "config.json").write_text("{}")
        assert not (tmp_path / "deep" / "out").exists()
    assert names(tmp_path / "deep") == ["out"]


def test_nothing_is_left_of_a_block_that_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "out") as folder:
        (folder / "config.json").write_text("{}")
        raise ZeroDivisionError
    assert names(tmp_path) == []


def test_a_process_that_is_killed_leaves_nothing_at_the_place(tmp_path: Path) -> None:
    child = os.fork()
    if not child:
        with new_folder(tmp_path / "out") as folder:
            (folder / "config.json").write_text("{}")
            os._exit(9)
    os.waitpid(child, 0)
    assert not (tmp_path / "out").exists()
    make_model(tmp_path / "out")
    assert (tmp_path / "out" / "config.json").read_text() == "old"


def test_what_is_there_is_kept_unless_asked(tmp_path: Path) -> None:
    make_model(tmp_path / "out")
    with pytest.raises(OutputError, match="is there already") as raised, new_folder(tmp_path / "out"):
        raise AssertionError
    assert "--force" in raised.value.hint
    with new_folder(tmp_path / "out", force=True) as folder:
        (folder / "config.json").write_text("new")
    assert (tmp_path / "out" / "config.json").read_text() == "new" and names(tmp_path) == ["out"]


def test_a_model_is_there_until_the_one_in_its_place_is_complete(tmp_path: Path) -> None:
    make_model(tmp_path / "out")
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "out", force=True):
        raise ZeroDivisionError
    assert (tmp_path / "out" / "config.json").read_text() == "old"


def ends_between_renames(end: Callable[[], None]) -> Callable[[Path, Path], Path]:
    """`Path.rename` that calls `end` once what was there is out of the way."""
    rename = Path.rename

    def renamed(self: Path, target: Path) -> Path:
        found = rename(self, target)
        if self.name == "out":
            end()
        return found

    return renamed


def test_a_model_is_put_back_if_the_command_is_interrupted_as_it_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    make_model(tmp_path / "out")
    monkeypatch.setattr(Path, "rename", ends_between_renames(interrupt))
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "out", force=True) as folder:
        (folder / "config.json").write_text("new")
    assert (tmp_path / "out" / "config.json").read_text() == "old" and names(tmp_path) == ["out"]


def test_a_model_is_put_back_by_the_next_call_if_the_process_was_killed_as_it_was_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_model(tmp_path / "out")
    child = os.fork()
    if not child:
        monkeypatch.setattr(Path, "rename", ends_between_renames(lambda: os._exit(9)))
        with new_folder(tmp_path / "out", force=True) as folder:
            (folder / "config.json").write_text("new")
    os.waitpid(child, 0)
    assert not (tmp_path / "out").exists()
    with pytest.raises(OutputError, match="is there already"), new_folder(tmp_path / "out"):
        raise AssertionError
    assert (tmp_path / "out" / "config.json").read_text() == "old"


def test_a_folder_that_is_no_model_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letters.txt").write_text("dear")
    with pytest.raises(OutputError, match="not a model's folder"), new_folder(tmp_path / "home", force=True):
        raise AssertionError
    assert names(tmp_path / "home") == ["letters.txt"]


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError), new_folder(tmp_path / "file" / "out"):
        raise AssertionError
