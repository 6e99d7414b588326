"""The folder of a model in a run: what it holds, and that what was mined stays as it was."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from dna_zoo.errors import DnaFileError, NotMinedError
from explorer.file_names import default_name, file_name
from explorer.plotting import Look
from explorer.run_folder import draw_run_folder, draw_run_folders
from explorer.source import Source
from patterndb.store import PatternDatabase
from pipeline.persist import are_intact

SMALL = Look(width="icml-double", dpi=30)


@pytest.fixture(scope="module")
def home(mined_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy to draw into."""
    copy = tmp_path_factory.mktemp("drawn") / "home"
    shutil.copytree(mined_home, copy)
    return copy


@pytest.fixture(scope="module")
def source(home: Path) -> Iterator[Source]:
    with PatternDatabase.open(f"sqlite:///{home / 'dna-zoo.db'}", create=False) as database:
        yield Source(database=database, home=home)


@pytest.fixture(scope="module")
def folder(source: Source) -> Path:
    drawn = list(draw_run_folder(source, "cnn-a", look=SMALL))
    assert [each.error for each in drawn if each.error] == []
    return source.home / "runs" / source.database.run(source.pattern("cnn-a").run).folder / "cnn-a"


def test_a_folder_has_what_users_of_the_idea_know(folder: Path) -> None:
    known = {"checkpoints", "data", "logs", "summary.json", "training_history.json", "visualizations"}
    assert {path.name for path in folder.iterdir()} == known
    raw, rebuilt = (sorted(folder.glob(f"visualizations/{part}/*.png")) for part in ("raw_weights", "reconstruction"))
    assert {"manifold", "matrix", "spectrum", "singular-values", "layer-spectra"} == {path.stem for path in raw}
    assert {"rate", "training", "gain"} < {path.stem for path in rebuilt}
    assert all(path.with_suffix(end).is_file() for path in (*raw, *rebuilt) for end in (".csv", ".json"))
    assert all(plt.imread(path).std() > 0.01 for path in (*raw, *rebuilt))


def test_each_role_is_shown_rebuilt_once(folder: Path, source: Source) -> None:
    roles = [each.role for each in source.pattern("cnn-a").roles if each.fit]
    shown = [
        json.loads(path.read_text()) for path in folder.glob("visualizations/reconstruction/reconstruction-*.json")
    ]
    names = [each["subtitle"].split(", ")[1] for each in shown]
    assert sorted(each.role for each in source.pattern("cnn-a").tensors if each.name in names) == sorted(roles)


def test_the_metadata_are_those_of_the_model(folder: Path, source: Source) -> None:
    found, pattern = json.loads((folder / "data" / "metadata.json").read_text()), source.pattern("cnn-a")
    assert found["model"]["sha256"] == pattern.model.sha256 and found["provenance"] == pattern.provenance
    shapes = {each["name"]: (each["rows"], each["cols"]) for each in found["tensors"]}
    assert shapes == {each.name: (each.rows, each.cols) for each in pattern.tensors}


def test_the_log_is_of_this_model_alone(folder: Path) -> None:
    text = (folder / "logs" / "mine.log").read_text()
    assert "cnn-a: fit done" in text and "vit-a" not in text and "gpt2-a" not in text


def test_what_was_mined_is_as_it_was(folder: Path, source: Source) -> None:
    assert folder.is_dir() and are_intact(source.pattern("cnn-a").artifacts, source.home)


def test_a_folder_that_is_gone_or_a_run_that_never_was_is_told(source: Source, tmp_path: Path) -> None:
    with pytest.raises(DnaFileError, match="not in this home folder"):
        next(draw_run_folder(Source(database=source.database, home=tmp_path), "cnn-a"))
    with pytest.raises(NotMinedError):
        next(draw_run_folders(source, "0123456789ab"))


@pytest.mark.parametrize("name", ["../../etc/x", "/etc/x", ".hidden", "a" * 300, "a/b", "\u202ex", "CON\n"])
def test_a_file_name_leaves_no_folder_and_is_its_own(name: str) -> None:
    made = file_name(name)
    assert "/" not in made and made.isprintable() and not made.startswith(".") and len(made) < 100
    assert made != file_name(name + "!") and file_name("plain-1.weight") == "plain-1.weight"


@pytest.mark.parametrize("name", ["é" * 300, "[/x] <b>\n", "../../etc/x", "模" * 100])
def test_a_file_that_nobody_named_can_be_written(name: str, tmp_path: Path) -> None:
    made = default_name("explore", [name, name, name, name])
    (tmp_path / f"{made}.html").write_text("")
    assert made.startswith("explore-") and made.isprintable() and "[" not in made
