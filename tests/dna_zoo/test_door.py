"""The Python door: opens what was mined, mines, gives frames and DNA, and creates nothing by accident."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

import dna_zoo
from dna_zoo.errors import DnaFileError, DnaZooError, NotMinedError, SettingsError, StoreError
from library.patterns.records import Key, Part, SharedPattern
from patterndb.multiplicity import q_values
from pipeline.events import Event
from tests.support.dnas import SPECIMENS

BRIEF = {"epochs": 2, "hidden_dim": 4, "rank": 2}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the door mined a specimen."""
    home = tmp_path_factory.mktemp("home")
    (pattern,) = dna_zoo.mine(SPECIMENS / "gpt2-a", home=home, nulls=2, **BRIEF)
    assert pattern.key == "gpt2-a"
    return home


@pytest.fixture
def zoo(home: Path) -> Iterator[dna_zoo.Zoo]:
    with dna_zoo.open(home) as zoo:
        yield zoo


# Opening.


@pytest.mark.slow
def test_the_default_is_that_of_the_command_line(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DNA_ZOO_DB", raising=False)
    monkeypatch.setenv("DNA_ZOO_HOME", str(home))
    for opened in (dna_zoo.open(), dna_zoo.open(home / "dna-zoo.db"), dna_zoo.open(f"sqlite:///{home / 'dna-zoo.db'}")):
        with opened as zoo:
            assert list(zoo) == ["gpt2-a"] and zoo.home == home
            assert zoo["gpt2-a"].dna().model == "gpt2-a"
    command = [sys.executable, "-m", "cli.main"]
    code = "import sys; from cli.main import app; sys.exit(app(['show', 'gpt2-a', '--format', 'quiet']))"
    done = subprocess.run([*command[:1], "-c", code], capture_output=True, text=True, check=True)
    with dna_zoo.open() as zoo:
        assert done.stdout.strip() == zoo["gpt2-a"].pattern_class


@pytest.mark.slow
def test_a_live_model_starts_from_a_pattern_of_the_library(zoo: dna_zoo.Zoo) -> None:
    assert zoo.library.names == ()
    part = Part(values=np.ones((5, 1), dtype=np.float32), lineages=3)
    pattern = SharedPattern(name="mine", parts={Key("ffn_in", "scale"): part}, lineages=())
    zoo.library.save(pattern, replace=False)
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=10, n_positions=8, n_embd=8, n_layer=1, n_head=2, bos_token_id=None, eos_token_id=None)
    )
    found = dna_zoo.initialise_(model, zoo.library.load("mine"), torch.Generator().manual_seed(0))
    assert found.terms == {"transformer.h.0.mlp.c_fc.weight": ("scale",)}
    size = float(model.transformer.h[0].mlp.c_fc.weight.detach().square().mean().sqrt())
    assert size == pytest.approx(2 / 8**0.5)  # 2 to the 1, for 8 inputs.


