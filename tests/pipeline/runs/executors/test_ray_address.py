"""A Ray cluster of two nodes that runs already, as `--on HOST:PORT` joins it: the same rows as one process finds, and a
node that is gone costs the stage it was at."""

import socket
from pathlib import Path
from typing import Any

import pytest

from patterndb.store import PatternDatabase
from pipeline.fetch.request import ModelRequest
from pipeline.settings import make_settings
from tests.pipeline.runs.executors.conftest import NODE
from tests.support.mining import mine_into
from tests.support.tiny_models import make_tiny_checkpoint
from tests.support.workers import ended, rows_of, stages_of, start_mining, wait_for

EPOCHS = 200


@pytest.mark.slow
@pytest.mark.postgres
def test_a_cluster_that_runs_finds_what_one_process_finds_though_it_loses_a_node(
    cluster: Any, postgres_url: str, tmp_path: Path
) -> None:
    folders = [
        make_tiny_checkpoint(kind, tmp_path / name, seed).parent
        for seed, (name, kind) in enumerate({"bert": "minilm-l6", "gpt": "distilgpt2"}.items())
    ]
    second = cluster.add_node(**{name: NODE[name] for name in ("num_cpus", "object_store_memory", "memory")})
    home, options = tmp_path / "home", ["--hidden-dim", "4", "--rank", "2", "--nulls", "1", "--device", "cpu"]
    process = start_mining(folders, home, postgres_url, *options, "--epochs", str(EPOCHS), "--on", cluster.address)
    # A core each: one model is on each node.
    wait_for(lambda: all("order" in stages_of(postgres_url, key) for key in ("bert", "gpt")), process=process)
    cluster.remove_node(second, allow_graceful=False)
    code, out, err = ended(process)
    assert (code, set(out.split())) == (0, {"bert", "gpt"}), err
    assert "note: its worker was lost" in err and "Traceback" not in err

    log = "".join(path.read_text() for path in (home / "runs").rglob("run.log"))
    for key in ("bert", "gpt"):
        assert [log.count(f"{key}: {stage} done") for stage in ("extract", "order", "fit", "analyse")] == [1] * 4
    assert log.count("order reused") >= 1

    alone = tmp_path / "alone"
    asked = [ModelRequest(name=str(folder), weights=folder, key=folder.name) for folder in folders]
    same = make_settings("quick", nulls=1, device="cpu", seed=0, hidden_dim=4, rank=2, epochs=EPOCHS)
    assert mine_into(alone, asked, same).exit_code == 0
    assert rows_of(postgres_url) == rows_of(f"sqlite:///{alone / 'dna-zoo.db'}")


@pytest.mark.postgres
@pytest.mark.parametrize("device", ["auto", "cpu"])  # The cluster is asked for GPUs before the run begins, or in it.
def test_rays_client_that_is_not_installed_is_told_in_two_sentences(
    device: str, postgres_url: str, tmp_path: Path
) -> None:
    folder = make_tiny_checkpoint("minilm-l6", tmp_path / "bert", 0).parent
    with socket.create_server(("127.0.0.1", 0)) as server:
        on = ["--on", f"ray://127.0.0.1:{server.getsockname()[1]}", "--device", device]
        process = start_mining([folder], tmp_path / "home", postgres_url, *on, without=["grpc"])
        code, out, err = ended(process)
    assert (code, out) == (2, ""), err
    assert "`ray://` needs Ray's client, which is not installed. Install it with" in " ".join(err.split())
    assert "ray[client]" in err and "Traceback" not in err
    with PatternDatabase.open(postgres_url) as database:
        assert [run.status for run in database.runs()] == ["failed"] * (device == "cpu")
