"""The DNA of shuffled weights: what the same fit makes of matrices whose values stand anywhere.

It is the first draw of the fit's null: the values of the canonical matrix are shuffled, the result is put into
canonical order, and a network of the same size is trained from the same start. Mining keeps these networks; where it
did not (without nulls, by an older version, or the file is lost or damaged), they are trained once more and kept in the
home. What such a DNA says is carried back to where each value came from: it is as good a code of the weights as a DNA
is where there is nothing to find, and its R2 is that of the null.

A copy trains beside others than in mining then, so that its values agree to rounding and not to the last bit.
"""

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError

from dna_zoo.errors import DnaFileError
from library.rebuild.rounded import rounded_dna
from library.rebuild.source import MinedModel
from pipeline.dna.decoder import build_network
from pipeline.dna.dna import Dna, DnaTensor
from pipeline.dna.file import DNA_FILE, SHUFFLED_FILE, write_dna
from pipeline.dna.make import dna_contents
from pipeline.events import OnEvent, ignore
from pipeline.fit.networks import count_parameters
from pipeline.fit.prepare import draw_null
from pipeline.fit.quantise import quantise, stored_bits
from pipeline.fit.report import STORED_BITS
from pipeline.fit.sizing import MOMENTS, choose_size
from pipeline.fit.split import LEVELS
from pipeline.fit.stage import SPLIT_FILE, clear_networks, fit, fit_version
from pipeline.kept.sealed import save_json
from pipeline.kept.stages import StageStore, content_key
from pipeline.machine.devices import resolve_device
from pipeline.nulls import ordinals_of
from pipeline.order import (
    ORDER_FILE,
    CanonicalOrder,
    canonicalise,
    raw_order,
    read_orders,
    restore,
    seriate_tensor,
)
from pipeline.settings import FitSettings
from pipeline.weights.reader import WeightReader
from zoo.layout import Layout
from zoo.tensors import TensorSpec

__all__ = ["STAGE", "ShuffledMatrices", "shuffled_matrices"]

log = logging.getLogger(__name__)

STAGE = "shuffled-fit"
"""Of what is fitted here."""
VERSION = "2"

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShuffledMatrices(Mapping[str, Float32]):
    """Name of a matrix -> the DNA of its shuffled values, each where it came from; float32 (rows, cols), file order."""

    dna: Dna
    """Of the shuffled copies, as they were drawn; its numbers are rounded."""
    names: tuple[str, ...]
    copies: "_Copies"
    bits: float
    """Of these matrices, in all: networks, means, scales and orders."""

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __getitem__(self, name: str) -> Float32:
        tensor = self.dna[name]
        return self.copies.carried_back(tensor.in_file_order().numpy(), tensor.spec)


