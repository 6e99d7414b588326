"""A server for Ray's clients that gives up on one is asked again, and what it says in the end is told."""

import threading

import pytest

from pipeline.runs.executors.ray_start import ATTEMPTS, connect, quiet_threads, reason_of

REPORT = """Initialization failure from server:
Traceback (most recent call last):
  File "proxier.py", line 770, in Datapath
    raise RuntimeError(
RuntimeError: Proxy failed to Connect to backend! Check `ray_client_server.err` on the head node of the cluster.

"""
"""What a server tells a client for which no process has started in time."""


class Busy:
    """In place of Ray, before a server that gives up on the first clients: a real one does after 30 s each."""

    def __init__(self, gives_up: int) -> None:
        self.gives_up, self.joined = gives_up, False

    def init(self, address: str) -> None:
        assert not self.joined
        self.gives_up -= 1
        if self.gives_up >= 0:
            raise ConnectionAbortedError(REPORT)
        self.joined = True

    def shutdown(self) -> None:
        pass


def test_a_busy_server_is_asked_again_with_a_limit() -> None:
    ray = Busy(ATTEMPTS - 1)
    connect(ray, {"address": "ray://head:10001"})
    assert ray.joined
    with pytest.raises(ConnectionAbortedError):
        connect(Busy(ATTEMPTS), {"address": "ray://head:10001"})


def test_the_reason_is_where_ray_says_it() -> None:
    assert reason_of(ConnectionAbortedError(REPORT)).startswith("RuntimeError: Proxy failed to Connect to backend!")
    assert (
        reason_of(ConnectionRefusedError("[Errno 111] Connection refused.\nmore")) == "[Errno 111] Connection refused"
    )
    assert reason_of(OSError()) == "OSError"


def test_a_connection_that_is_closed_ends_its_thread_without_a_word(capfd: pytest.CaptureFixture[str]) -> None:
    grpc = pytest.importorskip("grpc")
    told: list[threading.ExceptHookArgs] = []
    before, threading.excepthook = threading.excepthook, told.append
    try:
        with quiet_threads():
            for _ in range(20):  # Half of them are closed while their thread begins.
                channel = grpc.insecure_channel("127.0.0.1:1")
                channel.subscribe(lambda state: None)
                channel.close()
        assert told == []
        with quiet_threads():
            threading.Thread(target=lambda: 1 / 0).start()
        assert [each.exc_type for each in told] == [ZeroDivisionError]
    finally:
        threading.excepthook = before
    assert "Traceback" not in capfd.readouterr().err
