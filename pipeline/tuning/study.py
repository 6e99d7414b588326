"""A study: trials of one model's fit, one after the other, each kept as soon as it is done.

Three things are wanted at once, so there is no best trial but a Pareto front: structure gain and throughput as large,
peak memory as small as can be. Asking again for more trials of the same model, budget and kind goes on where the last
search stopped.
"""

import logging
import multiprocessing
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import optuna
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from safetensors.numpy import save_file

from dna_zoo.errors import DnaZooError, ExtractError, SettingsError
from pipeline.events import Event, OnEvent, ignore
from pipeline.fetch.request import ModelRequest
from pipeline.fetch.stage import fetch
from pipeline.kept.stages import content_key
from pipeline.machine.devices import resolve_device
from pipeline.order import canonicalise, raw_order, seriate_tensor
from pipeline.settings import FitSettings
from pipeline.tuning.space import space_of, values_of
from pipeline.tuning.storage import open_storage
from pipeline.tuning.worker import Job, Outcome, run_job
from pipeline.weights.files import WeightFiles
from pipeline.weights.inventory import extract
from pipeline.weights.reader import WeightReader
from zoo.tensors import Role, TensorSpec

__all__ = ["TuneResult", "TuneTrial", "representative", "tune"]

DIRECTIONS: tuple[Literal["maximize", "minimize"], ...] = ("maximize", "maximize", "minimize")
"""Of gain, weights a second, peak bytes."""
LARGEST = 4_000_000
"""Weights of a tensor that a search still takes: an embedding would cost more than all the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneTrial:
    """One set of settings, and what came of it."""

    number: int
    values: Mapping[str, Any]
    """Field of `FitSettings` -> value."""
    outcome: Outcome | None
    """None where the trial failed."""
    error: str
    """Why it failed; empty where it did not."""
    is_on_front: bool
    """Whether no other trial is at least as good in all three respects and better in one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneResult:
    """All trials of the study so far."""

    model: str
    study: str
    dna_type: str
    budget: float
    tensors: tuple[str, ...]
    trials: tuple[TuneTrial, ...]


def tune(
    request: ModelRequest,
    base: FitSettings,
    *,
    database_url: str,
    home: Path,
    num_trials: int,
    max_seconds: float | None = None,
    all_tensors: bool = False,
    with_training: bool = False,
    device: str = "cpu",
    seed: int = 0,
    on_event: OnEvent = ignore,
) -> TuneResult:
    """Run `num_trials` more trials, or as many as `max_seconds` allow, and give all of the study.

    `base` holds what the search leaves alone: kind, scope, order, budget, nulls. Without `all_tensors` one matrix of
    each role stands for the model; `with_training` searches optimiser and schedule too. Raises `SettingsError` without
    nulls, for then there is no gain to search for.
    """
    if base.num_nulls < 1:
        raise SettingsError("A search without nulls would reward memorised noise.", hint="Give --nulls 1 or more.")
    device = resolve_device(device)
    files = fetch(request, home=home, on_event=on_event)
    specs = _chosen(files, all_tensors)
    asked = content_key(files.digest, asdict(base), [s.name for s in specs], with_training, device, seed)
    name = f"{files.key}-{asked[:12]}"
    with open_storage(database_url) as storage, TemporaryDirectory(prefix="dna-zoo-tune-") as directory:
        study = _open_study(name, storage)
        job = _prepare(files, specs, base, Path(directory), device, seed)
        _run_trials(study, job, with_training, num_trials, max_seconds, seed, files.key, on_event)
        front = {trial.number for trial in study.best_trials}
        trials = tuple(_record(trial, front) for trial in study.trials if trial.state.is_finished())
    tensors = tuple(spec.name for spec in specs)
    return TuneResult(
        model=files.key, study=name, dna_type=base.dna_type, budget=base.budget, tensors=tensors, trials=trials
    )


