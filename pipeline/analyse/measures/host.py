"""Which statistics there are, with numpy and scipy: two versions at a time, each made, measured and dropped."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from pipeline.additive import additive_model
from pipeline.analyse.aggregation import BEYOND_MEANS
from pipeline.analyse.measures.versions import Found, Version, which_means
from pipeline.analyse.statistics.clusters import Clusters, clusters_and_measures
from pipeline.analyse.statistics.dimension import measure_dimension
from pipeline.analyse.statistics.distribution import measure_distribution
from pipeline.analyse.statistics.entropy import histogram_entropy, spectral_entropy
from pipeline.analyse.statistics.heavy_tail import measure_heavy_tail
from pipeline.analyse.statistics.lipschitz import log_spectral_norm
from pipeline.analyse.statistics.sizes import measure_sizes
from pipeline.analyse.statistics.spectra import measure_spectra
from pipeline.arrays import Float32, Float64
from pipeline.decomposition import decompose, singular_values
from pipeline.order import NUM_FEATURES, canonicalise, seriate_tensor
from zoo.tensors import TensorSpec

__all__ = [
    "ANALYSE_VERSION",
    "JUDGED_BEYOND_MEANS",
    "NUM_THREADS",
    "TOLERANCES",
    "OnHost",
    "measure_singular",
    "measure_values",
    "put_in_order",
]

ANALYSE_VERSION = "8"
"""Of the whole analysis: it is raised when a statistic comes, goes or means something else."""
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
TOLERANCES: Mapping[str, float] = {
    "spectra": 1e-5,
    "sizes": 1e-9,
    "dimension": 1e-6,
    "lipschitz": 1e-9,
    "heavy_tail": 1e-6,
    "clusters": 1e-6,
    "distribution": 1e-6,
    "entropy": 1e-4,
    BEYOND_MEANS: 1e-5,
}
"""How far statistics taken on a device may be from those taken here, by the block of a statistic or by the end of its
name; of the larger of the value and 1.

Transforms are float32 on both sides. In `entropy`, a value at the edge of two bins may be counted in the other one.
Beyond the means the smallest singular value is rounding, and takes part in what is measured.
"""
NUM_THREADS = 2
"""Versions measured at a time. A fixed number, so that a machine's cores decide neither memory nor results."""


class OnHost:
    """`Measures` of this machine's CPU."""

    def groups(self, specs: Sequence[TensorSpec], max_rows: int) -> Iterator[Sequence[TensorSpec]]:
        """One at a time."""
        return ([spec] for spec in specs)

    def of(self, versions: Sequence[Version]) -> list[Found]:
        """Results come in the order of the versions, not in the order they are ready."""
        with ThreadPoolExecutor(NUM_THREADS) as threads:
            return [*threads.map(_measure, versions)]


def put_in_order(matrix: Float32, spec: TensorSpec) -> tuple[Float32, Float64]:
    """The matrix in canonical order, and its singular values, from one decomposition."""
    spectrum = decompose(matrix, NUM_FEATURES)
    return canonicalise(matrix, seriate_tensor(matrix, spec, spectrum)), spectrum.singular


def measure_values(values: Float32) -> dict[str, float]:
    """Of a matrix or a vector, whatever the order of its values."""
    return {"entropy.histogram": histogram_entropy(values), **measure_distribution(values)}


def measure_singular(singular: Float64) -> dict[str, float]:
    """From all singular values of a matrix, descending."""
    return {
        **measure_dimension(singular),
        "entropy.spectral": spectral_entropy(singular),
        "lipschitz.log_norm": log_spectral_norm(singular),
        **measure_heavy_tail(singular),
    }


def _measure(version: Version) -> Found:
    matrix, singular, spec = version.make(), version.singular, version.spec
    if version.needs_order:
        matrix, singular = put_in_order(matrix, spec)
    clusters: Clusters | None = None
    found: dict[str, float] = {}
    for kind in version.kinds:
        if kind == "shuffle":
            found |= _measure_positions(matrix, singular_values(matrix) if singular is None else singular)
        elif kind == "means":
            found |= _measure_beyond_means(matrix, spec)
        elif kind == "rotate":
            clusters, own = clusters_and_measures(matrix, is_centred=which_means(spec)["cols"])
            found |= own
        else:
            found |= measure_values(matrix)
    return Found(statistics=found, clusters=clusters)


def _measure_positions(matrix: Float32, singular: Float64) -> dict[str, float]:
    """Of a canonical matrix and its singular values."""
    return {**measure_spectra(matrix), **measure_sizes(matrix), **measure_singular(singular)}


def _measure_beyond_means(matrix: Float32, spec: TensorSpec) -> dict[str, float]:
    """Of the matrix less its means, put into an order of its own; a null, which has the same means, loses them too.

    What is left is measured, rather than all: beside a large mean row nothing else would be seen.
    """
    residual = additive_model(matrix, **which_means(spec)).residual(matrix)
    found = _measure_positions(*put_in_order(residual, spec))
    return {name + BEYOND_MEANS: found[name] for name in JUDGED_BEYOND_MEANS}
