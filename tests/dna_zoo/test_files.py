"""Files that are there whole or not at all."""

import errno
from pathlib import Path

import pytest

from dna_zoo.files import has_room, keeps_locks, may_be_written, remove_unfinished, whole_file


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


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    kept = (".hidden", "a.12.json", ".a.txt", "result.json")
    for name in (*kept, ".result.4711.json", ".stack-000.train.12.pt", ".dna.17"):
        (tmp_path / name).write_text("x")
    remove_unfinished(tmp_path)
    assert {each.name for each in tmp_path.iterdir()} == {*kept}
    remove_unfinished(tmp_path / "absent")


def test_a_usual_disk_has_room_and_keeps_locks_and_trying_leaves_nothing(tmp_path: Path) -> None:
    assert has_room(tmp_path) and keeps_locks(tmp_path) and may_be_written(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("code", "room"), [(errno.ENOSPC, False), (errno.EDQUOT, False), (errno.EIO, True)])
def test_room_is_what_the_disk_says_when_it_is_tried(
    code: int, room: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> int:
        raise OSError(code, "no")

    monkeypatch.setattr("os.write", fail)
    assert has_room(tmp_path) == room
    monkeypatch.setattr("fcntl.lockf", fail)
    assert not keeps_locks(tmp_path)
