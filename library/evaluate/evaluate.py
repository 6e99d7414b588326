"""How well a rebuilt model works, beside the original and beside other codes of as many bits."""

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from library.codes.codes import Code, Means, TruncatedSvd
from library.codes.rounding import PlainRounding
from library.evaluate.behaviour import Behaviour, compare, run
from library.evaluate.choice import GivenInputs, choose_inputs
from library.evaluate.inputs import Inputs
from library.evaluate.peak import peak_bytes
from library.evaluate.shuffled import fit_shuffled
from library.models import Builder, Kind
from library.rebuild.matrices import RebuiltMatrices, Request
from library.rebuild.source import MinedModel
from library.rebuild.stored import StoredModel, parts_of
from pipeline.events import Event, OnEvent, ignore
from pipeline.weights.reader import WeightReader
from zoo.tensors import TensorSpec

__all__ = ["CODES", "Evaluation", "Measured", "Point", "evaluate"]

CODES: Mapping[str, str] = {
    "dna": "the DNA",
    "svd": "truncated SVD",
    "rounding": "plain rounding",
    "means": "the means",
    "mean": "the mean",
    "shuffled": "DNA of shuffled weights",
}
"""What stands for the weights, in words."""

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A model whose matrices a code stands for, beside the original."""

    code: str
    bits: float
    """What stands for the matrices takes so many in all; at most the DNA's."""
    bits_per_weight: float
    r2: float
    """Of the matrices, about the same means as in the fit report."""
    figures: Mapping[str, float]
    """How near its outputs are, and what it does by itself (`library.evaluate.behaviour`)."""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One budget: the DNA, and the other codes with as many bits."""

    budget: float
    run: str
    measured: tuple[Measured, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What was found of one model."""

    model: str
    kind: Kind
    model_class: str
    inputs: str
    num_inputs: int
    weights: int
    """That are replaced."""
    bits: int | None
    """Of a number of the DNA; None for float32."""
    residual_bits: int | None
    original: Mapping[str, float]
    """What the original does by itself."""
    points: tuple[Point, ...]
    """By budget, the smallest first."""
    seconds: float
    peak_bytes: int
    """The most memory that the process had, from its start."""


@dataclass(slots=True, kw_only=True)
class _Bench:
    """The original, and how others are held against it."""

    builder: Builder
    stored: StoredModel
    state: Mapping[str, torch.Tensor]
    inputs: Inputs
    original: Behaviour
    specs: tuple[TensorSpec, ...]
    energies: Mapping[str, float]

    def measure(self, code: str, matrices: Mapping[str, Float32], bits: float, detail: str = "") -> Measured:
        """Build the model with these matrices and run it."""
        held = {name: matrices[name] for name in matrices}
        error = 0.0
        for spec in self.specs:
            difference = self.stored.reader.matrix(spec) - held[spec.name]
            error += float(np.square(difference, dtype=np.float64).sum())
        other = StoredModel(reader=self.stored.reader, parts=self.stored.parts, matrices=held)
        changed = {name: other.tensor(name) for name in other.replaced}
        model = self.builder.build({**self.state, **changed})
        behaviour = run(model, self.inputs)
        weights = sum(spec.num_weights for spec in self.specs)
        return Measured(
            code=code,
            bits=bits,
            bits_per_weight=bits / weights,
            r2=1 - error / max(sum(self.energies.values()), 1e-300),
            figures={**compare(self.original, behaviour), **behaviour.own},
            detail=detail,
        )


