"""The analysis of one model by numpy on the CPU and by a device, for `benchmarks.gpu`."""

import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.parts.gpu.tolerances import SIGNATURE_TOLERANCE, largest_differences, tolerance_of
from benchmarks.parts.gpu.watch import peak_bytes, reset_peak, tell_waits, waits_of
from benchmarks.parts.random_models import RandomModel, write_model
from pipeline.analyse.measures.device import OnDevice, numbers_of
from pipeline.analyse.measures.host import OnHost
from pipeline.analyse.measures.versions import Measures, Version
from pipeline.analyse.sampling import NUM_SAMPLES
from pipeline.analyse.stage import ModelAnalysis, analyse_model
from pipeline.fetch.request import ModelRequest
from pipeline.fetch.stage import fetch
from pipeline.nulls import NULLS
from pipeline.order import Rows, canonicalise, seriate_tensor
from pipeline.settings import AnalysisSettings
from pipeline.weights.inventory import extract
from pipeline.weights.reader import WeightReader
from zoo.tensors import Axis, Role, TensorKind, TensorSpec


def compare_analyses(model: RandomModel, device: torch.device, *, num_nulls: int) -> dict[str, Any]:
    """Seconds without reading and ordering, differences, memory of the device, and its waits."""
    settings, measures = AnalysisSettings(num_nulls=num_nulls), OnDevice(device)
    with opened(model) as analysed:
        analysed(measures, replace(settings, num_nulls=0))  # Libraries of the device are loaded, plans are made.
        reset_peak(device)
        before = measures.num_reads
        ours, seconds = timed_analysis(analysed, measures, settings)
        peak, stacks = peak_bytes(device), measures.num_reads - before
        theirs, seconds_of_cpu = timed_analysis(analysed, OnHost(), settings)
    print(f"  {seconds:.1f} s, {seconds_of_cpu:.1f} s by the CPU; {stacks} stacks; {(peak or math.nan) / 1e9:.2f} GB")
    found = {
        "nulls": num_nulls,
        "seconds": {"device": seconds, "cpu": seconds_of_cpu},
        "ratio": seconds_of_cpu / seconds,
        "stacks": stacks,
        "peak_bytes": peak,
        **agreement(theirs, ours),
    }
    return found | ({"waits": stack_waits(device)} if device.type == "cuda" else {})


class Analysed:
    """Weights in memory, ready to be analysed."""

    def __init__(self, reader: WeightReader, specs: list[TensorSpec]) -> None:
        self.reader, self.specs = reader, specs
        self.tensors: dict[str, npt.NDArray[np.float32]] = {}
        for spec in (each for each in specs if each.kind is TensorKind.WEIGHT):
            matrix = reader.matrix(spec)
            self.tensors[spec.name] = canonicalise(matrix, seriate_tensor(matrix, spec)) if spec.is_matrix else matrix

    def __call__(self, measures: Measures, settings: AnalysisSettings) -> ModelAnalysis:
        return analyse_model(
            self.specs, self._load, in_file_order=self.reader.pieces, settings=settings, seed=0, measures=measures
        )

    def _load(self, spec: TensorSpec, rows: Rows) -> npt.NDArray[np.float32]:
        return self.tensors[spec.name][rows] if spec.is_matrix else self.tensors[spec.name]


@contextmanager
def opened(model: RandomModel) -> Iterator[Analysed]:
    """The model with random weights."""
    with tempfile.TemporaryDirectory(prefix="dna-zoo-bench-") as home:
        weights = Path(home) / "model"
        write_model(model, weights, 0)
        files = fetch(ModelRequest(name=str(weights)), home=Path(home))
        with WeightReader(files) as reader:
            yield Analysed(reader, list(extract(files).specs))


def timed_analysis(analysed: Analysed, measures: Measures, settings: AnalysisSettings) -> tuple[ModelAnalysis, float]:
    """What is found, and seconds; all of it is read back, so nothing is left to wait for."""
    started = time.perf_counter()
    found = analysed(measures, settings)
    return found, time.perf_counter() - started


