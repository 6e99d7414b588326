"""The commands of the library: patterns are listed, handed on, combined, built from real weights, and start models."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from library.patterns.mined import build_from_mined
from patterndb.store import PatternDatabase
from tests.cli.conftest import Invoke
from tests.support.lineages import SPECIMENS, save_as_mined


def test_a_pattern_goes_round_by_its_file(invoke: Invoke, ask: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "some.safetensors"
    assert invoke("library", "export", "some", str(path)).exit_code == 0
    again = invoke("library", "import", str(path))
    assert again.exit_code == 1 and "already" in again.stderr and "--force" in again.stderr
    assert invoke("library", "import", str(path), "--name", "theirs").exit_code == 0
    assert ask("library", "show", "theirs") == {**ask("library", "show", "some"), "name": "theirs"}
    path.write_bytes(path.read_bytes()[:-1])
    assert "not a whole shared pattern" in invoke("library", "import", str(path), "--force").stderr


def test_two_patterns_are_combined_and_listed(invoke: Invoke) -> None:
    result = invoke("library", "combine", "some", "some", "--weights", "0.7", "0.3", "--name", "both")
    assert result.exit_code == 0
    assert invoke("library", "list", "--format", "quiet").stdout == "both\nsome\n"
    assert "not measured" in invoke("library", "show", "both").stdout


def test_a_damaged_pattern_hides_no_other(invoke: Invoke, tmp_path: Path) -> None:
    path = tmp_path / "part.safetensors"
    assert invoke("library", "export", "some", str(path)).exit_code == 0
    assert invoke("library", "import", str(path), "--name", "broken").exit_code == 0
    broken = next(path for path in tmp_path.rglob("broken.safetensors"))
    broken.write_bytes(broken.read_bytes()[:-1])
    listed = invoke("library", "list", "--format", "quiet")
    assert listed.exit_code == 0 and "some" in listed.stdout.split() and "broken" not in listed.stdout.split()
    assert "broken.safetensors' is not a whole shared pattern" in listed.stderr


def test_an_export_replaces_nothing_that_is_there(invoke: Invoke, tmp_path: Path) -> None:
    path = tmp_path / "thesis.txt"
    path.write_text("years of work")
    for force in ((), ("--force",)):
        result = invoke("library", "export", "some", str(path), *force)
        assert result.exit_code == 1 and path.read_text() == "years of work"
    assert "holds no shared pattern" in result.stderr
    path = tmp_path / "some.safetensors"
    assert [invoke("library", "export", "some", str(path)).exit_code for _ in range(2)] == [0, 1]
    assert invoke("library", "export", "some", str(path), "--force").exit_code == 0
    (tmp_path / "file").touch()
    unwritable = invoke("library", "export", "some", str(tmp_path / "file" / "some.safetensors"))
    assert unwritable.exit_code == 1 and "cannot be written" in unwritable.stderr


def test_a_combination_is_of_each_pattern_once(invoke: Invoke, ask: Callable[..., Any]) -> None:
    made = ask("library", "combine", "some", "some", "--weights", "0.7", "0.3", "--name", "again")
    assert made == ask("library", "show", "again")
    assert made["combined"] == {"some": pytest.approx(1)}
    assert [part["lineages"] for part in made["parts"]] == [3]


def test_the_table_says_what_each_part_explains(invoke: Invoke) -> None:
    shown = invoke("library", "show", "some").stdout
    assert "alpha (alpha, beta)" in shown and "1 of 1 tested parts explain" in shown and "0.500" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("build", "own"), "no built-in name"),
        (("build", "own", "--where", "modalty=text"), "Did you mean 'modality'?"),
        (("build", "own", "--where", "modality=smell"), "No mined model"),
        (("build", "own", "--models", "alpah"), "alpha"),
        (("build", "some", "--where", "modality=text"), "already"),
        (("show", "sone"), "Did you mean 'some'?"),
        (("combine", "some", "some", "--name", "both", "--weights", "nan", "1"), "finite weight"),
        (("combine", "some", "some", "--name", "both", "--weights", "inf", "1"), "finite weight"),
        (("build", "own", "--where", "modality=text", "--seed", "-1"), "--seed"),
    ],
)
def test_a_wrong_call_has_two_sentences(invoke: Invoke, arguments: tuple[str, ...], said: str) -> None:
    result = invoke("library", *arguments)
    assert result.exit_code in (1, 2) and said in result.stderr and "Traceback" not in result.stderr


def test_patterns_are_built_from_the_weights_that_were_mined(tmp_path: Path, migrated_sqlite: Path) -> None:
    folders = [SPECIMENS / name for name in ("bert-a", "bert-b", "cnn-a")]
    path = shutil.copy(migrated_sqlite, tmp_path / "patterns.sqlite")
    with PatternDatabase.open(f"sqlite:///{path}") as database:
        save_as_mined(database, folders)
        built = [
            build_from_mined("two", database, home=tmp_path / "home", keys=("bert-a", "bert-b"), num_draws=1)
            for _ in range(2)
        ]
    subjects = {key.subject for key in built[0].parts}
    assert {"attention_query", "query_key", "position_embedding/32", "ffn_in.bias"} <= subjects
    # Their records name one parent: they count once, and one of them is measured.
    assert [each.models for each in built[0].lineages] == [("bert-a", "bert-b")]
    assert all((part.values == built[1].parts[key].values).all() for key, part in built[0].parts.items())
    assert len(list((tmp_path / "home" / "stages" / "library").rglob("values.npz"))) == 1


def test_a_model_starts_from_a_pattern(invoke: Invoke, tmp_path: Path) -> None:
    config = json.loads((SPECIMENS / "bert-a" / "config.json").read_text()) | {"hidden_size": 64}
    (tmp_path / "config.json").write_text(json.dumps(config))
    arguments = ("init", str(tmp_path / "config.json"), "--pattern", "some", "--out", str(tmp_path / "new"))
    result = invoke(*arguments)
    assert result.exit_code == 0, result.stderr
    assert "tensors start from some" in result.stderr and (tmp_path / "new" / "model.safetensors").exists()
    assert "shards" not in result.stderr  # A bar of transformers.
    again = invoke(*arguments)
    assert again.exit_code == 1 and "there already" in again.stderr and "--force" in again.stderr
