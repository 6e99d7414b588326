"""Analyse: every statistic of every tensor with its null, and what they say together.

Matrices come in canonical form, one at a time. Nothing here depends on the order or signs they had in the file: a
permuted copy of a model gives the same numbers. Only the fingerprint and the products of two matrices read in the order
of the file, in a way that no permutation changes.
"""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from patterndb.records import SignatureRecord, Statistic
from pipeline.additive import WhichMeans, additive_model
from pipeline.analyse.aggregation import BEYOND_MEANS, Measured, TensorAnalysis, is_sign_free, log_ratio, pool
from pipeline.analyse.classes import Classification, classify, classify_model
from pipeline.analyse.sampling import NUM_SAMPLES, random_rows
from pipeline.analyse.signature import make_signature
from pipeline.analyse.statistics.clusters import cluster_rows, measure_clusters
from pipeline.analyse.statistics.dimension import measure_dimension
from pipeline.analyse.statistics.distribution import measure_distribution
from pipeline.analyse.statistics.entropy import histogram_entropy, spectral_entropy
from pipeline.analyse.statistics.heavy_tail import measure_heavy_tail
from pipeline.analyse.statistics.lipschitz import log_spectral_norm
from pipeline.analyse.statistics.products import measure_products
from pipeline.analyse.statistics.sizes import measure_sizes
from pipeline.analyse.statistics.spectra import FEWEST_PLACES, NUM_BANDS, measure_places, measure_spectra
from pipeline.decomposition import decompose, singular_values
from pipeline.fingerprint.fingerprint import FingerprintPart, measure_fingerprint
from pipeline.fingerprint.named_tensors import NamedTensors, measure_named_tensors
from pipeline.memory import give_back
from pipeline.nulls import (
    NULLS,
    NullKind,
    NullModel,
    Place,
    means,
    null_rng,
    rotate,
    sample_rng,
    singular_values_about_mean,
)
from pipeline.order import EVERY_ROW, NUM_FEATURES, Rows, canonicalise, seriate_tensor
from pipeline.settings import AnalysisSettings
from zoo.tensors import Axis, Role, TensorKind, TensorSpec

__all__ = [
    "ANALYSE_VERSION",
    "ModelAnalysis",
    "RoleAnalysis",
    "analyse_model",
    "analyse_tensor",
    "analyse_vector",
    "summarise",
]

