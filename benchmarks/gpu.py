"""The pointwise fit on a GPU, in one run: forward and back compared with plain float32, and a whole model.

    python -m benchmarks.gpu                                # writes benchmarks/results/gpu-NAME-OF-THE-DEVICE.json
    python -m benchmarks.gpu --device cpu --batch-size 64 --hidden-dim 16 --epochs 1 --max-weights 5000   # a trial

1. Samples a second of `hierarchical` 256x5, forward and back on weights that are on the device already: in float32 as
   torch runs it (the reference), in bfloat16, and in bfloat16 with `--compile on`. They take turns; ratios with their
   spread, and the share of what a plain bfloat16 product reaches.
2. Seconds of the preset `reference` without nulls on a full-size TinyBERT of random weights: 100 epochs as
   `dna-zoo mine` fits them, all steps and checks included.
"""

import argparse
import json
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.random_models import write_model, zoo_model
from pipeline.fetch.request import ModelRequest
from pipeline.fetch.stage import fetch
from pipeline.fit.draws import DeviceDraws
from pipeline.fit.pointwise import PointwiseProblem
from pipeline.fit.prepare import ordinals_of, prepare
from pipeline.fit.problem import generator_for
from pipeline.fit.sizing import NetworkSize
from pipeline.fit.trainer import AUTOCAST, Trainer
from pipeline.settings import FitSettings, preset
from pipeline.weights.inventory import extract
from pipeline.weights.reader import WeightReader
from zoo.tensors import TensorSpec

RESULTS = Path(__file__).parent / "results"
GOALS = {"ratio": 3.0, "seconds": 60.0}
WAYS = {
    "float32": {"precision": "fp32", "compile": "off"},
    "bfloat16": {"precision": "bf16", "compile": "off"},
    "bfloat16, compiled": {"precision": "bf16", "compile": "on"},
}
MODEL = "tinybert"


def main() -> None:
    """Both parts; the result is kept under the device's name."""
    options = parse()
    device = torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    print(f"{name}, torch {torch.__version__}")
    with tempfile.TemporaryDirectory(prefix="dna-zoo-bench-") as folder:
        write_model(zoo_model(MODEL), Path(folder), 0)
        files = fetch(ModelRequest(name=MODEL, weights=Path(folder)), home=Path(folder))
        specs = [spec for spec in extract(files).specs if spec.is_matrix and spec.num_weights <= options.max_weights]
        with WeightReader(files) as reader:
            found = {
                "device": name,
                "torch": torch.__version__,
                "options": vars(options),
                "goals": GOALS,
                "passes": passes(specs, reader, device, options),
                "model": whole_model(specs, reader, device, options),
            }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"gpu-{re.sub(r'[^a-z0-9]+', '-', name.lower())}.json"
    path.write_text(json.dumps(found, indent=1) + "\n")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch-size", type=int, default=8192)
    parser.add_argument("--hidden-dim", type=int, default=256)
    parser.add_argument("--num-layers", type=int, default=5)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--passes", type=int, default=50, help="forward and back, in each turn")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--max-weights", type=int, default=10**9, help="leave larger tensors out")
    return parser.parse_args()


def prepared(
    specs: Sequence[TensorSpec], reader: WeightReader, device: torch.device, settings: FitSettings
) -> PointwiseProblem:
    """The tensors on the device, as stored: their order makes no difference to the time."""
    found = prepare(specs, reader.matrix, settings, seed=0, ordinals=ordinals_of(specs), device=device).problem
    assert isinstance(found, PointwiseProblem)
    return found


def settings_of(options: argparse.Namespace, **changes: Any) -> FitSettings:
    """The preset `reference`, of the size asked for."""
    size = {"batch_size": options.batch_size, "hidden_dim": options.hidden_dim, "num_layers": options.num_layers}
    return replace(preset("reference"), order="raw", num_nulls=0, epochs=options.epochs, **size, **changes)


