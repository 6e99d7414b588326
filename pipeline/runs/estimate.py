"""What mining a model will fetch, reuse and compute, and what that will take, from the stages recorded so far.

A stage's time is taken to be an overhead and a rate: `seconds = a + b * work`, both at least 0, fitted by least squares
of the relative errors to the recorded stages of that kind. Work is the number of weights, times what the settings have
done to each: passes and nulls. Memory and disk go with the number of weights in the same way. Stages of this home are
taken, and where it has none, those of the database, which other machines may have run. What was never recorded is not
known, and said to be so.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.optimize import nnls

from dna_zoo.errors import DnaZooError
from patterndb.records import StageCost
from patterndb.store import PatternDatabase
from pipeline.fetch.plan import plan
from pipeline.fetch.request import FetchPlan, ModelRequest
from pipeline.fetch.stage import find_fetched
from pipeline.fit.stage import resolve_precision
from pipeline.kept.stages import COST, RESULT, StageStore
from pipeline.machine.devices import device_key, resolve_device
from pipeline.settings import MineSettings
from pipeline.stage_keys import stage_keys
from pipeline.weights.files import WeightFiles
from pipeline.weights.reader import WeightReader
from zoo.roles import describe_tensors
from zoo.tensors import TensorKind

__all__ = ["STAGES", "CostTable", "ModelEstimate", "StageEstimate", "estimate_model", "scratch_home"]

StageName = Literal["extract", "order", "fit", "analyse"]
STAGES: tuple[StageName, ...] = ("extract", "order", "fit", "analyse")
ON_A_DEVICE = ("fit", "analyse")
"""Stages that a GPU takes over."""
FARTHEST = 4.0
"""From so many times the largest recorded work, or so small a part of the smallest, an estimate is a guess."""
MOST_RECORDS = 200
BYTES_PER_WEIGHT = 4
"""In a file of which only the size is known: float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageEstimate:
    """What one stage will take; None where nothing is recorded that says it, 0 for a stage that is done."""

    stage: StageName
    action: Literal["reuse", "compute"]
    seconds: float | None
    memory_bytes: int | None
    """Most memory of the process."""
    gpu_bytes: int | None
    """Most memory of the GPU; 0 on a CPU."""
    disk_bytes: int | None
    num_records: int
    """Recorded stages that the estimate is from."""
    is_guess: bool
    """Whether the work is far from all that was recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEstimate:
    """What mining one model will take. Times are without the download; None is unknown."""

    key: str
    source: str
    """The path or name that is asked for."""
    origin: str | None
    """Where the files are: package, cache, hub or local."""
    num_bytes: int
    """Of the files of weights."""
    download_bytes: int
    num_weights: int | None
    is_counted: bool
    """Whether the weights were counted in the file, and not guessed from its size."""
    stages: tuple[StageEstimate, ...]
    from_this_machine: bool
    """Whether the records are of this home; else they are those of the database."""
    problem: str | None = None
    """Why it cannot be mined, as far as that is known before."""

    @property
    def seconds(self) -> float | None:
        return _total([stage.seconds for stage in self.stages])

    @property
    def memory_bytes(self) -> int | None:
        return _most([stage.memory_bytes for stage in self.stages])

    @property
    def gpu_bytes(self) -> int | None:
        return _most([stage.gpu_bytes for stage in self.stages])

    @property
    def disk_bytes(self) -> int | None:
        """With what is downloaded."""
        found = _total([stage.disk_bytes for stage in self.stages])
        return None if found is None else int(found) + self.download_bytes


def _total(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) and values else None


def _most(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return max(known) if len(known) == len(values) and values else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    """A recorded stage."""

    cost: StageCost
    memory_bytes: int | None = None
    gpu_bytes: int | None = None
    disk_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CostTable:
    """The recorded stages that estimates are made from; read once for all models."""

    records: Mapping[str, Sequence[_Record]]
    """By the name of the stage."""
    from_this_machine: bool

    @classmethod
    def of(cls, database: PatternDatabase | None, home: Path) -> "CostTable":
        """Of the stages that lie in the home, or of all that the database has where none does."""
        costs = database.stage_costs() if database is not None else ()
        here: dict[str, Sequence[_Record]] = {
            stage: _here([each for each in costs if each.stage == stage], home) for stage in STAGES
        }
        if any(here.values()):
            return cls(records=here, from_this_machine=True)
        there: dict[str, Sequence[_Record]] = {
            stage: [_Record(cost=each) for each in costs if each.stage == stage][:MOST_RECORDS] for stage in STAGES
        }
        return cls(records=there, from_this_machine=False)


def _here(costs: Sequence[StageCost], home: Path) -> list[_Record]:
    """Of the stages those that lie in the home, with what else is known of them there."""
    store = StageStore(home)
    found: list[_Record] = []
    for cost in costs:
        folder = store.directory(cost.stage, cost.key)
        if (folder / RESULT).is_file() and len(found) < MOST_RECORDS:
            kept = _read_cost(folder / COST)
            sizes = sum(path.lstat().st_size for path in folder.iterdir() if path.is_file())
            found.append(_Record(cost=cost, disk_bytes=sizes, **kept))
    return found


def _read_cost(path: Path) -> dict[str, int | None]:
    """Memory of the process and of the GPU; None for stages of older versions."""
    names = ("memory_bytes", "gpu_bytes")
    try:
        found = json.loads(path.read_text())
        return {name: found[name] if isinstance(found[name], int) else None for name in names}
    except (OSError, ValueError, KeyError, TypeError):
        return dict.fromkeys(names)


def estimate_model(
    request: ModelRequest,
    settings: MineSettings,
    *,
    database: PatternDatabase | None,
    home: Path,
    table: CostTable | None = None,
    force: bool = False,
) -> ModelEstimate:
    """What mining the model will take. Reads headers alone, writes nothing in the home, downloads no weights.

    A file that was never read in this home counts as new: whether a copy of it was mined is not known before.

    - `database`: None where there is none yet;
    - `table`: `CostTable.of` them, for callers with many models;
    - `force`: whether stages that are done are done again.

    Raises `UnknownModelError` and the `FetchError` of whatever is in the way.
    """
    table = table or CostTable.of(database, home)
    device = resolve_device(settings.device)
    settings = replace(settings, device=device, fit=resolve_precision(settings.fit, device))
    planned = plan(request, home=home)
    files = find_fetched(planned, request, home=home)
    num_weights, is_counted, problem = _count(planned, files, database)
    done = dict.fromkeys(STAGES, False) if force else _done(files, settings, home)
    return ModelEstimate(
        key=planned.key,
        source=str(request.weights or request.name),
        origin=planned.origin,
        num_bytes=planned.num_bytes,
        download_bytes=planned.download_bytes,
        num_weights=num_weights,
        is_counted=is_counted,
        stages=tuple(_estimate(stage, done[stage], num_weights, settings, table) for stage in STAGES),
        from_this_machine=table.from_this_machine,
        problem=problem,
    )


def _done(files: WeightFiles | None, settings: MineSettings, home: Path) -> dict[str, bool]:
    """Which stages are done already."""
    if files is None or not files.digest:
        return dict.fromkeys(STAGES, False)
    keys, store = stage_keys(files, settings), StageStore(home)
    return {stage: (store.directory(stage, getattr(keys, stage)) / RESULT).is_file() for stage in STAGES}


def _count(
    planned: FetchPlan, files: WeightFiles | None, database: PatternDatabase | None
) -> tuple[int | None, bool, str | None]:
    """The weights of the model, whether they were counted, and why the files cannot be read."""
    if files is not None and files.digest and database is not None and (known := database.weights_of(files.digest)):
        return known, True, None
    if files is not None:
        try:
            with WeightReader(files) as reader:
                specs = describe_tensors(reader.headers, files.config, shared=reader.shared)
                return sum(spec.num_weights for spec in specs if spec.kind is TensorKind.WEIGHT), True, None
        except DnaZooError as error:
            return None, False, error.message
    if planned.card is not None:
        return planned.card.parameters, False, None
    return planned.num_bytes // BYTES_PER_WEIGHT or None, False, None


def _estimate(
    stage: StageName, is_done: bool, num_weights: int | None, settings: MineSettings, table: CostTable
) -> StageEstimate:
    if is_done:
        return StageEstimate(
            stage=stage, action="reuse", seconds=0.0, memory_bytes=0, gpu_bytes=0, disk_bytes=0, num_records=0,
            is_guess=False,
        )  # fmt: skip
    wanted = settings.as_dict()
    records = [each for each in table.records[stage] if _is_alike(stage, each.cost.settings, wanted)]
    weights = [each.cost.num_weights for each in records]
    works = [each.cost.num_weights * _effort(stage, each.cost.settings) for each in records]
    work = None if num_weights is None else num_weights * _effort(stage, wanted)
    on_cpu = stage not in ON_A_DEVICE or settings.device == "cpu"
    # What a process holds before it has read a weight is most of the memory of small models, and tells no rate.
    is_larger = num_weights is None or num_weights > FARTHEST * max(weights, default=0)
    held = None if is_larger else num_weights
    return StageEstimate(
        stage=stage,
        action="compute",
        seconds=_predict(works, [each.cost.seconds for each in records], work),
        memory_bytes=_whole(_predict(weights, [each.memory_bytes for each in records], held)),
        gpu_bytes=0 if on_cpu else _whole(_predict(weights, [each.gpu_bytes for each in records], held)),
        disk_bytes=_whole(_predict(weights, [each.disk_bytes for each in records], num_weights)),
        num_records=len(records),
        is_guess=work is None or not works or not min(works) / FARTHEST <= work <= max(works) * FARTHEST,
    )


def _is_alike(stage: StageName, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether a stage costs the same per unit of work under both settings."""
    if stage == "fit":
        return _kind_of_fit(one) == _kind_of_fit(other)
    return stage not in ON_A_DEVICE or _kind_of_device(one) == _kind_of_device(other)


