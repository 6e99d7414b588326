"""One tensor: what is looked at of it, the versions of it that are measured, and what they say together.

Matrices come in canonical form. A version is the matrix itself, a draw of one of its nulls, or another sample of its
rows; who measures them, a CPU or a GPU, makes no difference here (`measures`).
"""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from pipeline.analyse.aggregation import Measured, TensorAnalysis, is_sign_free
from pipeline.analyse.measures.host import OnHost, measure_values, put_in_order
from pipeline.analyse.measures.versions import Found, Measures, Version, which_means
from pipeline.analyse.sampling import NUM_SAMPLES, random_rows
from pipeline.analyse.statistics.spectra import FEWEST_PLACES, measure_places
from pipeline.arrays import Float32, Float64, Indices
from pipeline.machine.memory import give_back
from pipeline.nulls import (
    NULLS,
    NullKind,
    NullModel,
    Place,
    less_medians,
    means,
    null_rng,
    place_of,
    rotate,
    sample_rng,
    values_to_turn,
)
from pipeline.order import EVERY_ROW, Rows
from pipeline.settings import AnalysisSettings
from zoo.tensors import Axis, TensorSpec

__all__ = ["Loader", "Task", "analyse_matrices", "analyse_tensor", "analyse_vector"]

DESCRIPTIONS = {"distribution.log_rms", "distribution.mean", "distribution.std", "heavy_tail.log_norm"}
"""Statistics that their null shares by construction: reported without one."""
ODD_MOMENTS = {"distribution.mean", "distribution.skewness"}
"""They change sign with the weights: left out where signs are arbitrary. Of a vector with both signs they would be
rounding, and of a canonical matrix what its signs were set to."""

