"""Mining on a GPU, in one run of less than ten minutes: speed, memory, reads by the host, equality with the CPU.

    python -m benchmarks.gpu                        # writes benchmarks/results/gpu-NAME-OF-THE-DEVICE.json
    python -m benchmarks.gpu --device cuda:1
    python -m benchmarks.gpu --device cpu --short   # a trial of every part, on the smallest sizes

1. `kinds`: steps and samples a second of each kind, 256x5 on a TinyBERT of random weights, as `dna-zoo mine --precision
   auto` trains it (bfloat16, compiled, captured; `separable` in float32), beside the same network trained operation by
   operation in float32 on weights that are on the device already. They take turns. With the share of the device's peak,
   and the most memory at once.
2. `reads`: how often a step makes the host wait, by `torch.cuda.set_sync_debug_mode`.
3. `equality`: losses after the same steps on the CPU and on the device, in float32.
4. `analysis`: every statistic of a MiniLM-L6 of random weights with 8 nulls, by the CPU and by the device: seconds, the
   largest difference of each statistic, whether classes are equal, the most memory, and waits in a stack.
5. `default`: the same model mined by the default settings, end to end; its analysis is the device's, too.
6. `reference`: the preset `reference` in bfloat16, without nulls, on the TinyBERT; if 100 epochs would take longer than
   `--most-seconds`, as many as fit, and the time of all is worked out from theirs.

What is found is kept after each part. A part that fails says why, and the next one runs.
"""

import argparse
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
from benchmarks.parts.gpu_analysis import compare_analyses
from benchmarks.parts.gpu_watch import peak_bytes, reset_peak, tell_waits, timed, waits_of
from benchmarks.parts.random_models import RandomModel, bert_model, write_model, zoo_model
from benchmarks.parts.scaffold import RESULTS, make_parser, write_results
from patterndb.store import PatternDatabase
from pipeline.devices import exact_products
from pipeline.fetch.request import ModelRequest
from pipeline.fetch.stage import fetch
from pipeline.fit.pace import DEVICE, Pace
from pipeline.fit.prepare import ordinals_of, prepare
from pipeline.fit.problem import generator_for
from pipeline.fit.sizing import NetworkSize
from pipeline.fit.trainer import Trainer
from pipeline.runs.runner import mine
from pipeline.settings import FitSettings, MineSettings, preset
from pipeline.weights.inventory import extract
from pipeline.weights.reader import WeightReader
from zoo.tensors import TensorSpec

GOALS = {"ratio": 3.0, "reference_seconds": (60.0, 30.0), "default_seconds": 15.0, "reads": 0, "difference": 1e-3}
KINDS = ("spectral", "hierarchical", "adaptive", "separable")


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
        net = problem.build(size, settings, [generator_for(0)]).to(device)
        total = steps or settings.epochs * problem.steps_per_epoch
        given = {"pace": self.pace} | more
        return Trainer(problem, net, settings, seed=0, labels=["the model"], num_real=1, total_steps=total, **given)


def main(arguments: Sequence[str] | None = None, *, folder: Path = RESULTS) -> dict[str, Any]:
    """All parts; the result is kept under the device's name."""
    options = parse(arguments)
    device = torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    print(f"{name}, torch {torch.__version__}, CUDA {torch.version.cuda}")
    found: dict[str, Any] = {"device": name, "torch": torch.__version__, "options": vars(options), "goals": GOALS}
    out = options.out or f"gpu-{re.sub(r'[^a-z0-9]+', '-', name.lower())}"
    model = bert_model("tiny", width=8, layers=2, vocabulary=16) if options.short else zoo_model("tinybert")
    with tempfile.TemporaryDirectory(prefix="dna-zoo-bench-") as home:
        write_model(model, Path(home), 0)
        files = fetch(ModelRequest(name=home), home=Path(home))
        specs = [spec for spec in extract(files).specs if spec.is_matrix]
        with WeightReader(files) as reader, exact_products():
            bench = Bench(device=device, specs=specs, reader=reader, options=options)
            for part in (kinds, reads, equality, analysis, default, reference):
                found[part.__name__] = attempt(part, bench)
                write_results(out, found, folder=folder)
    return found


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, out=None)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--short", action="store_true", help="the smallest sizes: whether every part runs")
    parser.add_argument("--steps", type=int, help="in each turn; default: 300, or 6 if short")
    parser.add_argument("--turns", type=int, help="default: 5, or 1 if short")
    parser.add_argument("--most-seconds", type=float, default=150.0, help="of the part `reference`")
    options = parser.parse_args(arguments)
    small = options.short
    options.batch_size, options.hidden_dim, options.num_layers = (64, 8, 3) if small else (8192, 256, 5)
    options.steps, options.turns = options.steps or (6 if small else 300), options.turns or (1 if small else 5)
    return options


