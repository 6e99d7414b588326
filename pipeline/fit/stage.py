"""Fit: one DNA a tensor, or one for the model, compared with the same fit of shuffled and equally ordered copies.

Tensors of one shape, and their nulls, are trained as one stack. A stack that is done is kept on disk, one in training
leaves a checkpoint, so a killed fit goes on where it was.
"""

import json
import logging
import math
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from cattrs import structure
from torch import Tensor, nn

from dna_zoo.errors import SettingsError
from pipeline.events import Event, OnEvent, ignore
from pipeline.fit.baselines import ROUNDED_BITS
from pipeline.fit.devices import exact_products, free_bytes
from pipeline.fit.footprint import SHARE_OF_FREE, slot_bytes, stack_bytes
from pipeline.fit.networks import count_parameters
from pipeline.fit.prepare import Loader, PreparedProblem, allowance_of, ordinals_of, place_tag, prepare
from pipeline.fit.problem import Permutable, Problem, generator_for
from pipeline.fit.quantise import decoded, quantise, stored_bits
from pipeline.fit.report import Errors, FitCost, Quantised, TensorFit
from pipeline.fit.sizing import MOMENTS, NetworkSize, choose_size, step_size
from pipeline.fit.slots import FIT_NULLS, Slot
from pipeline.fit.split import split_budget
from pipeline.fit.trainer import Trainer, TrainResult, save_tensors
from pipeline.fit.training_metrics import TrainingMetrics
from pipeline.fit.versions import Measured, bought_means
from pipeline.kept.stages import write_json
from pipeline.nulls import NullKind
from pipeline.parallel import num_cores, run_parallel
from pipeline.settings import FitSettings
from zoo.tensors import TensorSpec

__all__ = [
    "FitResult",
    "Stack",
    "clear_networks",
    "fit",
    "fit_version",
    "plan_stacks",
    "resolve_precision",
]

log = logging.getLogger(__name__)

