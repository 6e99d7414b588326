"""Mining on a GPU, in one run of less than ten minutes: speed, memory, reads by the host, equality with the CPU.

    python -m benchmarks.gpu                        # writes benchmarks/results/gpu-NAME-OF-THE-DEVICE.json
    python -m benchmarks.gpu --device cuda:1
    python -m benchmarks.gpu --device cpu --short   # a trial of every part, on the smallest sizes

1. `kinds`: steps and samples a second of each kind, 256x5 on a TinyBERT of random weights, as `dna-zoo mine` trains it
   there (bfloat16, compiled, captured; `separable` in float32), beside the same network trained operation by operation
   in float32 on weights that are on the device already. They take turns. With the share of an H100's peak, and the
   most memory at once.
2. `reads`: what a step of each kind and a check read back or copy, operation by operation, on any device; and how often
   a step makes the host wait, by `torch.cuda.set_sync_debug_mode`.
3. `equality`: losses of each kind after the same steps on the CPU and on the device, in float32.
4. `analysis`: every statistic of a MiniLM-L6 of random weights with 8 nulls, by the CPU and by the device: seconds, the
   largest difference of each statistic, whether classes are equal, the most memory, and waits in a stack.
5. `default`: the same model mined by the default settings, end to end; its analysis is the device's, too.
6. `reference`: the preset `reference` in bfloat16, without nulls, on the TinyBERT; if 100 epochs would take longer than
   its part of the time, as many as fit, and the time of all is worked out from theirs. With its null it is worked out
   from a few steps.

What is found is kept after each part, and after each kind of the first three. A part that fails says why, and the next
one runs. So does one that takes longer than its share of `--limit`, to which time comes that those before it left; and
what never comes back is ended soon after it, with the parts before it kept.
"""

import argparse
import functools
import math
import re
import statistics
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.floors import H100, pointwise_step
from benchmarks.parts.gpu.analysis import compare_analyses
from benchmarks.parts.gpu.host_reads import HostReads
from benchmarks.parts.gpu.time_limit import OutOfTimeError, end_after, time_limit
from benchmarks.parts.gpu.watch import peak_bytes, reset_peak, tell_waits, timed, waits_of
from benchmarks.parts.random_models import RandomModel, bert_model, write_model, zoo_model
from benchmarks.parts.scaffold import RESULTS, make_parser, write_results
from patterndb.store import PatternDatabase
from pipeline.fetch.request import ModelRequest
from pipeline.fetch.stage import fetch
from pipeline.fit.capturing import side_stream
from pipeline.fit.pace import DEVICE, Pace
from pipeline.fit.pointwise import PointwiseProblem
from pipeline.fit.prepare import prepare
from pipeline.fit.problem import generator_for
from pipeline.fit.sizing import NetworkSize
from pipeline.fit.trainer import Trainer
from pipeline.machine.devices import exact_products, resolve_device
from pipeline.nulls import ordinals_of
from pipeline.runs.runner import mine
from pipeline.settings import FitSettings, MineSettings, preset
from pipeline.weights.inventory import extract
from pipeline.weights.reader import WeightReader
from zoo.tensors import TensorSpec

