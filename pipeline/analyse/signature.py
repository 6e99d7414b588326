"""The signature: a model as a fixed-length float32 vector of named dimensions.

A dimension `role/third/statistic` is the weighted mean of one statistic over the tensors of a role in a third of the
depth (`early`, `middle`, `late`; `all` takes the whole model, for embeddings, for heads, and for models whose depth
has no meaning). The role `model` pools all matrices. What a model does not have is None, never 0, and distances skip
it.

The role `fingerprint` holds random projections of the weights, by role (`pipeline.fingerprint.fingerprint`) and by
name (`named_tensors`), with the same dimensions for every architecture. They do not tell what kind of model it is, only
whose weights it has.

Other values are in units of `scale`, which are constants, so that a difference of 1 matters about as much in every
dimension and no scale changes as a catalog grows. Statistics that depend on positions, or on more than the spectrum,
enter as an effect over their null, never as z, which depends on the nulls' spread; all others are invariant to
permutations and signs by themselves. Odd moments are left out where signs are arbitrary.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from patterndb.records import SignatureRecord
from pipeline.analyse.aggregation import (
    Effect,
    Measured,
    Pooled,
    TensorAnalysis,
    aggregate_measured,
    as_is,
    log_ratio,
    pool,
    rise,
)
from pipeline.analyse.statistics.dimension import SIGMA_QUANTILES
from pipeline.analyse.statistics.distribution import MAGNITUDE_QUANTILES
from pipeline.analyse.statistics.lipschitz import log_block_bound
from pipeline.analyse.statistics.spectra import NUM_BANDS
from pipeline.fingerprint.fingerprint import FAMILIES, NUM_DIMENSIONS, FingerprintPart, fingerprint_vector
from pipeline.fingerprint.named_tensors import NUM_KEYS, NUM_SUMS, NamedTensors
from zoo.tensors import Role

__all__ = ["SIGNATURE_NAMES", "SIGNATURE_VERSION", "Dimension", "block_bounds", "make_signature"]

SIGNATURE_VERSION = "10"
THIRDS = ("early", "middle", "late")
WHOLE = "all"
VECTOR_ROLES = (Role.NORM, Role.BIAS)
DEPTHLESS_ROLES = (Role.TOKEN_EMBEDDING, Role.POSITION_EMBEDDING, Role.PATCH_EMBEDDING, Role.HEAD, Role.OTHER)
BLOCK_BOUND = "lipschitz.log_block_bound"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """How one statistic enters: which effect of it, from `centre` in units of `scale`."""

    effect: Effect
    scale: float
    centre: float = 0.0

    def place(self, effect: float) -> float:
        """A pooled effect as a value of the signature, rounded to float32."""
        return float(np.float32((effect - self.centre) / self.scale))


def _squashed(value: float, null_mean: float) -> float:
    """arcsinh: linear near 0, logarithmic in heavy tails."""
    return math.asinh(value)


def _log10(value: float, null_mean: float) -> float:
    return math.log10(value) if value > 0 else math.nan


HALF_NORMAL = {10: 0.1257, 25: 0.3186, 50: 0.6745, 75: 1.1503, 90: 1.6449, 99: 2.5758}
"""Percentiles of |w| for standard normal weights: the centres of the magnitudes."""
UPPER_SIGMAS = (95, 98, 100)
"""Percentiles of the singular values that differ by factors rather than by amounts."""
VALUE_DIMENSIONS: Mapping[str, Dimension] = {
    "distribution.log_rms": Dimension(effect=as_is, scale=0.3, centre=-1.0),
    "distribution.mean": Dimension(effect=as_is, scale=0.3),
    "distribution.skewness": Dimension(effect=_squashed, scale=1.0),
    "distribution.kurtosis": Dimension(effect=_squashed, scale=1.0),
    "distribution.near_zero": Dimension(effect=as_is, scale=0.2),
    **{
        f"distribution.magnitude_{pct}": Dimension(
            effect=as_is, scale=0.2 if pct < 99 else 0.6, centre=HALF_NORMAL[pct]
        )
        for pct in MAGNITUDE_QUANTILES
    },
    "distribution.magnitude_max": Dimension(effect=_log10, scale=0.3, centre=0.6),
    "entropy.histogram": Dimension(effect=rise, scale=1.0),
}
MATRIX_DIMENSIONS: Mapping[str, Dimension] = {
    # Frequencies and clusters change much where fine-tuning changes the canonical order, so they get less weight.
    "spectra.low_share": Dimension(effect=rise, scale=0.4),
    **{f"spectra.band_{index}": Dimension(effect=log_ratio, scale=4.0) for index in range(NUM_BANDS)},
    "spectra.centroid": Dimension(effect=rise, scale=0.2),
    "spectra.dominant_row": Dimension(effect=rise, scale=1.0),
    "spectra.dominant_col": Dimension(effect=rise, scale=1.0),
    "clusters.explained": Dimension(effect=rise, scale=0.2),
    "clusters.separation": Dimension(effect=rise, scale=0.2),
    "clusters.balance": Dimension(effect=rise, scale=0.5),
    "dimension.participation": Dimension(effect=as_is, scale=0.2, centre=0.5),
    "dimension.rank_50": Dimension(effect=as_is, scale=0.2, centre=0.2),
    "dimension.rank_90": Dimension(effect=as_is, scale=0.2, centre=0.6),
    "dimension.rank_99": Dimension(effect=as_is, scale=0.2, centre=0.9),
    **{
        f"dimension.sigma_{pct:03}": Dimension(effect=as_is, scale=0.3, centre=1.0)
        for pct in SIGMA_QUANTILES
        if pct not in UPPER_SIGMAS
    },
    **{f"dimension.sigma_{pct:03}": Dimension(effect=_log10, scale=0.2, centre=0.3) for pct in UPPER_SIGMAS},
    "entropy.spectral": Dimension(effect=as_is, scale=0.1, centre=0.9),
    "lipschitz.log_norm": Dimension(effect=as_is, scale=0.3),
    "heavy_tail.alpha": Dimension(effect=_log10, scale=1.0, centre=0.6),
    "heavy_tail.ks": Dimension(effect=as_is, scale=0.2),
    "heavy_tail.stable_rank": Dimension(effect=_log10, scale=0.3, centre=-1.0),
    "heavy_tail.log_norm": Dimension(effect=as_is, scale=0.3, centre=1.0),
    **VALUE_DIMENSIONS,
}
BLOCK_DIMENSION = Dimension(effect=as_is, scale=1.0)


def _groups() -> Iterator[tuple[str, str, Mapping[str, Dimension]]]:
    """Every (role, third, its dimensions), in the order of the vector."""
    for role in Role:
        dimensions = VALUE_DIMENSIONS if role in VECTOR_ROLES else MATRIX_DIMENSIONS
        for third in (WHOLE,) if role in DEPTHLESS_ROLES else (WHOLE, *THIRDS):
            yield role.value, third, dimensions
    for third in (WHOLE, *THIRDS):
        yield "model", third, {**MATRIX_DIMENSIONS, BLOCK_BOUND: BLOCK_DIMENSION}


STATISTIC_NAMES = tuple(
    f"{role}/{third}/{statistic}" for role, third, dimensions in _groups() for statistic in dimensions
)
FINGERPRINT_NAMES = (
    *(
        f"fingerprint/{third}/{family}_{i:03}"
        for third in (WHOLE, *THIRDS)
        for family in FAMILIES
        for i in range(NUM_DIMENSIONS)
    ),
    *(f"fingerprint/{WHOLE}/names_{i:03}" for i in range(NUM_SUMS)),
    *(f"fingerprint/{WHOLE}/keys_{i:02}" for i in range(NUM_KEYS)),
)
SIGNATURE_NAMES: tuple[str, ...] = (*STATISTIC_NAMES, *FINGERPRINT_NAMES)


def make_signature(
    analyses: Sequence[TensorAnalysis], parts: Sequence[FingerprintPart] = (), named: NamedTensors | None = None
) -> SignatureRecord:
    """The signature of a model, float32 values; z and p are those of the pooled statistic over its pooled null.

    The fingerprint has neither, since it is compared and not tested. Its values are None without `parts` and `named`.
    """
    ordered = sorted(analyses, key=lambda item: item.spec.name)
    bounds = block_bounds(ordered)
    pooled: list[tuple[Pooled | None, Dimension]] = []
    for role, third, dimensions in _groups():
        members = [item for item in ordered if _belongs(item, role, third)]
        for statistic, dimension in dimensions.items():
            if statistic == BLOCK_BOUND:
                blocks = [(bound, 1.0) for depth, bound in bounds if third in (WHOLE, _third(depth))]
                pooled.append((aggregate_measured(blocks), dimension))
                continue
            pooled.append((pool(members, statistic, dimension.effect), dimension))
    tests = [item.statistic if item is not None else None for item, _ in pooled]
    untested = (None,) * len(FINGERPRINT_NAMES)
    return SignatureRecord(
        version=SIGNATURE_VERSION,
        names=SIGNATURE_NAMES,
        values=(
            *(None if item is None else dimension.place(item.value) for item, dimension in pooled),
            *_fingerprint_values(parts),
            *_named_values(named),
        ),
        z=(*(None if test is None else test.z for test in tests), *untested),
        p=(*(None if test is None else test.p for test in tests), *untested),
    )


def _fingerprint_values(parts: Sequence[FingerprintPart]) -> Iterator[float | None]:
    """Of parts without depth, then of each third; in each, family by family."""
    for third, family in itertools.product((WHOLE, *THIRDS), FAMILIES):
        own = [part for part in parts if part.family == family]
        found = fingerprint_vector([part for part in own if third == (_third(part.depth) or WHOLE)])
        yield from (None,) * NUM_DIMENSIONS if found is None else found.astype(np.float32).tolist()


def _named_values(named: NamedTensors | None) -> Iterator[float | None]:
    """The sums, then the keys."""
    if named is None:
        yield from (None,) * (NUM_SUMS + NUM_KEYS)
    else:
        yield from np.concatenate([named.sums, named.keys]).astype(np.float32).tolist()


def block_bounds(analyses: Sequence[TensorAnalysis]) -> list[tuple[float | None, Measured]]:
    """(depth, log10 of the Lipschitz product bound) of each block that has one, draws of its null included."""
    blocks: dict[int, list[TensorAnalysis]] = {}
    for item in analyses:
        if item.spec.block is not None and item.get("lipschitz.log_norm") is not None:
            blocks.setdefault(item.spec.block, []).append(item)
    found = ((items[0].spec.depth, _block_bound(items)) for _, items in sorted(blocks.items()))
    return [(depth, bound) for depth, bound in found if math.isfinite(bound.value)]


def _block_bound(items: Sequence[TensorAnalysis]) -> Measured:
    norms = [(item.spec.role.value, norm) for item in items if (norm := item.get("lipschitz.log_norm")) is not None]
    num_draws = min(len(norm.draws) for _, norm in norms)
    versions = [{role: 0.0 for role, _ in norms} for _ in range(1 + num_draws)]
    for role, norm in norms:
        for total, log_norm in zip(versions, (norm.value, *norm.draws), strict=False):
            total[role] += log_norm
    logs = [log_block_bound({role: 10.0**log_norm for role, log_norm in total.items()}) for total in versions]
    return Measured(name=BLOCK_BOUND, value=logs[0], kind="shuffle", draws=tuple(logs[1:]))


def _belongs(item: TensorAnalysis, role: str, third: str) -> bool:
    spec = item.spec
    is_member = spec.is_matrix if role == "model" else spec.role.value == role
    return is_member and third in (WHOLE, _third(spec.depth))


def _third(depth: float | None) -> str | None:
    """The third of the depth; None where depth has no meaning."""
    return None if depth is None else THIRDS[min(int(depth * 3), 2)]