def evaluate(
    models: Sequence[MinedModel],
    *,
    request: Request | None = None,
    given: GivenInputs | None = None,
    inputs: Callable[[Any], Inputs] | None = None,
    with_shuffled: bool = True,
    on_event: OnEvent = ignore,
) -> Evaluation:
    """Evaluate a model that was mined at one budget or at several.

    - `models`: the same weights, a budget each;
    - `request`: what is replaced and how finely; by default everything, the DNA's numbers at 8 bits;
    - `given`, `inputs`: what the model is run on, by default what comes with dna-zoo; `inputs` makes it of the model;
    - `with_shuffled`: whether DNAs are fitted to shuffled weights, which takes as long as mining did (once).

    Raises `UnbuildableModelError` where transformers has no class for it, `SettingsError` where there are no inputs.
    """
    request, started = request or Request(bits=8), time.perf_counter()
    models = sorted(models, key=lambda each: each.budget)
    first = models[0]
    builder = Builder.of(first.key, first.files.config)
    with WeightReader(first.files) as reader:
        stored = StoredModel(reader=reader, parts=parts_of(first.dna))
        state = {name: stored.tensor(name) for name in stored.tensors}
        model = builder.build(state)
        chosen = inputs(model) if inputs else choose_inputs(model, first.folder, given or GivenInputs())
        original = run(model, chosen)
        model_class = type(model).__name__
        del model
        replaced = [RebuiltMatrices(each, reader, request) for each in models]
        specs, fits = replaced[0].specs, first.fits()
        bench = _Bench(
            builder=builder,
            stored=stored,
            state=state,
            inputs=chosen,
            original=original,
            specs=specs,
            energies={spec.name: fits[spec.name].mean_mse * spec.num_weights for spec in specs},
        )
        budgets = [matrices.bits for matrices in replaced]
        codes = _codes(specs, reader.matrix, max(budgets))
        total = len(models) * (len(codes) + 1 + with_shuffled)
        progress = _Progress(on_event, first.key, total)
        points = []
        for each, matrices, bits in zip(models, replaced, budgets, strict=True):
            measured = list(_measured(bench, each, matrices, bits, codes, request, with_shuffled, progress))
            points.append(Point(budget=each.budget, run=each.pattern.run, measured=tuple(measured)))
    return Evaluation(
        model=first.key,
        kind=original.kind,
        model_class=model_class,
        inputs=chosen.source,
        num_inputs=chosen.count,
        weights=sum(spec.num_weights for spec in specs),
        bits=request.bits,
        residual_bits=request.residual_bits,
        original=original.own,
        points=tuple(points),
        seconds=time.perf_counter() - started,
        peak_bytes=peak_bytes(),
    )


def _codes(specs: Sequence[TensorSpec], load: Callable[[TensorSpec], Float32], most_bits: float) -> list[Code]:
    """The codes without a network, each measured once."""
    return [
        TruncatedSvd(specs, load, most_bits=most_bits),
        PlainRounding(specs, load),
        Means(specs, load),
        Means(specs, load, name="mean", only_mean=True),
    ]


def _measured(
    bench: _Bench,
    model: MinedModel,
    matrices: RebuiltMatrices,
    bits: float,
    codes: Sequence[Code],
    request: Request,
    with_shuffled: bool,
    progress: "_Progress",
) -> Iterator[Measured]:
    """The DNA, then the others; one model at a time is in memory beside the original's tensors."""
    yield bench.measure("dna", matrices, bits)
    progress.step("dna")
    for code in codes:
        spent = code.spend(bits)
        yield bench.measure(code.name, spent.matrices, spent.bits, spent.detail)
        del spent
        gc.collect()
        progress.step(code.name)
    if with_shuffled:
        names = tuple(matrices)
        shuffled = fit_shuffled(model, bench.stored.reader, names, bits=request.bits, on_event=progress.on_event)
        yield bench.measure("shuffled", shuffled, matrices.dna_bits)
        progress.step("shuffled")


@dataclass(slots=True)
class _Progress:
    on_event: OnEvent
    model: str
    total: int
    done: int = 0

    def step(self, code: str) -> None:
        self.done += 1
        self.on_event(
            Event(
                kind="progress",
                model=self.model,
                stage="evaluate",
                message=CODES[code],
                done=self.done,
                total=self.total,
                unit="models",
            )
        )