GOALS = {"ratio": 3.0, "reference_seconds": (60.0, 30.0), "default_seconds": 15.0, "reads": 0, "difference": 1e-3}
KINDS = ("spectral", "hierarchical", "adaptive", "separable")
LIMIT = 570.0
"""Seconds, so that a run with its start ends in ten minutes."""
AFTER_LIMIT = 20.0
"""Seconds until a process that does not come back is ended."""
SECONDS = {"kinds": 40.0, "reads": 10.0, "equality": 30.0, "analysis": 60.0, "default": 40.0, "reference": 150.0}
"""Shares of the limit: of each kind where a part goes kind by kind, of the whole part elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What all parts share."""

    device: torch.device
    specs: Sequence[TensorSpec]
    reader: WeightReader
    options: argparse.Namespace

    @property
    def pace(self) -> Pace:
        """As a GPU trains; what is no GPU captures nothing."""
        return DEVICE if self.device.type == "cuda" else replace(DEVICE, captures=False)

    def settings(self, kind: str = "hierarchical", **changes: Any) -> FitSettings:
        """Those of the preset `reference` at the size asked for."""
        size = {} if kind == "separable" else {"batch_size": self.options.batch_size}
        return replace(
            preset("reference", dna_type=kind, hidden_dim=self.options.hidden_dim, num_layers=self.options.num_layers),
            order="raw",
            num_nulls=0,
            **size,
            **changes,
        )

    def fast(self, kind: str = "hierarchical") -> FitSettings:
        """As a long fit is trained by default on a GPU."""
        if kind == "separable":
            return self.settings(kind)
        return self.settings(kind, precision="bf16", compile="on" if self.device.type == "cuda" else "off")

    def trainer(
        self, settings: FitSettings, steps: int | None = None, *, device: torch.device | None = None, **more: Any
    ) -> Trainer:
        """Of all matrices by one network, as stored: their order makes no difference to the time."""
        device = device or self.device
        problem = prepare(
            self.specs, self.reader.matrix, settings, seed=0, ordinals=ordinals_of(self.specs), device=device
        ).problem
        size = NetworkSize(
            hidden_dim=self.options.hidden_dim, num_layers=self.options.num_layers, rank=16, num_branches=3
        )
        if isinstance(problem, PointwiseProblem):
            problem.is_sharded = False  # In no threads, which a device has not, and of which `reads` sees nothing.
        slots = range(problem.num_slots)
        net = problem.build(size, settings, [generator_for(0, slot) for slot in slots]).to(device)
        total = steps or settings.epochs * problem.steps_per_epoch
        given = {"pace": self.pace, "labels": [f"slot {slot}" for slot in slots], "num_real": 1} | more
        return Trainer(problem, net, settings, seed=0, total_steps=total, **given)


Found = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part, or what it does with one kind."""

    name: str
    kind: str | None
    work: Callable[[Bench], Found]
    until: float
    """Share of all the time that is over when it has to be done."""


def parts() -> list[Part]:
    """All of them, in their order."""
    by_kind = {"kinds": speeds, "reads": reads, "equality": equality}
    whole = {"analysis": analysis, "default": default, "reference": reference}
    todo: list[tuple[str, str | None, Callable[[Bench], Found]]] = [
        (name, kind, functools.partial(work, kind=kind)) for name, work in by_kind.items() for kind in KINDS
    ]
    todo += [(name, None, work) for name, work in whole.items()]
    total, ends, made = sum(SECONDS[name] for name, _, _ in todo), 0.0, []
    for name, kind, work in todo:
        ends += SECONDS[name] / total
        made.append(Part(name=name, kind=kind, work=work, until=ends))
    return made


def main(arguments: Sequence[str] | None = None, *, folder: Path = RESULTS) -> Found:
    """All parts; the result is kept under the device's name."""
    started, options = time.perf_counter(), parse(arguments)
    device = torch.device(resolve_device(options.device))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    print(f"{name}, torch {torch.__version__}, CUDA {torch.version.cuda}")
    found: Found = {"device": name, "torch": torch.__version__, "options": vars(options), "goals": GOALS}
    out = options.out or f"gpu-{re.sub(r'[^a-z0-9]+', '-', name.lower())}"
    model = bert_model("tiny", width=8, layers=2, vocabulary=16) if options.short else zoo_model("tinybert")
    with tempfile.TemporaryDirectory(prefix="dna-zoo-bench-") as home:
        write_model(model, Path(home), 0)
        files = fetch(ModelRequest(name=home), home=Path(home))
        specs = [spec for spec in extract(files).specs if spec.is_matrix]
        with WeightReader(files) as reader, exact_products():
            bench = Bench(device=device, specs=specs, reader=reader, options=options)
            for part in parts():
                told = attempt(part, bench, seconds=started + part.until * options.limit - time.perf_counter())
                found |= {part.name: found.get(part.name, {}) | {part.kind: told} if part.kind else told}
                write_results(out, found, folder=folder)
    print(f"\n{time.perf_counter() - started:.0f} s in all, of {options.limit:.0f}")
    return found


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, out=None)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--short", action="store_true", help="the smallest sizes: whether every part runs")
    parser.add_argument("--steps", type=int, help="in each turn; default: 300, or 6 if short")
    parser.add_argument("--turns", type=int, help="default: 5, or 1 if short")
    parser.add_argument("--limit", type=float, default=LIMIT, metavar="SECONDS", help="of all parts together")
    options = parser.parse_args(arguments)
    small = options.short
    options.batch_size, options.hidden_dim, options.num_layers = (64, 8, 3) if small else (8192, 256, 5)
    options.steps, options.turns = options.steps or (6 if small else 300), options.turns or (1 if small else 5)
    return options