SEPARABLE_VERSION = "8"
POINTWISE_VERSION = "7"
COMPILED_VERSION = "7.3"
"""Of the pointwise fits that torch may compile."""
MOST_WORKERS = 8
SHARED_FROM = 1e8
"""A stack of fewer weights times steps than this is done before a second thread would be of use."""
WIDEST = 1e6
"""Standard deviation of a tensor from which on, and below the reciprocal of which, errors are taken in float64."""
STACK_BYTES = 256 << 20
"""Tensors of one shape are trained together up to this much float32, nulls included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitResult:
    """What the stage leaves: errors tensor by tensor, the training history and the networks of each stack."""

    tensors: tuple[TensorFit, ...]
    cost: FitCost
    history: tuple[Mapping[str, Any], ...]
    networks: tuple[Mapping[str, Any], ...]
    """Stack by stack: the size and the `state` of the networks without the nulls', and of each of its `tensors` what
    turns an output into weights (`pipeline.dna` keeps them)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Tensors trained together, and the size of their networks, for which the means that are bought leave room."""

    index: int
    specs: tuple[TensorSpec, ...]
    size: NetworkSize
    total_steps: int
    part: str = ""
    """Which half of it, and of that; empty for the whole."""

    @property
    def name(self) -> str:
        return f"stack-{self.index:03d}{self.part}"

    def halves(self) -> tuple["Stack", "Stack"]:
        """Two stacks of half the tensors: their networks do not know of each other."""
        middle = len(self.specs) // 2
        return (
            replace(self, specs=self.specs[:middle], part=f"{self.part}a"),
            replace(self, specs=self.specs[middle:], part=f"{self.part}b"),
        )

    @property
    def cost(self) -> float:
        """Roughly what it takes: weights times steps."""
        return float(self.total_steps) * sum(spec.num_weights for spec in self.specs)


def fit_version(settings: FitSettings) -> str:
    """The version that keys the results of a fit."""
    if settings.dna_type == "separable":
        return SEPARABLE_VERSION
    return POINTWISE_VERSION if settings.compile == "off" else COMPILED_VERSION


def resolve_precision(settings: FitSettings, device: str) -> FitSettings:
    """`settings`, with `auto` made definite: bf16 for a pointwise kind where the device has it, else fp32."""
    if settings.precision != "auto":
        return settings
    is_fast = not device.startswith("cpu") or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return replace(settings, precision="bf16" if is_fast and settings.dna_type != "separable" else "fp32")


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
    on_event: OnEvent = ignore,
) -> FitResult | None:
    """Fit the matrices among `specs`; None if there is none.

    - `load(spec)`: the canonical matrix, float32 (rows, cols); asked for twice, as networks leave room for means.
    - `order_bits`: what each tensor's order costs, by name.
    - `directory`: where stacks and checkpoints are kept; whatever a killed fit left there is used. The networks stay
      there until `clear_networks`.
    - `widths`: bits of a weight at which the trained DNA is measured again.

    Raises FitDivergedError when a loss or gradient norm is no number, SettingsError when the device has too little
    memory for a single tensor.
    """
    matrices = sorted((spec for spec in specs if spec.is_matrix), key=lambda spec: (spec.rows, spec.cols, spec.name))
    if not matrices:
        return None
    settings = resolve_precision(settings, device)
    directory.mkdir(parents=True, exist_ok=True)
    bought = {spec.name: bought_means(load(spec), allowance_of(spec, matrices, settings)) for spec in matrices}
    ordinals, reading = ordinals_of(matrices), threading.Lock()
    levels = _levels(matrices, load, settings, seed, ordinals, bought, directory)
    free = free_bytes(torch.device(device))
    stacks = plan_stacks(matrices, settings, levels, bought, free=free)
    total = sum(stack.total_steps for stack in stacks)
    work = _Work(load, settings, order_bits, ordinals, torch.device(device), seed, directory, model, widths, reading)
    done = dict.fromkeys(range(len(stacks)), 0)
    if free is not None:
        needed = max(work.needed(stack) for stack in stacks)
        log.info("The largest stack takes about %.1f GB; %s has %.1f GB free.", needed / 1e9, device, free / 1e9)

    def run(stack: Stack, stop: threading.Event) -> list[_Trained]:
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
    path = directory / "split.json"
    if not path.exists():
        write_json(path, split_budget(matrices, load, settings, seed=seed, ordinals=ordinals, bought=bought))
    return structure(json.loads(path.read_text()), dict[str, float])


def plan_stacks(
    matrices: Sequence[TensorSpec],
    settings: FitSettings,
    levels: Mapping[str, float] | None = None,
    bought: Mapping[str, int] | None = None,
    *,
    free: int | None = None,
) -> tuple[Stack, ...]:
    """Which tensors train together: all with scope `model`, those of one shape and size of network with scope `tensor`.

    - `levels`: multiples of the even share by name, where a tensor does not have 1;
    - `bought`: how many means the DNA of a tensor buys, by name, where it is not 0;
    - `free`: bytes that the device has, of which stacks take no more than a share.
    """
    bought, levels = bought or {}, levels or {}
    if settings.scope == "model":
        return (_make_stack(0, matrices, matrices, settings, spent=sum(bought.values())),)
    alike: dict[tuple[int, int, float, int], list[TensorSpec]] = defaultdict(list)
    for spec in matrices:
        alike[spec.rows, spec.cols, levels.get(spec.name, 1.0), bought.get(spec.name, 0)].append(spec)
    groups = []
    for (rows, cols, level, spent), members in alike.items():
        nulls = settings.num_nulls * (2 if spent else 1)
        size = max(STACK_BYTES // (4 * rows * cols * (1 + nulls)), 1)
        if free is not None:
            alone = _make_stack(0, members[:1], members[:1], settings, level=level, spent=spent)
            needed = (1 + nulls) * slot_bytes(members[:1], settings, alone.size)
            size = max(min(size, int(SHARE_OF_FREE * free) // needed), 1)
        groups += [(members[start : start + size], level, spent) for start in range(0, len(members), size)]
    return tuple(
        _make_stack(index, group, group[:1], settings, level=level, spent=spent)
        for index, (group, level, spent) in enumerate(groups)
    )


def _make_stack(
    index: int,
    specs: Sequence[TensorSpec],
    slot: Sequence[TensorSpec],
    settings: FitSettings,
    *,
    level: float = 1.0,
    spent: int = 0,
) -> Stack:
    """`slot`: the tensors that one network stands for; `spent`: how many means they have bought."""
    weights = sum(spec.num_weights for spec in slot)
    axes = 1 if settings.dna_type == "separable" else 2
    size = choose_size(
        settings,
        num_weights=weights,
        shortest_axis=min(min(spec.rows, spec.cols) for spec in slot),
        in_dim=axes + (2 if settings.scope == "model" else 0),
        level=level,
        spent=spent,
    )
    batches = 1 if settings.dna_type == "separable" else math.ceil(weights / min(settings.batch_size, weights))
    return Stack(index=index, specs=tuple(specs), size=size, total_steps=settings.epochs * batches)


_Trained = tuple[Stack, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Work:
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

    def results(self, stack: Stack, on_step: Any) -> list[_Trained]:
        """The stack, or where the device has too little memory for it, its halves, and theirs."""
        if not (self.directory / f"{stack.halves()[0].name}.json").exists():
            try:
                return [(stack, self.result(stack, on_step))]
            except torch.OutOfMemoryError as error:
                self._note_too_large(stack, error)
            (self.directory / f"{stack.name}.train.pt").unlink(missing_ok=True)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
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
        if not (path.exists() and networks_path.exists()):
            result, networks = self._train(stack, on_step)
            save_tensors(networks, networks_path)
            write_json(path, result)
        (self.directory / f"{stack.name}.train.pt").unlink(missing_ok=True)
        result = json.loads(path.read_text())
        assert isinstance(result, dict)
        return result

    def _train(self, stack: Stack, on_step: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        started = time.perf_counter()
        prepared = prepare(
            stack.specs, self._load_alone, self.settings, seed=self.seed, ordinals=self.ordinals, device=self.device
        )
        net = prepared.problem.build(stack.size, self.settings, self._generators(stack, prepared.slots))
        net = net.to(self.device)
        trained = Trainer(
            prepared.problem,
            net,
            replace(self.settings, learning_rate=step_size(self.settings, stack.size)),
            seed=self.seed,
            labels=self._labels(stack, prepared.slots),
            num_real=self._num_networks(stack),
            total_steps=stack.total_steps,
            checkpoint=self.directory / f"{stack.name}.train.pt",
            on_step=on_step,
            measure=TrainingMetrics(prepared, num_real=self._num_networks(stack), seed=self.seed),
        ).run()
        result = {
            "tensors": [asdict(item) for item in self._measured(stack, prepared, net)],
            "steps": trained.steps,
            "seconds": time.perf_counter() - started,
            "history": _history(stack, trained),
        }
        return result, self._networks(stack, prepared, net)

    def _load_alone(self, spec: TensorSpec) -> npt.NDArray[np.float32]:
        """Files are read by one thread at a time."""
        with self.reading:
            return self.load(spec)

    def _num_networks(self, stack: Stack) -> int:
        """Networks that stand for tensors, not for nulls."""
        return 1 if self.settings.scope == "model" else len(stack.specs)

    def _labels(self, stack: Stack, slots: Sequence[Slot]) -> list[str]:
        is_shared, of_model = self.settings.scope == "model", f" of {self.model}" if self.model else ""
        names = ["all tensors" if is_shared else stack.specs[slot.tensors[0]].name for slot in slots]
        return [f"{slot.label}{name}{of_model}" for slot, name in zip(slots, names, strict=True)]

    def _generators(self, stack: Stack, slots: Sequence[Slot]) -> list[torch.Generator]:
        """One generator a slot; a tensor and its nulls start from the same network."""
        is_shared = self.settings.scope == "model"
        tags = [0] if is_shared else [place_tag(spec, self.ordinals[spec.name]) for spec in stack.specs]
        return [generator_for(self.seed, tags[slot.tensors[0]]) for slot in slots]

    def _measured(self, stack: Stack, prepared: PreparedProblem, net: nn.Module) -> list[TensorFit]:
        parameters = count_parameters(net)
        all_errors = self._errors(stack, prepared, net)
        all_quantised = self._quantised(stack, prepared, net)
        fits = []
        for index, (spec, known) in enumerate(zip(stack.specs, prepared.tensors, strict=True)):
            errors = all_errors[index]
            baselines = {kind: tuple(null.baseline for _, null in prepared.nulls_of(index, kind)) for kind in FIT_NULLS}
            fits.append(
                TensorFit(
                    name=spec.name,
                    role=spec.role.value,
                    rows=spec.rows,
                    cols=spec.cols,
                    parameters=self._share(stack, spec) * parameters + MOMENTS + known.units.numbers,
                    order_bits=self.order_bits[spec.name],
                    std=known.moments.std,
                    low=known.moments.low,
                    high=known.moments.high,
                    additive_numbers=round(known.additive[0]),
                    additive_energy=known.additive[1],
                    errors=errors[None][0],
                    null_errors=errors["shuffle"],
                    means_null_errors=errors["means"],
                    baseline=known.baseline,
                    null_baselines=baselines["shuffle"],
                    means_null_baselines=baselines["means"],
                    quantised=tuple(all_quantised[index]),
                )
            )
        return fits

    def _quantised(self, stack: Stack, prepared: PreparedProblem, net: nn.Module) -> list[list[Quantised]]:
        """For each tensor its DNA at every width; its means are stored at their own."""
        found: list[list[Quantised]] = [[] for _ in stack.specs]
        for width in self.widths:
            codes = quantise(net, width)
            bits = stored_bits(codes)
            with decoded(net, codes) as rounded:
                all_errors = self._errors(stack, prepared, rounded)
            for spec, known, errors, parts in zip(stack.specs, prepared.tensors, all_errors, found, strict=True):
                parts.append(
                    Quantised(
                        width=width,
                        bits=self._share(stack, spec) * bits + known.units.bits,
                        sse=errors[None][0].sse,
                        null_sse=tuple(each.sse for each in errors["shuffle"]),
                    )
                )
        return found

    def _share(self, stack: Stack, spec: TensorSpec) -> float:
        """The part of a network that stands for the tensor."""
        if self.settings.scope == "tensor":
            return 1.0
        return spec.num_weights / sum(each.num_weights for each in stack.specs)

    def _errors(
        self, stack: Stack, prepared: PreparedProblem, net: nn.Module
    ) -> list[dict[NullKind | None, tuple[Errors, ...]]]:
        """For each tensor its own errors, and those of the draws of each null."""
        by_place: dict[tuple[int, int], Errors] = {}
        for part in range(prepared.problem.num_parts):
            known = [row[part] for row in prepared.measured]
            for number, errors in enumerate(_errors(prepared.problem, net, part, known, self.seed)):
                by_place[number, prepared.slots[number].tensors[part]] = errors
        found = []
        for index in range(len(stack.specs)):
            by_kind: dict[NullKind | None, tuple[Errors, ...]] = {}
            for kind in (None, *FIT_NULLS):
                by_kind[kind] = tuple(
                    by_place[number, index]
                    for number, slot in enumerate(prepared.slots)
                    if slot.kind == kind and index in slot.tensors
                )
            found.append(by_kind)
        return found

    def _networks(self, stack: Stack, prepared: PreparedProblem, net: nn.Module) -> dict[str, Any]:
        """The trained networks of this stack without the nulls', as plain containers and CPU tensors."""
        count = self._num_networks(stack)
        return {
            "hidden_dim": stack.size.hidden_dim,
            "num_layers": stack.size.num_layers,
            "rank": stack.size.rank,
            "num_branches": stack.size.num_branches,
            "tensors": [
                {
                    "name": spec.name,
                    "rows": spec.rows,
                    "cols": spec.cols,
                    "role": spec.role.value,
                    "depth": spec.depth,
                    "mean": known.units.mean,
                    "scale": known.units.scale,
                }
                | _means(known)
                | self._permutations(prepared.problem, index)
                for index, (spec, known) in enumerate(zip(stack.specs, prepared.tensors, strict=True))
            ],
            "state": {name: value[:count].cpu().clone() for name, value in net.state_dict().items()},
        }

    def _permutations(self, problem: Problem, index: int) -> dict[str, Tensor]:
        """Row and column of the canonical tensor at each position of the network, where the fit moves them (int32)."""
        if not isinstance(problem, Permutable):
            return {}
        part, slot = (index, 0) if self.settings.scope == "model" else (0, index)
        rows, cols = problem.permutations_of(part, slot)
        return {"row_places": rows.to(torch.int32).clone(), "col_places": cols.to(torch.int32).clone()}


