"""Other weights under a key are a new version: said, and the older one stays with its files."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from pipeline.events import Event
from pipeline.fetch.request import ModelRequest
from pipeline.persist import are_intact
from tests.support.mining import database_of, mine_into
from tests.support.tiny_models import make_tiny_checkpoint

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_tiny_checkpoint("tinybert", tmp_path / "a" / "model", 0)
    return tmp_path / "a" / "model"


def mine_folder(home: Path, folder: Path) -> list[str]:
    """Mine a directory by its name; the notes that were told."""
    events: list[Event] = []
    run = mine_into(home, [ModelRequest(name=str(folder))], on_event=events.append)
    assert run.exit_code == 0, run
    return [event.message for event in events if event.kind == "note"]


def train_on(folder: Path) -> None:
    (path,) = folder.glob("*.safetensors")
    weights = load_file(path)
    save_file({name: value * (1 + 0.1 * (value > 0)) for name, value in weights.items()}, path)


def as_safetensors(folder: Path) -> None:
    """The weights in a file that a test can write again."""
    import torch

    for path in folder.glob("*.bin"):
        state = torch.load(path, weights_only=True)
        save_file({name: value.numpy() for name, value in state.items()}, folder / "model.safetensors")
        path.unlink()


def test_both_versions_are_kept_with_their_files_and_it_is_said(folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    as_safetensors(folder)
    assert not [note for note in mine_folder(home, folder) if "weights than before" in note]
    train_on(folder)
    assert "the older one stays" in " ".join(mine_folder(home, folder))
    assert not [note for note in mine_folder(home, folder) if "weights than before" in note], "mined again"
    with database_of(home) as database:
        versions = database.model_versions("model")
        assert [each.is_current for each in versions] == [True, False] and versions[0].versions == 2
        keys = {database.run(each.run).request_key for each in versions}
        assert len(keys) == 1, "the request is the same"
        artifacts = database.removal_of("model").artifacts
        assert len(artifacts) == 6 and len({each.path for each in artifacts}) == 6 and are_intact(artifacts, home)
        pattern = database.load_pattern("model")
        assert pattern.provenance["source"] == str(folder)
        assert database.origins(["model", "nosuch"]) == {
            "model": tuple((str(folder), each.model.sha256) for each in reversed(versions))
        }


def test_a_second_directory_of_the_same_name_has_a_key_that_it_keeps(folder: Path, tmp_path: Path) -> None:
    home, other = tmp_path / "home", tmp_path / "b" / "model"
    make_tiny_checkpoint("tinybert", other, 1)
    mine_folder(home, folder)
    for _ in range(2):
        assert f"{str(other)!r} is kept as 'b/model', since 'model' stands for another place." in mine_folder(
            home, other
        )
    assert not [note for note in mine_folder(home, folder) if "kept as" in note]
    with database_of(home) as database:
        assert database.model_keys() == ("b/model", "model")
        assert [each.patterns for each in database.models()] == [1, 1]


def test_the_source_of_a_pattern_that_does_not_tell_it_is_what_its_run_was_asked_for(
    folder: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    mine_folder(home, folder)
    with database_of(home) as database:
        pattern = database.load_pattern("model")
        told = {name: value for name, value in pattern.provenance.items() if name != "source"}
        database.save_pattern(replace(pattern, provenance=told))
        assert database.origins(["model"]) == {"model": ((str(folder), pattern.model.sha256),)}


def test_what_a_config_says_wrongly_is_told_and_stays_with_the_model(folder: Path, tmp_path: Path) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_hidden_layers": 40}))
    said = [note for note in mine_folder(tmp_path / "home", folder) if note.startswith("config.json says 40 layers")]
    with database_of(tmp_path / "home") as database:
        assert len(said) == 1 and said[0] in database.load_pattern("model").provenance["notes"]
