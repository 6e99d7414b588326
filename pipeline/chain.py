"""The chain: one model's way through the stages, and what keys each of them.

    fetch    files, verified            every time: it costs a look when they are here
    extract  which tensors, what role   keyed by the weights' digest
    order    permutations and signs     keyed by extract
    fit      errors, DNA                keyed by order, the fit's settings, seed and kind of device
    analyse  statistics, signature      keyed by order, its settings, seed and kind of device
    persist  the pattern                keyed by fit and analyse

A stage that is done is not done again, in this run or another. One reader serves all stages: files are opened once, and
not at all where every stage is done. Each stage reads a tensor once and puts it into canonical order as it reads: of
MiniLM-L6 that takes 0.1 s, and handing the canonical matrices on would keep the model in memory.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from cattrs import Converter
from safetensors import SafetensorError

from dna_zoo.files import remove_unfinished
from dna_zoo.text import shell_word
from patterndb.records import ArtifactRecord, ModelRecord, PatternRecord, StageRecord
from patterndb.store import PatternDatabase
from pipeline.analyse.findings import Findings, findings_of
from pipeline.analyse.stage import analyse_model
from pipeline.arrays import Float32
from pipeline.dna.contents import DnaContents
from pipeline.dna.file import DNA_FILE, SHUFFLED_FILE, is_whole, write_dna
from pipeline.dna.format_2 import OLD_FILE, read_networks
from pipeline.dna.make import dna_contents, shuffled_contents
from pipeline.events import Event, OnEvent
from pipeline.fetch.model_card import model_record
from pipeline.fetch.plan import source_of
from pipeline.fetch.request import ModelRequest
from pipeline.fetch.stage import fetch
from pipeline.fit.model_report import FitReports, FittedModel, report_model
from pipeline.fit.report import TensorFit
from pipeline.fit.stage import FitResult, clear_networks, fit
from pipeline.kept.artifacts import ArtifactStore
from pipeline.kept.locks import mining
from pipeline.kept.provenance import versions
from pipeline.kept.stages import DIGESTS, Finished, StageStore, content_key
from pipeline.machine.memory import give_back
from pipeline.order import (
    ORDER_FILE,
    CanonicalOrder,
    Rows,
    canonicalise_pieces,
    raw_order,
    read_orders,
    seriate_tensor,
    write_orders,
)
from pipeline.persist import PERSIST_VERSION, are_intact, persist
from pipeline.settings import MineSettings
from pipeline.stage_keys import StageKeys, stage_keys
from pipeline.weights.contradictions import contradictions
from pipeline.weights.files import WeightFiles
from pipeline.weights.inventory import Inventory, take_inventory
from pipeline.weights.reader import WeightReader
from pipeline.weights.traced import Tracer
from zoo.tensors import TensorSpec

__all__ = ["Chain"]

log = logging.getLogger(__name__)
_converter = Converter()

Orders = Mapping[str, CanonicalOrder]
"""By the name of the matrix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """One model on its way through the stages of one run."""

    request: ModelRequest
    key: str
    settings: MineSettings
    run: str
    request_key: str
    """What names the folder of its files, and enters the pattern's key: it is the same in all runs of a request."""
    database: PatternDatabase
    home: Path
    on_event: OnEvent
    force: bool
    artifacts: str | None = None
    """URL of the store that is given the files of the pattern, too."""

    def take(self) -> str:
        """Take the model through; returns the key of the pattern that is now in the database."""
        started = time.perf_counter()
        with self._failure_recorded("fetch", ""):
            files = fetch(self.request, home=self.home, on_event=self.on_event)
        self._record("fetch", files.digest, time.perf_counter() - started, is_reused=files.origin != "hub")
        self._tell_of_other_weights(files.digest)
        with mining(self.home, files.digest), WeightReader(files) as reader:
            extracted = self._extract(reader)
            inventory = _converter.structure(extracted.result, Inventory)
            notes = (*inventory.notes, *_lies(files, inventory))
            for note in notes:
                self.tell("note", "extract", message=note)
            ordered = self._order(reader, inventory)
            orders = self._orders(ordered, reader, inventory)
            fitted = self._fit(reader, inventory, orders)
            analysed = self._analyse(reader, inventory, orders)
            return self._persist(model_record(files, inventory), _reading(inventory, notes), fitted, analysed)

    def tell(
        self,
        kind: Literal["start", "progress", "done", "reused", "failed", "note"],
        stage: str,
        *,
        message: str = "",
        done: float = 0,
        total: float = 0,
        unit: str = "",
    ) -> None:
        """Hand an event on."""
        self.on_event(Event(kind=kind, model=self.key, stage=stage, message=message, done=done, total=total, unit=unit))

    def _tell_of_other_weights(self, digest: str) -> None:
        """Say so where the key stands for other weights in the database: they stay, as an older version."""
        known = {sha256 for _, sha256 in self.database.origins([self.key]).get(self.key, ())}
        if known and digest not in known:
            older = "the older one stays" if len(known) == 1 else f"the {len(known)} older ones stay"
            message = f"Other weights than before: {older}, see `dna-zoo models versions {shell_word(self.key)}`."
            self.tell("note", "fetch", message=message)

    def _keys(self, reader: WeightReader) -> StageKeys:
        return stage_keys(reader.files, self.settings)

    # The stages.

    def _extract(self, reader: WeightReader) -> Finished:
        def compute(directory: Path) -> Any:
            inventory = take_inventory(
                reader,
                allow_nonfinite=self.settings.allow_nonfinite,
                allow_partial=self.settings.allow_partial,
                tracer=Tracer(home=self.home),
                on_event=self.on_event,
            )
            return _converter.unstructure(inventory)

        return self._stage("extract", self._keys(reader).extract, compute)

    def _order(self, reader: WeightReader, inventory: Inventory, *, force: bool = False) -> Finished:
        def compute(directory: Path) -> Any:
            orders: dict[str, CanonicalOrder] = {}
            for done, spec in enumerate(inventory.matrices):
                orders[spec.name] = seriate_tensor(reader.matrix(spec), spec)
                self.tell("progress", "order", done=done + 1, total=len(inventory.matrices), unit="tensors")
            write_orders(directory / ORDER_FILE, orders)
            return {"matrices": len(inventory.matrices)}

        return self._stage("order", self._keys(reader).order, compute, files=(ORDER_FILE,), force=force)

    def _orders(self, ordered: Finished, reader: WeightReader, inventory: Inventory) -> Orders:
        """The orders that the stage left; older versions kept no digest of them, so they may be damaged."""
        if not inventory.matrices:
            return {}
        try:
            return read_orders(ordered.directory / ORDER_FILE, inventory.matrices)
        except (OSError, LookupError, ValueError, SafetensorError):
            again = self._order(reader, inventory, force=True)
            return read_orders(again.directory / ORDER_FILE, inventory.matrices)

    def _fit(self, reader: WeightReader, inventory: Inventory, orders: Orders) -> Finished:
        settings, device, seed = self.settings.fit, self.settings.device, self.settings.seed
        if settings.order == "raw":
            orders = {spec.name: raw_order(spec.rows, spec.cols) for spec in inventory.matrices}

        def compute(directory: Path) -> Any:
            result = fit(
                inventory.specs,
                lambda spec: canonicalise_pieces(reader.pieces(spec), orders[spec.name]),
                settings,
                order_bits={name: order.bits for name, order in orders.items()},
                device=device,
                seed=seed,
                directory=directory,
                model=self.key,
                on_event=self.on_event,
            )
            if result is None:
                return None
            contents = self._dna(result.networks, result.tensors, reader, inventory, orders)
            write_dna(directory / DNA_FILE, contents)
            self._keep_shuffled(directory / SHUFFLED_FILE, result, reader, inventory)
            return _converter.unstructure(FittedModel(tensors=result.tensors, cost=result.cost, history=result.history))

        fitted = self._stage("fit", self._keys(reader).fit, compute, files=(DNA_FILE,))
        clear_networks(fitted.directory)
        self._renew(fitted, reader, inventory, orders)
        # Older versions kept no digest of the file, which has one of its own.
        is_unsure = fitted.is_reused and fitted.result and not (fitted.directory / DIGESTS).exists()
        if is_unsure and not is_whole(fitted.directory / DNA_FILE):
            fitted = self._stage("fit", self._keys(reader).fit, compute, files=(DNA_FILE,), force=True)
            clear_networks(fitted.directory)
        return fitted

    def _dna(
        self,
        networks: Sequence[Mapping[str, Any]],
        fits: Sequence[TensorFit],
        reader: WeightReader,
        inventory: Inventory,
        orders: Orders,
    ) -> DnaContents:
        """What a fit has found, with all that leads back to the files."""
        fitted = {fit.name for fit in fits}
        return dna_contents(
            networks,
            fits,
            self.settings.fit,
            specs=inventory.specs,
            orders=orders,
            layouts={spec.name: reader.layout(spec) for spec in inventory.specs if {spec.name, spec.tied_to} & fitted},
            model=self.key,
            digest=reader.files.digest,
        )

    def _keep_shuffled(self, path: Path, result: FitResult, reader: WeightReader, inventory: Inventory) -> None:
        """Keep the DNA of the shuffled copies, which evaluating a rebuilt model takes as its control. It is no part of
        the result: where it is lost, it is fitted again when it is wanted."""
        if result.shuffled:
            settings, digest = self.settings.fit, reader.files.digest
            found = shuffled_contents(result.shuffled, settings, specs=inventory.specs, model=self.key, digest=digest)
            write_dna(path, found)

    def _renew(self, fitted: Finished, reader: WeightReader, inventory: Inventory, orders: Orders) -> None:
        """Put the DNA of an older version into a file of today's format."""
        old, path = fitted.directory / OLD_FILE, fitted.directory / DNA_FILE
        if not fitted.result or path.exists() or not old.exists():
            return
        fits = _converter.structure(fitted.result, FittedModel).tensors
        write_dna(path, self._dna(read_networks(old)[1], fits, reader, inventory, orders))

    def _analyse(self, reader: WeightReader, inventory: Inventory, orders: Orders) -> Finished:
        settings, device, seed = self.settings.analysis, self.settings.device, self.settings.seed

        def load(spec: TensorSpec, rows: Rows) -> Float32:
            if not spec.is_matrix:
                return reader.matrix(spec)
            return canonicalise_pieces(reader.pieces(spec), orders[spec.name], rows)

        def compute(directory: Path) -> Any:
            analysis = analyse_model(
                inventory.specs,
                load,
                in_file_order=reader.pieces,
                settings=settings,
                seed=seed,
                device=device,
                on_progress=lambda done, total: self.tell(
                    "progress", "analyse", done=done, total=total, unit="weights"
                ),
            )
            return _converter.unstructure(findings_of(analysis))

        return self._stage("analyse", self._keys(reader).analyse, compute)

    def _persist(self, model: ModelRecord, reading: dict[str, Any], fitted: Finished, analysed: Finished) -> str:
        key = content_key(PERSIST_VERSION, fitted.key, analysed.key, asdict(model), self.request_key)
        started = time.perf_counter()
        self.tell("start", "persist")
        is_kept = not self.force and self._is_kept(key)
        if not is_kept:
            fit = _converter.structure(fitted.result, FittedModel) if fitted.result else None
            findings = _converter.structure(analysed.result, Findings)
            in_blocks = {tensor.name for tensor in findings.tensors if tensor.block is not None}
            reports = report_model(fit, self.settings.fit, in_blocks=in_blocks)
            persist(
                self._pattern(key, model, reading, findings, reports),
                fit.history if fit else (),
                fitted.directory / DNA_FILE if fit else None,
                request_key=self.request_key,
                home=self.home,
                database=self.database,
                store=self._store,
                on_step=lambda step: self.tell("progress", "persist", message=step),
            )
        self._record("persist", key, time.perf_counter() - started, is_reused=is_kept)
        self.tell("reused" if is_kept else "done", "persist")
        return key

    def _is_kept(self, pattern_key: str) -> bool:
        """Whether the pattern is the model's current one in the database, and its files are in the run's folder."""
        current, artifacts = self.database.current_key(self.key) or ("", ())
        is_here = current == pattern_key and are_intact(artifacts, self.home)
        return is_here and (self._store is None or all(map(self._is_stored, artifacts)))

    def _is_stored(self, artifact: ArtifactRecord) -> bool:
        """Whether the file is in the store, and the database says so."""
        store = self._store
        assert store is not None
        return artifact.url == store.url_of(artifact.sha256) and store.holds(artifact)

    @property
    def _store(self) -> ArtifactStore | None:
        return ArtifactStore(self.artifacts, rewrites=self.force) if self.artifacts else None

    def _pattern(
        self, key: str, model: ModelRecord, reading: dict[str, Any], findings: Findings, fits: FitReports
    ) -> PatternRecord:
        """The record of the mined model, without its artifacts."""
        return PatternRecord(
            model=model,
            pattern_key=key,
            run=self.run,
            settings=self.settings.as_dict(),
            provenance=versions() | reading | {"source": source_of(self.request)},
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

    # What each of them goes through.

    def _stage(
        self, name: str, key: str, compute: Callable[[Path], Any], *, files: Sequence[str] = (), force: bool = False
    ) -> Finished:
        """The finished stage: as it was kept, or computed now."""
        self.tell("start", name)
        with self._failure_recorded(name, key):
            store = StageStore(self.home)
            remove_unfinished(store.directory(name, key))
            finished = store.run(name, key, compute, files=files, force=self.force or force)
        give_back()
        self._record(name, key, finished.seconds, is_reused=finished.is_reused)
        log.info("%s: %s %s (%s).", self.key, name, "reused" if finished.is_reused else "done", key)
        self.tell("reused" if finished.is_reused else "done", name)
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

    def _record(self, stage: str, key: str, seconds: float, *, is_reused: bool) -> None:
        record = StageRecord(stage=stage, key=key, status="done", seconds=seconds, is_reused=is_reused)
        self.database.record_stage(self.run, self.key, record)


def _lies(files: WeightFiles, inventory: Inventory) -> tuple[str, ...]:
    """What the config says and the tensors deny; of an adapter's updates alone nothing, since they are few."""
    is_delta = bool(files.adapter) and files.adapter_use == "delta"
    return () if is_delta else contradictions(files.config, inventory.specs)


def _reading(inventory: Inventory, notes: Sequence[str]) -> dict[str, Any]:
    """What was chosen, named or left out when the files were read."""
    return {
        "notes": list(notes),
        "constant": [spec.name for spec in inventory.specs if spec.is_constant],
        "left_out": len(inventory.account.left_out),
    }
