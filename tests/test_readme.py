"""The tour of the README, run as it is written, on models that were mined in fewer epochs and without nulls."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app
from pipeline.fetch.request import ModelRequest
from pipeline.settings import AnalysisSettings, MineSettings, preset
from tests.support.mining import mine_into

pytestmark = [pytest.mark.slow, pytest.mark.minilm]

ROOT = Path(__file__).parent.parent
SECTION = (ROOT / "README.md").read_text().partition("### A DNA in your hands\n")[2]
COMMANDS, CODE = re.findall(r"^```(?:python)?\n(.*?)^```", SECTION, flags=re.MULTILINE | re.DOTALL)[:2]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some of what `make mine` leaves, in fewer epochs and without nulls: what the tour names, and two other kinds."""
    folder = tmp_path_factory.mktemp("home")
    settings = MineSettings(fit=preset("quick", epochs=3, num_nulls=0), analysis=AnalysisSettings(num_nulls=0))
    names = ("bert-a", "bert-b", "gpt2-a", "vit-a")
    requests = [ModelRequest(name=str(ROOT / "data" / "specimens" / name)) for name in names]
    run = mine_into(folder, [*requests, ModelRequest(name="minilm-l6")], settings)
    assert run.exit_code == 0, run
    return folder


def test_the_tour_runs_as_it_is_written(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DNA_ZOO_HOME", str(home))
    monkeypatch.delenv("DNA_ZOO_DB", raising=False)
    for name in ("data", "README.md"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    commands = [shlex.split(line, comments=True) for line in COMMANDS.splitlines()]
    assert {words[1] for words in commands} >= {"ask", "rebuild", "evaluate", "library", "init", "combine"}
    for program, *arguments in commands:
        assert program == "dna-zoo"
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, (arguments, result.stderr)
    names: dict[str, Any] = {}
    exec(compile(CODE, "README.md", "exec"), names)
    assert names["dna"].model == "minilm-l6" and len(names["losses"]) == 10
    assert sum(names["losses"][-3:]) < sum(names["losses"][:3])
