"""Joining a Ray cluster, or starting one of this machine for as long as a run takes; without a word of Ray's."""

import contextlib
import logging
import os
import re
import shutil
import signal
import socket
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dna_zoo.errors import ClusterError, SettingsError
from pipeline.machine.parallel import num_cores

__all__ = ["connect", "even_if_lost", "import_ray", "joined", "parse_address", "quiet_threads", "reason_of"]

LOCAL = "local"
OBJECT_STORE_BYTES = 80 * 2**20
"""Ray's least: what tasks take and give is small."""
ANSWER = 10
"""Seconds to wait for a cluster to take a connection."""
ATTEMPTS = 3
"""To be let in by a server for clients."""
CLIENT = ("ray", "grpc")
"""Packages whose threads a client of a cluster has."""
ENDING = 1.0
"""Seconds that such threads are given to end with their connection; they look at it every 0.2 s."""
LONGEST_TEMPORARY = 40
"""Characters: Ray makes sockets far below its folder, and their paths may have 107."""
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # Nothing about a run leaves the machines.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Else it warns of a change to come.
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_ENABLE_AUTO_CONNECT": "0",  # Else a client that lost its cluster starts one of its own.
    "GRPC_VERBOSITY": "ERROR",  # Else it says of every process that is started what it does not do for it.
}


def import_ray() -> Any:
    """Ray. Raises `SettingsError` where it is not installed."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import ray
    except ImportError as error:
        hint = "Install it with `pip install 'dna-zoo[ray]'`, or use `--jobs N`."
        raise SettingsError("`--on` needs Ray, which is not installed.", hint=hint) from error
    return ray


def parse_address(on: str) -> str:
    """What `--on` means to Ray. Raises `SettingsError` for anything else."""
    if on == "ray":
        return os.environ.get("RAY_ADDRESS") or LOCAL
    if re.fullmatch(r"(ray://)?[\w.-]+:\d{1,5}|(ray://)?\[[0-9a-fA-F:]+\]:\d{1,5}", on):
        return on
    raise SettingsError(
        f"`--on` is {on!r}.", hint="Write `ray` for a cluster of this machine, or its address: HOST:PORT."
    )


@contextlib.contextmanager
def joined(address: str, *, num_cpus: int | None = None) -> Iterator[Any]:
    """Ray, connected to the cluster at `address`; disconnected at the end, and a local cluster ended.

    A cluster that this process has joined already is used as it is, and stays. Raises `SettingsError` if none answers,
    and `ClusterError` if it is lost while it is used.
    """
    ray = import_ray()
    if ray.is_initialized():
        yield ray
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    with contextlib.ExitStack() as stack:
        try:
            where = stack.enter_context(_own_cluster(num_cpus) if address == LOCAL else _other_cluster(address))
            with warnings.catch_warnings(), _same_signals(), _command_untold(ray):
                warnings.simplefilter("ignore")
                connect(ray, where | quiet)
            _hush(ray)
        except ImportError as error:  # The client is an extra of Ray's.
            hint = "Install it with `pip install 'ray[client]'`, or give HOST:PORT on a machine of the cluster."
            raise SettingsError("`ray://` needs Ray's client, which is not installed.", hint=hint) from error
        except (OSError, OverflowError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            if _is_about_a_token(error):
                raise SettingsError(
                    f"The Ray cluster at {address!r} asks for a token, and this machine has told no right one.",
                    hint="Set RAY_AUTH_MODE=token, and keep the cluster's token here as Ray's documentation says.",
                ) from error
            hint = "Check the address, and that the cluster runs: `ray status`. Ray must be the same version on both."
            raise SettingsError(f"No Ray cluster can be used at {address!r}: {reason_of(error)}.", hint=hint) from error
        stack.enter_context(quiet_threads())
        try:
            yield ray
        except Exception as error:
            if not _is_of_a_lost_cluster(ray, error):
                raise
            raise ClusterError(
                f"The Ray cluster at {address!r} is gone, or cannot be reached any more.",
                hint="When it runs again (`ray status`), the same command goes on after the last finished stages.",
            ) from error
        finally:
            with even_if_lost(ray):
                ray.shutdown()


@contextlib.contextmanager
def even_if_lost(ray: Any) -> Iterator[None]:
    """Go on behind the block where the cluster, or the way to it, is gone."""
    try:
        yield
    except Exception as error:
        if not _is_of_a_lost_cluster(ray, error):
            raise


def _is_of_a_lost_cluster(ray: Any, error: Exception) -> bool:
    """Whether Ray says so; its client has no type for that, or raises what the connection does."""
    if isinstance(error, ray.exceptions.RayError | ConnectionError):
        return True
    if find_spec("grpc") is not None:
        import grpc

        if isinstance(error, grpc.RpcError):
            return True
    return type(error) is Exception and str(error).startswith("Ray Client is not connected")


@contextlib.contextmanager
def quiet_threads() -> Iterator[None]:
    """Keep what ends a thread of Ray's, or of its connection's, off the terminal: the calls that wait for it raise the
    same. A connection that is closed may end the thread that watches it a moment later, so those are waited for."""
    before, known = threading.excepthook, set(threading.enumerate())

    def tell(ended: threading.ExceptHookArgs) -> None:
        modules = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(ended.exc_traceback)]
        if not any(module.partition(".")[0] in CLIENT for module in modules):
            before(ended)

    threading.excepthook = tell
    try:
        yield
    finally:
        last = time.monotonic() + ENDING
        for thread in set(threading.enumerate()) - known:
            thread.join(max(0.0, last - time.monotonic()))
        threading.excepthook = before


@contextlib.contextmanager
def _command_untold(ray: Any) -> Iterator[None]:
    """Within it Ray tells a cluster no command line: it would be kept there, password of the database and all, and be
    shown to everybody who may look at the cluster. No setting of Ray's does it."""
    utils = ray._private.utils
    before = utils.get_entrypoint_name
    utils.get_entrypoint_name = lambda: "dna-zoo"
    try:
        yield
    finally:
        utils.get_entrypoint_name = before


