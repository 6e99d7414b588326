"""A Ray cluster that runs already, which neither the test's process nor dna-zoo has joined."""

import contextlib
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.workers import wait_for

NODE = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80 * 2**20, "memory": 4 * 2**30}
SOON = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
"""How often a cluster looks whether its nodes live: its own, of 3 s five times, would be most of the test."""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A node with a core, and room for more of them (`add_node(**NODE)`)."""
    with _cluster(monkeypatch) as found:
        yield found


@pytest.fixture
def client_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, str]]:
    """A node with two cores whose head takes clients, and the address for them."""
    pytest.importorskip("grpc", reason="Ray's client needs grpcio: pip install 'ray[client]'.")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with _cluster(monkeypatch, ray_client_server_port=port, num_cpus=2) as found:
        wait_for(lambda: _answers(port))  # Ray does not: the server is a process that it starts beside the head.
        yield found, f"ray://127.0.0.1:{port}"


def _answers(port: int) -> bool:
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


@contextlib.contextmanager
def _cluster(monkeypatch: pytest.MonkeyPatch, **head: Any) -> Iterator[Any]:
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    # Sockets lie far below it, and their paths may have 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="zoo-", dir="/tmp"))
    monkeypatch.setenv("RAY_TMPDIR", str(folder))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        found = cluster_utils.Cluster(initialize_head=True, head_node_args={**NODE, "_system_config": SOON, **head})
        stack.callback(found.shutdown)
        yield found
