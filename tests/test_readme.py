"""The tour of the README, run as it is written, on models that were mined in one epoch and without nulls."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks.parts.tour import ROOT, prepare_folder, read_tour
from cli.main import app
from pipeline.fetch.request import ModelRequest
from pipeline.settings import AnalysisSettings, MineSettings, preset
from tests.support.mining import mine_into

pytestmark = [pytest.mark.slow, pytest.mark.minilm]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some of what `make mine` leaves, in one epoch and without nulls: what the tour names, and two other kinds."""
    folder = tmp_path_factory.mktemp("home")
    settings = MineSettings(fit=preset("quick", epochs=1, num_nulls=0), analysis=AnalysisSettings(num_nulls=0))
    names = ("bert-a", "bert-b", "gpt2-a", "vit-a")
    requests = [ModelRequest(name=str(ROOT / "data" / "specimens" / name)) for name in names]
    run = mine_into(folder, [*requests, ModelRequest(name="minilm-l6")], settings)
    assert run.exit_code == 0, run
    return folder


def test_the_tour_runs_as_it_is_written(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DNA_ZOO_HOME", str(home))
    monkeypatch.delenv("DNA_ZOO_DB", raising=False)
    prepare_folder(tmp_path)
    monkeypatch.chdir(tmp_path)
    tour = read_tour()
    assert {words[0] for words in tour.commands} >= {"ask", "rebuild", "evaluate", "library", "init", "combine"}
    for arguments in tour.commands:
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, (arguments, result.stderr)
    names: dict[str, Any] = {}
    exec(compile(tour.code, "README.md", "exec"), names)
    assert names["dna"].model == "minilm-l6" and len(names["losses"]) == 10
    assert sum(names["losses"][-3:]) < sum(names["losses"][:3])