def _kind_of_fit(settings: Mapping[str, Any]) -> tuple[Any, ...]:
    fit = settings.get("fit", {})
    return fit.get("dna_type"), fit.get("scope"), _kind_of_device(settings)


def _kind_of_device(settings: Mapping[str, Any]) -> str:
    return device_key(str(settings.get("device") or "cpu"))


def _effort(stage: StageName, settings: Mapping[str, Any]) -> float:
    """What is done to each weight: passes and nulls. A fit makes two copies for each null, shuffled and with means."""
    if stage == "fit":
        fit = settings.get("fit", {})
        return float(fit.get("epochs", 1)) * (1.0 + 2.0 * float(fit.get("num_nulls", 0)))
    if stage == "analyse":
        return 1.0 + float(settings.get("analysis", {}).get("num_nulls", 0))
    return 1.0


def _predict(sizes: Sequence[float], values: Sequence[float | None], size: float | None) -> float | None:
    """`a + b * size`, from the values at those sizes that are known; None where none are."""
    known = [(each, value) for each, value in zip(sizes, values, strict=True) if value]
    if not known or size is None:
        return None
    places, found = (np.array(column, dtype=float) for column in zip(*known, strict=True))
    # Divided by the values: a stage of a second counts as much as one of an hour.
    unit = places.max()
    matrix = np.column_stack([1.0 / found, places / unit / found])
    if np.ptp(places) == 0:  # One size tells no overhead.
        return float(np.median(found) * size / places[0])
    (overhead, rate), _ = nnls(matrix, np.ones(len(found)))
    return float(overhead + rate * size / unit)


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


@contextmanager
def scratch_home(home: Path) -> Iterator[Path]:
    """A home for looking up names that knows what this one does, and that is thrown away."""
    with tempfile.TemporaryDirectory(prefix="dna-zoo-") as folder:
        for name in ("components", "revisions", "sha256"):
            kept = home / "fetch" / name
            if kept.is_dir():
                shutil.copytree(kept, Path(folder) / "fetch" / name)
        yield Path(folder)
