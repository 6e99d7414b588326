"""Where finished stages are kept: keyed by content, whole or not at all, never done twice."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.kept.stages import KEY_LENGTH, StageStore, content_key, write_json

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


class Killed(Exception):
    """Stands in for a kill."""


def refuse(directory: Path) -> Any:
    raise AssertionError("computed twice")


def kill(directory: Path) -> Any:
    (directory / "half.bin").write_bytes(b"half")
    raise Killed


# Keys.


def test_a_key_is_the_same_in_every_version_of_the_software() -> None:
    """A changed recipe would make everybody's finished stages worthless."""
    assert content_key("1", "abc", {"b": 1, "a": [0.5, None, "ö"]}) == "1b3d93538476a09218159c2d165b94d1"


@settings(max_examples=30)
@given(st.lists(json_values, max_size=4))
def test_a_key_is_a_name_for_a_folder_that_a_rerun_gives_again(parts: list[Any]) -> None:
    key = content_key(*parts)
    assert key == content_key(*json.loads(json.dumps(parts)))
    assert len(key) == KEY_LENGTH and set(key) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (("a", "b"), ("ab",)),
        (("a",), ("a", None)),
        ((1,), ("1",)),
        (({"a": 1},), ({"a": 2},)),
        (("b", "a"), ("a", "b")),
    ],
)
def test_different_parts_have_different_keys(left: tuple[Any, ...], right: tuple[Any, ...]) -> None:
    assert content_key(*left) != content_key(*right)


def test_the_order_of_a_mapping_does_not_matter() -> None:
    assert content_key({"a": 1, "b": 2}) == content_key({"b": 2, "a": 1})


def test_what_is_no_json_has_no_key() -> None:
    with pytest.raises(ValueError, match="JSON"):
        content_key(float("nan"))


# Stages.


def test_a_finished_stage_is_not_computed_again(tmp_path: Path) -> None:
    first = StageStore(tmp_path).run("order", "k" * 32, lambda directory: {"x": [1, 2.5, None]})
    second = StageStore(tmp_path).run("order", "k" * 32, refuse)
    assert (first.is_reused, second.is_reused) == (False, True)
    assert second.result == first.result == {"x": [1, 2.5, None]}
    assert (second.key, second.directory, second.seconds) == (first.key, first.directory, first.seconds)


def test_stages_and_keys_are_apart(tmp_path: Path) -> None:
    store = StageStore(tmp_path)
    store.run("order", "a" * 32, lambda directory: 1)
    assert store.find("order", "b" * 32) is None
    assert store.find("fit", "a" * 32) is None


def test_the_result_is_written_last(tmp_path: Path) -> None:
    def compute(directory: Path) -> str:
        assert directory.is_dir() and not (directory / "result.json").exists()
        (directory / "order.bin").write_bytes(b"values")
        return "done"

    finished = StageStore(tmp_path).run("order", "k" * 32, compute)
    assert sorted(path.name for path in finished.directory.iterdir()) == ["cost.json", "order.bin", "result.json"]


def test_what_a_killed_attempt_left_is_there_for_the_next(tmp_path: Path) -> None:
    store = StageStore(tmp_path)
    with pytest.raises(Killed):
        store.run("fit", "k" * 32, kill)
    assert store.find("fit", "k" * 32) is None
    assert store.run("fit", "k" * 32, lambda directory: (directory / "half.bin").read_text()).result == "half"


def test_force_throws_away_what_is_there(tmp_path: Path) -> None:
    store = StageStore(tmp_path)
    with pytest.raises(Killed):
        store.run("fit", "k" * 32, kill)
    forced = store.run("fit", "k" * 32, lambda directory: list(directory.iterdir()), force=True)
    again = store.run("fit", "k" * 32, lambda directory: "again", force=True)
    assert (forced.result, again.result, again.is_reused) == ([], "again", False)


@pytest.mark.parametrize("content", ["", "{", '{"seconds": 1}', "[]", "\x00\x00"])
def test_a_damaged_result_is_no_result(content: str, tmp_path: Path) -> None:
    store = StageStore(tmp_path)
    (store.run("fit", "k" * 32, lambda directory: 1).directory / "result.json").write_text(content)
    assert store.find("fit", "k" * 32) is None
    assert store.run("fit", "k" * 32, lambda directory: 2).result == 2


# Files.


def test_json_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [each.name for each in path.parent.iterdir()] == ["x.json"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, "old")
    (tmp_path / f".x.{os.getpid()}.json").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write_json(path, "new")
    assert json.loads(path.read_text()) == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["x.json"]
