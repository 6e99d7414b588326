"""`dna-zoo models` and its commands, and the options of `export`."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from patterndb.store import PatternDatabase
from tests.cli.conftest import MODELS, Invoke


def test_models_are_listed_filtered_and_sorted(invoke: Invoke, ask: Callable[..., Any]) -> None:
    gains = {each["model"]: each["gain"] for each in ask("models")}
    assert sorted(gains) == sorted(MODELS)
    found = invoke("models", "--sort", "gain", "--descending", "--limit", "2", "--format", "quiet").stdout.split()
    assert found == sorted(gains, key=lambda key: -gains[key])[:2]
    assert ask("models", "--modality", "vision") == [] and len(ask("models", "--text", "ALPH")) == 1


def test_columns_are_those_that_were_chosen(invoke: Invoke) -> None:
    text = invoke("models", "--columns", "seed,model", COLUMNS="").stdout
    assert text.splitlines()[0].split() == ["Seed", "Model"]
    wrong = invoke("models", "--columns", "sed")
    assert wrong.exit_code == 2 and "no column 'sed'" in wrong.stderr and "seed" in wrong.stderr


def test_tags_and_notes_are_kept_found_and_taken_away(invoke: Invoke, ask: Callable[..., Any]) -> None:
    assert "alpha: baseline, paper." in invoke("models", "tag", "alpha", "paper", "baseline").stderr
    assert invoke("models", "note", "alpha", "[link=http://x]of March[/link]").exit_code == 0
    (found,) = ask("models", "--tag", "paper")
    assert (found["model"], found["tags"]) == ("alpha", ["baseline", "paper"])
    assert "[link=http://x]of March[/link]" in invoke("models", "--columns", "model,note", COLUMNS="").stdout
    invoke("models", "tag", "alpha", "paper", "--remove")
    invoke("models", "note", "alpha", "")
    assert ask("models", "--tag", "paper") == [] and ask("models", "--text", "March") == []


def test_a_renamed_model_is_shown_under_its_new_name_alone(invoke: Invoke, ask: Callable[..., Any]) -> None:
    assert "alpha is omega now." in invoke("models", "rename", "alpha", "omega").stderr
    assert ask("show", "omega")["model"] == "omega" and invoke("show", "alpha").exit_code == 1
    refused = invoke("models", "rename", "omega", "beta")
    assert refused.exit_code == 2 and "a model 'beta' already" in refused.stderr
    assert invoke("models", "rename", "omega", " ").exit_code == 2
    assert "`dna-zoo mine --local PATH --name 'a; b'`" in invoke("models", "rename", "omega", "a; b").stderr
    assert "Next: dna-zoo similar 'a; b'" in invoke("show", "a; b").stderr


def test_a_removed_model_is_gone_with_its_files(
    invoke: Invoke, ask: Callable[..., Any], environment: dict[str, str]
) -> None:
    path = Path(environment["DNA_ZOO_HOME"]) / "runs" / "run-1" / "alpha" / "summary.json"
    path.parent.mkdir(parents=True)
    path.write_text("x" * 99)
    assert "1 pattern and 0.1 kB of files would be taken away" in invoke("models", "rm", "alpha", "--dry-run").stderr
    assert path.exists() and invoke("show", "alpha").exit_code == 0
    assert "alpha: 1 pattern taken away, 0.1 kB freed." in invoke("models", "rm", "alpha").stderr
    assert not path.parent.exists() and "alpha" not in [each["model"] for each in ask("models")]
    assert invoke("models", "rm", "alpha").exit_code == 1


def test_files_of_a_removed_model_at_a_url_stay_and_are_named(invoke: Invoke, environment: dict[str, str]) -> None:
    url = "s3://zoo/sha256/ab/abcd"
    with PatternDatabase.open(f"sqlite:///{environment['DNA_ZOO_HOME']}/dna-zoo.db") as database:
        pattern = database.load_pattern("alpha")
        elsewhere = tuple(replace(each, url=url) for each in pattern.artifacts)
        database.save_pattern(replace(pattern, artifacts=elsewhere))
    said = "alpha: 1 file at s3://zoo stay: another database may need them."
    assert said in invoke("models", "rm", "alpha", "--dry-run").stderr
    assert invoke("models", "rm", "alpha", "beta", "--format", "quiet").stdout == f"{url}\n"
    assert "stay" not in invoke("models", "rm", "gamma").stderr


def test_nothing_is_removed_where_one_of_the_names_is_of_no_model(invoke: Invoke, ask: Callable[..., Any]) -> None:
    assert invoke("models", "rm", "alpha", "alhpa").exit_code == 1
    assert "alpha" in [each["model"] for each in ask("models")]
    assert invoke("models", "rm", "alpha", "beta", "alpha").stderr.count("alpha:") == 1


def test_prune_deletes_only_when_it_is_told_to(invoke: Invoke, environment: dict[str, str]) -> None:
    folder = Path(environment["DNA_ZOO_HOME"]) / "stages" / "fit" / "00" / "00000000"
    assert "1 folder in" in invoke("models", "prune").stderr and folder.exists()
    assert "1 folder deleted" in invoke("models", "prune", "--delete").stderr and not folder.exists()


def test_export_takes_models_labels_runs_and_columns(invoke: Invoke, tmp_path: Path) -> None:
    def exported(*arguments: str) -> pd.DataFrame:
        result = invoke("export", str(tmp_path / "x.csv"), "--force", *arguments)
        assert result.exit_code == 0, result.stderr
        return pd.read_csv(tmp_path / "x.csv")

    assert exported("--model", "beta", "--model", "alpha")["model"].tolist() == ["alpha", "beta"]
    assert len(exported("--where", "modality=text,architecture=encoder")) == 5
    assert exported("--table", "roles", "--columns", "role,fit_r2", "--run", "run-1").columns.tolist() == [
        "role",
        "fit_r2",
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--where", "modality=vision"), 1, "No mined model has 'modality=vision'."),
        (("--where", "colour=red"), 2, "which is not FACET=LABEL."),
        (("--model", "alhpa"), 1, "no pattern of 'alhpa'"),
        (("--model", "alpha", "--model", "alhpa", "--where", "modality=text"), 1, "no pattern of 'alhpa'"),
        (("--run", "nosuch"), 1, "no run 'nosuch'"),
        (("--columns", ","), 2, "No column is named."),
        (("--columns", "model,fit_r2,model"), 2, "'model' is named more than once."),
        (("--columns", "fit_r3"), 2, "Did you mean 'fit_r2'"),
        (("--columns", "R2_8bit"), 2, "Columns with that in their name: fit_r2_8bit, "),
        (("--columns", "xyz", "--table", "tensors"), 2, "`dna-zoo export --list --table tensors` says which"),
    ],
)
def test_a_wrong_selection_is_two_sentences_and_no_file(
    arguments: tuple[str, ...], code: int, said: str, invoke: Invoke, tmp_path: Path
) -> None:
    result = invoke("export", str(tmp_path / "x.csv"), *arguments)
    assert result.exit_code == code and said in result.stderr and not list(tmp_path.glob("*x.csv*"))


def test_mixed_settings_are_told_beside_tables_and_in_json(
    invoke: Invoke, ask: Callable[..., Any], tmp_path: Path
) -> None:
    warning = "Warning: these models were mined with different settings, which figures depend on: seed 0, 1"
    for command in (
        ("compare", "alpha", "beta"),
        ("similar", "alpha"),
        ("taxonomy",),
        ("export", str(tmp_path / "x.csv")),
    ):
        assert warning in invoke(*command).stderr, command
    assert ask("compare", "alpha", "beta")["mixed_settings"] == {"seed": [0, 1]}
    assert ask("taxonomy")["mixed_settings"] == ask("similar", "alpha")["mixed_settings"] == {"seed": [0, 1, 2, 3, 4]}
    assert "Warning" not in invoke("export", str(tmp_path / "y.csv"), "--model", "alpha").stderr


def test_the_dry_run_says_what_is_unknown_and_writes_nothing(
    invoke: Invoke, tiny_model: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    new = tmp_path / "new"
    result = invoke("mine", str(tiny_model), "--dry-run", DNA_ZOO_HOME=str(new))
    assert result.exit_code == 0 and "Nothing is recorded yet" in result.stdout and not new.exists()
    found = json.loads(invoke("mine", str(tiny_model), "--dry-run", "--format", "json").stdout)
    assert [stage["action"] for stage in found["models"][0]["stages"]] == ["compute"] * 4
    assert found["models"][0]["num_weights"] == 64 and found["models"][0]["seconds"] is None
