"""The runner: takes each model through fetch -> extract -> order -> fit -> analyse -> persist.

    fetch    files, verified            every time: it costs a look when they are here
    extract  which tensors, what role   keyed by the weights' digest
    order    permutations and signs     keyed by extract
    fit      errors, checkpoint         keyed by order, the fit's settings, seed and kind of device
    analyse  statistics, signature      keyed by order, its settings and seed
    persist  the pattern                keyed by fit and analyse

A stage that is done is not done again, in this run or another. One failing model does not stop the others. A run is
named by what it was asked, so the same request after a kill goes on with the same run.
"""

import contextlib
import logging
import platform
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from cattrs import Converter
from filelock import FileLock
from safetensors.numpy import load_file, save

from dna_zoo import __version__
from dna_zoo.errors import DnaZooError, NotMinedError, SettingsError, StoreError
from patterndb.records import ModelRecord, PatternRecord, RunModelRecord, RunRecord, StageRecord
from patterndb.store import PatternDatabase
from pipeline.analyse.findings import Findings, findings_of
from pipeline.analyse.signature import SIGNATURE_VERSION
from pipeline.analyse.stage import ANALYSE_VERSION, analyse_model
from pipeline.events import Event, OnEvent, ignore
from pipeline.fetch.errors import disk_errors
from pipeline.fetch.model_card import model_record
from pipeline.fetch.plan import key_of
from pipeline.fetch.request import ModelRequest
from pipeline.fetch.stage import fetch
from pipeline.fit.model_report import FitReports, FittedModel, report_model
from pipeline.fit.stage import FIT_VERSION, fit, resolve_device, resolve_precision
from pipeline.memory import give_back
from pipeline.order import ORDER_VERSION, CanonicalOrder, Rows, canonicalise_pieces, raw_order, seriate_tensor
from pipeline.persist import PERSIST_VERSION, are_intact, persist
from pipeline.settings import MineSettings
from pipeline.stages import Finished, StageStore, content_key
from pipeline.weights.files import WeightFiles
from pipeline.weights.inventory import Inventory, extract
from pipeline.weights.reader import WeightReader
from zoo.registry import CARDS
from zoo.tensors import TensorSpec

__all__ = ["mine", "run_id"]

EXTRACT_VERSION = "2"
log = logging.getLogger(__name__)
_converter = Converter()


def mine(
    requests: Sequence[ModelRequest],
    settings: MineSettings,
    *,
    database: PatternDatabase,
    home: Path,
    on_event: OnEvent = ignore,
    force: bool = False,
) -> RunRecord:
    """Mine the models and keep what was found; the record of the run says how each fared.

    Its exit code is 0 if all are done, 3 if some failed, 1 if all failed. `force` does every stage again. Errors of a
    model are recorded, not raised; a database that fails (`StoreError`) ends the run. On Ctrl-C the run is marked
    interrupted.
    """
    device = _checked_device(settings.device)
    settings = replace(settings, device=device, fit=resolve_precision(settings.fit, device))
    run = run_id(requests, settings)
    folder = home / "runs" / run
    folder.mkdir(parents=True, exist_ok=True)
    database.start_run(run, {"models": [_asked(request) for request in requests], "settings": settings.as_dict()})
    keys = [key_of(request) for request in requests]
    database.set_run_models(run, keys)
    statuses = []
    with _logged_to(folder / "run.log"):
        try:
            for key, request in zip(keys, requests, strict=True):
                work = _Model(request, key, settings, run, database, home, on_event, force)
                statuses.append(work.mine())
        except KeyboardInterrupt:
            database.finish_run(run, "interrupted", 130)
            raise
    failed = statuses.count("failed")
    status, exit_code = ("done", 0) if not failed else ("failed", 1) if failed == len(statuses) else ("partial", 3)
    database.finish_run(run, status, exit_code)
    return database.run(run)


def run_id(requests: Sequence[ModelRequest], settings: MineSettings) -> str:
    """The name of the run that this request is: the same request, the same run."""
    return content_key([_asked(request) for request in requests], settings.as_dict())[:12]


def _asked(request: ModelRequest) -> dict[str, str | None]:
    """What names the request; a path is the same however it is written."""
    is_path = request.name not in CARDS and Path(request.name).exists()
    return {
        "name": str(Path(request.name).absolute()) if is_path else request.name,
        "key": request.key,
        "weights": str(request.weights.absolute()) if request.weights else None,
        "revision": request.revision,
    }


def _checked_device(name: str) -> str:
    device = resolve_device(name)
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise SettingsError("`--device cuda` was asked for, and there is no CUDA device.", hint="Use `--device cpu`.")
    return device


