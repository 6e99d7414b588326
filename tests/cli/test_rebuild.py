"""`rebuild` and `evaluate` on a specimen that was really mined: what they print, and how they end."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from tests.cli.test_docs import documented, flatten
from tests.support.rebuilding import SPECIMENS, mined

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    mined(folder, SPECIMENS / "vit-a")
    return folder


@pytest.fixture
def call(home: Path) -> Callable[..., Result]:
    def run(*arguments: object) -> Result:
        environment = {"DNA_ZOO_HOME": str(home), "DNA_ZOO_DB": "", "COLUMNS": "140"}
        return CliRunner().invoke(app, [str(each) for each in arguments], env=environment)

    return run


def keys_of(title: str, document: Any) -> tuple[set[str], set[str]]:
    """Keys that a document has, and those that the page has, below nothing that is free."""
    types = documented(title)
    free = {key for key, kind in types.items() if kind == "free"}
    return set(flatten(document, free)), set(types)


def test_rebuild_writes_the_folder_and_says_what_it_did(call: Callable[..., Result], tmp_path: Path) -> None:
    result = call("rebuild", "vit-a", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "out" / "config.json").exists()
    assert "attention_query" in result.stdout and "AutoModel.from_pretrained" in result.stderr
    again = call("rebuild", "vit-a", "--out", tmp_path / "out")
    assert again.exit_code == 1 and "is there already" in again.stderr and "--force" in again.stderr


def test_documents_have_the_keys_that_are_documented(call: Callable[..., Result], tmp_path: Path) -> None:
    rebuilt = call("rebuild", "vit-a", "--out", tmp_path / "out", "--bits", "8", "--format", "json")
    evaluated = call("evaluate", "vit-a", "--no-shuffled", "--format", "json")
    for title, result in (("rebuild", rebuilt), ("evaluate", evaluated)):
        assert result.exit_code == 0, result.stderr
        found, told = keys_of(title, json.loads(result.stdout))
        assert found == told


def test_evaluate_draws_a_row_for_each_code(call: Callable[..., Result]) -> None:
    result = call("evaluate", "vit-a", "--no-shuffled")
    assert result.exit_code == 0, result.stderr
    for row in ("the original's", "the DNA", "truncated SVD", "plain rounding", "the means", "the mean"):
        assert row in result.stdout
    assert "of memory" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("rebuild", "nosuch", "--out", "x"), 1, "nosuch"),
        (("rebuild", "vit-a", "--out", "x", "--bits", "1"), 2, "`--bits` is 1"),
        (("rebuild", "vit-a", "--out", "x", "--residual-bits", "9"), 2, "`--residual-bits` is 9"),
        (("rebuild", "vit-a", "--out", "x", "--budget", "0.5"), 1, "dna-zoo mine vit-a --budget 0.5"),
        (("rebuild", "vit-a", "--out", "x", "--tensors", "*nosuch*"), 2, "no matrix"),
        (("evaluate", "vit-a", "--budgets", "many"), 2, "commas"),
        (("evaluate", "vit-a", "--texts", "x"), 2, "the model takes images"),
    ],
    ids=lambda each: " ".join(each[2:]) if isinstance(each, tuple) else None,
)
def test_bad_input_is_told_in_two_sentences(
    arguments: tuple[str, ...],
    code: int,
    says: str,
    call: Callable[..., Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call(*arguments)
    assert result.exit_code == code and says in result.stderr
    assert list(tmp_path.iterdir()) == []