def attempt(part: Part, bench: Bench, *, seconds: float) -> Found:
    """What a part finds in this time, or why it found nothing."""
    if part.kind in (None, KINDS[0]):
        print(f"\n{part.name}")
    started = time.perf_counter()
    try:
        with time_limit(seconds), side_stream(bench.device):  # As the fit does: nothing is recorded on CUDA's own.
            found = part.work(bench)
    except (Exception, OutOfTimeError) as error:  # The next part may work; a person reads this one's reason.
        print(f"  {part.kind or ''} failed: {type(error).__name__}: {error}")
        found = {"failed": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
    return found | {"seconds_of_part": time.perf_counter() - started}


def speeds(bench: Bench, kind: str) -> Found:
    """Steps a second of a kind, ours beside eager float32, in turns."""
    if kind == KINDS[0]:
        print(f"  {'':14}{'steps/s':>9}{'samples/s':>14}  {'beside eager float32':24}{'of peak':>9}{'GB':>7}")
    options = bench.options
    eager = replace(bench.pace, captures=False)
    ways = {
        "eager float32": bench.trainer(bench.settings(kind, precision="fp32", compile="off"), 10**6, pace=eager),
        "ours": bench.trainer(bench.fast(kind), 10**6),
    }
    for trainer in ways.values():
        take_steps(trainer, 8)  # Compiles, warms up, records.
    found: dict[str, list[float]] = {name: [] for name in ways}
    reset_peak(bench.device)
    for _ in range(options.turns):
        for name, trainer in ways.items():
            seconds = timed(lambda trainer=trainer: take_steps(trainer, options.steps), bench.device)  # type: ignore[misc]
            found[name].append(options.steps / seconds)
    return tell_speeds(bench, kind, ways["ours"], found, peak_bytes(bench.device))


def tell_speeds(bench: Bench, kind: str, ours: Trainer, speeds: dict[str, list[float]], peak: int | None) -> Found:
    """What was timed as it is kept, after a line of the table."""
    ratios = [mine / theirs for mine, theirs in zip(speeds["ours"], speeds["eager float32"], strict=True)]
    steps, share = statistics.median(speeds["ours"]), None
    samples = steps * weights_of_a_step(ours)
    if kind != "separable":
        work = pointwise_step(kind, bench.options.hidden_dim, bench.options.num_layers, bench.options.batch_size)
        share = work.half * steps / H100.half
    is_captured = bool(ours.graphs.replays)
    spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}; goal 3)"
    print(
        f"  {kind:14}{steps:9,.0f}{samples:14,.0f}  {spread:24}{'' if share is None else f'{share:9.1%}':>9}"
        f"{(peak or math.nan) / 1e9:7.2f}{'' if is_captured else '  not captured'}"
    )
    return {
        "steps_per_second": speeds, "samples_per_second": samples, "ratios": ratios, "share_of_h100_peak": share,
        "captured": is_captured, "peak_bytes": peak,
    }  # fmt: skip


def weights_of_a_step(trainer: Trainer) -> float:
    """How many a step sees: a batch, or all matrices, long axes shared out over the steps of an epoch."""
    problem = trainer.problem
    if isinstance(problem, PointwiseProblem):
        return problem.batch_size
    return sum(problem.part_size(part) for part in range(problem.num_parts)) / problem.steps_per_epoch


def take_steps(trainer: Trainer, count: int) -> None:
    """Of a fit that goes on for ever, with the checks that it needs."""
    for _ in range(count):
        trainer._one_step()
        if trainer.step >= trainer.next_check:
            trainer._check()


def reads(bench: Bench, kind: str) -> Found:
    """What steps and a check of a kind read back or copy; on CUDA also the waits in steps, by torch's own count."""
    eager, steps = replace(bench.pace, captures=False), 6 if bench.options.short else 50
    trainer = bench.trainer(replace(bench.fast(kind), compile="off"), 10**6, pace=eager)
    take_steps(trainer, 8)
    with HostReads() as seen:
        for _ in range(steps):
            trainer._one_step()
    with HostReads() as at_check:
        trainer._check()
    found: Found = {"steps": steps, "reads": seen.found, "reads_of_a_check": at_check.found}
    print(f"  {kind:14}{len(seen.found)} reads in {steps} steps (goal 0), {len(at_check.found)} in a check")
    if bench.device.type != "cuda":
        return found | {"left_out": "Only CUDA counts waits."}
    compiled = bench.trainer(bench.fast(kind), 10**6, pace=eager)
    take_steps(compiled, 8)
    waits = waits_of(lambda: [compiled._one_step() for _ in range(steps)])
    tell_waits(kind, waits, f"{steps} steps")
    return found | waits