@contextlib.contextmanager
def _logged_to(path: Path) -> Iterator[None]:
    """The pipeline's log, appended to the run's file."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logger = logging.getLogger("pipeline")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()


@dataclass(frozen=True, slots=True)
class _Model:
    """One model on its way through the stages of one run."""

    request: ModelRequest
    key: str
    settings: MineSettings
    run: str
    database: PatternDatabase
    home: Path
    on_event: OnEvent
    force: bool

    def mine(self) -> str:
        """Take the model through; returns and records `done` or `failed`."""
        self._tell("start", "mine")
        try:
            with disk_errors(self.home):
                pattern_key = self._stages()
        except StoreError:
            raise
        except DnaZooError as error:
            return self._fail(error.message, error.hint)
        except Exception as error:  # One model's bug must not cost the others their results.
            log.exception("%s failed in a way nobody foresaw.", self.key)
            hint = f"This is a bug; the traceback is in {self.home / 'runs' / self.run / 'run.log'}."
            return self._fail(f"{type(error).__name__}: {error}", hint)
        self.database.finish_model(self.run, RunModelRecord(key=self.key, status="done", pattern_key=pattern_key))
        self._tell("done", "mine")
        return "done"

    def _fail(self, message: str, hint: str) -> str:
        log.warning("%s: %s", self.key, message)
        record = RunModelRecord(key=self.key, status="failed", error=message, hint=hint or None)
        self.database.finish_model(self.run, record)
        self._tell("failed", "mine", message=message)
        return "failed"

    def _tell(
        self, kind: Any, stage: str, message: str = "", done: float = 0, total: float = 0, unit: str = ""
    ) -> None:
        self.on_event(Event(kind=kind, model=self.key, stage=stage, message=message, done=done, total=total, unit=unit))

    def _stages(self) -> str:
        """The chain; returns the key of the pattern that is now in the database."""
        with self._failure_recorded("fetch", ""):
            files = fetch(self.request, home=self.home, on_event=self.on_event)
        self._record("fetch", files.digest)
        lock = self.home / "locks" / f"{files.digest}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):
            return self._locked_stages(files)

    def _locked_stages(self, files: WeightFiles) -> str:
        extracted = self._stage(
            "extract",
            content_key(EXTRACT_VERSION, files.digest, dict(files.config), self.settings.allow_nonfinite),
            lambda directory: self._extract(files),
        )
        inventory = _converter.structure(extracted.result, Inventory)
        for note in inventory.notes:
            self._tell("note", "extract", note)
        matrices = [spec for spec in inventory.specs if spec.is_matrix]
        ordered = self._stage(
            "order",
            content_key(ORDER_VERSION, extracted.key),
            lambda directory: self._order(files, matrices, directory),
        )
        orders = _load_orders(ordered.directory / "order.safetensors", matrices)
        fitted = self._stage(
            "fit",
            content_key(FIT_VERSION, ordered.key, asdict(self.settings.fit), self.settings.device, self.settings.seed),
            lambda directory: self._fit(files, inventory, orders, directory),
        )
        analysed = self._stage(
            "analyse",
            content_key(
                ANALYSE_VERSION, SIGNATURE_VERSION, ordered.key, asdict(self.settings.analysis), self.settings.seed
            ),
            lambda directory: self._analyse(files, inventory, orders),
        )
        return self._persist(files, inventory, fitted, analysed)

    def _stage(self, name: str, key: str, compute: Callable[[Path], Any]) -> Finished:
        self._tell("start", name)
        with self._failure_recorded(name, key):
            finished = StageStore(self.home).run(name, key, compute, force=self.force)
        give_back()
        self._record(name, key, finished.seconds)
        log.info("%s: %s %s (%s).", self.key, name, "reused" if finished.is_reused else "done", key)
        self._tell("reused" if finished.is_reused else "done", name)
        return finished

    @contextlib.contextmanager
    def _failure_recorded(self, stage: str, key: str) -> Iterator[None]:
        """Keep in the database at which stage the model failed."""
        try:
            yield
        except Exception as error:
            record = StageRecord(stage=stage, key=key, status="failed", error=str(error) or type(error).__name__)
            self.database.record_stage(self.run, self.key, record)
            raise

    def _record(self, stage: str, key: str, seconds: float | None = None) -> None:
        self.database.record_stage(
            self.run, self.key, StageRecord(stage=stage, key=key, status="done", seconds=seconds)
        )

    # The stages.

    def _extract(self, files: WeightFiles) -> Any:
        inventory = extract(files, allow_nonfinite=self.settings.allow_nonfinite, on_event=self.on_event)
        return _converter.unstructure(inventory)

    def _order(self, files: WeightFiles, matrices: Sequence[TensorSpec], directory: Path) -> Any:
        arrays: dict[str, np.ndarray[Any, Any]] = {}
        with WeightReader(files) as reader:
            for done, spec in enumerate(matrices):
                order = seriate_tensor(reader.matrix(spec), spec)
                parts = {
                    "rows": order.rows,
                    "cols": order.cols,
                    "row_signs": order.row_signs,
                    "col_signs": order.col_signs,
                }
                arrays |= {f"{spec.name}/{name}": part for name, part in parts.items() if part is not None}
                self._tell("progress", "order", done=done + 1, total=len(matrices), unit="tensors")
        # `save_file` would hide a full disk behind an error of its own.
        (directory / "order.safetensors").write_bytes(save(arrays))
        return {"matrices": len(matrices)}

    def _fit(self, files: WeightFiles, inventory: Inventory, orders: dict[str, CanonicalOrder], directory: Path) -> Any:
        is_raw = self.settings.fit.order == "raw"
        used = {s.name: raw_order(s.rows, s.cols) for s in inventory.specs if s.is_matrix} if is_raw else orders
        with WeightReader(files) as reader:
            result = fit(
                inventory.specs,
                lambda spec: canonicalise_pieces(reader.pieces(spec), used[spec.name]),
                self.settings.fit,
                order_bits={name: order.bits for name, order in used.items()},
                device=self.settings.device,
                seed=self.settings.seed,
                directory=directory,
                model=self.key,
                on_event=self.on_event,
            )
        if result is None:
            return None
        return _converter.unstructure(FittedModel(tensors=result.tensors, cost=result.cost, history=result.history))

    def _analyse(self, files: WeightFiles, inventory: Inventory, orders: dict[str, CanonicalOrder]) -> Any:
        with WeightReader(files) as reader:

            def load(spec: TensorSpec, rows: Rows) -> np.ndarray[Any, np.dtype[np.float32]]:
                return (
                    canonicalise_pieces(reader.pieces(spec), orders[spec.name], rows)
                    if spec.is_matrix
                    else reader.matrix(spec)
                )

            analysis = analyse_model(
                inventory.specs,
                load,
                in_file_order=reader.pieces,
                settings=self.settings.analysis,
                seed=self.settings.seed,
                on_progress=lambda done, total: self._tell(
                    "progress", "analyse", done=done, total=total, unit="weights"
                ),
            )
        return _converter.unstructure(findings_of(analysis))

    def _persist(self, files: WeightFiles, inventory: Inventory, fitted: Finished, analysed: Finished) -> str:
        model = model_record(files, inventory)
        pattern_key = content_key(PERSIST_VERSION, fitted.key, analysed.key, asdict(model), self.run)
        self._tell("start", "persist")
        is_kept = not self.force and self._is_kept(pattern_key)
        if not is_kept:
            self._keep(model, fitted, analysed, pattern_key)
        self._record("persist", pattern_key)
        self._tell("reused" if is_kept else "done", "persist")
        return pattern_key

    def _is_kept(self, pattern_key: str) -> bool:
        """Whether the pattern is the model's current one in the database, and its files are in the run's folder."""
        try:
            pattern = self.database.load_pattern(self.key, with_tensors=False)
        except NotMinedError:
            return False
        return pattern.pattern_key == pattern_key and are_intact(pattern.artifacts, self.home)

    def _keep(self, model: ModelRecord, fitted: Finished, analysed: Finished, pattern_key: str) -> None:
        fit = _converter.structure(fitted.result, FittedModel) if fitted.result else None
        findings = _converter.structure(analysed.result, Findings)
        in_blocks = {tensor.name for tensor in findings.tensors if tensor.block is not None}
        reports = report_model(fit, self.settings.fit, in_blocks=in_blocks)
        persist(
            self._pattern(model, findings, reports, pattern_key),
            fit.history if fit else (),
            fitted.directory / "dna.pt" if fit else None,
            folder=self.home / "runs" / self.run / _as_folder(self.key),
            home=self.home,
            database=self.database,
            on_step=lambda step: self._tell("progress", "persist", message=step),
        )

    def _pattern(self, model: ModelRecord, findings: Findings, fits: FitReports, pattern_key: str) -> PatternRecord:
        """The record of the mined model, without its artifacts."""
        return PatternRecord(
            model=model,
            pattern_key=pattern_key,
            run=self.run,
            settings=self.settings.as_dict(),
            provenance=_provenance(),
            pattern_class=findings.pattern_class,
            class_scores=findings.class_scores,
            class_margin=findings.class_margin,
            fit=fits.model,
            roles=tuple(replace(role, fit=fits.roles.get(role.role)) for role in findings.roles),
            tensors=tuple(replace(tensor, fit=fits.tensors.get(tensor.name)) for tensor in findings.tensors),
            signature=findings.signature,
            statistics=findings.statistics + fits.block_statistics,
            clusters=findings.clusters,
            frequency_profile=findings.frequency_profile,
        )


def _load_orders(path: Path, matrices: Sequence[TensorSpec]) -> dict[str, CanonicalOrder]:
    arrays = load_file(path) if matrices else {}
    return {
        spec.name: CanonicalOrder(
            rows=arrays[f"{spec.name}/rows"],
            cols=arrays[f"{spec.name}/cols"],
            row_signs=arrays.get(f"{spec.name}/row_signs"),
            col_signs=arrays.get(f"{spec.name}/col_signs"),
            sorted_rows=spec.row_axis.is_permutable,
            sorted_cols=spec.col_axis.is_permutable,
        )
        for spec in matrices
    }


def _as_folder(key: str) -> str:
    """A model's key as the name of one folder. A Hub id's slash becomes `--`; what else a folder cannot be called
    is replaced, with a hash so that two keys never share a folder."""
    name = key.replace("/", "--")
    safe = re.sub(r"[^A-Za-z0-9._-]", "-", name).lstrip(".")
    return name if safe == name else f"{safe}-{content_key(key)[:8]}"


def _provenance() -> dict[str, str]:
    import torch

    return {
        "dna_zoo": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
    }
