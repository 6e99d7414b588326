"""The fit compared with the straightforward loop, in one run: samples a second, and time to the same R2.

    python -m benchmarks.fit                       # two cores; run it alone on the machine
    python -m benchmarks.fit --threads 1 --repetitions 3 --steps 10 --reference-steps 20

The reference is what one writes first: a `Dataset` of (coordinates, value) pairs, a `DataLoader` with batches of 8,192,
float32, Adam at 1e-4, one `hierarchical` network 256 wide and 5 deep for the matrix. It and ours take turns (A B A B),
from the same parameters, on MiniLM-L6's layer 0 ffn_in, seriated. Printed, and kept in `benchmarks/results/OUT.json`:

1. samples a second of the same network trained by us (bf16, `--compile on`), as a ratio, for this and the other
   pointwise kinds of that size, with the loss curves compared: the largest difference between means over 10 steps,
   compared with that of two runs of the reference;
2. seconds until the default preset has the R2 that the reference has at its end, as a ratio;
3. where a step goes: FLOPs, share of the peak that a plain product reaches, passes forward and back, Adam and the rest;
4. what `--compile auto` does to the shortest fit that it compiles: seconds by the time of a step without and with
   it, and the time that the compiler took with an empty cache.
"""

import argparse
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from pipeline.fetch.request import ModelRequest
from pipeline.fetch.stage import fetch
from pipeline.fit.compiling import COMPILED_FROM
from pipeline.fit.pointwise import PointwiseProblem
from pipeline.fit.prepare import prepare
from pipeline.fit.problem import Problem, generator_for
from pipeline.fit.sizing import NetworkSize, choose_size, step_size
from pipeline.fit.trainer import Trainer
from pipeline.machine.parallel import one_thread_each
from pipeline.order import canonicalise, seriate
from pipeline.settings import PRESETS, DnaType, FitSettings, preset
from pipeline.weights.inventory import extract
from pipeline.weights.reader import WeightReader
from zoo.tensors import TensorSpec

RESULTS = Path(__file__).parent / "results"
GOALS = {"samples_per_second": 3.5, "time_to_r2": 20.0}
WINDOW = 10
TIMED_STEPS = 100
LONG_TURNS = 3
"""At most, of what takes a quarter of a minute or more."""
OUR_STEPS = 5
"""For each of the reference's: turns of either take as long, and what disturbs a machine is as likely to hit both."""
REFERENCE = replace(
    PRESETS["reference"],
    precision="fp32",
    schedule="constant",
    num_nulls=0,
    clip_norm=1e9,
    checkpoint_every=10**6,
)
KINDS: tuple[DnaType, ...] = ("hierarchical", "spectral", "adaptive")
SIZE = NetworkSize(hidden_dim=256, num_layers=5)
Array = np.ndarray[Any, np.dtype[np.float32]]


class WeightPoints(Dataset[tuple[Tensor, Tensor]]):
    """Every weight as a pair of coordinates and value, as the reference has them."""

    def __init__(self, problem: PointwiseProblem) -> None:
        self.values = problem.values[0]
        self.coords = problem.coordinates(torch.arange(len(self.values)))

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.coords[index], self.values[index]


def main() -> None:
    """Run the four parts and keep what they found."""
    options = parse()
    cores = sorted(os.sched_getaffinity(0))[: options.threads]
    os.sched_setaffinity(0, cores)
    torch.set_num_threads(len(cores))
    spec, matrix = layer()
    found: dict[str, Any] = {"options": vars(options), "goals": GOALS, "cpu": cpu_name(), "torch": torch.__version__}
    print(f"{found['cpu']}, {len(cores)} threads, torch {torch.__version__}")
    found["speed"] = speed(spec, matrix, options)
    found["time_to_r2"] = time_to_r2(spec, matrix, options)
    found["step"] = step(spec, matrix)
    found["compile"] = compile_auto(spec, matrix, options)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{options.out}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40, help="steps of each turn of the reference")
    parser.add_argument("--reference-steps", type=int, default=150, help="steps after which the R2 is to be reached")
    parser.add_argument("--out", default="fit", help="name of the file in benchmarks/results")
    return parser.parse_args()


def cpu_name() -> str:
    """As the system calls it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown CPU"


def layer() -> tuple[TensorSpec, Array]:
    """MiniLM-L6's layer 0 ffn_in, seriated."""
    with tempfile.TemporaryDirectory() as home:
        files = fetch(ModelRequest(name="minilm-l6"), home=Path(home))
        (spec,) = (s for s in extract(files).specs if s.is_matrix and s.block == 0 and s.role == "ffn_in")
        with WeightReader(files) as reader:
            matrix = reader.matrix(spec)
    return spec, canonicalise(matrix, seriate(matrix, row_axis=spec.row_axis, col_axis=spec.col_axis))


