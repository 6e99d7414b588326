"""How well a rebuilt model works, beside the original and beside other codes of as many bits."""

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from library.codes.codes import Code, Means, TruncatedSvd, forms_of
from library.codes.rounding import PlainRounding
from library.evaluate.behaviour import Behaviour, compare, run
from library.evaluate.choice import GivenInputs, choose_inputs
from library.evaluate.inputs import Inputs
from library.evaluate.peak import peak_bytes
from library.evaluate.shuffled import shuffled_matrices
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Bench:
    """The original, and how others are held against it."""

    model: MinedModel
    model_class: str
    builder: Builder
    stored: StoredModel
    state: Mapping[str, torch.Tensor]
    inputs: Inputs
    original: Behaviour
    specs: tuple[TensorSpec, ...]
    """Of the matrices that are replaced."""
    energies: Mapping[str, float]

    @classmethod
    def of(
        cls, model: MinedModel, reader: WeightReader, specs: tuple[TensorSpec, ...], choose: Callable[[Any], Inputs]
    ) -> "_Bench":
        """Build the original and run it on the inputs that `choose` makes of it."""
        builder = Builder.of(model.key, model.files.config)
        stored = StoredModel(reader=reader, parts=parts_of(model.dna))
        state = {name: stored.tensor(name) for name in stored.tensors}
        original, fits = builder.build(state), model.fits()
        inputs = choose(original)
        return cls(
            model=model,
            model_class=type(original).__name__,
            builder=builder,
            stored=stored,
            state=state,
            inputs=inputs,
            original=run(original, inputs),
            specs=specs,
            energies={spec.name: fits[spec.name].mean_mse * spec.num_weights for spec in specs},
        )

    @property
    def weights(self) -> int:
        """That are replaced."""
        return sum(spec.num_weights for spec in self.specs)

    def measure(self, code: str, matrices: Mapping[str, Float32], bits: float, detail: str = "") -> Measured:
        """Build the model with these matrices and run it."""
        held = {name: matrices[name] for name in matrices}
        error = 0.0
        for spec in self.specs:
            difference = self.stored.reader.matrix(spec) - held[spec.name]
            error += float(np.square(difference, dtype=np.float64).sum())
        other = StoredModel(reader=self.stored.reader, parts=self.stored.parts, matrices=held)
        changed = {name: other.tensor(name) for name in other.replaced}
        behaviour = run(self.builder.build({**self.state, **changed}), self.inputs)
        return Measured(
            code=code,
            bits=bits,
            bits_per_weight=bits / self.weights,
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
    - `with_shuffled`: whether the DNA of shuffled weights is run too. Mining keeps it; where it did not, it is fitted.

    Raises `UnbuildableModelError` where transformers has no class for it, `SettingsError` where there are no inputs.
    """
    request, started = request or Request(bits=8), time.perf_counter()
    models = sorted(models, key=lambda each: each.budget)

    def choose(model: Any) -> Inputs:
        return inputs(model) if inputs else choose_inputs(model, models[0].folder, given or GivenInputs())

    with WeightReader(models[0].files) as reader:
        replaced = [RebuiltMatrices(each, reader, request) for each in models]
        bench = _Bench.of(models[0], reader, replaced[0].specs, choose)
        points = tuple(_points(bench, models, replaced, request, with_shuffled, on_event))
    return Evaluation(
        model=bench.model.key,
        kind=bench.original.kind,
        model_class=bench.model_class,
        inputs=bench.inputs.source,
        num_inputs=bench.inputs.count,
        weights=bench.weights,
        bits=request.bits,
        residual_bits=request.residual_bits,
        original=bench.original.own,
        points=points,
        seconds=time.perf_counter() - started,
        peak_bytes=peak_bytes(),
    )


def _points(
    bench: _Bench,
    models: Sequence[MinedModel],
    replaced: Sequence[RebuiltMatrices],
    request: Request,
    with_shuffled: bool,
    on_event: OnEvent,
) -> Iterator[Point]:
    """The budgets, one after the other."""
    codes = _codes(bench.specs, bench.stored.reader.matrix, max(matrices.bits for matrices in replaced))
    progress = _Progress(on_event, bench.model.key, len(models) * (len(codes) + 1 + with_shuffled))
    for model, matrices in zip(models, replaced, strict=True):
        measured = _measured(bench, model, matrices, codes, request, with_shuffled, progress)
        yield Point(budget=model.budget, run=model.pattern.run, measured=tuple(measured))


def _codes(specs: Sequence[TensorSpec], load: Callable[[TensorSpec], Float32], most_bits: float) -> list[Code]:
    """The codes without a network, each measured once."""
    forms = [forms_of(load(spec)) for spec in specs]
    return [
        TruncatedSvd(specs, load, most_bits=most_bits, forms=forms),
        PlainRounding(specs, load),
        Means(specs, load, forms=forms),
        Means(specs, load, name="mean", only_mean=True, forms=forms),
    ]


def _measured(
    bench: _Bench,
    model: MinedModel,
    matrices: RebuiltMatrices,
    codes: Sequence[Code],
    request: Request,
    with_shuffled: bool,
    progress: "_Progress",
) -> Iterator[Measured]:
    """The DNA, then the others; one model at a time is in memory beside the original's tensors."""
    bits = matrices.bits
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
        shuffled = shuffled_matrices(model, bench.stored.reader, names, bits=request.bits, on_event=progress.on_event)
        yield bench.measure("shuffled", shuffled, shuffled.bits)
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