def passes(
    specs: Sequence[TensorSpec], reader: WeightReader, device: torch.device, options: argparse.Namespace
) -> dict[str, Any]:
    """Samples a second forward and back, the three ways in turns."""
    size = NetworkSize(hidden_dim=options.hidden_dim, num_layers=options.num_layers)
    runs: dict[str, Callable[[], None]] = {}
    products = 0
    for name, changes in WAYS.items():
        settings = settings_of(options, **changes)
        problem = prepared(specs, reader, device, settings)
        net = problem.build(size, settings, [generator_for(0)]).to(device)
        products = sum(p.numel() for key, p in net.named_parameters() if "weight" in key)
        runs[name] = forward_and_back(problem, net, settings)
        runs[name]()  # Compiles, and warms up.
    turns: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.repetitions):
        for name, run in runs.items():
            seconds = timed(lambda run=run: [run() for _ in range(options.passes)], device)  # type: ignore[misc]
            turns[name].append(options.passes * options.batch_size / seconds)
    plain = peak(device, options)
    found: dict[str, Any] = {"plain_bf16_flops": plain}
    print(f"\n{'forward and back':22}{'samples/s':>14}  {'ratio (least to most)':26}{'goal':>5}{'of a product':>14}")
    for name, speeds in turns.items():
        ratios = [ours / theirs for ours, theirs in zip(speeds, turns["float32"], strict=True)]
        share = 6 * products * statistics.median(speeds) / plain  # 2 operations a weight forward, 4 back.
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        goal = "" if name == "float32" else f"{GOALS['ratio']:.0f}"
        print(f"{name:22}{statistics.median(speeds):14,.0f}  {spread:26}{goal:>5}{share:14.0%}")
        found[name] = {"samples_per_second": speeds, "ratios": ratios, "share_of_product": share}
    return found


def forward_and_back(problem: PointwiseProblem, net: torch.nn.Module, settings: FitSettings) -> Callable[[], None]:
    """One batch without a step of the optimiser."""
    dtype = AUTOCAST[settings.precision]
    draw = DeviceDraws(1).at(0, torch.zeros((), dtype=torch.int64, device=problem.values.device))

    def run() -> None:
        net.zero_grad(set_to_none=True)
        with torch.autocast(problem.values.device.type, dtype=dtype, enabled=dtype is not None):
            losses = problem.loss(net, draw)
        losses.sum().backward()  # type: ignore[no-untyped-call]

    return run


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds until the device has done it."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    started = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - started


def peak(device: torch.device, options: argparse.Namespace) -> float:
    """FLOP/s of the bfloat16 product that a hidden layer is made of, the best of ten times twenty."""
    width = options.hidden_dim
    points = torch.randn(options.batch_size, width, device=device).to(torch.bfloat16)
    weight = torch.randn(width, width, device=device).to(torch.bfloat16)
    seconds = min(timed(lambda: [torch.mm(points, weight) for _ in range(20)], device) for _ in range(10))
    return 20 * 2 * options.batch_size * width**2 / seconds


def whole_model(
    specs: Sequence[TensorSpec], reader: WeightReader, device: torch.device, options: argparse.Namespace
) -> dict[str, float]:
    """Seconds of the fit of all matrices by one network."""
    settings = settings_of(options, precision="bf16", compile="on")
    problem = prepared(specs, reader, device, settings)
    net = problem.build(
        NetworkSize(hidden_dim=options.hidden_dim, num_layers=options.num_layers), settings, [generator_for(0)]
    ).to(device)
    steps = settings.epochs * problem.steps_per_epoch
    trainer = Trainer(problem, net, settings, seed=0, labels=[MODEL], num_real=1, total_steps=steps)
    seconds = timed(trainer.run, device)
    print(f"\n{MODEL}, {problem.num_weights:,} weights, {settings.epochs} epochs: {seconds:.1f} s in {steps:,} steps")
    print(f"goal on an H100: {GOALS['seconds']:.0f} s")
    return {"weights": problem.num_weights, "epochs": settings.epochs, "steps": steps, "seconds": seconds}


if __name__ == "__main__":
    main()
