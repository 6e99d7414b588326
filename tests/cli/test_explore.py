"""`dna-zoo explore`: a page, or two sentences."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app

RUN = CliRunner()


def explore(home: Path, *arguments: str) -> tuple[int, str, str]:
    found = RUN.invoke(app, ["explore", *arguments, "--home", str(home)])
    return found.exit_code, found.stdout, found.stderr


def test_a_page_is_written_and_described(mined_home: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    code, told, _ = explore(mined_home, "vit-a", "--out", str(page), "--points", "1000", "--format", "json")
    found = json.loads(told)
    assert code == 0 and found["bytes"] == page.stat().st_size and found["n"] <= 1000 < found["weights"]
    assert found["models"] == ["vit-a"] and found["file"] == str(page)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["vit-b"], "vit-a"),
        (["vit-a", "--out", "{folder}/page.txt"], "ends in .html"),
        (["vit-a", "--out", "{folder}/absent/page.html"], "Cannot write"),
        (["vit-a", "--out", "{folder}/there.html"], "--force"),
        (["vit-a", "--theme", "pink"], "auto, light or dark"),
        (["vit-a", "--points", "0"], "at least 1"),
        (["vit-a", "--difference"], "two models"),
    ],
)
def test_a_mistake_is_said_in_two_sentences(
    arguments: list[str], said: str, mined_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.html").write_text("kept")
    code, _, told = explore(mined_home, *(each.format(folder=tmp_path) for each in arguments))
    assert code in (1, 2) and said in " ".join(told.split())
    assert [path.name for path in tmp_path.iterdir()] == ["there.html"]
    assert (tmp_path / "there.html").read_text() == "kept"
