"""The starts that are compared. Each changes a model with default random weights in place."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel

from benchmarks.initialise.networks import NETWORKS
from benchmarks.initialise.problems import Problem, new_source
from benchmarks.initialise.training import train
from benchmarks.population import lessons
from library.initialise import initialise_
from library.live import LiveTensors
from library.models import open_model
from library.patterns.build import build_pattern
from library.patterns.measure import measure_model, num_heads_of
from library.patterns.records import Lineage, SharedPattern
from library.patterns.terms.products import find_pairs

__all__ = [
    "RANGES",
    "WITHOUT_SOURCES",
    "Sources",
    "make_sources",
    "make_starts",
    "population_sources",
    "trained_sources",
]

WITHOUT_SOURCES = ("default", "closed form", "transformers", "unit scale")
"""Starts that are the same whatever the sources are."""

RANGES = {"transformers": 0.02, "unit scale": 32**-0.5}
"""Start -> `initializer_range` of a target (they are 32 wide) where it is another than the default."""

QUERY_KEY, OUTPUT_VALUE = (0.7, 0.7), (0.4, -0.4)
"""Weights of the noise and of the identity (Trockman & Kolter 2023, section 4)."""
Start = Callable[[PreTrainedModel, int], object]
"""Changes the model; the number is the seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The larger trained models, and what was mined in them."""

    first: PreTrainedModel
    """The one that weights are selected from."""
    pattern: SharedPattern
    shuffled: SharedPattern
    """Of shuffled copies of all of them; its vectors and scales are those of the pattern."""


def trained_sources(problem: Problem, *, count: int, seed: int) -> list[PreTrainedModel]:
    """`count` larger models from different seeds."""
    models = []
    for number in range(count):
        model = new_source(problem, seed=seed + number)
        if problem.has_population_sources:
            _train_as_root(problem, model, seed=seed + number)
        else:
            train(problem, model, seed=seed + number, is_source=True)
        models.append(model)
    return models


def _train_as_root(problem: Problem, model: PreTrainedModel, *, seed: int) -> None:
    """As `benchmarks.population` trains a root, on the text of the problem's sources."""
    architecture = NETWORKS[problem.architecture]
    lessons.train(
        model,
        lessons.draw_from(architecture, problem.source_text),
        steps=problem.source_steps,
        learning_rate=architecture.learning_rate,
        weight_decay=architecture.weight_decay,
        seed=seed,
    )


def population_sources(problem: Problem, folder: Path) -> list[PreTrainedModel]:
    """The roots of the architecture that `benchmarks.population` left in a folder."""
    roots = [path for path in sorted(folder.glob(f"{problem.architecture}-?")) if path.is_dir()]
    return [open_model(path).model for path in roots]


def make_sources(problem: Problem, models: Sequence[PreTrainedModel], *, num_draws: int, seed: int) -> Sources:
    """Build both patterns of these models, each a lineage of its own."""
    count = len(models)
    tensors = [LiveTensors(model).tensors for model in models]
    lineages = [Lineage(name=f"{problem.name}-{i}", models=(f"{problem.name}-{i}",)) for i in range(count)]
    measured = [measure_model(each) for each in tensors]
    # One more than is asked for: the pattern of shuffled models is of copies that it is not tested against.
    shuffled = [[measure_model(each, draw=draw, seed=seed) for draw in range(num_draws + 1)] for each in tensors]
    pattern = build_pattern(problem.name, lineages, measured, [draws[:num_draws] for draws in shuffled], seed=seed)
    # What no shuffle changes stays as it is: the two patterns differ in structure alone.
    copies = [{**found, **draws[-1]} for found, draws in zip(measured, shuffled, strict=True)]
    plain = build_pattern(f"{problem.name}-shuffled", lineages, copies, [], seed=seed)
    used = {key: part for key, part in plain.parts.items() if key in pattern.parts and pattern.parts[key].is_used}
    return Sources(first=models[0], pattern=pattern, shuffled=replace(plain, parts=used))


