"""Small fits for tests: settings that take a fraction of a second, planted matrices, a DNA rebuilt from its file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline.dna import SeparableDna, make_pointwise
from pipeline.posing import pose
from pipeline.problem import generator_for
from pipeline.settings import FitSettings
from pipeline.shapes import DnaShape
from zoo.tensors import TensorSpec

Float32 = npt.NDArray[np.float32]


def quick(**changes: Any) -> FitSettings:
    """Few epochs and a small network, unless asked otherwise."""
    defaults: dict[str, Any] = {"epochs": 20, "batch_size": 64, "budget": 0.1, "num_nulls": 1}
    return FitSettings(**defaults | changes)


def gaussian(rows: int, cols: int, seed: int = 0) -> Float32:
    return np.random.default_rng(seed).normal(size=(rows, cols)).astype(np.float32)


def low_rank(rows: int, cols: int, rank: int, seed: int = 0) -> Float32:
    """Exactly of that rank, mean and scale those of a trained layer."""
    product = gaussian(rows, rank, seed) @ gaussian(rank, cols, seed + 1)
    return (0.05 * product / np.sqrt(rank) + 0.01).astype(np.float32)


def rebuild(path: Path, specs: Sequence[TensorSpec]) -> dict[str, Float32]:
    """Every tensor as the networks in `dna.pt` alone have it, original units, canonical order."""
    data = torch.load(path, weights_only=True)
    settings = FitSettings(**data["settings"])
    by_name = {spec.name: spec for spec in specs}
    rebuilt = {}
    for networks in data["networks"]:
        rebuilt |= _rebuild_stack(networks, settings, [by_name[tensor["name"]] for tensor in networks["tensors"]])
    return rebuilt


def _rebuild_stack(networks: Any, settings: FitSettings, specs: Sequence[TensorSpec]) -> dict[str, Float32]:
    """A problem of the right shapes and no values tells which coordinates the networks saw."""
    shape = DnaShape(**{name: networks[name] for name in ("hidden_dim", "num_layers", "rank")})
    blank = FitSettings(**{name: getattr(settings, name) for name in settings.__slots__} | {"num_nulls": 0})
    ordinals = {spec.name: 0 for spec in specs}
    posed = pose(
        specs,
        lambda spec: np.zeros((spec.rows, spec.cols), dtype=np.float32),
        blank,
        seed=0,
        ordinals=ordinals,
        device=torch.device("cpu"),
    )
    net = posed.problem.build(shape, blank, [generator_for(0)] * posed.problem.num_slots)
    assert isinstance(net, SeparableDna) or type(net) is type(_pointwise_like(settings))
    net.load_state_dict(networks["state"])
    rebuilt = {}
    for index, (spec, tensor) in enumerate(zip(specs, networks["tensors"], strict=True)):
        part, slot = (index, 0) if settings.scope == "model" else (0, index)
        with torch.no_grad():
            values = torch.cat([predicted[slot] for _, predicted in posed.problem.predictions(net, part, 0)])
        rebuilt[spec.name] = (values.numpy() * tensor["std"] + tensor["mean"]).reshape(spec.rows, spec.cols)
    return rebuilt


def _pointwise_like(settings: FitSettings) -> torch.nn.Module:
    return make_pointwise(settings.dna_type, [generator_for(0)], in_dim=2, hidden_dim=1, num_layers=1, omega=1.0)