def equality(bench: Bench, kind: str) -> Found:
    """Largest relative difference of the losses of a short fit, float32; both draw the same batches."""
    steps, pace = 6 if bench.options.short else 60, replace(bench.pace, captures=False)
    settings = bench.settings(kind, precision="fp32", compile="off")
    theirs, ours = (
        bench.trainer(settings, steps, device=device, pace=way).run().losses
        for device, way in ((torch.device("cpu"), pace), (bench.device, bench.pace))
    )
    gap = max(abs(mine - cpu) / abs(cpu) for mine, cpu in zip(ours, theirs, strict=True))
    print(f"  {kind:14}{gap:.1e} after {steps} steps (at most {GOALS['difference']:.0e})")
    return {"steps": steps, "difference": gap, "is_within": gap <= GOALS["difference"]}


def analysis(bench: Bench) -> Found:
    """The statistics of one model by both."""
    return compare_analyses(small_model(bench), bench.device, num_nulls=2 if bench.options.short else 8)


def small_model(bench: Bench) -> RandomModel:
    """A MiniLM-L6, or in a trial something smaller."""
    return bert_model("tiny", width=8, layers=2, vocabulary=16) if bench.options.short else zoo_model("minilm-l6")


def default(bench: Bench) -> Found:
    """Seconds of `mine` by stage."""
    model = small_model(bench)
    fit = preset("quick", epochs=2 if bench.options.short else None)
    settings = MineSettings(fit=fit, device=str(bench.device))
    reset_peak(bench.device)
    with tempfile.TemporaryDirectory(prefix="dna-zoo-bench-") as home:
        weights = Path(home) / "model"
        write_model(model, weights, 0)
        started = time.perf_counter()
        with PatternDatabase.open(f"sqlite:///{home}/gpu.db") as database:
            (mined,) = mine([ModelRequest(name=str(weights))], settings, database=database, home=Path(home)).models
        seconds = time.perf_counter() - started
    if mined.status != "done":
        raise RuntimeError(mined.error)
    stages = {stage.stage: stage.seconds for stage in mined.stages}
    print(f"  {model.key}: {seconds:.1f} s (goal {GOALS['default_seconds']:.0f}): {stages}")
    return {"seconds": seconds, "stages": stages, "peak_bytes": peak_bytes(bench.device)}


def reference(bench: Bench) -> Found:
    """Seconds of all epochs, or as worked out from those that fit into the time."""
    settings = bench.fast()
    an_epoch, _ = trial_epoch(bench, settings)
    with_nulls, networks = trial_epoch(bench, replace(settings, num_nulls=preset("reference").num_nulls))
    most = 0.7 * bench.options.limit * SECONDS["reference"] / LIMIT
    epochs = 2 if bench.options.short else max(min(settings.epochs, int(most / an_epoch)), 1)
    trainer = bench.trainer(replace(settings, epochs=epochs))
    reset_peak(bench.device)
    seconds = timed(trainer.run, bench.device)
    whole, whole_with_nulls = seconds * settings.epochs / epochs, with_nulls * settings.epochs
    found = {
        "epochs": epochs, "steps": trainer.total_steps, "seconds": seconds, "seconds_of_100_epochs": whole,
        "milliseconds_of_a_step": 1e3 * seconds / trainer.total_steps, "captured": bool(trainer.graphs.replays),
        "peak_bytes": peak_bytes(bench.device), "is_worked_out": epochs < settings.epochs,
        "with_nulls": {"networks": networks, "seconds_of_100_epochs": whole_with_nulls},
    }  # fmt: skip
    told = f"{epochs} of {settings.epochs} epochs in {seconds:.1f} s, {found['milliseconds_of_a_step']:.3f} ms a step"
    print(f"  {told}; all: {whole:.1f} s (goal 60, then 30); with nulls, worked out: {whole_with_nulls:.1f} s")
    return found


def trial_epoch(bench: Bench, settings: FitSettings) -> tuple[float, int]:
    """Seconds of an epoch, by some of its steps once what is made once is made; and how many networks it trains."""
    trial = bench.trainer(settings, 10**6)
    take_steps(trial, 8)
    a_step = timed(lambda: take_steps(trial, bench.options.steps), bench.device) / bench.options.steps
    return a_step * trial.problem.steps_per_epoch, trial.problem.num_slots


if __name__ == "__main__":
    with end_after(parse(None).limit + AFTER_LIMIT):
        main()
