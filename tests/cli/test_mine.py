"""`mine` from the command line: which models, which settings, and what it prints at the end."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from cli.requests import model_requests
from dna_zoo.errors import SettingsError
from pipeline.settings import PRESETS, make_settings
from zoo.registry import CARDS, select_cards

pytestmark = pytest.mark.slow

NO_CHANGES: dict[str, Any] = {"nulls": None, "device": "cpu", "seed": 0}
FAST = ("--epochs", "2", "--nulls", "2", "--device", "cpu")

Mine = Callable[..., Result]


@pytest.fixture
def mine(tmp_path: Path) -> Mine:
    """Run `dna-zoo mine` in a home that is not there yet."""

    def run(*arguments: str) -> Result:
        env = {"DNA_ZOO_HOME": str(tmp_path / "home"), "DNA_ZOO_DB": "", "COLUMNS": "100"}
        return CliRunner().invoke(app, [*arguments], env=env)

    return run


def test_some_failed_ends_with_3_and_the_others_are_kept(mine: Mine, tiny_model: Path) -> None:
    result = mine("mine", str(tiny_model), "nosuch", *FAST)
    assert result.exit_code == 3
    assert "tiny-model  local files" in result.stdout and "the mean predictor" in result.stdout
    assert "nosuch: Unknown model 'nosuch'." in result.stderr
    assert mine("show", "tiny-model", "--format", "quiet").exit_code == 0


def test_all_failed_ends_with_1(mine: Mine, tiny_model: Path) -> None:
    (tiny_model / "model.safetensors").write_bytes(b"nothing")
    result = mine("mine", str(tiny_model), *FAST)
    assert (result.exit_code, result.stdout) == (1, "")
    assert mine("runs", "--format", "quiet").stdout.strip()


def test_neighbours_are_printed_once_there_are_two_models(mine: Mine, tiny_model: Path) -> None:
    first = mine("mine", str(tiny_model), *FAST)
    second = mine("mine", "--local", str(tiny_model), "--name", "[red]other", *FAST)
    assert "Nearest to" not in first.stdout
    assert "Nearest to [red]other" in second.stdout and "tiny-model" in second.stdout


def test_two_at_a_time_with_artifacts_are_shown_as_one(mine: Mine, tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "other")
    store = tmp_path / "store"
    result = mine("mine", str(tiny_model), str(tmp_path / "other"), *FAST, "--jobs", "2", "--artifacts", str(store))
    assert result.exit_code == 0 and "Nearest to tiny-model" in result.stdout
    (run,) = mine("runs", "--format", "quiet").stdout.split()
    assert f"Artifacts: file://{store}" in mine("runs", run).stdout.replace("\n", "")
    shown = json.loads(mine("show", "other", "--format", "json").stdout)
    urls = {each["kind"]: each["url"] for each in shown["files"]}
    assert all(Path(url.removeprefix("file://")).is_file() for url in urls.values())
    assert "DNA by URL" in mine("show", "other").stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--jobs", "0"), "`--jobs` is 0."),
        (("--on", "slurm"), "`--on` is 'slurm'."),
        (("--artifacts", "ftp://me:topsecret@host/x"), "holds a password"),
        (("--artifacts", "nosuch://x"), "fsspec knows no nosuch://"),
    ],
)
def test_a_place_that_is_none_is_refused_before_anything_is_mined(
    options: tuple[str, str], message: str, mine: Mine, tiny_model: Path
) -> None:
    result = mine("mine", str(tiny_model), *FAST, *options)
    assert result.exit_code != 0 and message in result.stderr and "topsecret" not in result.stderr
    assert mine("runs", "--format", "quiet").stdout == ""


def test_a_folder_of_a_sweep_is_no_password(tmp_path: Path) -> None:
    folder = tmp_path / "lr=0.1,design=2"
    folder.mkdir()
    (request,) = model_requests([str(folder)])
    assert request.name == str(folder)
    for missing in (f"{folder}0", f"~nobody-here/{folder.name}", f"{folder}/{'x' * 300}"):
        with pytest.raises(SettingsError, match="a password"):
            model_requests([missing])


def test_json_of_mine_holds_the_run_and_what_show_gives(mine: Mine, tiny_model: Path) -> None:
    document = json.loads(mine("mine", str(tiny_model), *FAST, "--format", "json").stdout)
    shown = json.loads(mine("show", "tiny-model", "--format", "json").stdout)
    assert document.pop("patterns") == [shown]
    assert document == json.loads(mine("runs", document["run"], "--format", "json").stdout)


def test_show_puts_what_lies_beyond_the_means_beside_the_whole(mine: Mine, tiny_model: Path) -> None:
    mine("mine", str(tiny_model), *FAST)
    text = mine("show", "tiny-model").stdout
    assert re.search(r"^spectra.low_share +\S+ +shuffle ", text, flags=re.MULTILINE)
    assert re.search(r"^spectra.low_share.beyond_means +\S+ +means ", text, flags=re.MULTILINE)


def test_without_nulls_z_is_said_to_be_unknown(mine: Mine, tiny_model: Path) -> None:
    text = mine("mine", str(tiny_model), *FAST, "--nulls", "1").stdout
    assert "z is unknown" in text and "uncalibrated" in text
    assert "gain and its z are unknown" in mine("mine", str(tiny_model), *FAST, "--nulls", "0").stdout


def test_lines_for_logs_only_with_v(mine: Mine, tiny_model: Path) -> None:
    quiet, normal, verbose = (mine(*flag, "mine", str(tiny_model), *FAST) for flag in (["-q"], [], ["-v"]))
    assert quiet.stderr == ""
    assert "tiny-model done" not in normal.stderr
    assert verbose.stderr.splitlines()[0] == "tiny-model done"


def test_weights_of_another_file_go_under_the_key(mine: Mine, tiny_model: Path) -> None:
    result = mine("mine", "--weights", f"minilm-l6={tiny_model}", *FAST, "--format", "quiet")
    assert (result.exit_code, result.stdout) == (0, "minilm-l6\n")


def test_tiers_and_all_take_models_of_the_zoo() -> None:
    assert {request.name for request in model_requests([], everything=True)} == set(CARDS)
    assert [request.name for request in model_requests([], tier=2)] == [card.key for card in select_cards(tier=2)]


def test_each_model_is_asked_for_once(tiny_model: Path) -> None:
    requests = model_requests(["tinybert", "tinybert"], tier=1, weights=[f"tinybert={tiny_model}"])
    assert [request.name for request in requests].count("tinybert") == 1
    assert next(request for request in requests if request.name == "tinybert").weights == tiny_model


def test_two_directories_of_one_name_get_keys_of_their_own(mine: Mine, tiny_model: Path, tmp_path: Path) -> None:
    other = shutil.copytree(tiny_model, tmp_path / "elsewhere" / "tiny-model")
    result = mine("mine", str(tiny_model), str(other), *FAST, "--format", "quiet")
    assert result.stdout.split() == ["tiny-model", "elsewhere/tiny-model"]
    assert "is kept as 'elsewhere/tiny-model', since 'tiny-model' stands for another place." in result.stderr


def test_options_replace_what_the_preset_has() -> None:
    settings = make_settings("reference", **NO_CHANGES | {"epochs": 7, "order": "raw"})
    assert (settings.fit.epochs, settings.fit.order) == (7, "raw")
    assert settings.fit.dna_type == PRESETS["reference"].dna_type


def test_every_option_of_the_fit_reaches_the_record(mine: Mine, tiny_model: Path) -> None:
    changes = ("--rank", "1", "--hidden-dim", "4", "--num-layers", "1", "--order", "raw", "--budget", "0.5")
    document = json.loads(mine("mine", str(tiny_model), *FAST, *changes, "--format", "json").stdout)
    fit = document["patterns"][0]["settings"]["fit"]
    assert {name: fit[name] for name in ("rank", "hidden_dim", "num_layers", "order", "budget", "epochs")} == {
        "rank": 1, "hidden_dim": 4, "num_layers": 1, "order": "raw", "budget": 0.5, "epochs": 2
    }  # fmt: skip


TRAINING = {
    "accumulate": 2, "optimizer": "muon", "momentum": 0.8, "weight_decay": 0.01, "schedule": "plateau", "warmup": 0.1,
    "clip_norm": 2.0, "patience": 3, "checkpoint_every": 1, "learning_rate": 0.005,
}  # fmt: skip


def test_every_option_of_the_training_reaches_the_record(mine: Mine, tiny_model: Path) -> None:
    options = [part for name, value in TRAINING.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    kind = ("--dna-type", "spectral", "--batch-size", "64")
    document = json.loads(mine("mine", str(tiny_model), *FAST, *kind, *options, "--format", "json").stdout)
    fit = document["patterns"][0]["settings"]["fit"]
    assert {name: fit[name] for name in TRAINING} == TRAINING


def test_a_contradiction_in_the_training_is_told_with_what_to_do(mine: Mine, tiny_model: Path) -> None:
    result = mine("mine", str(tiny_model), "--accumulate", "4")
    assert result.exit_code == 2 and "there is nothing to accumulate" in result.stderr
    assert "--dna-type spectral" in result.stderr


def test_nulls_count_for_fits_and_statistics() -> None:
    settings = make_settings("quick", **NO_CHANGES | {"nulls": 5})
    assert (settings.fit.num_nulls, settings.analysis.num_nulls) == (5, 5)
    assert make_settings("quick", **NO_CHANGES).fit == PRESETS["quick"]
