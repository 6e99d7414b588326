"""The options of the fit follow from one table: the commands, the documents and the command that repeats a trial."""

import re
import shlex
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from cli.fit_options import OTHERWISE_GIVEN, command_of, documented
from cli.main import app
from pipeline.settings import FitSettings, fit_settings, make_settings, preset
from pipeline.tuning.space import SPACES, TRAINING

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
OPTIONS = {each.name: each.option for each in fit_settings() if each.name not in OTHERWISE_GIVEN}


def options_of(command: str) -> set[str]:
    group = typer.main.get_command(app)
    return {option for parameter in group.commands[command].params for option in parameter.opts}  # type: ignore[attr-defined]


def test_mine_has_an_option_for_every_setting() -> None:
    assert set(OPTIONS.values()) <= options_of("mine")


@pytest.mark.parametrize("kind", SPACES)
def test_what_tune_searches_can_be_given_to_mine(kind: str) -> None:
    assert {OPTIONS[name] for name in {**SPACES[kind], **TRAINING}} <= options_of("mine")


def test_the_page_has_the_table_of_the_settings() -> None:
    (found,) = re.findall(
        r"<!-- settings of the fit.*?-->\n\n(.*?)\n<!-- end of settings -->", PAGE.read_text(), re.DOTALL
    )
    assert found == documented(), f"docs/commands.md should have:\n{documented()}"


def test_every_setting_has_a_plain_description() -> None:
    for each in fit_settings():
        assert each.help[0].isupper() and each.help.endswith("."), each.name
        assert each.choices or each.range, each.name


@pytest.mark.parametrize(
    "settings",
    [
        preset("quick"),
        preset("quick", dna_type="spectral", hidden_dim=33, omega=12.5, optimizer="sgd", schedule="plateau"),
        preset("quick", rank=7, bandwidth=0.3, optimizer="muon", learning_rate=0.0123456789012345, num_nulls=3),
        preset("reference"),
    ],
)
def test_the_command_of_a_trial_gives_its_settings(settings: FitSettings) -> None:
    words = shlex.split(command_of("./my model", settings, seed=3))
    assert words[:3] == ["dna-zoo", "mine", "./my model"] and words[-2:] == ["--seed", "3"]
    names = {"--nulls": "nulls", **{option: name for name, option in OPTIONS.items()}}
    given = {names[option]: value for option, value in zip(words[3:-2:2], words[4:-2:2], strict=True)}
    kinds = {each.name: each.kind for each in fit_settings()}
    values = {name: kinds.get(name, int)(value) for name, value in given.items()}
    made = make_settings("quick", **{"nulls": None, **values}, device="cpu", seed=0)
    assert made.fit == settings


def test_help_at_80_columns_shows_every_choice() -> None:
    text = CliRunner().invoke(app, ["mine", "--help"], env={"COLUMNS": "80"}).stdout
    flat = " ".join(text.split())
    for each in fit_settings():
        assert all(re.search(rf"\b{re.escape(name)}\b", flat) for name in each.choices), each.name
    assert max(map(len, text.splitlines())) <= 80


def test_a_value_out_of_range_is_told_by_name() -> None:
    result = CliRunner().invoke(app, ["mine", "x", "--omega", "-1"])
    assert result.exit_code == 2 and "`omega` is -1.0." in result.stderr
