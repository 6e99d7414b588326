"""A Ray cluster that asks for a token; and what it is told of the command that joins it."""

import json
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline.runs.executors.conftest import NODE
from tests.support.tiny_models import make_tiny_checkpoint
from tests.support.workers import ended, environment, start_mining

HEAD = """
import json, sys
from ray.cluster_utils import Cluster
found = Cluster(initialize_head=True, head_node_args=json.loads(sys.argv[1]))
print(found.address, flush=True)
sys.stdin.read()
found.shutdown()
"""
JOBS = """
import logging, sys
import ray
ray.init(sys.argv[1], log_to_driver=False, logging_level=logging.CRITICAL)
print(ray._private.state.jobs())
"""


@pytest.fixture
def token() -> dict[str, str]:
    """Variables with a token that is made here, for a cluster of the test's own."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(24)}


@pytest.fixture
def address(token: dict[str, str]) -> Iterator[str]:
    """Of a cluster that asks for the token."""
    pytest.importorskip("ray")
    # Sockets lie far below it, and their paths may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="zoo-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        variables = {**environment(), **token, "RAY_TMPDIR": folder, "RAY_USAGE_STATS_ENABLED": "0"}
        words = [sys.executable, "-c", HEAD, json.dumps(NODE)]
        with subprocess.Popen(words, stdin=-1, stdout=-1, stderr=subprocess.DEVNULL, text=True, env=variables) as head:
            assert head.stdout is not None and head.stdin is not None
            yield head.stdout.readline().strip()
            head.stdin.close()
            head.wait(60)


@pytest.mark.slow
@pytest.mark.postgres
def test_a_cluster_asks_for_its_token_and_is_told_no_command_line(
    address: str, token: dict[str, str], postgres_url: str, tmp_path: Path
) -> None:
    folder = make_tiny_checkpoint("minilm-l6", tmp_path / "bert", 0).parent
    options = ["--hidden-dim", "4", "--rank", "2", "--nulls", "1", "--epochs", "2", "--device", "cpu", "--on", address]
    code, _, err = ended(start_mining([folder], tmp_path / "home", postgres_url, *options, RAY_AUTH_MODE="disabled"))
    assert code == 2 and "asks for a token" in err and "RAY_AUTH_MODE=token" in err

    url = postgres_url.replace("postgres:@", "postgres:hunter2@")
    assert "hunter2" in url or "@" not in url
    code, out, err = ended(start_mining([folder], tmp_path / "home", url, *options, **token))
    assert (code, out.split()) == (0, ["bert"]), err
    jobs = subprocess.run(
        [sys.executable, "-c", JOBS, address],
        capture_output=True,
        text=True,
        check=True,
        env={**environment(), **token},
    ).stdout
    assert "dna-zoo" in jobs and "hunter2" not in jobs and "--db" not in jobs
