"""`combine` and `transplant`: what they write, and that nothing is left of what fails."""

import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.cli.conftest import Invoke, Start

pytestmark = pytest.mark.slow

SPECIMENS = Path(__file__).parents[2] / "data" / "specimens"
A = str(SPECIMENS / "vit-a")


@pytest.fixture
def other(tmp_path: Path) -> str:
    """A second model of the first one's architecture: its label head is drawn again."""
    import transformers

    model = transformers.ViTForImageClassification.from_pretrained(A)
    with torch.no_grad():
        model.classifier.weight.normal_(generator=torch.Generator().manual_seed(0))
    model.save_pretrained(tmp_path / "other")
    return str(tmp_path / "other")


def load(folder: Path) -> Any:
    import transformers

    return transformers.AutoModelForImageClassification.from_pretrained(folder)


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_of_a_command_that_is_ended_nothing_is_left(sent: signal.Signals, start: Start, tmp_path: Path) -> None:
    """As a scheduler ends a job, or a terminal that is closed."""
    process, began = start("combine", A, A, "--out", str(tmp_path / "both")), time.monotonic()
    while not list(tmp_path.glob(".both.*")) and time.monotonic() - began < 120:
        time.sleep(0.02)
    process.send_signal(sent)
    stdout, stderr = process.communicate()
    assert (process.returncode, stdout, stderr.splitlines()[0]) == (130, "", "Interrupted.")
    assert not [each for each in tmp_path.iterdir() if "both" in each.name]


def test_combine_writes_a_model_that_loads(invoke: Invoke, tmp_path: Path, other: str) -> None:
    out = tmp_path / "made" / "both"
    result = invoke("combine", A, other, "--weights", "0.25", "--out", str(out))
    assert result.exit_code == 0, result.stderr
    assert "Barrier" in result.stdout and "Share of B" in result.stdout
    ends = [load(Path(folder)).classifier.weight for folder in (A, other)]
    assert torch.allclose(load(out).classifier.weight, torch.lerp(*ends, 0.25), atol=1e-6)
    assert "0.25 of other" in (out / "README.md").read_text()
    assert [path.name for path in out.parent.iterdir()] == ["both"]


def test_transplant_writes_a_model_that_loads(invoke: Invoke, tmp_path: Path, other: str) -> None:
    out = tmp_path / "grafted"
    line = ("transplant", "--from", f"{other}:2", "--to", f"{A}:0", "--align", "--steps", "0", "--out", str(out))
    result = invoke(*line)
    assert result.exit_code == 0, result.stderr
    assert all(word in result.stdout for word in ("aligned", "unaligned", "random", "host's own"))
    biases = [load(out).vit.layers[0].mlp.fc1.bias, load(Path(other)).vit.layers[2].mlp.fc1.bias]
    assert torch.equal(*(bias.sort().values for bias in biases))  # Inner units may be in another order.
    assert "layer 2 of other as layer 0" in (out / "README.md").read_text().lower()
    again = invoke(*line)
    assert again.exit_code == 1 and "is there already" in again.stderr and "--force" in again.stderr
    assert invoke(*line, "--force").exit_code == 0


def test_nothing_is_written_where_models_cannot_be_joined(invoke: Invoke, tmp_path: Path) -> None:
    out = tmp_path / "made" / "both"
    result = invoke("combine", A, str(SPECIMENS / "bert-a"), "--out", str(out))
    assert result.exit_code == 1
    assert "is a vit and 'bert-a' a bert" in result.stderr and "one architecture" in result.stderr
    assert not list(out.parent.iterdir())


def test_a_folder_that_holds_no_model_is_not_replaced(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    result = invoke("combine", A, A, "--out", str(tmp_path / "mine"), "--force")
    assert result.exit_code == 1 and "is not a model's folder" in result.stderr
    assert (tmp_path / "mine" / "thesis.tex").exists()


def test_a_key_that_is_not_mined_is_told(invoke: Invoke) -> None:
    result = invoke("combine", A, "alpa")
    assert result.exit_code == 1 and "alpha" in result.stderr


def test_resampling_needs_a_mined_key(invoke: Invoke, tmp_path: Path) -> None:
    shutil.copytree(A, tmp_path / "copy")
    line = (
        "transplant",
        "--from",
        f"{tmp_path / 'copy'}:0",
        "--to",
        f"{A}:0",
        "--resample",
        "--out",
        str(tmp_path / "x"),
    )
    result = invoke(*line)
    assert result.exit_code == 1 and "Mine it" in result.stderr and not (tmp_path / "x").exists()