def _means(known: Measured) -> dict[str, Tensor]:
    """The means that the DNA has bought, of canonical rows and columns, float32."""
    pairs = {"row_means": known.units.rows, "col_means": known.units.cols}
    return {name: torch.from_numpy(means) for name, means in pairs.items() if means is not None}


def _errors(problem: Problem, net: nn.Module, part: int, known: Sequence[Measured], seed: int) -> list[Errors]:
    """Errors of part `part` of every slot, original units; `known`: of that part, slot by slot."""
    device = next(net.parameters()).device
    # Fourth powers of what is far from 1 leave the range of float32.
    is_ordinary = all(1 / WIDEST < each.units.scale < WIDEST for each in known)
    kind = torch.float32 if is_ordinary else torch.float64
    std = torch.tensor([each.units.scale for each in known], device=device, dtype=kind)[:, None]
    mean = torch.tensor([each.units.mean for each in known], device=device, dtype=kind)[:, None]
    sums = torch.zeros(4, problem.num_slots, dtype=torch.float64, device=device)
    points = 0
    with torch.no_grad():
        for values, predicted in problem.predictions(net, part, seed):
            sums += _error_sums(values * std + mean, predicted * std + mean)
            points += values.shape[1]
    size = problem.part_size(part)
    fourth = sums[3] / points - (sums[0] / points).square()
    variance = (size**2 * fourth / points).clamp(min=0) if points < size else torch.zeros_like(fourth)
    scaled = (sums[:3] * (size / points)).tolist()
    return [
        Errors(points=points, sse=sse, sae=sae, sape=sape, sse_variance=spread)
        for sse, sae, sape, spread in zip(*scaled, variance.tolist(), strict=True)
    ]