# The two ways.


def prepared(spec: TensorSpec, matrix: Array, settings: FitSettings) -> Problem:
    """The problem of fitting the matrix alone."""
    cpu = torch.device("cpu")
    return prepare([spec], lambda _: matrix, settings, seed=0, ordinals={spec.name: 0}, device=cpu).problem


def run_reference(
    problem: PointwiseProblem, settings: FitSettings, num_steps: int, seed: int
) -> tuple[float, list[float], nn.Module]:
    """Seconds, losses and the network."""
    net = problem.build(SIZE, settings, [generator_for(0)])
    started = time.perf_counter()
    optimizer = torch.optim.Adam(net.parameters(), lr=settings.learning_rate)
    shuffling = torch.Generator().manual_seed(seed)
    loader = DataLoader(WeightPoints(problem), settings.batch_size, shuffle=True, generator=shuffling)
    losses: list[float] = []
    while len(losses) < num_steps:
        for coords, values in loader:
            optimizer.zero_grad()
            loss = torch.mean((net(coords[None])[0] - values) ** 2)
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
            if len(losses) == num_steps:
                break
    return time.perf_counter() - started, losses, net


def warm_run(problem: Problem, settings: FitSettings) -> Callable[[int], tuple[float, list[float]]]:
    """What gives seconds and losses of so many steps, always from the first network, compiled already."""
    net = problem.build(SIZE, settings, [generator_for(0)])
    first = {name: value.clone() for name, value in net.state_dict().items()}

    def run(num_steps: int) -> tuple[float, list[float]]:
        net.load_state_dict(first)
        losses: list[float] = []
        with one_thread_each():
            started = time.perf_counter()
            trainer = trainer_of(problem, net, settings, num_steps)
            trainer._observe = lambda found, **_: losses.append(float(found[0]))  # type: ignore[method-assign]
            for _ in range(num_steps):
                trainer._one_step()
            return time.perf_counter() - started, losses

    run(2)
    return run


def trainer_of(
    problem: Problem,
    net: nn.Module,
    settings: FitSettings,
    num_steps: int,
    on_step: Callable[[int], None] | None = None,
) -> Trainer:
    """A trainer of one matrix without nulls."""
    follow = on_step or (lambda step: None)
    return Trainer(problem, net, settings, seed=0, labels=["ffn_in"], num_real=1, total_steps=num_steps, on_step=follow)


# What is measured.


def speed(spec: TensorSpec, matrix: Array, options: argparse.Namespace) -> dict[str, Any]:
    """For each pointwise kind samples a second of the same network, in turns, and how far the loss curves are apart."""
    print(
        f"\nsamples/s, 256x5   reference       ours  {'ratio (least to most)':24}goal  curves apart  of two references"
    )
    return {"kinds": {kind: speed_of(kind, spec, matrix, options) for kind in KINDS}}


def speed_of(kind: DnaType, spec: TensorSpec, matrix: Array, options: argparse.Namespace) -> dict[str, Any]:
    """The same of one kind."""
    reference = replace(REFERENCE, dna_type=kind)
    settings = replace(reference, precision="bf16", compile="on", scope="model")
    plain, ours = prepared(spec, matrix, reference), prepared(spec, matrix, settings)
    assert isinstance(plain, PointwiseProblem)
    our_run = warm_run(ours, settings)
    run_reference(plain, reference, 1, 0)
    samples = options.steps * reference.batch_size
    turns, differences, spread = [], [], []
    first: list[float] = []
    for turn in range(options.repetitions):
        theirs, their_losses, _ = run_reference(plain, reference, options.steps, turn)
        mine, my_losses = our_run(OUR_STEPS * options.steps)
        turns.append((samples / theirs, OUR_STEPS * samples / mine))
        differences.append(distance(their_losses, my_losses[: options.steps]))
        spread += [distance(their_losses, first)] if first else []
        first = first or their_losses
    ratios, noise = [mine / theirs for theirs, mine in turns], max(spread) if spread else float("nan")
    medians = [statistics.median(turn[way] for turn in turns) for way in (0, 1)]
    row = f"{kind:18}{medians[0]:10,.0f}{medians[1]:11,.0f}  {spread_of(ratios):24}{GOALS['samples_per_second']:4.1f}"
    print(f"{row}{max(differences):14.4f}{noise:19.4f}")
    return {
        "samples_per_second": turns,
        "ratios": ratios,
        "curve_difference": max(differences),
        "reference_curve_difference": noise,
    }


