"""The analysis beside WeightWatcher, in turns on the same weights, and the whole stage with its nulls.

    python -m benchmarks.analysis                    # MiniLM-L6, a SciBERT of random weights, the stage; two cores
    python -m benchmarks.analysis --models minilm-l6 --repetitions 3 --no-stage

Both start from weights in memory and give alpha with its Kolmogorov-Smirnov distance, spectral norm, stable rank and
log norm of every matrix that WeightWatcher takes. Ours are the functions of the analyse stage, as many matrices at a
time as it measures nulls; WeightWatcher's `analyze()` is called without options, which is its fastest way to them (it
gives more figures that cannot be left out; its whole time counts). Answers are compared before anything is timed.

The stage is MiniLM-L6 with every statistic and 8 nulls, by `analyse_model`. Prints the tables and writes them to
`benchmarks/results/OUT.json`.
"""

import argparse
import contextlib
import io
import logging
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits

from benchmarks.parts.random_models import write_model, zoo_model
from benchmarks.parts.scaffold import make_parser, write_results
from pipeline.analyse.stage import NUM_THREADS, analyse_model
from pipeline.analyse.statistics.heavy_tail import measure_heavy_tail
from pipeline.analyse.statistics.lipschitz import log_spectral_norm
from pipeline.decomposition import singular_values
from pipeline.fetch.request import ModelRequest
from pipeline.fetch.stage import fetch
from pipeline.order import Rows, canonicalise, seriate_tensor
from pipeline.settings import AnalysisSettings
from pipeline.weights.files import WeightFiles
from pipeline.weights.inventory import extract
from pipeline.weights.reader import WeightReader
from zoo.tensors import TensorSpec

RATIO_GOALS = {"minilm-l6": 3.0, "scibert": 5.0}
STAGE_GOAL = 60.0
"""Seconds."""
TOLERANCES = {"alpha": 2e-2, "D": 2e-2, "spectral_norm": 1e-3, "stable_rank": 1e-3, "log_norm": 1e-3}
"""Relative; those of `tests/pipeline/analyse/test_field_agreement.py`."""
Float32 = npt.NDArray[np.float32]
Figures = dict[str, dict[str, float]]
"""Module -> statistic, by WeightWatcher's names and definitions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model in memory, for both."""

    matrices: Mapping[str, Float32]
    """Module -> its matrix."""
    network: torch.nn.Module


def main() -> None:
    """Both models in turns, then the stage."""
    options = parse()
    cores = sorted(os.sched_getaffinity(0))[: options.threads]
    os.sched_setaffinity(0, cores)
    torch.set_num_threads(len(cores))
    quieten()
    found: dict[str, Any] = {"options": vars(options), "goals": RATIO_GOALS | {"stage": STAGE_GOAL}, "models": {}}
    print(f"{'':14}{'matrices':>9}{'WeightWatcher, s':>18}{'dna-zoo, s':>12}  ratio (least to most)       goal")
    for key in options.models:
        found["models"][key] = beside(key, options)
        write_results(options.out, found)
    if not options.no_stage:
        found["stage"] = stage(options)
        write_results(options.out, found)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, out="analysis")
    parser.add_argument("--models", nargs="*", choices=list(RATIO_GOALS), default=list(RATIO_GOALS), metavar="KEY")
    parser.add_argument("--repetitions", type=int, default=5, help="turns of each")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--nulls", type=int, default=8, help="of the stage")
    parser.add_argument("--no-stage", action="store_true")
    return parser.parse_args()


def quieten() -> None:
    """WeightWatcher and transformers say much."""
    warnings.simplefilter("ignore")
    os.environ["HF_HUB_OFFLINE"] = "1"
    logging.disable(logging.WARNING)


# Beside WeightWatcher.


