"""`dna-zoo report` and `mine --figures` end to end."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from tests.cli.conftest import Invoke
from tests.support.dnas import SPECIMENS


@pytest.fixture
def run(mined_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    environment = {"DNA_ZOO_HOME": str(mined_home), "DNA_ZOO_DB": ""}
    return lambda *words: CliRunner().invoke(app, ["report", *words], env=environment)


def test_a_report_on_all_models_is_written(run: Callable[..., Result], tmp_path: Path) -> None:
    result = run("--out", "found")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "Wrote a report on 3 models with 6 figures to found" in result.stderr
    kept = {path.name for path in (tmp_path / "found").iterdir()}
    assert kept == {"report.html", "report.md", "citation.bib", "data", "figures"}


@pytest.mark.parametrize(
    "words, code, message, hint",
    [
        (("vit-b", "--out", "new"), 1, "neither a mined model nor a run", "Did you mean 'vit-a'"),
        (("vit-a", "--out", "there"), 1, "is there already", "--force"),
        (("vit-a", "--out", "there", "--force"), 1, "is not replaced", "Name another folder"),
    ],
)
def test_mistakes_are_told_in_two_sentences(
    words: tuple[str, ...], code: int, message: str, hint: str, run: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine").touch()
    result = run(*words)
    assert result.exit_code == code and message in result.stderr and hint in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_a_missing_library_is_named_with_its_extra(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    result = run("vit-a", "--out", "new")
    assert result.exit_code == 1 and "jinja2" in result.stderr and "dna-zoo[see]" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_mining_with_figures_draws_the_folder_of_the_run(invoke: Invoke, environment: dict[str, str]) -> None:
    result = invoke("mine", str(SPECIMENS / "cnn-a"), "--figures", "--epochs", "2", "--nulls", "2")
    assert result.exit_code == 0, result.stderr
    (folder,) = Path(environment["DNA_ZOO_HOME"]).glob("runs/*/cnn-a")
    assert (folder / "visualizations" / "raw_weights" / "matrix.png").is_file()
    assert "visualizations/" in result.stderr and "Warning" not in result.stderr
    drawn = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    shutil.rmtree(folder / "visualizations")
    assert invoke("plot", "--all", folder.parent.name).exit_code == 0
    assert drawn == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_figures_without_their_libraries_fail_before_anything_is_mined(
    invoke: Invoke, environment: dict[str, str], tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = invoke("mine", str(tiny_model), "--figures")
    assert result.exit_code == 1 and "dna-zoo[see]" in result.stderr
    assert not (Path(environment["DNA_ZOO_HOME"]) / "runs").exists()