def representative(specs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """One matrix of each role, from the middle of the depth, none of more than `LARGEST` weights."""
    chosen = []
    for role in Role:
        members = [spec for spec in specs if spec.role is role and spec.num_weights <= LARGEST]
        if members:
            chosen.append(min(members, key=lambda spec: (abs((spec.depth or 0.0) - 0.5), spec.name)))
    return tuple(chosen)


def _chosen(files: WeightFiles, all_tensors: bool) -> tuple[TensorSpec, ...]:
    matrices = tuple(spec for spec in extract(files).specs if spec.is_matrix)
    chosen = matrices if all_tensors else representative(matrices)
    if not chosen:
        raise ExtractError(
            f"{files.key!r} has no matrix of at most {LARGEST:,} weights.", hint="Search on all: --all-tensors."
        )
    return chosen


def _prepare(
    files: WeightFiles, specs: Sequence[TensorSpec], base: FitSettings, directory: Path, device: str, seed: int
) -> Job:
    """The matrices in the order of the fit, in a file that every trial reads."""
    matrices, bits = {}, {}
    with WeightReader(files) as reader:
        for spec in specs:
            matrix = reader.matrix(spec)
            order = raw_order(spec.rows, spec.cols)
            if base.order != "raw":
                order = seriate_tensor(matrix, spec)
            matrices[spec.name], bits[spec.name] = canonicalise(matrix, order), order.bits
    path = directory / "matrices.safetensors"
    save_file(matrices, path)
    return Job(specs=tuple(specs), matrices=path, order_bits=bits, settings=base, device=device, seed=seed)


def _open_study(name: str, storage: RDBStorage) -> optuna.Study:
    optuna.logging.set_verbosity(logging.ERROR)
    study = optuna.create_study(storage=storage, study_name=name, directions=DIRECTIONS, load_if_exists=True)
    # What a killed search was in the middle of is lost, and must not look as if it were still running.
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
    return study


def _run_trials(
    study: optuna.Study,
    job: Job,
    with_training: bool,
    num_trials: int,
    max_seconds: float | None,
    seed: int,
    model: str,
    on_event: OnEvent,
) -> None:
    end = None if max_seconds is None else time.monotonic() + max_seconds
    for done in range(num_trials):
        if end is not None and time.monotonic() >= end:
            return
        on_event(Event(kind="progress", model=model, stage="tune", done=done, total=num_trials, unit="trials"))
        # Seeded by the trial's number, so that a search in two parts asks what one in a single part would.
        study.sampler = TPESampler(seed=seed + len(study.get_trials(deepcopy=False)))
        _run_trial(study, job, with_training)
    on_event(Event(kind="done", model=model, stage="tune"))


def _run_trial(study: optuna.Study, job: Job, with_training: bool) -> None:
    """One trial in a fresh process, told to the study whatever happens."""
    trial = study.ask(space_of(job.settings, with_training=with_training))
    values = values_of(trial.params, job.settings)
    trial.set_user_attr("settings", values)
    try:
        outcome = _in_fresh_process(replace(job, settings=replace(job.settings, **values)))
    except (DnaZooError, RuntimeError, MemoryError) as error:  # PyTorch reports a full GPU as a RuntimeError.
        is_ended = isinstance(error, BrokenProcessPool)
        reason = "The process was ended from outside, perhaps for want of memory." if is_ended else str(error)
        trial.set_user_attr("error", reason or type(error).__name__)
        study.tell(trial, state=TrialState.FAIL)
        return
    for name, value in asdict(outcome).items():
        trial.set_user_attr(name, value)
    study.tell(trial, [outcome.gain, outcome.weights_per_second, float(outcome.peak_bytes)])


def _in_fresh_process(job: Job) -> Outcome:
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(run_job, job).result()


def _record(trial: FrozenTrial, front: set[int]) -> TuneTrial:
    attributes = dict(trial.user_attrs)
    error, values = str(attributes.pop("error", "")), attributes.pop("settings", trial.params)
    return TuneTrial(
        number=trial.number,
        values=values,
        outcome=Outcome(**attributes) if attributes else None,
        error=error or ("" if attributes else "The search was ended while this trial ran."),
        is_on_front=trial.number in front,
    )
