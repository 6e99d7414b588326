"""Measure every term in every tensor of a model, and in shuffled copies of them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt

from library.patterns.records import DEPTHS, Key
from library.patterns.terms import MATRIX_TERMS, VECTOR_TERM
from library.patterns.terms.products import PRODUCTS, Pair, find_pairs, measure_product
from library.patterns.views import View, ViewLoader, matrix_views, vector_views
from pipeline.nulls import shuffle
from zoo.config import HEADS, number_in
from zoo.fused import tower_config
from zoo.tensors import TensorSpec

__all__ = ["MEASURE_VERSION", "Measures", "ModelTensors", "measure_model", "num_heads_of"]

MEASURE_VERSION = "1"
MOST_ROWS = 4096
"""Of a matrix that are measured; of more, so many are drawn at random."""

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Measures = Mapping[Key, Float64]
"""Part -> values (depths, length) of one model."""
Found = Iterator[tuple[Key, float | None, Float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTensors:
    """A model's tensors, however they are read."""

    specs: Sequence[TensorSpec]
    load: ViewLoader
    shapes: Mapping[str, tuple[int, ...]]
    """Tensor -> its shape in the file."""
    config: Mapping[str, Any]


def measure_model(tensors: ModelTensors, *, draw: int | None = None, seed: int = 0) -> Measures:
    """The values of every part at `DEPTHS`; tensors of one subject and depth as their mean.

    - `draw`: number of a draw of the null: all matrices are shuffled before they are measured, vectors left out.
    """
    values: dict[str, Float32] = {}

    def load(spec: TensorSpec) -> Float32:
        if spec.name not in values:
            values[spec.name] = _matrix(tensors, spec, draw, seed)
        return values[spec.name]

    found: dict[Key, dict[float | None, list[Float64]]] = defaultdict(lambda: defaultdict(list))
    for key, depth, measured in (*_of_matrices(tensors, load), *_of_pairs(tensors, load)):
        found[key][depth].append(measured)
    if draw is None:
        for view in vector_views(tensors.specs, tensors.load):
            found[Key(view.subject, VECTOR_TERM.name)][view.spec.depth].append(VECTOR_TERM.measure(view))
    return {key: _over_depth(by_depth) for key, by_depth in found.items()}


def num_heads_of(spec: TensorSpec, config: Mapping[str, Any]) -> int:
    """Heads of the attention that a matrix belongs to; 0 where the configuration does not say."""
    return number_in(tower_config(spec.name, config), *HEADS) or 0


def _matrix(tensors: ModelTensors, spec: TensorSpec, draw: int | None, seed: int) -> Float32:
    """The matrix, or a shuffled one; the generator depends on the tensor's place, not on its values."""
    matrix = tensors.load(spec)
    place = [seed, crc32(spec.role.encode()), (spec.block or 0) + 1, *matrix.shape, crc32(spec.name.encode())]
    if len(matrix) > MOST_ROWS:
        rows = np.random.default_rng([*place, 0]).choice(len(matrix), MOST_ROWS, replace=False)
        matrix = matrix[np.sort(rows)]
    return matrix if draw is None else shuffle(matrix, np.random.default_rng([*place, draw + 1]))


def _of_matrices(tensors: ModelTensors, load: ViewLoader) -> Found:
    for view in matrix_views(tensors.specs, load, tensors.shapes.__getitem__):
        for term in MATRIX_TERMS:
            subject = term.subject(view)
            if subject is not None:
                yield Key(subject, term.name), view.spec.depth, term.measure(_sampled(view))


def _sampled(view: View) -> View:
    """The view as its values are: a large matrix has fewer rows than its spec says."""
    rows = len(view.values)
    return view if rows == view.spec.rows else replace(view, spec=replace(view.spec, rows=rows))


def _of_pairs(tensors: ModelTensors, load: ViewLoader) -> Found:
    for pair in find_pairs(tensors.specs):
        leader, led = (load(spec).astype(np.float64) for spec in (pair.leader, pair.led))
        if max(pair.leader.rows, pair.led.rows) <= MOST_ROWS:
            heads = num_heads_of(pair.leader, tensors.config) if pair.has_heads else 1
            yield Key(pair.subject, PRODUCTS), pair.leader.depth, measure_product(leader, _factor(pair, led), heads)


def _factor(pair: Pair, led: Float64) -> Float64:
    return led.T if pair.led_writes else led


def _over_depth(by_depth: Mapping[float | None, Iterable[Float64]]) -> Float64:
    """(depths, length): interpolated between the depths where the model has such tensors, constant beyond them."""
    means = {0.5 if depth is None else depth: np.mean([*found], axis=0) for depth, found in by_depth.items()}
    places = sorted(means)
    columns = np.stack([means[place] for place in places]).T
    return np.stack([np.interp(DEPTHS, places, column) for column in columns], axis=1)
