"""A Ray cluster that is reached through its client server, as `--on ray://HOST:PORT` does: the same rows as one process
finds, Ctrl-C ends its tasks, a killed worker costs one stage, and a cluster that is gone is said."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from patterndb.store import PatternDatabase
from pipeline.fetch.request import ModelRequest
from pipeline.settings import make_settings
from tests.support.mining import mine_into
from tests.support.tiny_models import make_tiny_checkpoint
from tests.support.workers import command_of, ended, processes_below, rows_of, stages_of, start_mining, wait_for

pytestmark = pytest.mark.filterwarnings(
    # Ray leaves the logs of the client server open that it starts.
    "ignore:unclosed file:ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)

EPOCHS, ENDLESS = 60, 1_000_000
SETTINGS = ["--hidden-dim", "4", "--rank", "2", "--nulls", "1", "--device", "cpu"]
"""Of a fit that is small."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two tiny models."""
    root = tmp_path_factory.mktemp("models")
    names = {"bert": "minilm-l6", "gpt": "distilgpt2"}
    return [make_tiny_checkpoint(kind, root / name, seed).parent for seed, (name, kind) in enumerate(names.items())]


def tasks_of(key: str) -> list[int]:
    """The processes of this cluster, which are below the test's, that mine the model."""
    return [each for each in processes_below(os.getpid()) if f"mine {key}" in command_of(each)]


@pytest.mark.slow
@pytest.mark.postgres
def test_a_client_of_a_cluster_finds_what_one_process_finds(
    client_server: tuple[Any, str], folders: list[Path], postgres_url: str, tmp_path: Path
) -> None:
    home, url, options = tmp_path / "home", postgres_url, (*SETTINGS, "--on", client_server[1])
    process = start_mining(folders, home, url, *options, "--epochs", str(ENDLESS))
    wait_for(lambda: "order" in stages_of(url, "bert"), process=process)
    os.killpg(process.pid, signal.SIGINT)
    code, out, err = ended(process)
    with PatternDatabase.open(url) as database:
        assert (code, out, [run.status for run in database.runs()]) == (130, "", ["interrupted"]), err
    assert len(err.splitlines()) <= 2 and "Traceback" not in err
    wait_for(lambda: not tasks_of("bert") and not tasks_of("gpt"), 30)

    process = start_mining(folders, home, url, *options, "--epochs", str(EPOCHS))
    os.kill(wait_for(lambda: tasks_of("bert"), process=process)[0], signal.SIGKILL)
    code, out, err = ended(process)
    assert (code, set(out.split())) == (0, {"bert", "gpt"}), err
    told = err.splitlines()  # Nothing of Ray's.
    assert len(told) == 2 and "bert note: its worker was lost because its process was killed" in told[0], err

    alone = tmp_path / "alone"
    asked = [ModelRequest(name=str(folder), weights=folder, key=folder.name) for folder in folders]
    same = make_settings("quick", nulls=1, device="cpu", seed=0, hidden_dim=4, rank=2, epochs=EPOCHS)
    assert mine_into(alone, asked, same).exit_code == 0
    assert rows_of(url) == rows_of(f"sqlite:///{alone / 'dna-zoo.db'}")


@pytest.mark.slow
@pytest.mark.postgres
def test_a_cluster_that_is_gone_ends_the_run_of_its_client_in_two_sentences(
    client_server: tuple[Any, str], folders: list[Path], postgres_url: str, tmp_path: Path
) -> None:
    home, url, (cluster, address) = tmp_path / "home", postgres_url, client_server
    process = start_mining(folders, home, url, *SETTINGS, "--on", address, "--epochs", str(ENDLESS))
    wait_for(lambda: "order" in stages_of(url, "bert"), process=process)
    cluster.shutdown()
    code, out, err = ended(process)
    assert (code, out) == (1, ""), err
    assert "The Ray cluster" in err, err
    assert "Traceback" not in err and len(err.splitlines()) <= 2
    with PatternDatabase.open(url) as database:
        assert [run.status for run in database.runs()] == ["failed"]
