"""The run's log: what the pipeline says while a run goes on, in one file of its folder."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from dna_zoo.text import printable, without_secrets

__all__ = ["logged_to"]


class _OneLine(logging.Formatter):
    """A message is one line, whatever names are in it, a traceback below it has its own; in neither is a password."""

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = printable(record.message)
        return super().formatMessage(record)


class _Log(logging.FileHandler):
    """A file that takes what it can: a full disk ends the model that it stops, and not once more for each line."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Say nothing."""

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()


@contextlib.contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """The log of pipeline and database, appended to the run's file. Several processes may do so: a line is written at
    once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = _Log(path)
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s %(message)s"))
    loggers = [logging.getLogger(name) for name in ("pipeline", "patterndb")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
        handler.close()