def distance(left: Sequence[float], right: Sequence[float]) -> float:
    """The largest difference between the means over `WINDOW` steps of two loss curves."""
    usable = len(left) // WINDOW * WINDOW
    means = [np.reshape(losses[:usable], (-1, WINDOW)).mean(axis=1) for losses in (left, right)]
    return float(np.abs(means[0] - means[1]).max()) if usable else float("nan")


def spread_of(ratios: Sequence[float]) -> str:
    """Median and extremes."""
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def time_to_r2(spec: TensorSpec, matrix: Array, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds until the default preset has the R2 that the reference has after `--reference-steps`."""
    plain = prepared(spec, matrix, REFERENCE)
    assert isinstance(plain, PointwiseProblem)
    turns = []
    target = 0.0
    for turn in range(min(options.repetitions, LONG_TURNS)):
        theirs, _, net = run_reference(plain, REFERENCE, options.reference_steps, turn)
        target = r2_of(plain, net)
        turns.append((theirs, *run_default(spec, matrix, target)))
    ratios = [theirs / reached for theirs, reached, _ in turns]
    print(f"\nseconds to R2 {target:.3f}                     reference       ours  ratio (least to most)       goal")
    row = f"{statistics.median(t for t, _, _ in turns):35.2f}{'':13}{statistics.median(m for _, m, _ in turns):11.3f}"
    print(f"{row}  {spread_of(ratios):28}{GOALS['time_to_r2']:.0f}")
    print(f"ours goes on to R2 {turns[0][2]:.3f}")
    return {"r2": target, "seconds": [turn[:2] for turn in turns], "final_r2": turns[0][2], "ratios": ratios}


def run_default(spec: TensorSpec, matrix: Array, target: float) -> tuple[float, float]:
    """Seconds at which the default preset's R2 over all weights was `target`, and its R2 at the end."""
    settings = replace(preset("quick"), num_nulls=0)
    problem = prepared(spec, matrix, settings)
    size = choose_size(settings, num_weights=spec.num_weights, shortest_axis=min(matrix.shape), in_dim=1)
    settings = replace(settings, learning_rate=step_size(settings, size))
    at_step: list[float] = []
    with one_thread_each():
        started = time.perf_counter()
        net = problem.build(size, settings, [generator_for(0)])
        trainer = trainer_of(
            problem, net, settings, settings.epochs, lambda step: at_step.append(time.perf_counter() - started)
        )
        history = trainer.run().history
    reached = [int(point["step"]) for point in history if point["r2"] >= target]
    seconds = at_step[min(reached[0], len(at_step) - 1)] if reached else float("inf")
    return seconds, r2_of(problem, net)


def r2_of(problem: Problem, net: nn.Module) -> float:
    """Over every weight."""
    with torch.no_grad():
        chunks = [(v[0], (v - guess)[0]) for v, guess in problem.predictions(net, 0, 0)]
    return 1 - float(sum(e.square().sum() for _, e in chunks) / sum(v.square().sum() for v, _ in chunks))


def step(spec: TensorSpec, matrix: Array) -> dict[str, float]:
    """FLOPs of a step, its share of the peak, and where its time goes."""
    settings = replace(REFERENCE, precision="bf16", compile="on")
    problem = prepared(spec, matrix, settings)
    net = problem.build(SIZE, settings, [generator_for(0)])
    products = sum(p.numel() for name, p in net.named_parameters() if "weight" in name)
    flops = 6 * products * settings.batch_size  # Forward 2 a weight and point, back 4.
    peaks = {dtype: peak(dtype) for dtype in (torch.float32, torch.bfloat16)}
    seconds, split = time_split(problem, net, settings)
    reached = flops / seconds
    print(f"\na step: {flops / 1e9:.1f} GFLOP in {seconds * 1e3:.0f} ms, {reached / 1e9:.0f} GFLOP/s")
    print(
        f"a plain product on all threads: {peaks[torch.bfloat16] / 1e9:.0f} in bf16, {peaks[torch.float32] / 1e9:.0f}"
    )
    print(f"in fp32; a step reaches {reached / peaks[torch.bfloat16]:.0%} of the former")
    print("of the threads' time: " + ", ".join(f"{name} {share:.0%}" for name, share in split.items()))
    return {
        "gflop": flops / 1e9,
        "seconds": seconds,
        "peak_bf16": peaks[torch.bfloat16],
        "peak_fp32": peaks[torch.float32],
    } | split


def peak(dtype: torch.dtype) -> float:
    """FLOP/s of the product that a hidden layer is made of, 8,192 x 256 x 256, the best of many."""
    points, weight = torch.randn(8192, 256).to(dtype), torch.randn(256, 256).to(dtype)
    best = float("inf")
    for _ in range(30):
        started = time.perf_counter()
        torch.mm(points, weight)
        best = min(best, time.perf_counter() - started)
    return 2 * 8192 * 256 * 256 / best


def time_split(problem: Problem, net: nn.Module, settings: FitSettings) -> tuple[float, dict[str, float]]:
    """Seconds of a step, and shares of the passes, the optimiser and all else in the processor time of ten."""
    times = {"passes": 0.0, "Adam": 0.0}
    with one_thread_each():
        trainer = trainer_of(problem, net, settings, 20)
        trainer._one_step()
        (optimizer,) = trainer.optimizers
        optimizer.step = _counted(optimizer.step, times, "Adam")  # type: ignore[method-assign]
        problem._passes = _counted(problem._passes, times, "passes")  # type: ignore[attr-defined]
        started, worked = time.perf_counter(), time.process_time()
        for _ in range(10):
            trainer._one_step()
        seconds, total = time.perf_counter() - started, time.process_time() - worked
    shares = {name: spent / total for name, spent in times.items()}
    return seconds / 10, shares | {"rest": 1 - sum(shares.values())}


def _counted(function: Callable[..., Any], times: dict[str, float], name: str) -> Callable[..., Any]:
    """The function, the processor time of all threads meanwhile added to `times[name]`."""

    def run(*arguments: Any, **options: Any) -> Any:
        started = time.process_time()
        found = function(*arguments, **options)
        times[name] += time.process_time() - started
        return found

    return run


def compile_auto(spec: TensorSpec, matrix: Array, options: argparse.Namespace) -> dict[str, Any]:
    """The shortest fit by the default of `spectral` that `auto` compiles: seconds without and with it.

    Shorter ones go the same way with either, longer ones have more to gain.
    """
    settings = replace(preset("quick", dna_type="spectral", budget=0.02), num_nulls=0, precision="bf16")
    size = choose_size(settings, num_weights=spec.num_weights, shortest_axis=min(matrix.shape), in_dim=2)
    epochs = math.ceil(COMPILED_FROM["cpu"] / (size.hidden_dim * size.num_layers * matrix.size))
    seconds: dict[str, list[float]] = {"off": [], "on": []}
    for _ in range(min(options.repetitions, LONG_TURNS)):
        for choice, found in seconds.items():
            found.append(seconds_of_fit(spec, matrix, replace(settings, compile=choice, epochs=epochs), size))
    ratios = [off / on for off, on in zip(seconds["off"], seconds["on"], strict=True)]
    medians = {choice: statistics.median(found) for choice, found in seconds.items()}
    print(f"\nspectral, 2 %\n{'epochs':>8}{'off, s':>9}{'auto, s':>9}  off/auto, compiling counted")
    print(f"{epochs:8}{medians['off']:9.2f}{medians['on']:9.2f}  {spread_of(ratios)}")
    return {"epochs": epochs, "off": medians["off"], "auto": medians["on"], "ratios": ratios}


def seconds_of_fit(spec: TensorSpec, matrix: Array, settings: FitSettings, size: NetworkSize) -> float:
    """Of the first step, which compiles with an empty cache, and of all the others by the mean of `TIMED_STEPS`."""
    problem = prepared(spec, matrix, settings)
    total = settings.epochs * problem.steps_per_epoch
    with one_thread_each(), tempfile.TemporaryDirectory() as cache, inductor_cache(cache):
        net = problem.build(size, settings, [generator_for(0)])
        trainer = trainer_of(problem, net, settings, total)
        started = time.perf_counter()
        trainer._one_step()
        first = time.perf_counter()
        for _ in range(TIMED_STEPS):
            trainer._one_step()
        return first - started + (time.perf_counter() - first) / TIMED_STEPS * (total - 1)


@contextmanager
def inductor_cache(folder: str) -> Iterator[None]:
    """Where torch's compiler keeps its results in here."""
    name = "TORCHINDUCTOR_CACHE_DIR"
    before = os.environ.get(name)
    os.environ[name] = folder
    try:
        yield
    finally:
        os.environ.pop(name) if before is None else os.environ.update({name: before})


if __name__ == "__main__":
    main()