Loader = Callable[[TensorSpec, Rows], Float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A tensor to be analysed."""

    spec: TensorSpec
    settings: AnalysisSettings
    seed: int
    ordinal: int = 0
    """Rank of the tensor's name among those of the same role, block and shape."""

    @property
    def place(self) -> Place:
        """Where it stands in its network."""
        return place_of(self.spec, self.ordinal)

    def rng(self, kind: NullKind, draw: int) -> np.random.Generator:
        """The generator of a draw of a null."""
        return null_rng(kind, draw, seed=self.seed, **self.place)


def analyse_tensor(
    canonical: Float32,
    spec: TensorSpec,
    *,
    settings: AnalysisSettings,
    seed: int,
    ordinal: int = 0,
    measures: Measures | None = None,
) -> TensorAnalysis:
    """Every statistic of a canonical matrix (rows, cols), each with `settings.num_nulls` draws of its null.

    - `ordinal`: rank of the tensor's name among those of the same role, block and shape.

    A matrix with more than `settings.max_rows` rows is represented by a random sample of them, put into canonical order
    as its nulls are; `rows_used` says how many. Every statistic of it is also measured of a few more samples, which say
    how far the choice of rows may move it. Rows are drawn by their canonical numbers, so that a permuted copy is
    represented by the same rows; as numbers are drawn whatever the values are, the sample is a plain random one, and a
    null of it has come the same way.
    """
    task = Task(spec=spec, settings=settings, seed=seed, ordinal=ordinal)
    (found,) = analyse_matrices([task], lambda spec, rows: np.asarray(canonical[rows]), measures or OnHost())
    return found


def analyse_matrices(tasks: Sequence[Task], load: Loader, measures: Measures) -> list[TensorAnalysis]:
    """The same of matrices of one group of `measures`; `load(spec, rows)` gives canonical rows, once for each."""
    parts = [_parts(partial(load, task.spec), task) for task in tasks]
    versions = [[*_itself(own, task), *_nulls(own.matrix, task)] for own, task in zip(parts, tasks, strict=True)]
    found = _shared_out(measures.of([each for own in versions for each in own]), versions)
    samples = [_samples(own, task) for own, task in zip(parts, tasks, strict=True)]
    beside: list[list[Found]] = [[] for _ in tasks]
    if any(samples):
        give_back()  # Else what the nulls have freed is added to the largest tables of cosines, those of two samples.
        beside = _shared_out(measures.of([each for own in samples for each in own]), samples)
    return [_together(*each) for each in zip(parts, tasks, found, beside, strict=True)]


def _shared_out(found: Sequence[Found], versions: Sequence[Sequence[Version]]) -> list[list[Found]]:
    """What was found of all versions, tensor by tensor."""
    left = iter(found)
    return [list(itertools.islice(left, len(own))) for own in versions]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Parts:
    """All that is looked at of a matrix: of a large one no more is ever here."""

    matrix: Float32
    """Canonical."""
    singular: Float64 | None
    """Its singular values, where they are known."""
    samples: tuple[Float32, ...]
    """Other rows at random, not in order yet; none where the matrix is whole."""


def _parts(take: Callable[[Rows], Float32], task: Task) -> _Parts:
    """The matrix, or what is sampled of it; `take(rows)` gives canonical rows."""
    spec, max_rows = task.spec, task.settings.max_rows
    if spec.rows <= max_rows:
        return _Parts(matrix=take(EVERY_ROW), singular=None, samples=())
    rngs = (sample_rng(draw, seed=task.seed, **task.place) for draw in range(1 + NUM_SAMPLES))
    chosen = [random_rows(spec.rows, max_rows, rng) for rng in rngs]
    first, *samples = _rows_of_each(take, chosen)
    matrix, singular = put_in_order(first, spec)
    return _Parts(matrix=matrix, singular=singular, samples=tuple(samples))


def _rows_of_each(take: Callable[[Rows], Float32], chosen: Sequence[Indices]) -> list[Float32]:
    """Several choices of rows, each its own array, read once."""
    every = np.unique(np.concatenate(chosen))
    values = take(every)
    return [values[np.searchsorted(every, rows)] for rows in chosen]


def _itself(parts: _Parts, task: Task) -> Iterator[Version]:
    """The matrix, once for each kind of statistics: they are taken side by side."""
    for kind in NULLS:
        yield Version(
            spec=task.spec,
            kinds=(kind,),
            num_rows=len(parts.matrix),
            make=lambda: parts.matrix,
            is_canonical=True,
            singular=parts.singular,
        )


def _nulls(matrix: Float32, task: Task) -> Iterator[Version]:
    """All draws of all nulls."""
    kept = which_means(task.spec)
    makers: dict[NullKind, NullModel] = {
        **NULLS,
        "rotate": partial(rotate, cols=kept["cols"], singular=values_to_turn(matrix, cols=kept["cols"])),
        "means": partial(means, **kept, beyond_medians=less_medians(matrix, **kept)),
    }

    def drawn(kind: NullKind, draw: int) -> Float32:
        return makers[kind](matrix, task.rng(kind, draw))

    for kind, draw in itertools.product(NULLS, range(task.settings.num_nulls)):
        yield Version(spec=task.spec, kinds=(kind,), num_rows=len(matrix), make=partial(drawn, kind, draw))


def _samples(parts: _Parts, task: Task) -> list[Version]:
    return [
        Version(spec=task.spec, kinds=tuple(NULLS), num_rows=len(rows), make=lambda rows=rows: rows)  # type: ignore[misc]
        for rows in parts.samples
    ]


def _together(parts: _Parts, task: Task, found: Sequence[Found], samples: Sequence[Found]) -> TensorAnalysis:
    """The matrix's own numbers, with those of its nulls and of other samples."""
    itself, nulls = found[: len(NULLS)], found[len(NULLS) :]
    draws: dict[str, list[float]] = defaultdict(list)
    for null in nulls:
        for name, value in null.statistics.items():
            draws[name].append(value)
    (clusters,) = (each.clusters for each in itself if each.clusters is not None)
    return TensorAnalysis(
        spec=task.spec,
        rows_used=len(parts.matrix),
        measured=(
            *(
                replace(
                    _measured(name, value, kind, draws), samples=tuple(sample.statistics[name] for sample in samples)
                )
                for kind, own in zip(NULLS, itself, strict=True)
                for name, value in _defined(own.statistics, task.spec).items()
            ),
            *_measure_places(parts.matrix, task),
        ),
        labels=tuple(clusters.labels.tolist()) if len(parts.matrix) == task.spec.rows else (),
        cluster_sizes=tuple(clusters.sizes.tolist()),
        cluster_norms=tuple(clusters.norms.tolist()),
    )


def analyse_vector(
    vector: Float32, spec: TensorSpec, *, settings: AnalysisSettings, seed: int, ordinal: int = 0
) -> TensorAnalysis:
    """The distribution of a vector's values, and their entropy, with the `gaussian` null.

    The values are sorted first, so that their order leaves no trace in the last bit; where signs are free, each is
    taken with both signs, in the vector and in its null.
    """
    task, is_free = Task(spec=spec, settings=settings, seed=seed, ordinal=ordinal), is_sign_free(spec)
    values = np.sort(np.abs(vector.ravel()) if is_free else vector.ravel())
    values = _both_signs(values) if is_free else values
    draws: dict[str, list[float]] = defaultdict(list)
    for draw in range(settings.num_nulls):
        null = NULLS["gaussian"](values, task.rng("gaussian", draw))
        null = _both_signs(null[: vector.size]) if is_free else null
        for name, value in measure_values(null).items():
            draws[name].append(value)
    found = _defined(measure_values(values), spec)
    measured = tuple(_measured(name, value, "gaussian", draws) for name, value in found.items())
    return TensorAnalysis(spec=spec, rows_used=spec.rows, measured=measured)


def _defined(statistics: Mapping[str, float], spec: TensorSpec) -> Mapping[str, float]:
    """Those that mean something for such a tensor."""
    return {name: value for name, value in statistics.items() if not (name in ODD_MOMENTS and is_sign_free(spec))}


def _both_signs(values: Float32) -> Float32:
    return np.concatenate([values, -values])


def _measure_places(matrix: Float32, task: Task) -> Iterator[Measured]:
    """What depends on the order of places along an axis, where that order is real; not of a sample of the places."""
    spec = task.spec
    if spec.col_axis is Axis.POSITION:
        vectors = matrix
    elif spec.row_axis is Axis.POSITION and len(matrix) == spec.rows:
        vectors = matrix.T
    else:
        return
    size = vectors.shape[1]
    if size < FEWEST_PLACES:
        return
    rngs = [task.rng("reorder", draw) for draw in range(task.settings.num_nulls)]
    nulls = [measure_places(vectors[:, rng.permutation(size)]) for rng in rngs]
    for name, value in measure_places(vectors).items():
        yield Measured(name=name, value=value, kind="reorder", draws=tuple(null[name] for null in nulls))


def _measured(name: str, value: float, kind: NullKind, draws: Mapping[str, list[float]]) -> Measured:
    if name in DESCRIPTIONS:
        return Measured(name=name, value=value)
    return Measured(name=name, value=value, kind=kind, draws=tuple(draws.get(name, ())))