ANALYSE_VERSION = "6"
NUM_THREADS = 2
"""Nulls measured at a time. A fixed number, so that a machine's cores decide neither memory nor results."""
DESCRIPTIONS = {"distribution.log_rms", "distribution.mean", "distribution.std", "heavy_tail.log_norm"}
"""Statistics that their null shares by construction: reported without one."""
JUDGED_BEYOND_MEANS = (
    "spectra.low_share",
    "spectra.centroid",
    "dimension.participation",
    "dimension.rank_50",
    "dimension.rank_90",
    "dimension.rank_99",
    "entropy.spectral",
    "lipschitz.log_norm",
    "heavy_tail.alpha",
    "heavy_tail.ks",
    "heavy_tail.stable_rank",
)
"""Statistics with the null `shuffle` that are measured a second time, of the matrix less its means. Not the bands and
the percentiles of the singular values: they draw the shape of what these say in a number."""

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Loader = Callable[[TensorSpec, Rows], Float32]
PieceLoader = Callable[[TensorSpec], Iterable[Float32]]
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleAnalysis:
    """All tensors of one role together."""

    role: Role
    tensors: int
    weights: int
    classification: Classification | None
    """None for vectors."""
    statistics: tuple[Statistic, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAnalysis:
    """Everything measured in one model."""

    tensors: tuple[TensorAnalysis, ...]
    """In order of name."""
    roles: tuple[RoleAnalysis, ...]
    classification: Classification
    statistics: tuple[Statistic, ...]
    """Of all matrices pooled."""
    signature: SignatureRecord
    clusters: Mapping[str, Mapping[str, object]]
    """role -> {labels: {tensor: labels of its canonical rows}, sizes, norms}; plain JSON."""
    frequency_profile: Mapping[str, tuple[float, ...]]
    """role -> log2 of each band's energy over its null mean."""


def analyse_model(
    specs: Sequence[TensorSpec],
    load: Loader,
    *,
    in_file_order: PieceLoader,
    settings: AnalysisSettings,
    seed: int,
    on_progress: OnProgress = lambda done, total: None,
) -> ModelAnalysis:
    """Analyse all trained weights among `specs`.

    - `load(spec, rows)`: of the canonical matrix, float32 (rows, cols), the rows that are asked for, all or some; or a
      vector of any shape, all of it. Called once each.
    - `in_file_order(spec)`: the same in the order of the file, where axes that tensors share still fit each other, some
      rows at a time.
    - `on_progress(weights done, weights in all)`: after each tensor.

    Linear algebra runs on one thread meanwhile (nulls run in parallel instead), so the last bit does not depend on the
    number of cores.
    """
    from threadpoolctl import threadpool_limits

    trained = sorted((spec for spec in specs if spec.kind is TensorKind.WEIGHT), key=lambda spec: spec.name)
    total, done, seen = sum(spec.num_weights for spec in trained), 0, defaultdict[object, int](int)
    ordinals: dict[str, int] = {}
    analyses: list[TensorAnalysis] = []
    with threadpool_limits(limits=1, user_api="blas"):
        for spec in trained:
            place = (spec.role, spec.block, spec.rows, spec.cols)
            ordinals[spec.name] = seen[place]
            analyses.append(_analyse(load, spec, settings=settings, seed=seed, ordinal=seen[place]))
            seen[place] += 1
            done += spec.num_weights
            on_progress(done, total)
        parts = measure_fingerprint(specs, in_file_order)
        named = measure_named_tensors(specs, in_file_order)

        def reorder_rng(spec: TensorSpec, draw: int) -> np.random.Generator:
            return _rng("reorder", draw, spec, seed, ordinals[spec.name])

        products = measure_products(specs, in_file_order, reorder_rng, settings.num_nulls)
    analyses = [replace(own, measured=(*own.measured, *products.get(own.spec.name, ()))) for own in analyses]
    return summarise(analyses, parts, named)


def summarise(
    analyses: Sequence[TensorAnalysis], parts: Sequence[FingerprintPart] = (), named: NamedTensors | None = None
) -> ModelAnalysis:
    """What the tensors say together."""
    by_role: dict[Role, list[TensorAnalysis]] = defaultdict(list)
    for item in analyses:
        by_role[item.spec.role].append(item)
    roles = [role for role in Role if role in by_role]
    matrices = {role: [item for item in by_role[role] if item.spec.is_matrix] for role in roles}
    return ModelAnalysis(
        tensors=tuple(analyses),
        roles=tuple(_summarise_role(role, by_role[role]) for role in roles),
        classification=classify_model(analyses),
        statistics=_pool_all([item for item in analyses if item.spec.is_matrix]),
        signature=make_signature(analyses, parts, named),
        clusters={role.value: _cluster_summary(matrices[role]) for role in roles if matrices[role]},
        frequency_profile={role.value: _profile(matrices[role]) for role in roles if matrices[role]},
    )


def analyse_tensor(
    canonical: Float32, spec: TensorSpec, *, settings: AnalysisSettings, seed: int, ordinal: int = 0
) -> TensorAnalysis:
    """Every statistic of a canonical matrix (rows, cols), each with `settings.num_nulls` draws of its null.

    - `ordinal`: rank of the tensor's name among those of the same role, block and shape.

    A matrix with more than `settings.max_rows` rows is represented by a random sample of them, put into canonical order
    as its nulls are; `rows_used` says how many. Every statistic of it is also measured of a few more samples, which say
    how far the choice of rows may move it. Rows are drawn by their canonical numbers, so that a permuted copy is
    represented by the same rows; as numbers are drawn whatever the values are, the sample is a plain random one, and a
    null of it has come the same way.
    """
    parts = _parts(lambda rows: np.asarray(canonical[rows]), spec, settings, seed, ordinal)
    return _analyse_parts(parts, spec, settings, seed, ordinal)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """All that is looked at of a matrix: of a large one no more is ever here."""

    matrix: Float32
    """Canonical."""
    singular: Float64
    """Its singular values."""
    samples: tuple[Float32, ...]
    """Other rows at random, not in order yet; none where the matrix is whole."""


def _parts(
    take: Callable[[Rows], Float32], spec: TensorSpec, settings: AnalysisSettings, seed: int, ordinal: int
) -> _Parts:
    """The matrix, or what is sampled of it; `take(rows)` gives canonical rows."""
    if spec.rows <= settings.max_rows:
        matrix = take(EVERY_ROW)
        return _Parts(matrix=matrix, singular=singular_values(matrix), samples=())
    rngs = (sample_rng(draw, seed=seed, **_place(spec, ordinal)) for draw in range(1 + NUM_SAMPLES))
    chosen = [random_rows(spec.rows, settings.max_rows, rng) for rng in rngs]
    first, *samples = _rows_of_each(take, chosen)
    matrix, singular = _put_in_order(first, spec)
    return _Parts(matrix=matrix, singular=singular, samples=tuple(samples))


def _rows_of_each(take: Callable[[Rows], Float32], chosen: Sequence[npt.NDArray[np.intp]]) -> list[Float32]:
    """Several choices of rows, each its own array, read once."""
    every = np.unique(np.concatenate(chosen))
    values = take(every)
    return [values[np.searchsorted(every, rows)] for rows in chosen]


def _analyse_parts(
    parts: _Parts, spec: TensorSpec, settings: AnalysisSettings, seed: int, ordinal: int
) -> TensorAnalysis:
    matrix, singular = parts.matrix, parts.singular
    turned = partial(rotate, singular=singular_values_about_mean(matrix))
    makers: dict[NullKind, NullModel] = {**NULLS, "rotate": turned, "means": partial(means, **_which_means(spec))}

    def draw_null(place: tuple[NullKind, int]) -> dict[str, float]:
        kind, draw = place
        return _measure_null(kind, makers[kind](matrix, _rng(kind, draw, spec, seed, ordinal)), spec)

    def measure_sample(rows: Float32) -> dict[str, float]:
        sample, spectrum = _put_in_order(rows, spec)
        return {name: value for kind in NULLS for name, value in _measure(kind, sample, spectrum, spec).items()}

    draws: dict[str, list[float]] = defaultdict(list)
    with ThreadPoolExecutor(NUM_THREADS) as pool_of_threads:
        clustering = pool_of_threads.submit(cluster_rows, matrix)
        values = {kind: pool_of_threads.submit(_measure, kind, matrix, singular, spec) for kind in NULLS}
        # Results come in the order of the draws, not in the order they are ready.
        for found in pool_of_threads.map(draw_null, itertools.product(NULLS, range(settings.num_nulls))):
            for name, value in found.items():
                draws[name].append(value)
        give_back()  # Else what the nulls have freed is added to the largest tables of cosines, those of two samples.
        samples = tuple(pool_of_threads.map(measure_sample, parts.samples))
    clusters = clustering.result()
    return TensorAnalysis(
        spec=spec,
        rows_used=len(matrix),
        measured=(
            *(
                replace(_measured(name, value, kind, draws), samples=tuple(sample[name] for sample in samples))
                for kind, found in values.items()
                for name, value in found.result().items()
            ),
            *_measure_places(matrix, spec, settings, seed, ordinal),
        ),
        labels=tuple(clusters.labels.tolist()) if len(matrix) == spec.rows else (),
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
    is_free = is_sign_free(spec)
    values = np.sort(np.abs(vector.ravel()) if is_free else vector.ravel())
    values = _both_signs(values) if is_free else values
    draws: dict[str, list[float]] = defaultdict(list)
    for draw in range(settings.num_nulls):
        null = NULLS["gaussian"](values, _rng("gaussian", draw, spec, seed, ordinal))
        null = _both_signs(null[: vector.size]) if is_free else null
        for name, value in _measure_values(null).items():
            draws[name].append(value)
    measured = tuple(_measured(name, value, "gaussian", draws) for name, value in _measure_values(values).items())
    return TensorAnalysis(spec=spec, rows_used=spec.rows, measured=measured)


def _analyse(load: Loader, spec: TensorSpec, *, settings: AnalysisSettings, seed: int, ordinal: int) -> TensorAnalysis:
    if not spec.is_matrix:
        return analyse_vector(load(spec, EVERY_ROW), spec, settings=settings, seed=seed, ordinal=ordinal)
    parts = _parts(partial(load, spec), spec, settings, seed, ordinal)
    return _analyse_parts(parts, spec, settings, seed, ordinal)


def _rng(kind: NullKind, draw: int, spec: TensorSpec, seed: int, ordinal: int) -> np.random.Generator:
    return null_rng(kind, draw, seed=seed, **_place(spec, ordinal))


def _place(spec: TensorSpec, ordinal: int) -> Place:
    """Where a tensor stands in its network."""
    return {
        "role": list(Role).index(spec.role),
        "block": spec.block,
        "ordinal": ordinal,
        "shape": (spec.rows, spec.cols),
    }


def _put_in_order(matrix: Float32, spec: TensorSpec) -> tuple[Float32, Float64]:
    """The matrix in canonical order, and its singular values, from one decomposition."""
    spectrum = decompose(matrix, NUM_FEATURES)
    return canonicalise(matrix, seriate_tensor(matrix, spec, spectrum)), spectrum.singular


def _both_signs(values: Float32) -> Float32:
    return np.concatenate([values, -values])


def _measure(kind: NullKind, matrix: Float32, singular: Float64, spec: TensorSpec) -> dict[str, float]:
    """The statistics whose null is `kind`, of a canonical matrix and its singular values."""
    return _measure_positions(matrix, singular) if kind == "shuffle" else _measure_in_any_order(kind, matrix, spec)


def _measure_null(kind: NullKind, matrix: Float32, spec: TensorSpec) -> dict[str, float]:
    """The same of a null. Only frequencies depend on the order, so only their null is put into order."""
    if kind == "shuffle":
        return _measure_positions(*_put_in_order(matrix, spec))
    return _measure_in_any_order(kind, matrix, spec)


def _measure_in_any_order(kind: NullKind, matrix: Float32, spec: TensorSpec) -> dict[str, float]:
    if kind == "means":
        return _measure_beyond_means(matrix, spec)
    return measure_clusters(matrix) if kind == "rotate" else _measure_values(matrix)


def _measure_places(
    matrix: Float32, spec: TensorSpec, settings: AnalysisSettings, seed: int, ordinal: int
) -> Iterator[Measured]:
    """What depends on the order of places along an axis, where that order is real; not of a sample of the places."""
    if spec.col_axis is Axis.POSITION:
        vectors = matrix
    elif spec.row_axis is Axis.POSITION and len(matrix) == spec.rows:
        vectors = matrix.T
    else:
        return
    size = vectors.shape[1]
    if size < FEWEST_PLACES:
        return
    rngs = [_rng("reorder", draw, spec, seed, ordinal) for draw in range(settings.num_nulls)]
    nulls = [measure_places(vectors[:, rng.permutation(size)]) for rng in rngs]
    for name, value in measure_places(vectors).items():
        yield Measured(name=name, value=value, kind="reorder", draws=tuple(null[name] for null in nulls))


def _measure_beyond_means(matrix: Float32, spec: TensorSpec) -> dict[str, float]:
    """Of the matrix less its means, put into an order of its own; a null, which has the same means, loses them too.

    What is left is measured, rather than all: beside a large mean row nothing else would be seen.
    """
    residual = additive_model(matrix, **_which_means(spec)).residual(matrix)
    found = _measure_positions(*_put_in_order(residual, spec))
    return {name + BEYOND_MEANS: found[name] for name in JUDGED_BEYOND_MEANS}


def _which_means(spec: TensorSpec) -> WhichMeans:
    """Which means say something: where the signs of the columns are arbitrary a row has no mean, and vice versa."""
    return {
        "rows": not (spec.col_axis.is_sign_free or spec.free_col_signs),
        "cols": not (spec.row_axis.is_sign_free or spec.free_row_signs),
    }


def _measure_positions(matrix: Float32, singular: Float64) -> dict[str, float]:
    return {
        **measure_spectra(matrix),
        **measure_sizes(matrix),
        **measure_dimension(singular),
        "entropy.spectral": spectral_entropy(singular),
        "lipschitz.log_norm": log_spectral_norm(singular),
        **measure_heavy_tail(singular),
    }


def _measure_values(values: Float32) -> dict[str, float]:
    return {"entropy.histogram": histogram_entropy(values), **measure_distribution(values)}


def _measured(name: str, value: float, kind: NullKind, draws: Mapping[str, list[float]]) -> Measured:
    if name in DESCRIPTIONS:
        return Measured(name=name, value=value)
    return Measured(name=name, value=value, kind=kind, draws=tuple(draws.get(name, ())))


def _summarise_role(role: Role, analyses: list[TensorAnalysis]) -> RoleAnalysis:
    has_matrices = any(item.spec.is_matrix for item in analyses)
    return RoleAnalysis(
        role=role,
        tensors=len(analyses),
        weights=sum(item.spec.num_weights for item in analyses),
        classification=classify(analyses) if has_matrices else None,
        statistics=_pool_all(analyses),
    )


def _pool_all(analyses: Sequence[TensorAnalysis]) -> tuple[Statistic, ...]:
    names = list(dict.fromkeys(item.name for analysis in analyses for item in analysis.measured))
    pooled = (pool(analyses, name) for name in names)
    return tuple(item.statistic for item in pooled if item is not None)


def _cluster_summary(matrices: Sequence[TensorAnalysis]) -> dict[str, object]:
    """Labels by tensor, and the mean sizes and norms of the clusters, largest first."""
    widest = max(len(item.cluster_sizes) for item in matrices)
    full = [item for item in matrices if len(item.cluster_sizes) == widest]
    return {
        "labels": {item.spec.name: list(item.labels) for item in matrices if item.labels},
        "sizes": np.mean([item.cluster_sizes for item in full], axis=0).tolist(),
        "norms": np.mean([item.cluster_norms for item in full], axis=0).tolist(),
    }


def _profile(matrices: Sequence[TensorAnalysis]) -> tuple[float, ...]:
    bands = (pool(matrices, f"spectra.band_{index}", log_ratio) for index in range(NUM_BANDS))
    return tuple(band.value if band is not None else 0.0 for band in bands)
