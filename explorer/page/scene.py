"""What the explorer shows: points of weight space, and what is known of the matrices they are from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dna_zoo.errors import SettingsError
from explorer.points import interleave, quotas, sample_places
from explorer.samples import block_means
from explorer.source import MinedMatrices, MinedMatrix, Source
from explorer.view import View
from patterndb.records import Statistic, TensorRecord
from pipeline.analyse.measures.versions import which_means
from pipeline.analyse.statistics.clusters import cluster_rows
from pipeline.analyse.statistics.spectra import BAND_EDGES, NUM_BANDS
from pipeline.order import CanonicalOrder, canonicalise

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MOST_MODELS", "NUM_POINTS", "SceneModel", "SceneTensor", "SceneView", "scene_view"]

NUM_POINTS = 50_000
"""Of each model."""
MOST_MODELS = 4
HEAT = 64
"""Cells of a matrix's picture along its longer side."""
MOST_CLUSTERED = 4096
"""Rows up to which clusters are found: the analysis takes a sample of longer tables."""
NO_CLUSTER = 255
BANDS = tuple(pairwise(BAND_EDGES))
"""Radial frequencies between which each band lies."""

DIFFERENCE = (
    " The last cloud is the first model less the second, each weight in the order of the first, where names and shapes "
    "agree."
)

