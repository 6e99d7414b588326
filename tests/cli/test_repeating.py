"""The command that `show` prints leads back to the same request."""

import shlex
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import typer.main

from cli.main import app
from cli.repeating import mine_command
from cli.requests import model_requests
from pipeline.settings import MineSettings, make_settings

KEYS = ("preset", "nulls", "device", "seed", "allow_nonfinite", "allow_partial")
NOTHING: dict[str, Any] = {"nulls": None, "device": "cpu", "seed": 0}
CHOICES: list[dict[str, Any]] = [
    {},
    {"nulls": 4},
    {"nulls": 1},
    {"seed": 7, "allow_nonfinite": True, "allow_partial": True},
    {"epochs": 7, "budget": 0.5, "max_parameters": 50},
    {"dna_type": "spectral", "batch_size": 64, "accumulate": 2},
    {"optimizer": "muon", "momentum": 0.8},
    {"optimizer": "sgd", "learning_rate": 0.01},
    {"dna_type": "hierarchical", "scope": "model", "order": "raw"},
]


def words(line: str) -> list[str]:
    program, command, *rest = shlex.split(line)
    assert (program, command) == ("dna-zoo", "mine")
    return rest


def parsed(line: str) -> dict[str, Any]:
    """The options of `mine` as the command line has them."""
    command: Any = typer.main.get_command(app).commands["mine"]  # type: ignore[attr-defined]
    context = command.make_context("mine", words(line))
    return dict(context.params)


@pytest.mark.parametrize("name", ["quick", "thorough", "reference"])
@pytest.mark.parametrize("chosen", CHOICES, ids=str)
def test_settings_come_back(name: str, chosen: dict[str, Any]) -> None:
    settings = make_settings(name, **NOTHING | chosen)
    line = mine_command({"name": "minilm-l6"}, asdict(settings))
    assert line is not None
    options = parsed(line)
    fit = {key: value for key, value in options.items() if key in asdict(settings.fit) and value is not None}
    how = {key: options[key] for key in KEYS if key != "preset"}
    assert make_settings(options["preset"], **how, **fit) == settings


REQUESTS = [
    {"names": ["minilm-l6"]},
    {"names": ["albert/albert-base-v2"], "adapter": "delta", "base": "minilm-l6"},
    {"names": [], "weights": ["minilm-l6=/models/a b/model.safetensors"]},
    {"names": [], "local": ["/models/x"], "local_names": ["my [x]"], "state_dict": "ema.model"},
]


@pytest.mark.parametrize("asked", REQUESTS, ids=str)
def test_requests_come_back(asked: dict[str, Any]) -> None:
    given = {**asked, "local": [Path(each) for each in asked.get("local", ())]}
    (request,) = model_requests(given.pop("names"), **given)
    kept = asdict(request) | {"weights": str(request.weights) if request.weights else None}
    line = mine_command(kept, asdict(MineSettings()))
    assert line is not None
    options = parsed(line)
    (again,) = model_requests(
        options["names"] or [],
        weights=options["weights"] or [],
        local=[Path(each) for each in options["local"] or []],
        local_names=options["local_names"] or [],
        **{key: options[key] for key in ("state_dict", "adapter", "base")},
    )
    assert replace(again, component=request.component) == request


@pytest.mark.parametrize("settings", [{}, {"preset": "quick", "fit": {"colour": "red"}, "analysis": {}}])
def test_what_another_version_wrote_has_no_command(settings: dict[str, Any]) -> None:
    assert mine_command({"name": "x"}, settings) is None
