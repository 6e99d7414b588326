"""Files that are there whole or not at all."""

from pathlib import Path

import pytest

from dna_zoo.files import whole_file


def test_a_file_is_replaced_when_it_is_complete_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with whole_file(path) as made:
        made.write_text("new")
        assert path.read_text() == "old" and made.suffix == path.suffix
    assert path.read_text() == "new" and [each.name for each in tmp_path.iterdir()] == ["a.txt"]


def test_of_a_block_that_fails_nothing_is_left_but_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail() -> None:
        with whole_file(path) as made:
            made.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old" and [each.name for each in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(OSError), whole_file(tmp_path / "absent" / "a.txt") as made:
        made.write_text("x")
    assert not list(tmp_path.iterdir())
