"""Small fits for tests: settings that take a fraction of a second, planted matrices, a DNA rebuilt from its file."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline.events import OnEvent, ignore
from pipeline.fit.prepare import ordinals_of, prepare
from pipeline.fit.problem import generator_for
from pipeline.fit.sizing import NetworkSize
from pipeline.fit.stage import FitResult, fit
from pipeline.order import canonicalise, raw_order, seriate
from pipeline.settings import FitSettings
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


def truncated(matrix: Float32, rank: int) -> float:
    """Sum of squares that the best approximation of that rank explains, by numpy's own factorisation."""
    left, values, right = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    approximation = (left[:, :rank] * values[:rank]) @ right[:rank]
    return float((matrix.astype(np.float64) ** 2).sum() - ((matrix - approximation) ** 2).sum())


def shuffled(matrix: Float32, seed: int = 0) -> Float32:
    """Rows and columns in an order that tells nothing."""
    rng = np.random.default_rng(seed)
    return matrix[rng.permutation(len(matrix))][:, rng.permutation(matrix.shape[1])]


def canonical(matrices: Mapping[TensorSpec, Float32], settings: FitSettings) -> dict[str, Float32]:
    """What the network is shown of each matrix."""
    return {spec.name: canonicalise(matrix, _order(spec, matrix, settings)) for spec, matrix in matrices.items()}


def _order(spec: TensorSpec, matrix: Float32, settings: FitSettings) -> Any:
    if settings.order == "raw" or not spec.is_matrix:
        return raw_order(spec.rows, spec.cols)
    return seriate(matrix, row_axis=spec.row_axis, col_axis=spec.col_axis)


def fit_matrices(
    matrices: Mapping[TensorSpec, Float32],
    settings: FitSettings,
    directory: Path,
    *,
    seed: int = 0,
    widths: Sequence[int] = (8,),
    on_event: OnEvent = ignore,
) -> FitResult:
    """The fit stage on matrices in file order."""
    shown = canonical(matrices, settings)
    result = fit(
        list(matrices),
        lambda spec: shown[spec.name],
        settings,
        order_bits={spec.name: _order(spec, matrix, settings).bits for spec, matrix in matrices.items()},
        device="cpu",
        seed=seed,
        directory=directory,
        model="toy",
        widths=widths,
        on_event=on_event,
    )
    assert result is not None
    return result


def rebuild(path: Path, specs: Sequence[TensorSpec]) -> dict[str, Float32]:
    """Every tensor as the networks in `dna.pt` alone have it, original units, canonical order."""
    data = torch.load(path, weights_only=True)
    settings = replace(FitSettings(**data["settings"]), num_nulls=0)
    by_name = {spec.name: spec for spec in specs}
    rebuilt = {}
    for networks in data["networks"]:
        rebuilt |= _rebuild_stack(networks, settings, [by_name[tensor["name"]] for tensor in networks["tensors"]])
    return rebuilt


def _rebuild_stack(networks: Any, settings: FitSettings, specs: Sequence[TensorSpec]) -> dict[str, Float32]:
    """A problem of the right shapes, all zeros, knows the coordinates that the networks saw."""
    problem = prepare(
        specs,
        lambda spec: np.zeros((spec.rows, spec.cols), dtype=np.float32),
        settings,
        seed=0,
        ordinals=ordinals_of(specs),
        device=torch.device("cpu"),
    ).problem
    size = NetworkSize(**{name: networks[name] for name in ("hidden_dim", "num_layers", "rank", "num_branches")})
    net = problem.build(size, settings, [generator_for(0)] * problem.num_slots)
    net.load_state_dict(networks["state"])
    rebuilt = {}
    for index, (spec, tensor) in enumerate(zip(specs, networks["tensors"], strict=True)):
        part, slot = (index, 0) if settings.scope == "model" else (0, index)
        with torch.no_grad():
            values = torch.cat([predicted[slot] for _, predicted in problem.predictions(net, part, 0)])
        found = (values.numpy() * tensor["scale"] + tensor["mean"]).reshape(spec.rows, spec.cols)
        placed = np.empty_like(found)
        rows, cols = tensor.get("row_places", np.arange(spec.rows)), tensor.get("col_places", np.arange(spec.cols))
        placed[np.ix_(rows, cols)] = found
        rebuilt[spec.name] = placed + _means_of(tensor, "row_means")[..., None] + _means_of(tensor, "col_means")
    return rebuilt


def _means_of(tensor: Any, name: str) -> Float32:
    """The means that the file holds, or 0."""
    found: Float32 = tensor[name].numpy() if name in tensor else np.zeros(1, dtype=np.float32)
    return found
