"""DNA of whole checkpoints, fitted for a moment: what is tested is the way back to the files, not the fit."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from pipeline.dna.dna import Dna, DnaTensor
from pipeline.dna.file import DNA_FILE, write_dna
from pipeline.dna.make import dna_contents
from pipeline.fit.stage import FitResult, clear_networks, fit
from pipeline.order import CanonicalOrder, canonicalise, raw_order, seriate_tensor
from pipeline.settings import FitSettings
from pipeline.weights.files import WeightFiles
from pipeline.weights.inventory import Inventory, take_inventory
from pipeline.weights.reader import WeightReader

SPECIMENS = Path(__file__).parents[2] / "data" / "specimens"
BRIEF = FitSettings(epochs=2, batch_size=4096, hidden_dim=4, num_layers=2, rank=2, num_nulls=0)
"""Settings of a fit that takes a moment."""


@dataclass(frozen=True)
class Fitted:
    """A DNA, and what it is of."""

    path: Path
    dna: Dna
    result: FitResult
    files: WeightFiles
    inventory: Inventory

    def reported_r2(self, name: str) -> float:
        found = next(each for each in self.result.tensors if each.name == name)
        return 1 - found.errors.sse / found.sst

    def stored(self, name: str) -> torch.Tensor:
        """A tensor as the files have it, float32."""
        with WeightReader(self.files) as reader:
            return torch.from_numpy(reader.tensor(name))


def _ordered(files: WeightFiles) -> tuple[Inventory, dict[str, CanonicalOrder]]:
    with WeightReader(files) as reader:
        inventory = take_inventory(reader)
        return inventory, {spec.name: seriate_tensor(reader.matrix(spec), spec) for spec in inventory.matrices}


def fit_files(files: WeightFiles, settings: FitSettings, directory: Path) -> Fitted:
    """Order and fit a model, and write its DNA, as the chain does."""
    inventory, orders = _ordered(files)
    if settings.order == "raw":
        orders = {spec.name: raw_order(spec.rows, spec.cols) for spec in inventory.matrices}
    with WeightReader(files) as reader:
        result = fit(
            inventory.specs,
            lambda spec: canonicalise(reader.matrix(spec), orders[spec.name]),
            settings,
            order_bits={name: order.bits for name, order in orders.items()},
            device="cpu",
            seed=0,
            directory=directory,
            widths=(),
        )
        assert result is not None
        contents = dna_contents(
            result.networks,
            result.tensors,
            settings,
            specs=inventory.specs,
            orders=orders,
            layouts={spec.name: reader.layout(spec) for spec in inventory.specs},
            model=files.key,
            digest=files.digest,
        )
    write_dna(directory / DNA_FILE, contents)
    clear_networks(directory)
    return Fitted(directory / DNA_FILE, Dna.load(directory / DNA_FILE), result, files, inventory)


def r2_of(weights: torch.Tensor, guess: torch.Tensor, tensor: DnaTensor) -> float:
    """Of weights as the file has them, in float64. It is about their mean in the signs of the DNA, as the fit's is."""
    error = float((weights.double() - guess.double()).square().sum())
    signs = tensor.order.row_signs, tensor.order.col_signs
    total, square = weights.double().sum(), weights.double().square().sum()
    if any(each is not None for each in signs):
        total = torch.from_numpy(canonicalise(_view(weights, tensor), tensor.order)).double().sum()
    return 1 - error / float(square - total.square() / weights.numel())


def _view(weights: torch.Tensor, tensor: DnaTensor) -> npt.NDArray[np.float32]:
    """The matrix (R, C) of what a tensor of the DNA has in the file."""
    return (weights.T if tensor.layout.transposed else weights).reshape(tensor.shape).float().numpy()
