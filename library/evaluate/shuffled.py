"""The DNA of shuffled weights: what the same fit makes of matrices whose values stand anywhere.

Each matrix goes the way of the fit's null: its values are shuffled, the result is put into canonical order, and a DNA
of the same size is fitted with the same settings and seed. The networks of nulls are not kept when a model is mined, so
they are fitted once more, and kept in the home. What such a DNA says is carried back to where each value came from: it
is as good a code of the weights as a DNA is where there is nothing to find.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from library.rebuild.rounded import rounded_dna
from library.rebuild.source import MinedModel
from pipeline.devices import resolve_device
from pipeline.dna.dna import Dna
from pipeline.dna.file import DNA_FILE, write_dna
from pipeline.dna.make import dna_contents
from pipeline.events import OnEvent, ignore
from pipeline.fit.prepare import draw_null, ordinals_of
from pipeline.fit.sizing import choose_size
from pipeline.fit.split import LEVELS
from pipeline.fit.stage import SPLIT_FILE, clear_networks, fit, fit_version
from pipeline.kept.sealed import save_json
from pipeline.kept.stages import StageStore, content_key
from pipeline.order import CanonicalOrder, canonicalise, raw_order, seriate_tensor
from pipeline.settings import FitSettings
from pipeline.weights.reader import WeightReader
from zoo.layout import Layout
from zoo.tensors import TensorSpec

__all__ = ["ShuffledMatrices", "fit_shuffled"]

STAGE = "shuffled-fit"
VERSION = "1"
"""Where a fit looks for how its budget is shared out."""

Float32 = npt.NDArray[np.float32]
Places = npt.NDArray[np.signedinteger[Any]]


class ShuffledMatrices(Mapping[str, Float32]):
    """Name of a matrix -> the DNA of its shuffled values, each where it came from; float32 (rows, cols), file order."""

    def __init__(self, dna: Dna, names: tuple[str, ...], places: Mapping[str, Places]) -> None:
        self._dna, self._names, self._places = dna, names, places

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __getitem__(self, name: str) -> Float32:
        drawn = self._dna[name].in_file_order().numpy()
        found = np.empty(drawn.size, dtype=np.float32)
        found[self._places[name]] = drawn.ravel()
        return found.reshape(drawn.shape)


def fit_shuffled(
    model: MinedModel,
    reader: WeightReader,
    names: tuple[str, ...],
    *,
    bits: int | None,
    on_event: OnEvent = ignore,
) -> ShuffledMatrices:
    """Fit the shuffled matrices of the model, or take what an earlier call left in its home.

    - `names`: the matrices that are wanted; all are fitted, as the settings may have one DNA for all;
    - `bits`: width of the networks' weights; None for float32.
    """
    specs = [tensor.spec for tensor in model.dna.tensors]
    ordinals, seed = ordinals_of(specs), int(model.pattern.settings["seed"])
    asked = str(model.pattern.settings["device"])
    device = asked if asked == "cpu" else resolve_device("auto")
    settings = replace(model.dna.settings, num_nulls=0)
    drawn = _Draws(reader, settings, seed, ordinals)

    def compute(directory: Path) -> Any:
        levels = _levels(model.dna)
        save_json(directory / SPLIT_FILE, levels)
        result = fit(
            specs,
            drawn.ordered,
            settings,
            order_bits={spec.name: 0.0 for spec in specs},
            device=device,
            seed=seed,
            directory=directory,
            model=f"shuffled {model.key}",
            widths=(),
            on_event=on_event,
        )
        assert result is not None
        contents = dna_contents(
            result.networks,
            result.tensors,
            settings,
            specs=specs,
            orders={spec.name: drawn.order(spec) for spec in specs},
            layouts={spec.name: Layout.of(spec, (spec.rows, spec.cols)) for spec in specs},
            model=model.key,
            digest=model.files.digest,
        )
        write_dna(directory / DNA_FILE, contents)
        clear_networks(directory)
        return {"matrices": len(specs)}

    key = content_key(VERSION, fit_version(settings), model.files.digest, asdict(settings), device, seed)
    finished = StageStore(model.home).run(STAGE, key, compute, files=(DNA_FILE,))
    dna = Dna.load(finished.directory / DNA_FILE)
    places = {spec.name: drawn.places(spec) for spec in specs if spec.name in names}
    return ShuffledMatrices(dna if bits is None else rounded_dna(dna, bits), names, places)


class _Draws:
    """The shuffled matrices and their canonical orders. Each is drawn once, as the places that its values come from."""

    def __init__(self, reader: WeightReader, settings: FitSettings, seed: int, ordinals: Mapping[str, int]) -> None:
        self._reader, self._settings, self._seed, self._ordinals = reader, settings, seed, ordinals
        self._orders: dict[str, CanonicalOrder] = {}
        self._places: dict[str, Places] = {}

    def order(self, spec: TensorSpec) -> CanonicalOrder:
        if spec.name not in self._orders:
            self.ordered(spec)
        return self._orders[spec.name]

    def ordered(self, spec: TensorSpec) -> Float32:
        """The shuffled matrix in its order."""
        drawn = np.take(self._reader.matrix(spec).ravel(), self.places(spec)).reshape(spec.rows, spec.cols)
        if spec.name not in self._orders:
            is_raw = self._settings.order == "raw"
            self._orders[spec.name] = raw_order(spec.rows, spec.cols) if is_raw else seriate_tensor(drawn, spec)
        return canonicalise(drawn, self._orders[spec.name])

    def places(self, spec: TensorSpec) -> Places:
        """Where in the matrix each value of the shuffled one comes from, flat: what the null does to places, it does to
        any values."""
        if spec.name not in self._places:
            kind = np.int32 if spec.num_weights <= np.iinfo(np.int32).max else np.int64
            places = np.arange(spec.num_weights, dtype=kind).reshape(spec.rows, spec.cols)
            drawn = draw_null(places, spec, self._seed, self._ordinals[spec.name], "shuffle", 0)  # type: ignore[arg-type]
            self._places[spec.name] = drawn.ravel()  # type: ignore[assignment]
        return self._places[spec.name]


def _levels(dna: Dna) -> dict[str, float]:
    """Each matrix's multiple of the even share of the budget, as the size of its network tells."""
    found = {}
    for kept in dna.contents.tensors:
        spec, means = kept.spec, (kept.row_means, kept.col_means)
        spent = sum(len(each) for each in means if each is not None)
        for level in LEVELS:
            size = choose_size(
                dna.settings,
                num_weights=spec.num_weights,
                shortest_axis=min(spec.rows, spec.cols),
                in_dim=1,
                level=level,
                spent=spent,
            )
            if size == dna.contents.networks[kept.network].size:
                found[spec.name] = level
                break
    return found