def shuffled_matrices(
    model: MinedModel,
    reader: WeightReader,
    names: tuple[str, ...],
    *,
    bits: int | None,
    on_event: OnEvent = ignore,
) -> ShuffledMatrices:
    """The shuffled matrices as mining kept them, or fitted now, or as an earlier call left them in the home.

    - `names`: the matrices that are wanted; where they are fitted, all are, as the settings may have one DNA for all;
    - `bits`: width of the networks' weights; None for float32.
    """
    specs = [tensor.spec for tensor in model.dna.tensors]
    orders = _mined_orders(model, specs)
    dna = _mined(model) if orders else None
    copies = _Copies(
        reader=reader,
        orders=orders or {spec.name: _order(reader.matrix(spec), spec, model.dna.settings) for spec in specs},
        ordinals=ordinals_of(specs),
        settings=model.dna.settings,
        seed=int(model.pattern.settings["seed"]),
    )
    dna = dna or _fitted(model, copies, specs, on_event)
    return ShuffledMatrices(
        dna=dna if bits is None else rounded_dna(dna, bits),
        names=names,
        copies=copies,
        bits=math.fsum(_bits(dna[name], bits, dna) for name in names),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Copies:
    """The first shuffled copy of each canonical matrix, drawn as the fit draws its null."""

    reader: WeightReader
    orders: Mapping[str, CanonicalOrder]
    """Canonical orders of the matrices."""
    ordinals: Mapping[str, int]
    settings: FitSettings
    seed: int

    def drawn(self, spec: TensorSpec) -> Float32:
        """The copy (rows, cols) in no order."""
        return self._draw(canonicalise(self.reader.matrix(spec), self.orders[spec.name]), spec)

    def carried_back(self, values: Float32, spec: TensorSpec) -> Float32:
        """Values (rows, cols) of the copy as it was drawn, where they came from: in file order."""
        # What the null does to places, it does to any values.
        kind = np.int32 if spec.num_weights <= np.iinfo(np.int32).max else np.int64
        places = self._draw(np.arange(spec.num_weights, dtype=kind).reshape(spec.rows, spec.cols), spec)
        canonical = np.empty(spec.num_weights, dtype=np.float32)
        canonical[places.ravel()] = values.ravel()
        return restore(canonical.reshape(spec.rows, spec.cols), self.orders[spec.name])

    def _draw(self, matrix: npt.NDArray[Any], spec: TensorSpec) -> npt.NDArray[Any]:
        return draw_null(matrix, spec, self.seed, self.ordinals[spec.name], "shuffle", 0)


def _order(matrix: Float32, spec: TensorSpec, settings: FitSettings) -> CanonicalOrder:
    """Of a matrix or a copy of it."""
    return raw_order(spec.rows, spec.cols) if settings.order == "raw" else seriate_tensor(matrix, spec)


def _mined_orders(model: MinedModel, specs: list[TensorSpec]) -> Mapping[str, CanonicalOrder] | None:
    """The canonical orders that mining kept; None where they are not there any more."""
    if model.dna.settings.order == "raw":
        return {spec.name: raw_order(spec.rows, spec.cols) for spec in specs}
    try:
        return read_orders(StageStore(model.home).directory("order", model.keys.order) / ORDER_FILE, specs)
    except (OSError, LookupError, ValueError, SafetensorError):
        return None


def _mined(model: MinedModel) -> Dna | None:
    """The DNA of the shuffled copies that mining kept; None where it is not there, or not as it was written."""
    path = StageStore(model.home).directory("fit", model.keys.fit) / SHUFFLED_FILE
    if not path.exists():
        return None
    try:
        found = Dna.load(path)
    except DnaFileError as error:
        log.warning("%s It is fitted again.", error.message)
        return None
    return found if set(found) == set(model.dna) else None


def _fitted(model: MinedModel, copies: _Copies, specs: list[TensorSpec], on_event: OnEvent) -> Dna:
    """Fit the shuffled copies, or take what an earlier call left."""
    asked = str(model.pattern.settings["device"])
    device = asked if asked == "cpu" else resolve_device("auto")
    settings = replace(copies.settings, num_nulls=0)
    levels, bought = _levels(model.dna), _bought(model.dna)
    orders: dict[str, CanonicalOrder] = {}

    def load(spec: TensorSpec) -> Float32:
        drawn = copies.drawn(spec)
        if spec.name not in orders:
            orders[spec.name] = _order(drawn, spec, settings)
        return canonicalise(drawn, orders[spec.name])

    def compute(directory: Path) -> Any:
        save_json(directory / SPLIT_FILE, levels)
        result = fit(
            specs,
            load,
            settings,
            order_bits={spec.name: 0.0 for spec in specs},
            device=device,
            seed=copies.seed,
            directory=directory,
            model=f"shuffled {model.key}",
            widths=(),
            bought=bought,
            on_event=on_event,
        )
        assert result is not None
        for spec in specs:  # Of a fit that was killed some are done, and were not loaded.
            if spec.name not in orders:
                load(spec)
        contents = dna_contents(
            result.networks,
            result.tensors,
            settings,
            specs=specs,
            orders=orders,
            layouts={spec.name: Layout.of(spec, (spec.rows, spec.cols)) for spec in specs},
            model=f"shuffled {model.key}",
            digest=model.files.digest,
        )
        write_dna(directory / DNA_FILE, contents)
        clear_networks(directory)
        return {"matrices": len(specs)}

    parts = (model.files.digest, asdict(settings), levels, bought, device, copies.seed)
    key = content_key(VERSION, fit_version(settings), *parts)
    finished = StageStore(model.home).run(STAGE, key, compute, files=(DNA_FILE,))
    return Dna.load(finished.directory / DNA_FILE)


def _bought(dna: Dna) -> dict[str, int]:
    """How many means the DNA of each matrix has bought: its network has as many numbers less."""
    return {tensor.name: _num_means(tensor) for tensor in dna.tensors}


def _num_means(tensor: DnaTensor) -> int:
    return sum(len(means) for means in (tensor.kept.row_means, tensor.kept.col_means) if means is not None)


def _levels(dna: Dna) -> dict[str, float]:
    """Each matrix's multiple of the even share of the budget, as the size of its network tells."""
    found, bought = {}, _bought(dna)
    for kept in dna.contents.tensors:
        spec = kept.spec
        for level in LEVELS:
            size = choose_size(
                dna.settings,
                num_weights=spec.num_weights,
                shortest_axis=min(spec.rows, spec.cols),
                in_dim=1,
                level=level,
                spent=bought[spec.name],
            )
            if size == dna.contents.networks[kept.network].size:
                found[spec.name] = level
                break
    return found


def _bits(tensor: DnaTensor, width: int | None, dna: Dna) -> float:
    """What is stored of a copy, counted as the fit report counts (`library.rebuild.rounded.dna_bits`); a mean that it
    bought, which noise hardly ever does, at 16 bits where networks are rounded."""
    spec, settings = tensor.spec, dna.settings
    net = build_network(dna.contents.networks[tensor.kept.network], settings, tensor.kept.slot)
    network = STORED_BITS * count_parameters(net) if width is None else stored_bits(quantise(net, width))
    share = 1.0
    if settings.scope == "model":
        share = spec.num_weights / sum(each.spec.num_weights for each in dna.tensors)
    means = _num_means(tensor) * (STORED_BITS if width is None else 16)
    return share * network + means + MOMENTS * STORED_BITS + tensor.order.bits