def make_starts(problem: Problem, sources: Sources) -> dict[str, Start]:
    """Name -> start. `default` has normal weights of 0.1, as the population and the specimens have; `transformers`
    those of 0.02 that its configurations name for wide models; `unit scale` those of 1 / sqrt(width): whether the
    pattern has more to say than that. The closed form is for attention; a CNN's start has no such setting."""
    starts: dict[str, Start] = {
        "default": lambda model, seed: None,
        "pattern": lambda model, seed: initialise_(model, sources.pattern, _generator(seed)),
        "shuffled pattern": lambda model, seed: initialise_(model, sources.shuffled, _generator(seed)),
        "closed form": lambda model, seed: mimetic_(model, np.random.default_rng(seed)),
        "transformers": lambda model, seed: None,
        "unit scale": lambda model, seed: None,
        "selected weights": lambda model, seed: select_(model, sources.first),
    }
    if problem.name in ("cnn", "convnext"):
        del starts["closed form"]
    if problem.name == "cnn":
        del starts["transformers"], starts["unit scale"]
    if not any(part.is_used for part in sources.pattern.parts.values()):
        # Nothing of it would be used: it is the default start.
        del starts["pattern"], starts["shuffled pattern"]
    return starts


def mimetic_(model: PreTrainedModel, rng: np.random.Generator) -> None:
    """`W_q^T W_k` of each head near alpha Z + beta I at the head's rank, `W_o W_v` too, and sinusoidal positions
    (Trockman & Kolter 2023)."""
    live = LiveTensors(model)
    for pair in find_pairs(live.specs):
        if pair.has_heads:
            alpha, beta = QUERY_KEY if pair.subject == "query_key" else OUTPUT_VALUE
            leader, led = live.view(pair.leader), live.view(pair.led)
            size = leader.values.shape[1]
            heads = num_heads_of(pair.leader, live.config) if pair.subject == "query_key" else 1
            ones, twos = zip(
                *(_factors(size, leader.values.shape[0] // heads, alpha, beta, rng) for _ in range(heads)), strict=True
            )
            one, two = np.concatenate(ones), np.concatenate(twos)
            # The product of the pair is two^T one for output and value, one^T two for query and key.
            live.store(leader.with_values(np.ascontiguousarray(one)))
            live.store(led.with_values(np.ascontiguousarray(two.T if pair.led_writes else two)))
    for spec in live.specs:
        if spec.role == "position_embedding" and spec.rows > 1:
            view = live.view(spec)
            live.store(view.with_values(_sinusoids(*view.values.shape) * float(view.values.std()) * np.sqrt(2)))


def _factors(
    size: int, rank: int, alpha: float, beta: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Two matrices (rank, size) whose product one^T two is the best of its rank to alpha Z + beta I."""
    product = alpha * rng.standard_normal((size, size)) / np.sqrt(size) + beta * np.eye(size)
    left, singular, right = np.linalg.svd(product)
    root = np.sqrt(singular[:rank])[:, None]
    return root * left.T[:rank], root * right[:rank]


def _sinusoids(places: int, size: int) -> np.ndarray:
    """Vaswani et al. (2017)."""
    rates = 10_000.0 ** (-2 * np.arange(size // 2) / size)
    angles = np.arange(places)[:, None] * rates
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)[:, :size]


def select_(model: PreTrainedModel, larger: PreTrainedModel) -> None:
    """Evenly spaced units of evenly spaced first layers of a larger trained model (Xu et al. 2024, uniform selection).

    What has other sizes than units (labels, words) is as it is in both.
    """
    source = dict(larger.state_dict())
    for name, value in model.state_dict().items():
        if name in source and value.ndim:
            found = source[name]
            for axis, size in enumerate(value.shape):
                picked = torch.linspace(0, found.shape[axis] - 1, size).round().long()
                found = found.index_select(axis, picked)
            value.copy_(found)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