def _error_sums(values: Tensor, predicted: Tensor) -> Tensor:
    """Sums over points (S, P) of e^2, |e|, 200 |e| / (|w| + |w_hat|) and e^4, float64 (4, S)."""
    error = (predicted - values).abs()
    least = 1e-30 if values.dtype == torch.float32 else 1e-60
    percent = 200 * error / (values.abs() + predicted.abs()).clamp(min=least)
    squares = error.square()
    parts = [squares, error, percent, squares.square()]
    return torch.stack([part.sum(dim=1, dtype=torch.float64) for part in parts])


def _history(stack: Stack, trained: TrainResult) -> dict[str, Any]:
    return {
        "stack": stack.index,
        "tensors": [spec.name for spec in stack.specs],
        "steps": trained.steps,
        "stopped_early": trained.stopped_early,
        "points": list(trained.history),
    }


def _gather(
    stacks: Sequence[Stack],
    results: Sequence[Mapping[str, Any]],
    directory: Path,
    device: str,
) -> FitResult:
    """All stacks together."""
    networks = tuple(torch.load(directory / f"{stack.name}.pt", weights_only=True) for stack in stacks)
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
    )


def clear_networks(directory: Path) -> None:
    """Remove what a fit in this folder keeps of its networks, once they are kept elsewhere."""
    for path in directory.glob("stack-*.pt"):
        path.unlink()