def beside(key: str, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of both, in turns."""
    subject = load_subject(key)
    theirs, ours = run_theirs(subject), run_ours(subject.matrices)
    apart = differences(theirs, ours)
    shared = {module: subject.matrices[module] for module in theirs}
    turns = []
    for _ in range(options.repetitions):
        turns.append((seconds_of(lambda: run_theirs(subject)), seconds_of(lambda: run_ours(shared))))
    ratios = [theirs_took / ours_took for theirs_took, ours_took in turns]
    medians = [statistics.median(column) for column in zip(*turns, strict=True)]
    spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    print(f"{key:14}{len(shared):9}{medians[0]:18.2f}{medians[1]:12.2f}  {spread:28}{RATIO_GOALS[key]:.0f}", flush=True)
    print("  largest relative differences: " + ", ".join(f"{name} {value:.1e}" for name, value in apart.items()))
    return {"matrices": len(shared), "seconds": turns, "ratios": ratios, "differences": apart}


def load_subject(key: str) -> Subject:
    """The real MiniLM-L6; of others the shape alone, with random weights."""
    with tempfile.TemporaryDirectory() as home:
        if key == "minilm-l6":
            request = ModelRequest(name=key)
        else:
            write_model(zoo_model(key), Path(home) / key, 0)
            request = ModelRequest(name=key, weights=Path(home) / key)
        files = fetch(request, home=Path(home))
        specs = [spec for spec in extract(files).specs if spec.is_matrix]
        with WeightReader(files) as reader:
            matrices = {spec.name.removesuffix(".weight"): reader.matrix(spec) for spec in specs}
        return Subject(matrices=matrices, network=bert_of(files))


def bert_of(files: WeightFiles) -> torch.nn.Module:
    """The network as transformers has it."""
    from safetensors.torch import load_file
    from transformers import BertConfig, BertModel

    network: torch.nn.Module = BertModel(BertConfig(**files.config))
    network.load_state_dict(load_file(files.paths[0]), strict=False)
    return network


def run_theirs(subject: Subject) -> Figures:
    """WeightWatcher's details."""
    from weightwatcher import WeightWatcher

    with contextlib.redirect_stdout(io.StringIO()):
        details = WeightWatcher(model=subject.network).analyze().set_index("longname")
    found: Figures = details[list(TOLERANCES)].to_dict(orient="index")
    return found


def run_ours(matrices: Mapping[str, Float32]) -> Figures:
    """The same by the functions of the analyse stage, on its threads; definitions as in docs/measurement.md."""
    with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(NUM_THREADS) as threads:
        return dict(zip(matrices, threads.map(measure, matrices.values()), strict=True))


def measure(matrix: Float32) -> dict[str, float]:
    """One matrix (R, C)."""
    singular = singular_values(matrix)
    tail = measure_heavy_tail(singular)
    return {
        "alpha": tail["heavy_tail.alpha"],
        "D": tail["heavy_tail.ks"],
        "spectral_norm": 10 ** (2 * log_spectral_norm(singular)),
        "stable_rank": tail["heavy_tail.stable_rank"] * len(singular),
        "log_norm": 2 * tail["heavy_tail.log_norm"],
    }


def differences(theirs: Figures, ours: Figures) -> dict[str, float]:
    """The largest relative difference of each statistic; ends the run where one is beyond its tolerance."""
    found = {}
    for name, tolerance in TOLERANCES.items():
        pairs = [(figures[name], ours[module][name], module) for module, figures in theirs.items()]
        found[name], module = max((abs(mine / other - 1), module) for other, mine, module in pairs)
        if not found[name] <= tolerance:
            raise SystemExit(f"{name} of {module}: {ours[module][name]} and {theirs[module][name]} do not agree.")
    return found


def seconds_of(run: Callable[[], object]) -> float:
    """Of one call."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


# The stage.


def stage(options: argparse.Namespace) -> dict[str, float]:
    """Seconds of the analysis of MiniLM-L6, everything in it; reading and ordering are not part of it."""
    with tempfile.TemporaryDirectory() as home:
        files = fetch(ModelRequest(name="minilm-l6"), home=Path(home))
        specs = extract(files).specs
        with WeightReader(files) as reader:
            orders = {spec.name: seriate_tensor(reader.matrix(spec), spec) for spec in specs if spec.is_matrix}

            def load(spec: TensorSpec, rows: Rows) -> Float32:
                matrix = reader.matrix(spec)
                return canonicalise(matrix, orders[spec.name])[rows] if spec.is_matrix else matrix

            settings = AnalysisSettings(num_nulls=options.nulls)
            seconds = seconds_of(
                lambda: analyse_model(specs, load, in_file_order=reader.pieces, settings=settings, seed=0)
            )
    print(f"\nanalyse MiniLM-L6, every statistic, {options.nulls} nulls: {seconds:.1f} s; goal {STAGE_GOAL:.0f} s")
    return {"seconds": seconds, "nulls": options.nulls}


if __name__ == "__main__":
    main()
