"""What a worker does: it mines a model that it was given, with a database of its own, and says how that ended."""

import contextlib
import os
import signal
import sys
import threading
from multiprocessing.connection import Connection
from typing import Any, NoReturn

from dna_zoo import __version__
from dna_zoo.errors import DnaZooError, SettingsError
from dna_zoo.files import NO_ROOM
from patterndb.store import PatternDatabase
from pipeline.events import OnEvent
from pipeline.runs.executors.one_model import fail_model, mine_model
from pipeline.runs.executors.run_log import logged_to
from pipeline.runs.executors.throttle import throttled
from pipeline.runs.executors.work import Outcome, PlannedModel, Work

__all__ = ["Ending", "mine_in_worker", "serve"]

Ending = Outcome | DnaZooError
"""How a model ended, or why no model can be mined: the database fails, or the worker is not the right one."""
TERMINATED = 128 + signal.SIGTERM


def mine_in_worker(model: PlannedModel, work: Work, on_event: OnEvent) -> Ending:
    """Mine the model, whose work came from another process."""
    if work.version != __version__:
        return SettingsError(
            f"The run was begun by dna-zoo {work.version}, and a worker on {os.uname().nodename} has {__version__}.",
            hint="Install the same version on all machines.",
        )
    if work.is_offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    told = throttled(on_event)
    try:
        with PatternDatabase.open(work.database_url, create=False) as database:
            try:
                with logged_to(work.log):
                    return mine_model(model, work, database=database, on_event=told)
            except OSError as error:  # The home folder: what else fails is an outcome by now.
                if error.errno in NO_ROOM:
                    full, hint = (
                        f"The disk of {str(work.home)!r} is full.",
                        "Free some space and run the same command again.",
                    )
                    return fail_model(model, work, full, hint, database=database, on_event=told)
                message = f"The home folder {str(work.home)!r} cannot be used ({error.strerror or error})."
                hint = f"Make it the same folder on all machines; this was {os.uname().nodename}."
                return fail_model(model, work, message, hint, database=database, on_event=told)
    except DnaZooError as error:
        return error


def serve(descriptor: int) -> None:
    """Mine what comes through the connection, until it ends; events and endings go back through it."""
    _end_in_order()
    connection = Connection(descriptor)
    one_at_a_time = threading.Lock()

    def send(message: Any) -> None:
        # Where nobody listens any more, the run is over: what is unfinished can be taken up again.
        try:
            with one_at_a_time:
                connection.send(message)
        except OSError:
            os._exit(TERMINATED)

    with contextlib.suppress(EOFError, OSError):
        work: Work = connection.recv()
        while True:
            send(mine_in_worker(connection.recv(), work, send))
    # It ends already: told to, it would leave what libraries do at the end half done, and say so in the run's log.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _end_in_order() -> None:
    """Leave Ctrl-C to the process that started this one, which then says SIGTERM."""

    def end(number: int, frame: Any) -> NoReturn:
        sys.exit(TERMINATED)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, end)