def attempt(part: Callable[[Bench], dict[str, Any]], bench: Bench) -> dict[str, Any]:
    """What a part finds, or why it failed."""
    print(f"\n{part.__name__}")
    started = time.perf_counter()
    try:
        found = part(bench)
    except Exception as error:  # The next part may work; a person reads this one's reason.
        print(f"  failed: {type(error).__name__}: {error}")
        found = {"failed": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
    return found | {"seconds_of_part": time.perf_counter() - started}


def kinds(bench: Bench) -> dict[str, Any]:
    """Steps a second of each kind, ours beside eager float32; a kind that fails leaves the others."""
    print(f"  {'':14}{'steps/s':>9}{'samples/s':>14}  {'beside eager float32':24}{'of peak':>9}{'GB':>7}")
    return {kind: attempt(lambda bench, kind=kind: one_kind(bench, kind), bench) for kind in KINDS}  # type: ignore[misc]


def one_kind(bench: Bench, kind: str) -> dict[str, Any]:
    """Both ways in turns."""
    options = bench.options
    eager = replace(bench.pace, captures=False)
    ways = {
        "eager float32": bench.trainer(bench.settings(kind, precision="fp32", compile="off"), 10**6, pace=eager),
        "ours": bench.trainer(bench.fast(kind), 10**6),
    }
    for trainer in ways.values():
        take_steps(trainer, 8)  # Compiles, warms up, records.
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    reset_peak(bench.device)
    for _ in range(options.turns):
        for name, trainer in ways.items():
            seconds = timed(lambda trainer=trainer: take_steps(trainer, options.steps), bench.device)  # type: ignore[misc]
            speeds[name].append(options.steps / seconds)
    ratios = [ours / theirs for ours, theirs in zip(speeds["ours"], speeds["eager float32"], strict=True)]
    ours, samples = statistics.median(speeds["ours"]), None
    share = None
    if kind != "separable":
        samples = ours * ways["ours"].problem.batch_size  # type: ignore[attr-defined]
        work = pointwise_step(kind, options.hidden_dim, options.num_layers, options.batch_size)
        share = work.half * ours / H100.half
    found = {
        "steps_per_second": speeds, "samples_per_second": samples, "ratios": ratios, "share_of_h100_peak": share,
        "captured": bool(ways["ours"].graphs.replays), "peak_bytes": peak_bytes(bench.device),
    }  # fmt: skip
    spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}; goal 3)"
    shown = f"{samples:14,.0f}" if samples else f"{'':14}"
    print(
        f"  {kind:14}{ours:9,.0f}{shown}  {spread:24}{'' if share is None else f'{share:9.1%}':>9}"
        f"{(found['peak_bytes'] or math.nan) / 1e9:7.2f}{'' if found['captured'] else '  not captured'}"
    )
    return found


def take_steps(trainer: Trainer, count: int) -> None:
    """Of a fit that goes on for ever, with the checks that it needs."""
    for _ in range(count):
        trainer._one_step()
        if trainer.step >= trainer.next_check:
            trainer._check()


def reads(bench: Bench) -> dict[str, Any]:
    """Waits of the host in a step of each kind, by torch's own count; checks are left out."""
    if bench.device.type != "cuda":
        return {"left_out": "Only CUDA counts them."}
    found = {}
    for kind in KINDS:
        trainer = bench.trainer(bench.fast(kind), 10**6, pace=replace(bench.pace, captures=False))
        take_steps(trainer, 8)
        found[kind] = {"steps": 50} | waits_of(lambda trainer=trainer: [trainer._one_step() for _ in range(50)])  # type: ignore[misc]
        tell_waits(kind, found[kind], "50 steps")
    return found


def equality(bench: Bench) -> dict[str, Any]:
    """Largest relative difference of the losses of a short fit, float32; both draw the same batches."""
    found: dict[str, Any] = {}
    steps = 6 if bench.options.short else 60
    pace = replace(bench.pace, captures=False)
    for kind in KINDS:
        settings = bench.settings(kind, precision="fp32", compile="off")
        losses = [
            bench.trainer(settings, steps, device=device, pace=way).run().losses
            for device, way in ((torch.device("cpu"), pace), (bench.device, bench.pace))
        ]
        gaps = [abs(ours - theirs) / abs(theirs) for ours, theirs in zip(losses[1], losses[0], strict=True)]
        found[kind] = {"steps": steps, "difference": max(gaps), "is_within": max(gaps) <= GOALS["difference"]}
        print(f"  {kind:14}{max(gaps):.1e} after {steps} steps (at most {GOALS['difference']:.0e})")
    return found


def analysis(bench: Bench) -> dict[str, Any]:
    """The statistics of one model by both."""
    return compare_analyses(small_model(bench), bench.device, num_nulls=2 if bench.options.short else 8)


def small_model(bench: Bench) -> RandomModel:
    """A MiniLM-L6, or in a trial something smaller."""
    return bert_model("tiny", width=8, layers=2, vocabulary=16) if bench.options.short else zoo_model("minilm-l6")


def default(bench: Bench) -> dict[str, Any]:
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


def reference(bench: Bench) -> dict[str, Any]:
    """Seconds of all epochs, or as worked out from those that fit into the time."""
    settings = bench.fast()
    trial = bench.trainer(settings, 10**6)
    take_steps(trial, 8)
    a_step = timed(lambda: take_steps(trial, bench.options.steps), bench.device) / bench.options.steps
    an_epoch = a_step * trial.problem.steps_per_epoch
    epochs = 2 if bench.options.short else max(min(settings.epochs, int(bench.options.most_seconds / an_epoch)), 1)
    trainer = bench.trainer(replace(settings, epochs=epochs))
    reset_peak(bench.device)
    seconds = timed(trainer.run, bench.device)
    whole = seconds * settings.epochs / epochs
    found = {
        "epochs": epochs, "steps": trainer.total_steps, "seconds": seconds, "seconds_of_100_epochs": whole,
        "milliseconds_of_a_step": 1e3 * seconds / trainer.total_steps, "captured": bool(trainer.graphs.replays),
        "peak_bytes": peak_bytes(bench.device), "is_worked_out": epochs < settings.epochs,
    }  # fmt: skip
    told = f"{epochs} of {settings.epochs} epochs in {seconds:.1f} s, {found['milliseconds_of_a_step']:.3f} ms a step"
    print(f"  {told}; all: {whole:.1f} s (goal 60, then 30)")
    return found


if __name__ == "__main__":
    main()