def agreement(cpu: ModelAnalysis, device: ModelAnalysis) -> dict[str, Any]:
    """How far two analyses of one model are apart."""
    by_name = [{item.spec.name: item for item in each.tensors} for each in (cpu, device)]
    relative = largest_differences(*by_name)
    beyond = {name: size for name, size in relative.items() if size > 1}
    pairs = zip(cpu.signature.values, device.signature.values, strict=True)
    signature = max(abs((one or 0.0) - (other or 0.0)) for one, other in pairs)
    is_equal = classes_of(cpu) == classes_of(device)
    print(f"  classes {'equal' if is_equal else 'differ'}, signature {signature:.1e} apart", end="")
    print(f" (at most {SIGNATURE_TOLERANCE:.0e}); {len(beyond)} of {len(relative)} statistics beyond their tolerances")
    for name, size in sorted(beyond.items(), key=lambda item: -item[1]):
        print(f"    {name:40}{size * tolerance_of(name):.1e} (at most {tolerance_of(name):.0e})")
    return {
        "differences": {name: size * tolerance_of(name) for name, size in relative.items()},
        "tolerances": {name: tolerance_of(name) for name in relative},
        "are_within": not beyond and signature <= SIGNATURE_TOLERANCE,
        "signature_difference": signature,
        "classes_are_equal": is_equal,
    }


def classes_of(found: ModelAnalysis) -> list[str]:
    """Of the model, and of each role that has one."""
    roles = (role.classification for role in found.roles)
    return [found.classification.pattern_class, *(each.pattern_class for each in roles if each is not None)]


class _Operations(TorchDispatchMode):
    """Counts what PyTorch is told to do, and nothing else: views are counted, too."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def count_operations(specs: Sequence[TensorSpec], settings: AnalysisSettings) -> tuple[int, int]:
    """Stacks of an analysis on a device with enough memory, and operations in them; nothing is computed."""
    measures = OnDevice(torch.device("meta"))
    stacks = [
        (stack, versions)
        for group in measures.groups([spec for spec in specs if spec.is_matrix], settings.max_rows)
        for versions in _versions(group, settings)
        for stack in measures.stacks(versions)
    ]
    with _Operations() as operations:
        for places, versions in stacks:
            one = versions[places[0]]
            stack = torch.empty((len(places), one.num_rows, one.spec.cols), device="meta")
            numbers_of(stack, one.spec, one.kinds, needs_order=one.needs_order)
    return len(stacks), operations.count


def _versions(group: Sequence[TensorSpec], settings: AnalysisSettings) -> Iterator[list[Version]]:
    """Of a group of matrices: they and their nulls, then their samples; none of them can be made."""
    rows, is_sampled = min(group[0].rows, settings.max_rows), group[0].rows > settings.max_rows
    alone = partial(Version, num_rows=rows, make=lambda: np.empty((0, 0), dtype=np.float32))
    yield [
        alone(spec=spec, kinds=(kind,), is_canonical=draw == 0)
        for spec in group
        for kind in NULLS
        for draw in range(1 + settings.num_nulls)
    ]
    if is_sampled:
        yield [alone(spec=spec, kinds=tuple(NULLS)) for spec in group for _ in range(NUM_SAMPLES)]


def stack_waits(device: torch.device, *, size: int = 384) -> dict[str, Any]:
    """Waits of the host in a stack of eight matrices, by kind of statistics; PyTorch's solver has one a call."""
    spec = TensorSpec(
        name="any", tensor="any", dtype="F32", rows=size, cols=size, role=Role.FFN_IN, row_axis=Axis.HIDDEN,
        col_axis=Axis.RESIDUAL,
    )  # fmt: skip
    stack, found = torch.randn(8, size, size, device=device), {}
    for kind in NULLS:
        numbers_of(stack, spec, (kind,), needs_order=True)
        found[kind] = waits_of(lambda kind=kind: numbers_of(stack, spec, (kind,), needs_order=True))  # type: ignore[misc]
        tell_waits(kind, found[kind], "a stack")
    return found
