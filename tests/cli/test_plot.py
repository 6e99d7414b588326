"""`dna-zoo plot` end to end, on models that were mined; and the door's `plot` and `view`."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest
from typer.testing import CliRunner, Result

import dna_zoo
from cli.main import app
from explorer.kinds import KINDS

Plot = Callable[..., Result]


@pytest.fixture
def plot(mined_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plot:
    monkeypatch.chdir(tmp_path)
    environment = {"DNA_ZOO_HOME": str(mined_home), "DNA_ZOO_DB": "", "COLUMNS": "200"}
    return lambda *words: CliRunner().invoke(app, ["plot", *words], env=environment)


@pytest.fixture
def zoo(mined_home: Path) -> Iterator[dna_zoo.Zoo]:
    with dna_zoo.open(mined_home) as zoo:
        yield zoo
    plt.close("all")


def test_a_figure_is_written_with_its_numbers_and_words(plot: Plot, tmp_path: Path) -> None:
    result = plot("singular-values", "vit-a", "--out", "figure.svg", "--width", "neurips", "--theme", "dark")
    assert result.exit_code == 0, result.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"figure.svg", "figure.csv", "figure.json"}
    words = json.loads((tmp_path / "figure.json").read_text())
    tensor = words["subtitle"].partition(": ")[2]
    assert f"It shows {tensor}, in which the DNA found most structure" in result.stderr
    assert words["alt"] in result.stderr and "Wrote figure.svg" in result.stderr and result.stdout == ""
    svg = (tmp_path / "figure.svg").read_text()
    assert 'width="396pt"' in svg and "#14171a" in svg  # 5.5 inches, on the dark paper.


def test_a_file_has_a_name_of_its_own_where_none_is_given(plot: Plot, tmp_path: Path) -> None:
    assert plot("frequencies", "cnn-a", "--dpi", "50").exit_code == 0
    assert (tmp_path / "frequencies-cnn-a.png").exists()
    again = plot("frequencies", "cnn-a")
    assert again.exit_code == 1 and "is there already" in again.stderr and "--force" in again.stderr
    assert plot("frequencies", "cnn-a", "--dpi", "50", "--force").exit_code == 0


def test_kinds_are_listed(plot: Plot) -> None:
    result = plot("--list")
    assert result.exit_code == 0 and all(name in result.stdout for name in KINDS)


@pytest.mark.parametrize(
    ("words", "code", "message", "hint"),
    [
        ((), 2, "Name a kind of figure and its models", "--list"),
        (("spectrun", "vit-a"), 2, "no kind of figure 'spectrun'", "'spectrum'"),
        (("spectrum", "vita"), 1, "no pattern of 'vita'", "'vit-a'"),
        (("spectrum", "vit-a", "--tensor", "clasifier.weight"), 1, "'clasifier.weight'", "'classifier.weight'"),
        (("spectrum", "vit-a", "--out", "figure.jpg"), 2, "cannot be written as '.jpg'", ".png"),
        (("spectrum", "vit-a", "--width", "a4"), 2, "no width 'a4'", "icml"),
        (("spectrum", "vit-a", "--theme", "blue"), 2, "no theme 'blue'", "light, dark"),
        (("--all", "vit-a"), 2, "needs a folder", "--out DIR"),
        (("--all", "vit", "--out", "figures"), 1, "no mined model and no run 'vit'", "'vit-a'"),
    ],
)
def test_a_mistake_is_said_in_two_sentences(
    words: tuple[str, ...], code: int, message: str, hint: str, plot: Plot, tmp_path: Path
) -> None:
    result = plot(*words)
    said = result.stderr.strip().splitlines()
    assert result.exit_code == code and len(said) == 2
    assert message in said[0] and hint in said[1]
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_the_command_says_which_to_install(
    plot: Plot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = plot("spectrum", "vit-a")
    assert result.exit_code == 1 and "pip install 'dna-zoo[see]'" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_all_that_applies_to_a_model_is_drawn(plot: Plot, tmp_path: Path) -> None:
    result = plot("--all", "gpt2-a", "--out", "figures", "--dpi", "50")
    assert result.exit_code == 0, result.stderr
    drawn = {path.stem for path in (tmp_path / "figures").glob("*.png")}
    assert {kind.name for kind in KINDS.values() if kind.subject == "tensor"} <= drawn
    assert "No model-map of gpt2-a: A map needs three models" in result.stderr
    again = plot("--all", "gpt2-a", "--out", "figures")
    assert again.exit_code == 1 and again.stderr.count("is there already") >= len(drawn)


# The door.


def test_a_notebook_gets_axes_and_keeps_its_backend(zoo: dna_zoo.Zoo) -> None:
    matplotlib.use("svg")
    before = dict(matplotlib.rcParams)
    axes = zoo.plot("frequencies", "gpt2-a", width="icml")
    assert matplotlib.get_backend() == "svg" and dict(matplotlib.rcParams) == before
    assert plt.get_fignums() and axes.get_figure(root=True).get_figwidth() == 3.25  # type: ignore[union-attr]
    own = plt.figure().subplots()
    assert zoo.plot("frequencies", "gpt2-a", axes=own) is own


def test_a_view_is_numbers_beside_words(zoo: dna_zoo.Zoo) -> None:
    view = zoo.view("model-map", by="modality")
    assert list(view.table()["model"]) == list(zoo) and view.settings["by"] == "modality"
    with pytest.raises(dna_zoo.errors.NotMinedError):
        zoo.view("spectrum", "gpt3")


def test_opening_a_zoo_loads_no_pictures(mined_home: Path) -> None:
    code = f"import sys, dna_zoo; dna_zoo.open({str(mined_home)!r}).close(); print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
