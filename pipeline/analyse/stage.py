"""Analyse: every statistic of every tensor with its null, and what they say together.

Matrices come in canonical form, one at a time. Nothing here depends on the order or signs they had in the file: a
permuted copy of a model gives the same numbers. Only the fingerprint and the products of two matrices read in the order
of the file, in a way that no permutation changes.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from patterndb.records import SignatureRecord, Statistic
from pipeline.analyse.aggregation import TensorAnalysis, log_ratio, pool
from pipeline.analyse.classes import Classification, classify, classify_model
from pipeline.analyse.measures.choose import measures_on
from pipeline.analyse.measures.versions import Measures
from pipeline.analyse.signature import make_signature
from pipeline.analyse.statistics.products import measure_products
from pipeline.analyse.statistics.spectra import NUM_BANDS
from pipeline.analyse.tensor import Loader, Task, analyse_matrices, analyse_vector
from pipeline.arrays import Float32
from pipeline.fingerprint.fingerprint import FingerprintPart, measure_fingerprint
from pipeline.fingerprint.named_tensors import NamedTensors, measure_named_tensors
from pipeline.nulls import ordinals_of
from pipeline.order import EVERY_ROW
from pipeline.settings import AnalysisSettings
from zoo.tensors import Role, TensorKind, TensorSpec

__all__ = ["ModelAnalysis", "RoleAnalysis", "analyse_model", "summarise"]


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
    device: str = "cpu",
    measures: Measures | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> ModelAnalysis:
    """Analyse all trained weights among `specs`.

    - `load(spec, rows)`: of the canonical matrix, float32 (rows, cols), the rows that are asked for, all or some; or a
      vector of any shape, all of it. Called once each.
    - `in_file_order(spec)`: the same in the order of the file, where axes that tensors share still fit each other, some
      rows at a time.
    - `device`: what takes the statistics of matrices; the rest is taken on the CPU.
    - `measures`: takes them in its place.
    - `on_progress(weights done, weights in all)`: after each tensor, or all tensors that are analysed together.

    Linear algebra runs on one thread meanwhile (nulls run in parallel instead), so the last bit does not depend on the
    number of cores.
    """
    from threadpoolctl import threadpool_limits

    trained = sorted((spec for spec in specs if spec.kind is TensorKind.WEIGHT), key=lambda spec: spec.name)
    ordinals = ordinals_of(trained)
    tasks = {each.name: Task(spec=each, settings=settings, seed=seed, ordinal=ordinals[each.name]) for each in trained}
    measures = measures or measures_on(device)
    total, done, analyses = sum(spec.num_weights for spec in trained), 0, dict[str, TensorAnalysis]()

    def keep(found: Sequence[TensorAnalysis]) -> None:
        nonlocal done
        analyses.update({item.spec.name: item for item in found})
        done += sum(item.spec.num_weights for item in found)
        on_progress(done, total)

    with threadpool_limits(limits=1, user_api="blas"):
        for spec in trained:
            if not spec.is_matrix:
                task = tasks[spec.name]
                keep([analyse_vector(load(spec, EVERY_ROW), spec, settings=settings, seed=seed, ordinal=task.ordinal)])
        for group in measures.groups([spec for spec in trained if spec.is_matrix], settings.max_rows):
            keep(analyse_matrices([tasks[spec.name] for spec in group], load, measures))
        parts = measure_fingerprint(specs, in_file_order)
        named = measure_named_tensors(specs, in_file_order)
        products = measure_products(
            specs, in_file_order, lambda spec, draw: tasks[spec.name].rng("reorder", draw), settings.num_nulls
        )
    ordered = [analyses[spec.name] for spec in trained]
    ordered = [replace(own, measured=(*own.measured, *products.get(own.spec.name, ()))) for own in ordered]
    return summarise(ordered, parts, named)


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
