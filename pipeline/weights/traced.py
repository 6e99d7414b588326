"""The wiring of a checkpoint whose names do not suffice, traced from the code of its architecture.

Names suffice where they tell the role of nearly all weights, and the type that `config.json` names is one whose names
were held against its code and agree with it (`zoo.tracing.held`). Else the wiring is taken from what comes with the
zoo, from the home folder, or from a process that builds a tiny model of the architecture and traces it
(`zoo.tracing.of_config`). That process has a limit on time and on memory, and whatever happens to it, this one goes on
with the names. A failure is kept as a wiring is, so that its time is paid once: it is tried again with another version
of `transformers` or of the tracing, with more time, or when its folder in `stages/wiring` is removed.
"""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pipeline.kept.stages import StageStore, content_key
from zoo.config import text_in
from zoo.tensors import Role, TensorKind, TensorSpec
from zoo.tracing.traced import TracedWiring

__all__ = ["CONSIDERABLE", "TRACE_SECONDS", "Tracer", "share_without_role", "without_role"]

CONSIDERABLE = 0.05
"""Share of the weights in matrices of no role from which an architecture counts as not known by its names."""
TRACE_SECONDS = 120.0
"""Most that the process may take; nearly all of it is the import of libraries."""
STAGE = "wiring"
PASSING = ("ImportError", "ModuleNotFoundError", "OSError")
"""Failures that say something of the machine and not of the architecture: they are not kept."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracer:
    """Asks the code of an architecture for its wiring."""

    home: Path | None = None
    """Where wirings are kept; None keeps none."""
    seconds: float = TRACE_SECONDS

    def wiring(self, config: Mapping[str, Any]) -> TracedWiring:
        """The wiring of the architecture that `config` describes.

        Raises `ValueError` with a clause that says why there is none.
        """
        if not text_in(config, "model_type"):
            raise ValueError("no config.json says which architecture it is")
        # Imported here: names suffice for most models, and the key needs torch.
        from zoo.tracing.shipped import architecture_key, find_shipped

        shipped = find_shipped(config)
        if shipped is not None:
            return shipped
        try:
            installed = version("transformers")
        except PackageNotFoundError:
            raise ValueError("transformers is not installed: `pip install 'dna-zoo[tracing]'`") from None
        key = architecture_key(config, installed)
        store = None if self.home is None else StageStore(self.home)
        kept = None if store is None else store.find(STAGE, key)
        if kept is not None:
            return TracedWiring.of_json(kept.result)
        failed = content_key("failed", key)
        self._raise_kept(store, failed)
        try:
            found = _in_process(config, self.seconds)
        except _Failure as failure:
            _keep(store, failed, {"failed": str(failure), "seconds": failure.seconds})
            raise
        _keep(store, key, found)
        return TracedWiring.of_json(found)

    def _raise_kept(self, store: StageStore | None, key: str) -> None:
        """Raise the failure that is kept, unless it was one of time and there is more of it now."""
        kept = None if store is None else store.find(STAGE, key)
        if kept is None:
            return
        seconds = kept.result["seconds"]
        if seconds is None or seconds >= self.seconds:
            log.info("It was tried before; remove %s to try again.", kept.directory)
            raise _Failure(kept.result["failed"], seconds)


class _Failure(ValueError):
    """What would come again: the architecture is the reason, or the time that it was given."""

    def __init__(self, reason: str, seconds: float | None = None) -> None:
        super().__init__(reason)
        self.seconds = seconds
        """What it was given, if it took too long."""


def _keep(store: StageStore | None, key: str, result: Mapping[str, Any]) -> None:
    """In place of what is there. Without a writable home it is traced again next time."""
    if store is None:
        return
    try:
        store.run(STAGE, key, lambda directory: dict(result), force=True)
    except OSError as error:
        log.warning("What the tracing found could not be kept: %s.", error)


def _in_process(config: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """What `zoo.tracing.of_config` prints. Raises `ValueError` where it fails, crashes or takes too long.

    Such an error is a `_Failure` where it would be the same next time.
    """
    paths = os.pathsep.join(path for path in sys.path if path)
    # No GPU: its driver reserves more address space than the limit leaves.
    own = {"PYTHONPATH": paths, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment = {**os.environ, **own}
    # -P: the current folder may be that of a model, with code in it.
    command = [sys.executable, "-P", "-m", "zoo.tracing.of_config"]
    try:
        done = subprocess.run(
            command, input=json.dumps(config).encode(), capture_output=True, env=environment, timeout=seconds
        )
        answer: dict[str, Any] = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise _Failure(f"it took more than {seconds:.0f} s", seconds) from None
    except (ValueError, OSError) as error:
        log.debug("The process that traces ended without an answer: %s.", error)
        raise ValueError("the process that traces ended without an answer") from None
    if "wiring" not in answer:
        reason = str(answer.get("failed", "no reason is given")).rstrip(".")
        raise ValueError(reason) if reason.startswith(PASSING) else _Failure(reason)
    found: dict[str, Any] = answer["wiring"]
    return found


def without_role(specs: Sequence[TensorSpec]) -> list[TensorSpec]:
    """Trained matrices of role `other`."""
    return [spec for spec in specs if spec.is_matrix and spec.role is Role.OTHER]


def share_without_role(specs: Sequence[TensorSpec]) -> float:
    """Their share of the trained weights."""
    total = sum(spec.num_weights for spec in specs if spec.kind is TensorKind.WEIGHT)
    return sum(spec.num_weights for spec in without_role(specs)) / max(total, 1)
