"""Keys of paths: two directories of one last name do not share one, and a directory keeps the key that it has."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pipeline.fetch.naming import Mined, nothing_mined
from pipeline.fetch.plan import expand_all, key_of, source_of
from pipeline.fetch.request import ModelRequest
from pipeline.fetch.stage import fetch

Known = dict[str, list[Mined]]


def model(folder: Path, value: float = 1.0) -> Path:
    folder.mkdir(parents=True)
    save_file({"a.weight": torch.full((3, 3), value)}, folder / "model.safetensors")
    return folder


def keys(*folders: Path, known: Known | None = None, home: Path | None = None) -> list[str]:
    """The keys of these folders, where the database has these."""

    def origins(names: Sequence[str]) -> Mapping[str, Sequence[Mined]]:
        return {name: (known or {})[name] for name in names if name in (known or {})}

    return [
        key_of(each) for each in expand_all([ModelRequest(name=str(f)) for f in folders], home=home, origins=origins)
    ]


def mined(folder: Path, home: Path) -> Mined:
    """What the database would have of a folder that was mined."""
    request = ModelRequest(name=str(folder), key="any")
    return Mined(source=source_of(request), sha256=fetch(request, home=home).digest)


def test_a_key_that_nothing_has_is_the_last_name(tmp_path: Path) -> None:
    assert keys(model(tmp_path / "a" / "model")) == ["model"]
    assert nothing_mined(["model"]) == {}


def test_the_second_of_one_name_is_called_by_its_parent_too(tmp_path: Path) -> None:
    assert keys(model(tmp_path / "a" / "model"), model(tmp_path / "b" / "model")) == ["model", "b/model"]


def test_a_key_does_not_depend_on_the_order_once_it_is_mined(tmp_path: Path) -> None:
    home, a, b = tmp_path / "home", model(tmp_path / "a" / "model"), model(tmp_path / "b" / "model", 2.0)
    known = {"model": [mined(a, home)], "b/model": [mined(b, home)]}
    assert keys(b, a, known=known) == ["b/model", "model"]
    assert keys(b, known=known) == ["b/model"]


def test_a_key_outlives_the_model_that_was_in_its_way(tmp_path: Path) -> None:
    home, b = tmp_path / "home", model(tmp_path / "b" / "model")
    assert keys(b, known={"b/model": [mined(b, home)]}) == ["b/model"]


def test_the_same_directory_keeps_its_key_whatever_is_in_it_and_however_it_is_written(tmp_path: Path) -> None:
    home, a = tmp_path / "home", model(tmp_path / "a" / "model")
    known = {"model": [mined(a, home)]}
    save_file({"a.weight": torch.zeros(3, 3)}, a / "model.safetensors")
    (tmp_path / "link").symlink_to(a)
    assert keys(a, known=known) == keys(tmp_path / "a" / ".." / "a" / "model", known=known) == ["model"]
    assert keys(tmp_path / "link", known=known) == ["model"]


def test_a_model_that_has_moved_keeps_its_key(tmp_path: Path) -> None:
    home, old = tmp_path / "home", model(tmp_path / "a" / "model")
    known = {"model": [mined(old, home)]}
    new = tmp_path / "archive" / "model"
    shutil.copytree(old, new)
    assert keys(new, known=known, home=home) == ["archive/model"], "a copy is another model"
    shutil.rmtree(old)
    assert keys(new, known=known, home=home) == ["model"]
    save_file({"a.weight": torch.zeros(3, 3)}, new / "model.safetensors")
    assert keys(new, known=known, home=home) == ["archive/model"], "other weights did not come from there"


def test_a_directory_called_like_a_mined_card_is_another_model(tmp_path: Path) -> None:
    folder = model(tmp_path / "copies" / "minilm-l6")
    known = {"minilm-l6": [Mined(source="minilm-l6", sha256="0" * 64)]}
    assert keys(folder, known=known) == ["copies/minilm-l6"]


def test_where_all_parents_are_taken_a_hash_of_the_path_tells_apart(tmp_path: Path) -> None:
    folder = model(tmp_path / "x" / "y" / "z" / "model")
    taken = [Mined(source="else", sha256="0" * 64)]
    known = dict.fromkeys(("model", "z/model", "y/z/model", "x/y/z/model"), taken)
    (key,) = keys(folder, known=known)
    assert key.startswith("model-") and len(key) == len("model-") + 8 and keys(folder, known=known) == [key]


@pytest.mark.parametrize("key", ["mine", "model"])
def test_a_key_that_is_given_is_never_changed(tmp_path: Path, key: str) -> None:
    a, b = model(tmp_path / "a" / "model"), model(tmp_path / "b" / "model")
    requests = [ModelRequest(name=str(a)), ModelRequest(name=str(b), weights=b, key=key + "2")]
    assert [key_of(each) for each in expand_all(requests)] == ["model", key + "2"]
