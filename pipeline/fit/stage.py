"""Fit: one DNA a tensor, or one for the model, compared with the same fit of shuffled and equally ordered copies.

Tensors of one shape, and their nulls, are trained as one stack. A stack that is done is kept on disk, one in training
leaves a checkpoint, so a killed fit goes on where it was.
"""

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from cattrs import structure

from pipeline.events import Event, OnEvent, ignore
from pipeline.fit.baselines import ROUNDED_BITS
from pipeline.fit.prepare import Loader, allowance_of
from pipeline.fit.report import FitCost, TensorFit
from pipeline.fit.split import split_budget
from pipeline.fit.stacks import Stack, plan_stacks
from pipeline.fit.training import Trained, Work
from pipeline.fit.versions import bought_means
from pipeline.kept.sealed import load_json, load_tensors, save_json
from pipeline.machine.devices import exact_products, free_bytes, has_bf16
from pipeline.machine.parallel import num_cores, run_parallel
from pipeline.nulls import ordinals_of
from pipeline.settings import FitSettings
from zoo.tensors import TensorSpec

__all__ = ["SPLIT_FILE", "FitResult", "clear_networks", "fit", "fit_version", "resolve_precision"]

log = logging.getLogger(__name__)

SEPARABLE_VERSION = "9"
POINTWISE_VERSION = "7"
COMPILED_VERSION = "7.3"
"""Of the pointwise fits that torch may compile."""
MOST_WORKERS = 8
SHARED_FROM = 1e8
"""A stack of fewer weights times steps than this is done before a second thread would be of use."""
SPLIT_FILE = "split.json"
"""How the budget was split, in the folder of a fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitResult:
    """What the stage leaves: errors tensor by tensor, the training history and the networks of each stack."""

    tensors: tuple[TensorFit, ...]
    cost: FitCost
    history: tuple[Mapping[str, Any], ...]
    networks: tuple[Mapping[str, Any], ...]
    """Stack by stack: the size and the `state` of the networks without the nulls', and of each of its `tensors` what
    turns an output into weights (`pipeline.dna` keeps them)."""
    shuffled: tuple[Mapping[str, Any], ...] = ()
    """The same of the first shuffled copy of each tensor, with the order that it was put in; empty where none was
    fitted, and where a version that did not keep them fitted some."""


def fit_version(settings: FitSettings) -> str:
    """The version that keys the results of a fit."""
    if settings.dna_type == "separable":
        return SEPARABLE_VERSION
    return POINTWISE_VERSION if settings.compile == "off" else COMPILED_VERSION


def resolve_precision(settings: FitSettings, device: str) -> FitSettings:
    """`settings` with a precision that the device decides made definite.

    `auto` is bf16 for a pointwise kind where the device has it, else fp32; `bf16-on-cuda` is fp32 on every CPU, too.
    """
    if settings.precision not in ("auto", "bf16-on-cuda"):
        return settings
    may_be = settings.dna_type != "separable" and (settings.precision == "auto" or not device.startswith("cpu"))
    return replace(settings, precision="bf16" if may_be and has_bf16(device) else "fp32")


def fit(
    specs: Sequence[TensorSpec],
    load: Loader,
    settings: FitSettings,
    *,
    order_bits: Mapping[str, float],
    device: str,
    seed: int,
    directory: Path,
    model: str = "",
    widths: Sequence[int] = (ROUNDED_BITS,),
    bought: Mapping[str, int] | None = None,
    on_event: OnEvent = ignore,
) -> FitResult | None:
    """Fit the matrices among `specs`; None if there is none.

    - `load(spec)`: the canonical matrix, float32 (rows, cols); asked for twice, as networks leave room for means.
    - `order_bits`: what each tensor's order costs, by name.
    - `directory`: where stacks and checkpoints are kept; whatever a killed fit left there is used. The networks stay
      there until `clear_networks`.
    - `widths`: bits of a weight at which the trained DNA is measured again.
    - `bought`: for how many means the networks leave room, by name; for those that are bought, unless it is given.

    Raises FitDivergedError when a loss or gradient norm is no number, SettingsError when the device has too little
    memory for a single tensor.
    """
    matrices = sorted((spec for spec in specs if spec.is_matrix), key=lambda spec: (spec.rows, spec.cols, spec.name))
    if not matrices:
        return None
    settings = resolve_precision(settings, device)
    log.info("DNAs are trained in %s on %s; sums of products are in fp32, and TF32 is off.", settings.precision, device)
    directory.mkdir(parents=True, exist_ok=True)
    if bought is None:
        bought = {spec.name: bought_means(load(spec), allowance_of(spec, matrices, settings)) for spec in matrices}
    ordinals, reading = ordinals_of(matrices), threading.Lock()
    levels = _levels(matrices, load, settings, seed, ordinals, bought, directory)
    free = free_bytes(torch.device(device))
    stacks = plan_stacks(matrices, settings, levels, bought, free=free)
    total = sum(stack.total_steps for stack in stacks)
    work = Work(load, settings, order_bits, ordinals, torch.device(device), seed, directory, model, widths, reading)
    done = dict.fromkeys(range(len(stacks)), 0)
    if free is not None:
        needed = max(work.needed(stack) for stack in stacks)
        log.info("The largest stack takes about %.1f GB; %s has %.1f GB free.", needed / 1e9, device, free / 1e9)

    def run(stack: Stack, stop: threading.Event) -> list[Trained]:
        def on_step(step: int) -> None:
            if stop.is_set():
                raise _StoppedError
            done[stack.index] = step
            on_event(
                Event(kind="progress", model=model, stage="fit", done=sum(done.values()), total=total, unit="steps")
            )

        trained = work.results(stack, on_step)
        on_step(stack.total_steps)
        return trained

    largest_first = sorted(stacks, key=lambda stack: -stack.cost)
    with exact_products():
        results = run_parallel(largest_first, run, num_workers=_num_workers(device, stacks, settings))
    by_index = {stack.index: trained for stack, trained in zip(largest_first, results, strict=True)}
    trained = [each for stack in stacks for each in by_index[stack.index]]
    return _gather([stack for stack, _ in trained], [result for _, result in trained], directory, device)


def _num_workers(device: str, stacks: Sequence[Stack], settings: FitSettings) -> int:
    """Stacks trained at once: one a core; one on a GPU, one where the work is too little to share, and one of pointwise
    DNAs, whose batches are shared out already."""
    if settings.dna_type != "separable":
        return 1
    large = sum(stack.cost >= SHARED_FROM for stack in stacks)
    return max(min(num_cores(), MOST_WORKERS, large), 1) if device == "cpu" else 1


class _StoppedError(Exception):
    """Another stack of this fit failed; this one need not go on. Its checkpoint stays."""


def _levels(
    matrices: Sequence[TensorSpec],
    load: Loader,
    settings: FitSettings,
    seed: int,
    ordinals: Mapping[str, int],
    bought: Mapping[str, int],
    directory: Path,
) -> dict[str, float]:
    """Each tensor's multiple of the even share where it has one; kept, so that a fit that goes on has the same."""
    is_shared_out = (settings.split, settings.dna_type, settings.scope) == ("gain", "separable", "tensor")
    if not is_shared_out or settings.hidden_dim or settings.rank:
        return {}
    kept = load_json(directory / SPLIT_FILE)
    if kept is None:
        kept = split_budget(matrices, load, settings, seed=seed, ordinals=ordinals, bought=bought)
        save_json(directory / SPLIT_FILE, kept)
    return structure(kept, dict[str, float])


def _gather(
    stacks: Sequence[Stack],
    results: Sequence[Mapping[str, Any]],
    directory: Path,
    device: str,
) -> FitResult:
    """All stacks together."""
    networks = tuple(load_tensors(directory / f"{stack.name}.pt") for stack in stacks)
    fits = [structure(data, TensorFit) for result in results for data in result["tensors"]]
    cost = FitCost(
        device=torch.device(device).type,
        steps=sum(result["steps"] for result in results),
        seconds=sum(result["seconds"] for result in results),
    )
    return FitResult(
        tensors=tuple(sorted(fits, key=lambda item: item.name)),
        cost=cost,
        history=tuple(result["history"] for result in results),
        networks=networks,
        shuffled=tuple(each["shuffled"] for each in networks) if all(each.get("shuffled") for each in networks) else (),
    )


def clear_networks(directory: Path) -> None:
    """Remove what a fit in this folder keeps of its networks, once they are kept elsewhere."""
    for path in directory.glob("stack-*.pt"):
        path.unlink()
