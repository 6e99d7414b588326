"""Small fits for tests: settings that take a fraction of a second, planted matrices, a DNA rebuilt from its file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.dna.dna import Dna
from pipeline.dna.file import DNA_FILE, write_dna
from pipeline.dna.make import dna_contents
from pipeline.events import OnEvent, ignore
from pipeline.fit.stage import FitResult, clear_networks, fit
from pipeline.order import canonicalise, raw_order, seriate
from pipeline.settings import FitSettings
from zoo.layout import Layout
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
    orders = {spec.name: _order(spec, matrix, settings) for spec, matrix in matrices.items()}
    shown = {spec.name: canonicalise(matrix, orders[spec.name]) for spec, matrix in matrices.items()}
    result = fit(
        list(matrices),
        lambda spec: shown[spec.name],
        settings,
        order_bits={name: order.bits for name, order in orders.items()},
        device="cpu",
        seed=seed,
        directory=directory,
        model="toy",
        widths=widths,
        on_event=on_event,
    )
    assert result is not None
    contents = dna_contents(
        result.networks,
        result.tensors,
        settings,
        specs=list(matrices),
        orders=orders,
        layouts={spec.name: Layout.of(spec, (spec.rows, spec.cols)) for spec in matrices},
        model="toy",
        digest="0" * 64,
    )
    write_dna(directory / DNA_FILE, contents)
    clear_networks(directory)
    return result


def rebuild(directory: Path) -> dict[str, Float32]:
    """Every tensor as the DNA that `fit_matrices` left alone has it, original units, file order."""
    return {name: tensor.in_file_order().numpy() for name, tensor in Dna.load(directory / DNA_FILE).items()}