def _is_about_a_token(error: BaseException | None) -> bool:
    """Whether Ray says, somewhere in what an error was raised from, that a token is missing or wrong."""
    while error is not None:
        if type(error).__name__ == "AuthenticationError" or "AuthenticationError" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _hush(ray: Any) -> None:
    """Keep what Ray says of lost workers off stdout, where results go: no setting does, and it is told in our words."""
    if hasattr(ray._private.worker, "_worker_logs_enabled"):
        ray._private.worker._worker_logs_enabled = False


@contextlib.contextmanager
def _same_signals() -> Iterator[None]:
    """Keep what this process does on signals: Ray would have SIGTERM end it without a word to the database."""
    is_main = threading.current_thread() is threading.main_thread()
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)} if is_main else {}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def connect(ray: Any, options: dict[str, Any]) -> None:
    """As `ray.init`, and again where a server for clients gives up.

    It starts a process for each client and waits 30 s for it: too short on a machine that is busy or has just started.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            ray.init(**options)
            return
        except ConnectionAbortedError:
            ray.shutdown()
    ray.init(**options)


def reason_of(error: Exception) -> str:
    """The first line of an error; the last one where that begins a report of the server's, whose end says why."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1 if lines[0].endswith(":") else 0].rstrip(".:")


@contextlib.contextmanager
def _other_cluster(address: str) -> Iterator[dict[str, Any]]:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdecimal():  # Where nobody listens, Ray would try for minutes, and say so on the terminal.
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER).close()
    if address.startswith("ray://") and find_spec("grpc") is None:  # Ray says so in an error that may be any other.
        raise ImportError("grpc")
    yield {"address": address}


@contextlib.contextmanager
def _own_cluster(num_cpus: int | None) -> Iterator[dict[str, Any]]:
    """How to start one here, with a folder of its own that is gone afterwards."""
    usual = tempfile.gettempdir()
    folder = Path(tempfile.mkdtemp(prefix="zoo-", dir=usual if len(usual) <= LONGEST_TEMPORARY else "/tmp"))
    try:
        yield {
            "address": LOCAL,
            "num_cpus": num_cpus or num_cores(),
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
            "_temp_dir": str(folder),
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)