def test_what_is_not_there_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DNA_ZOO_DB", raising=False)
    monkeypatch.setenv("DNA_ZOO_HOME", str(tmp_path / "home"))
    for asked in (None, tmp_path, tmp_path / "no.db", f"sqlite:///{tmp_path / 'no.db'}"):
        with pytest.raises(StoreError, match="There is no database at") as caught:
            dna_zoo.open(asked)
        assert "dna-zoo mine" in caught.value.hint
    with pytest.raises(StoreError):
        dna_zoo.load_dna("gpt2-a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["what?now", "100%25", "a#b"])
def test_a_home_may_have_any_name(name: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question mark ends the path of a URL: the database was made beside the home, named as its first half."""
    place = tmp_path / name
    monkeypatch.delenv("DNA_ZOO_DB", raising=False)
    shutil.copytree(home, place, symlinks=True)
    for opened in (dna_zoo.open(place), dna_zoo.open(place / "dna-zoo.db"), dna_zoo.open(home=place)):
        with opened as zoo:
            assert list(zoo) == ["gpt2-a"] and zoo["gpt2-a"].dna().model == "gpt2-a"
    (place / "dna-zoo.db").unlink()
    assert dna_zoo.load_dna("gpt2-a", home=place).model == "gpt2-a"
    dna_zoo.mine(SPECIMENS / "gpt2-a", home=place, nulls=2, **BRIEF)
    assert (place / "dna-zoo.db").is_file() and [each.name for each in tmp_path.iterdir()] == [name]


def test_a_zoo_is_a_mapping_that_helps_with_names(zoo: dna_zoo.Zoo) -> None:
    assert "gpt2-a" in zoo and "gpt2" not in zoo and len(zoo) == 1 and zoo.get("gpt2") is None
    with pytest.raises(NotMinedError) as caught:
        zoo["gpt2"]
    assert "Did you mean 'gpt2-a'?" in caught.value.hint
    assert "gpt2-a" in zoo._repr_html_() and repr(zoo).startswith("<Zoo of 1 models: sqlite:///")


def test_a_password_is_not_shown(zoo: dna_zoo.Zoo) -> None:
    shown = dna_zoo.Zoo(zoo.database, zoo.home, "postgresql://me:secret@host/zoo")
    assert "secret" not in repr(shown) + shown._repr_html_()


# Frames.


def test_frames_have_a_null_beside_each_number(zoo: dna_zoo.Zoo) -> None:
    pattern, record = zoo["gpt2-a"], zoo.database.load_pattern("gpt2-a")
    assert list(pattern.tensors.index) == [tensor.name for tensor in record.tensors]
    assert list(pattern.roles.index) == [role.role for role in record.roles]
    for frame, owners in ((pattern.tensors, record.tensors), (pattern.roles, record.roles)):
        wte = owners[[each.role for each in owners].index("token_embedding")]
        known = next(each for each in wte.statistics if each.z is not None)
        row = frame.loc[getattr(wte, "name", wte.role)]
        found = [row[f"{known.name}{end}"] for end in ("", ".null_mean", ".null_std", ".z", ".p")]
        assert found == [known.value, known.null_mean, known.null_std, known.z, known.p]
        assert row[f"{known.name}.p"] <= row[f"{known.name}.q"] <= 1
        assert {"fit_r2", "fit_null_r2", "fit_means_null_r2"} <= set(frame.columns)
    statistics = pattern.statistics
    assert list(statistics.index) == [each.name for each in record.statistics]
    adjusted = np.array(q_values([each.p for each in record.statistics]), dtype=float)
    assert np.array_equal(statistics["q"], adjusted, equal_nan=True)
    assert {"value", "null", "null_mean", "null_std", "z", "p", "q"} <= set(statistics.columns)
    signature = pattern.signature
    assert {"value", "z", "p", "q"} <= set(signature.columns) and np.isfinite(signature["value"]).all()


def test_a_pattern_says_in_a_line_what_was_found(zoo: dna_zoo.Zoo) -> None:
    pattern = zoo["gpt2-a"]
    assert repr(pattern).startswith("<Pattern of gpt2-a: 91,104 weights, ") and "null" in repr(pattern)
    assert "\n" not in repr(pattern) and "attention_query" in pattern._repr_html_()


def test_numbers_that_no_role_has_are_numbers_in_its_frame(home: Path, tmp_path: Path) -> None:
    (pattern,) = dna_zoo.mine(SPECIMENS / "gpt2-a", home=tmp_path, nulls=0, **BRIEF)
    found = pattern.roles[["tensors", "fit_r2", "fit_null_r2", "fit_means_null_r2", "fit_null_r2_std", "fit_num_nulls"]]
    assert [str(kind) for kind in found.dtypes] == ["Int64", *["float64"] * 4, "Int64"]
    assert "object" not in {str(kind) for kind in pattern.roles.dtypes} and "<table" in pattern._repr_html_()


def test_a_frame_that_is_changed_changes_nothing_else(zoo: dna_zoo.Zoo) -> None:
    pattern = zoo["gpt2-a"]
    frame = pattern.roles
    frame["weights"] = 0
    assert (pattern.roles["weights"] > 0).all()


# DNA.


def test_a_dna_comes_by_key_by_file_and_by_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = (home / "runs").rglob("dna.safetensors")
    by_key = dna_zoo.load_dna("gpt2-a", home=home)
    monkeypatch.setenv("DNA_ZOO_HOME", "/nowhere")
    for asked in (path, str(path), path.parent, path.parent.parent):
        assert dna_zoo.load_dna(asked).reported == by_key.reported
    with pytest.raises(DnaFileError, match="holds no"):
        dna_zoo.load_dna(home / "runs")
    with pytest.raises(DnaFileError, match="cannot be read"):
        dna_zoo.load_dna("a" * 5000)


def test_a_key_needs_no_database_where_there_is_none(home: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").symlink_to(home / "runs")
    found = dna_zoo.load_dna("gpt2-a", home=tmp_path)
    assert found.digest == dna_zoo.load_dna("gpt2-a", home=home).digest
    with pytest.raises(StoreError):
        dna_zoo.load_dna("gpt2-b", home=tmp_path)
    with pytest.raises(StoreError):  # A database that is named is to be there.
        dna_zoo.load_dna("gpt2-a", database=tmp_path / "other.db", home=tmp_path)


def test_a_dna_that_is_gone_says_what_to_do(home: Path, tmp_path: Path) -> None:
    with dna_zoo.open(home / "dna-zoo.db", home=tmp_path) as zoo, pytest.raises(DnaFileError) as caught:
        zoo["gpt2-a"].dna()
    assert "not in this home folder" in caught.value.message and "dna-zoo mine gpt2-a" in caught.value.hint


# Mining.


def test_a_failing_model_does_not_stop_the_others(home: Path, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model.safetensors").write_bytes(b"\x01")
    events: list[Event] = []
    with pytest.warns(UserWarning, match="broken was not mined"):
        (done,) = dna_zoo.mine(
            [tmp_path / "broken", SPECIMENS / "gpt2-a"], home=home, nulls=2, progress=events.append, **BRIEF
        )
    assert done.key == "gpt2-a" and {event.model for event in events} == {"broken", "gpt2-a"}
    with pytest.raises(DnaZooError, match="broken: ") as caught:
        dna_zoo.mine(tmp_path / "broken", home=home)
    assert caught.value.hint


def test_settings_are_those_of_the_command_and_are_checked(tmp_path: Path) -> None:
    for wrong in ({"epoch": 3}, {"device": "tpu"}, {"epochs": 0}, {"preset": "slow"}):
        with pytest.raises(SettingsError) as caught:
            dna_zoo.mine(SPECIMENS / "gpt2-a", home=tmp_path / "home", **wrong)
        assert caught.value.hint
    with pytest.raises(SettingsError, match="No model is named"):
        dna_zoo.mine([], home=tmp_path / "home")
    assert not (tmp_path / "home").exists()


# The module itself.


def test_the_module_lists_what_it_has() -> None:
    assert set(dna_zoo.__all__) <= set(dir(dna_zoo))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        dna_zoo.nothing  # noqa: B018
