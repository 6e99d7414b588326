"""`dna-zoo explore`: a page, or two sentences."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app

RUN = CliRunner()
JSON_PAGE = (Path(__file__).parents[2] / "docs" / "json.md").read_text()


def explore(home: Path, *arguments: str) -> tuple[int, str, str]:
    found = RUN.invoke(app, ["explore", *arguments, "--home", str(home)])
    return found.exit_code, found.stdout, found.stderr


def test_a_page_is_written_and_described(mined_home: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    code, told, _ = explore(mined_home, "vit-a", "--out", str(page), "--points", "1000", "--format", "json")
    found = json.loads(told)
    assert code == 0 and found["bytes"] == page.stat().st_size and found["n"] <= 1000 < found["weights"]
    section = JSON_PAGE.split("## explore\n")[1].split("\n## ")[0]
    settings = {f"settings.{key}" for key in found["settings"]}
    assert set(re.findall(r"^\| `(.+?)` \|", section, flags=re.MULTILINE)) == {*found} - {"settings"} | settings
    assert found["models"] == ["vit-a"] and found["file"] == str(page)


def test_the_name_of_a_page_is_no_markup(mined_home: Path, tmp_path: Path) -> None:
    page = tmp_path / "a [bold]b.html"
    code, told, _ = explore(mined_home, "vit-a", "--out", str(page), "--points", "100")
    assert code == 0 and "a [bold]b.html" in " ".join(told.split())


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
