"""Stacks trained: each once, kept when it is done, and halved where the device has too little memory for it."""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from dna_zoo.errors import SettingsError
from pipeline.arrays import Float32
from pipeline.fit.footprint import stack_bytes
from pipeline.fit.prepare import Loader, place_tag, prepare
from pipeline.fit.problem import generator_for
from pipeline.fit.sizing import step_size
from pipeline.fit.slots import Slot
from pipeline.fit.stacks import Stack
from pipeline.fit.trained import TrainedStack
from pipeline.fit.trainer import Trainer, TrainResult
from pipeline.fit.training_metrics import TrainingMetrics
from pipeline.kept.sealed import load_json, load_tensors, save_json, save_tensors
from pipeline.machine.devices import give_back_cached
from pipeline.settings import FitSettings
from zoo.tensors import TensorSpec

__all__ = ["Trained", "Work"]

log = logging.getLogger(__name__)

Trained = tuple[Stack, dict[str, Any]]
"""A stack, and what it has found as plain JSON."""


@dataclass(frozen=True, slots=True)
class Work:
    """What all stacks of a fit share."""

    load: Loader
    settings: FitSettings
    order_bits: Mapping[str, float]
    ordinals: Mapping[str, int]
    device: torch.device
    seed: int
    directory: Path
    model: str
    widths: Sequence[int]
    reading: threading.Lock

    def results(self, stack: Stack, on_step: Any) -> list[Trained]:
        """The stack, or where the device has too little memory for it, its halves, and theirs."""
        if not (self.directory / f"{stack.halves()[0].name}.json").exists():
            try:
                return [(stack, self.result(stack, on_step))]
            except torch.OutOfMemoryError as error:
                self._note_too_large(stack, error)
            (self.directory / f"{stack.name}.train.pt").unlink(missing_ok=True)
            give_back_cached(self.device)
        first, second = stack.halves()
        half = stack.total_steps // 2
        return [
            *self.results(first, lambda step: on_step(step // 2)),
            *self.results(second, lambda step: on_step(half + step // 2)),
        ]

    def _note_too_large(self, stack: Stack, error: torch.OutOfMemoryError) -> None:
        """Say it, or raise a `SettingsError` where there is nothing to halve."""
        needed = self.needed(stack) / 1e9
        if len(stack.specs) > 1 and self.settings.scope == "tensor":
            log.warning(
                "%s has too little memory for %s (%d tensors, about %.1f GB): it is halved, and the fit goes on.",
                self.device, stack.name, len(stack.specs), needed,
            )  # fmt: skip
            return
        name = stack.specs[0].name if self.settings.scope == "tensor" else "the model"
        raise SettingsError(
            f"{self.device} has too little memory to fit {name}, which takes about {needed:.1f} GB.",
            hint="Use `--device cpu`, or fewer `--nulls`, or a smaller `--batch-size`.",
        ) from error

    def needed(self, stack: Stack) -> int:
        """Bytes, about, as if all its tensors bought means."""
        specs, tensors = (stack.specs, 1) if self.settings.scope == "model" else (stack.specs[:1], len(stack.specs))
        return stack_bytes(specs, self.settings, stack.size, tensors * (1 + 2 * self.settings.num_nulls))

    def result(self, stack: Stack, on_step: Any) -> dict[str, Any]:
        """Train and measure the stack, or read what an earlier attempt left."""
        path, networks_path = (self.directory / f"{stack.name}.{end}" for end in ("json", "pt"))
        kept = load_json(path)
        if kept is None or load_tensors(networks_path, "cpu") is None:
            result, networks = self._train(stack, on_step)
            save_tensors(networks, networks_path)
            save_json(path, result)
            kept = load_json(path)
        (self.directory / f"{stack.name}.train.pt").unlink(missing_ok=True)
        assert isinstance(kept, dict)
        return kept

    def _train(self, stack: Stack, on_step: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        started = time.perf_counter()
        prepared = prepare(
            stack.specs, self._load_alone, self.settings, seed=self.seed, ordinals=self.ordinals, device=self.device
        )
        net = prepared.problem.build(stack.size, self.settings, self._generators(stack, prepared.slots))
        net = net.to(self.device)
        num_real = stack.num_networks(self.settings.scope)
        trained = Trainer(
            prepared.problem,
            net,
            replace(self.settings, learning_rate=step_size(self.settings, stack.size)),
            seed=self.seed,
            labels=self._labels(stack, prepared.slots),
            num_real=num_real,
            total_steps=stack.total_steps,
            checkpoint=self.directory / f"{stack.name}.train.pt",
            on_step=on_step,
            measure=TrainingMetrics(prepared, num_real=num_real, seed=self.seed),
        ).run()
        found = TrainedStack(stack=stack, prepared=prepared, net=net, settings=self.settings, seed=self.seed)
        result = {
            "tensors": [asdict(item) for item in found.fits(self.order_bits, self.widths)],
            "steps": trained.steps,
            "seconds": time.perf_counter() - started,
            "history": _history(stack, trained),
        }
        networks = found.networks()
        return result, networks | {"shuffled": found.networks("shuffle") if self.settings.num_nulls else None}

    def _load_alone(self, spec: TensorSpec) -> Float32:
        """Files are read by one thread at a time."""
        with self.reading:
            return self.load(spec)

    def _labels(self, stack: Stack, slots: Sequence[Slot]) -> list[str]:
        is_shared, of_model = self.settings.scope == "model", f" of {self.model}" if self.model else ""
        names = ["all tensors" if is_shared else stack.specs[slot.tensors[0]].name for slot in slots]
        return [f"{slot.label}{name}{of_model}" for slot, name in zip(slots, names, strict=True)]

    def _generators(self, stack: Stack, slots: Sequence[Slot]) -> list[torch.Generator]:
        """One generator a slot; a tensor and its nulls start from the same network."""
        is_shared = self.settings.scope == "model"
        tags = [0] if is_shared else [place_tag(spec, self.ordinals[spec.name]) for spec in stack.specs]
        return [generator_for(self.seed, tags[slot.tensors[0]]) for slot in slots]


def _history(stack: Stack, trained: TrainResult) -> dict[str, Any]:
    return {
        "stack": stack.index,
        "tensors": [spec.name for spec in stack.specs],
        "steps": trained.steps,
        "stopped_early": trained.stopped_early,
        "points": list(trained.history),
    }
