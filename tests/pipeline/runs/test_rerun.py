"""A run repeated: the same finds nothing different, and what it left is neither used nor changed."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from dna_zoo.errors import SettingsError
from patterndb.records import RunRecord
from pipeline.runs.rerun import requests_of, rerun, settings_of
from tests.support.mining import FAST, database_of, mine_into, request, run_files, stamps, tables
from tests.support.patterns import make_pattern, save_patterns
from tests.support.tiny_models import make_tiny_checkpoint

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def mined(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunRecord]:
    home = tmp_path_factory.mktemp("home")
    return home, mine_into(home, [request(checkpoint), request(checkpoint / "nowhere", "nowhere")])


def test_a_run_repeated_finds_the_same_and_leaves_everything(mined: tuple[Path, RunRecord]) -> None:
    home, run = mined
    before = (tables(home), run_files(home), stamps(home / "stages"))
    with database_of(home) as database:
        found = rerun(run, database=database, home=home)
        assert len(database.runs()) == 1
    assert found.are_equal and [a for a, _ in found.compared] == ["tiny", "nowhere"]
    assert (tables(home), run_files(home), stamps(home / "stages")) == before
    assert not list(home.glob("rerun-*"))


def test_other_weights_in_the_same_place_are_found(mined: tuple[Path, RunRecord], tmp_path: Path) -> None:
    subprocess.run(["cp", "-a", mined[0], tmp_path / "home"], check=True)
    home, place = tmp_path / "home", tmp_path / "place"
    place.symlink_to(make_tiny_checkpoint("minilm-l6", tmp_path / "one", 0).parent)
    run = mine_into(home, [request(place)])
    place.unlink()
    place.symlink_to(make_tiny_checkpoint("minilm-l6", tmp_path / "two", 1).parent)
    with database_of(home) as database:
        found = rerun(run, database=database, home=home)
    assert not found.are_equal and len(found.of("weights")) == 1 and found.of("fit") and not found.of("setting")


def test_the_request_comes_back_from_the_record(mined: tuple[Path, RunRecord], checkpoint: Path) -> None:
    home, run = mined
    with database_of(home) as database:
        assert requests_of(run, database)[0] == request(checkpoint)
    assert settings_of(run.request) == FAST


def test_a_model_of_the_hub_is_taken_at_the_commit_of_the_run(tmp_path: Path) -> None:
    with database_of(tmp_path) as database:
        save_patterns(database, make_pattern("someone/alpha"))
        run = replace(database.run("run-1"), request={"models": [{"name": "someone/alpha", "key": None}]})
        assert requests_of(run, database)[0].revision == "0" * 40


@pytest.mark.parametrize("asked", [{}, {"models": [{"name": "x", "colour": "red"}]}])
def test_a_request_of_another_version_is_refused(tmp_path: Path, asked: dict[str, object]) -> None:
    with database_of(tmp_path) as database:
        database.start_run("r", asked)
        with pytest.raises(SettingsError):
            requests_of(database.run("r"), database)