Float32 = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SceneTensor:
    """One matrix: where it is in the scene, and what is shown when it is picked."""

    name: str
    role: str
    layer: int
    """From 0: what stands before the first block, then the blocks, then what is behind the last."""
    depth: float | None
    shape: tuple[int, int]
    height: float
    """Of its sheet in the scene, in [-1, 1]."""
    r2: float | None
    null_r2: float | None
    bands: tuple[Statistic, ...]
    """Energy in radial bands of its frequencies, each with its null; empty where they were not measured."""
    picture: npt.NDArray[Any]
    """Means of blocks of the canonical matrix."""
    rebuilt: npt.NDArray[Any]
    """The same of what the DNA says."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SceneModel:
    """The points of one model, N of them, in an order of which every beginning is a fair sample."""

    key: str
    total: int
    """Weights in its matrices."""
    tensors: tuple[SceneTensor, ...]
    tensor: npt.NDArray[np.uint16]
    """(N,): which matrix."""
    rows: npt.NDArray[np.uint32]
    """(N,): canonical."""
    cols: npt.NDArray[np.uint32]
    file_rows: npt.NDArray[np.uint32]
    """(N,): as the model's files number them."""
    file_cols: npt.NDArray[np.uint32]
    values: Float32
    rebuilt: Float32
    """(N,): what the DNA says there, with the signs of its own order, as the values have."""
    flipped: npt.NDArray[np.uint8]
    """(N,): 1 where the model's files have the other sign."""
    clusters: npt.NDArray[np.uint8]
    """(N,): cluster of the row, `NO_CLUSTER` where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SceneView(View):
    """One to four models, and their difference where that is asked for."""

    models: tuple[SceneModel, ...]

    def table(self) -> "pd.DataFrame":
        """A row for each point: `model`, `tensor`, `row`, `col`, `value` and `rebuilt` as in the file."""
        import pandas as pd

        return pd.concat([_points_frame(model) for model in self.models], ignore_index=True)


def _points_frame(model: SceneModel) -> "pd.DataFrame":
    import pandas as pd

    names = np.array([tensor.name for tensor in model.tensors], dtype=object)
    signs = 1 - 2 * model.flipped.astype(np.float32)
    values = {"value": signs * model.values, "rebuilt": signs * model.rebuilt}
    columns = {"row": model.file_rows, "col": model.file_cols, **values}
    return pd.DataFrame({"model": model.key, "tensor": names[model.tensor], **columns})


def scene_view(
    source: Source,
    models: Sequence[str],
    *,
    num_points: int = NUM_POINTS,
    seed: int = 0,
    difference: bool = False,
) -> SceneView:
    """Sample the models' weights.

    - `num_points`: of each model, or all it has if that is less;
    - `difference`: of two models, show also the first less the second, matrix by matrix where names and shapes agree,
      each weight at its place in the order of the first.

    Raises what `Source.matrices` does, and `SettingsError` for no model, too many, or a difference of other than two.
    """
    _require(models, num_points, difference)
    found = [_model(source, key, num_points, seed) for key in models]
    if difference:
        found.append(_difference(source, models[0], models[1], num_points, seed))
    shown = sum(len(model.values) for model in found)
    names = _listed(models)
    of_models = found[: len(models)]
    return SceneView(
        kind="explore",
        subject=tuple(models),
        title=f"The weights of {names}",
        caption=(
            f"{sum(len(model.values) for model in of_models):,} of {sum(model.total for model in of_models):,} weights "
            f"of {names}: row and column in the order of the DNA, and depth. Each matrix has as many "
            f"points, a small one all it has.{DIFFERENCE * difference}"
        ),
        alt=f"Clouds of {shown:,} weights, a sheet for each matrix, from the first block to the last.",
        n=shown,
        units={"value": "weights", "rebuilt": "weights"},
        settings={"num_points": num_points, "seed": seed, "difference": difference},
        models=tuple(found),
    )


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _require(models: Sequence[str], num_points: int, difference: bool) -> None:
    if not 1 <= len(models) <= MOST_MODELS - difference:
        raise SettingsError(
            f"{len(models)} models cannot be shown side by side.", hint=f"Name one to {MOST_MODELS - difference}."
        )
    if num_points < 1:
        raise SettingsError(f"{num_points} points cannot be shown.", hint="Ask for at least 1.")
    if difference and len(models) != 2:
        raise SettingsError("A difference is of two models.", hint="Name two models, or leave `--difference` out.")


def _counts(matrices: Sequence[MinedMatrix], num_points: int) -> dict[str, int]:
    """Name -> how many of its weights are shown."""
    shares = quotas([each.spec.num_weights for each in matrices], num_points)
    return {each.name: share for each, share in zip(matrices, shares, strict=True)}


def _model(source: Source, key: str, num_points: int, seed: int) -> SceneModel:
    with source.matrices(key) as matrices:
        counts = _counts(list(matrices), num_points)
        parts = [
            _points(each, counts[each.name], np.random.default_rng([seed, at])) for at, each in enumerate(matrices)
        ]
        tensors = _tensors(matrices, [part.sheet for part in parts])
        total = sum(each.spec.num_weights for each in matrices)
    return _joined(key, total, tensors, parts, counts, seed)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Sheet:
    """What is kept of a matrix besides its points."""

    picture: npt.NDArray[Any]
    rebuilt: npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Points:
    """Of one matrix."""

    sheet: _Sheet
    rows: Indices
    cols: Indices
    file_rows: Indices
    file_cols: Indices
    values: Float32
    rebuilt: Float32
    flipped: npt.NDArray[np.uint8]
    clusters: npt.NDArray[np.uint8]


def _points(matrix: MinedMatrix, count: int, rng: np.random.Generator) -> _Points:
    rows, cols = sample_places((matrix.spec.rows, matrix.spec.cols), count, rng)
    canonical, rebuilt, order = matrix.canonical, matrix.rebuilt, matrix.order
    return _Points(
        sheet=_Sheet(picture=block_means(canonical, HEAT)[0], rebuilt=block_means(rebuilt, HEAT)[0]),
        rows=rows,
        cols=cols,
        file_rows=order.rows[rows].astype(np.int64),
        file_cols=order.cols[cols].astype(np.int64),
        values=canonical[rows, cols],
        rebuilt=rebuilt[rows, cols],
        flipped=(_signs(order, rows, cols) < 0).astype(np.uint8),
        clusters=_clusters(canonical, rows, is_centred=which_means(matrix.spec)["cols"]),
    )


def _signs(order: CanonicalOrder, rows: Indices, cols: Indices) -> Float32:
    """1 or -1 of each place: what the canonical order multiplies its weight by."""
    signs = np.ones(len(rows), dtype=np.float32)
    if order.row_signs is not None:
        signs = signs * order.row_signs[rows]
    if order.col_signs is not None:
        signs = signs * order.col_signs[cols]
    return signs


def _clusters(canonical: Float32, rows: Indices, *, is_centred: bool) -> npt.NDArray[np.uint8]:
    if len(canonical) > MOST_CLUSTERED:
        return np.full(len(rows), NO_CLUSTER, dtype=np.uint8)
    return cluster_rows(canonical, is_centred=is_centred).labels.astype(np.uint8)[rows]


def _tensors(matrices: MinedMatrices, sheets: Sequence[_Sheet]) -> tuple[SceneTensor, ...]:
    """With a height for each: by layer, and within a layer a sheet of its own."""
    records = matrices.records
    layers = _layers([records[name] for name in matrices.names])
    heights = _heights(layers)
    return tuple(
        SceneTensor(
            name=each.name,
            role=each.spec.role.value,
            layer=layers[at],
            depth=each.spec.depth,
            shape=(each.spec.rows, each.spec.cols),
            height=heights[at],
            r2=each.dna.r2,
            null_r2=each.dna.null_r2 if each.dna.means_null_r2 is None else each.dna.means_null_r2,
            bands=_bands(each.record),
            picture=sheet.picture,
            rebuilt=sheet.rebuilt,
        )
        for at, (each, sheet) in enumerate(zip(matrices, sheets, strict=True))
    )


def _bands(record: TensorRecord) -> tuple[Statistic, ...]:
    by_name = {statistic.name: statistic for statistic in record.statistics}
    names = [f"spectra.band_{band}" for band in range(NUM_BANDS)]
    return tuple(by_name[name] for name in names) if all(name in by_name for name in names) else ()


def _layers(records: Sequence[TensorRecord]) -> list[int]:
    """Embeddings are in layer 0, blocks in theirs from 1, what has no block behind them in the last."""
    blocks = sorted({record.block for record in records if record.block is not None})
    number = {block: at + 1 for at, block in enumerate(blocks)}
    return [
        number[record.block]
        if record.block is not None
        else 0
        if (record.depth or 0.0) < 0.5 and "head" not in record.role
        else len(blocks) + 1
        for record in records
    ]


def _heights(layers: Sequence[int]) -> list[float]:
    """In [-1, 1]: layers at equal distances, the matrices of one spread over three quarters of its share."""
    count = max(layers, default=0) + 1
    together: dict[int, list[int]] = {}
    for at, layer in enumerate(layers):
        together.setdefault(layer, []).append(at)
    found = [0.0] * len(layers)
    for layer, members in together.items():
        for place, at in enumerate(members):
            inside = (place + 0.5) / len(members) * 0.75
            found[at] = 2 * (layer + 0.125 + inside) / count - 1
    return found


def _joined(
    key: str,
    total: int,
    tensors: tuple[SceneTensor, ...],
    parts: Sequence[_Points],
    counts: Mapping[str, int],
    seed: int,
) -> SceneModel:
    order = interleave([*counts.values()], np.random.default_rng([seed, len(tensors)]))

    def join(name: str, dtype: Any) -> Any:
        return np.concatenate([getattr(part, name) for part in parts])[order].astype(dtype)

    lengths = [len(part.values) for part in parts]
    return SceneModel(
        key=key,
        total=total,
        tensors=tensors,
        tensor=np.repeat(np.arange(len(parts)), lengths)[order].astype(np.uint16),
        rows=join("rows", np.uint32),
        cols=join("cols", np.uint32),
        file_rows=join("file_rows", np.uint32),
        file_cols=join("file_cols", np.uint32),
        values=join("values", np.float32),
        rebuilt=join("rebuilt", np.float32),
        flipped=join("flipped", np.uint8),
        clusters=join("clusters", np.uint8),
    )


def _difference(source: Source, one: str, other: str, num_points: int, seed: int) -> SceneModel:
    """The first less the second, each weight in the place of the first's order, with the signs of the first's."""
    with source.matrices(one) as left, source.matrices(other) as right:
        shapes = {each.name: (each.spec.rows, each.spec.cols) for each in right}
        shared = [each for each in left if shapes.get(each.name) == (each.spec.rows, each.spec.cols)]
        if not shared:
            raise SettingsError(
                f"No matrix of {one!r} has the name and the shape of one of {other!r}.",
                hint="Leave `--difference` out: they are shown side by side all the same.",
            )
        counts = _counts(shared, num_points)
        parts = [
            _points_of_difference(each, right[each.name], counts[each.name], np.random.default_rng([seed, at]))
            for at, each in enumerate(shared)
        ]
        kept = {each.name for each in shared}
        sheets = {each.name: part.sheet for each, part in zip(shared, parts, strict=True)}
        empty = np.zeros((1, 1), dtype=np.float32)
        all_sheets = [sheets.get(name, _Sheet(picture=empty, rebuilt=empty)) for name in left.names]
        # What was measured of the first is not said of the difference.
        tensors = tuple(
            replace(tensor, r2=None, null_r2=None, bands=())
            for tensor in _tensors(left, all_sheets)
            if tensor.name in kept
        )
        total = sum(each.spec.num_weights for each in shared)
    return _joined(f"{one} less {other}", total, tensors, parts, counts, seed)


def _points_of_difference(a: MinedMatrix, b: MinedMatrix, count: int, rng: np.random.Generator) -> _Points:
    own = _points(a, count, rng)
    values = a.canonical - canonicalise(b.in_file_order, a.order)
    rebuilt = a.rebuilt - canonicalise(b.dna.in_file_order().numpy(), a.order)
    return replace(
        own,
        sheet=_Sheet(picture=block_means(values, HEAT)[0], rebuilt=block_means(rebuilt, HEAT)[0]),
        values=values[own.rows, own.cols],
        rebuilt=rebuilt[own.rows, own.cols],
    )
