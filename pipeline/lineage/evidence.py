"""From held-out weights under an alignment to a correlation, its null and a verdict."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Float64, Indices
from pipeline.lineage.records import CANNOT_SAY, SAME_LINEAGE, Lineage, Matrix, RoleEvidence, Verdict
from zoo.tensors import Role

__all__ = ["LEAST_WEIGHTS", "LEAST_Z", "HeldOut", "Nulls", "decide"]

Vector = Float64

LEAST_WEIGHTS = 1024
"""With fewer held-out weights the verdict is `cannot say`."""
LEAST_Z = 8.0
"""z over wrong alignments from which weights are related; p < 1e-15 if they have nothing else in common."""
LEAST_CORRELATION = 0.1
"""Needed as well as `LEAST_Z` where an order had to be searched for: what all models of a kind have in common has a z
that grows with their width, but its correlation does not grow. Not needed in file order, where nothing is searched for.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """One test: weights that took no part in the alignment."""

    role: Role
    weights: int
    correlation: float
    nulls: Vector
    """Correlations under wrong alignments, shape `(num_nulls,)`."""
    in_file_order: bool
    counts: bool = True
    """Whether it counts for the verdict; it is shown in any case."""

    @property
    def z(self) -> float | None:
        """None where the null has no spread."""
        return _z(self.correlation, self.nulls)


class Nulls:
    """Wrong orders of aligned units, the same for all tensors along one axis.

    Every unit gets a wrong partner: right partners among related weights would widen the null, most in narrow models.
    """

    def __init__(self, num_nulls: int, seed: int) -> None:
        self.num_nulls = num_nulls
        self._seed = seed
        self._orders: dict[tuple[str, int], Indices] = {}

    def orders(self, axis: str, size: int) -> Indices:
        """Random orders of `size` units in which no unit keeps its place, shape `(num_nulls, size)`."""
        key = (axis, size)
        if key not in self._orders:
            rng = np.random.default_rng([self._seed, size, *axis.encode()])
            ring = np.argsort(rng.random((self.num_nulls, size)), axis=1)
            orders = np.empty_like(ring)
            np.put_along_axis(orders, ring, np.roll(ring, -1, axis=1), axis=1)
            self._orders[key] = orders
        return self._orders[key]

    def held_out(
        self,
        similarity: Matrix,
        norm: float,
        *,
        axis: str,
        role: Role,
        weights: int,
        in_file_order: bool,
        counts: bool = True,
    ) -> HeldOut | None:
        """The test of one tensor.

        - `similarity`: inner products of unit i in the first model with unit j in the second, aligned, `(U, U)`.
        - `norm`: product of the norms of both tensors; the trace divided by it is the correlation.

        None where a tensor does not vary.
        """
        if not norm > 0:
            return None
        orders = self.orders(axis, len(similarity))
        traces = similarity[np.arange(len(similarity)), orders].sum(axis=1, dtype=np.float64)
        return HeldOut(
            role=role,
            weights=weights,
            correlation=float(np.trace(similarity, dtype=np.float64)) / norm,
            nulls=traces / norm,
            in_file_order=in_file_order,
            counts=counts,
        )


def decide(tests: Sequence[HeldOut], *, num_nulls: int, nothing: str = "no axis in common") -> Lineage:
    """The verdict on all tests; correlations are averaged by the number of weights.

    - `nothing`: the reason where there is no test at all.
    """
    counted = [test for test in tests if test.counts]
    weights = sum(test.weights for test in counted)
    if weights < LEAST_WEIGHTS:
        reason = "too few weights to test" if tests else nothing
        return Lineage(verdict=CANNOT_SAY, reason=reason, tensors=len(counted), weights=weights)
    correlation, nulls = _pooled(counted)
    z = _z(correlation, nulls)
    in_file_order = all(test.in_file_order for test in tests)
    verdict, reason = _verdict(correlation, z, in_file_order)
    return Lineage(
        verdict=verdict,
        reason=reason,
        correlation=correlation,
        z=z,
        p=(int((nulls >= correlation).sum()) + 1) / (len(nulls) + 1),
        num_nulls=num_nulls,
        tensors=len(counted),
        weights=weights,
        in_file_order=in_file_order,
        roles=tuple(_by_role(tests)),
    )


def _pooled(tests: Sequence[HeldOut]) -> tuple[float, Vector]:
    shares = np.array([test.weights for test in tests], dtype=np.float64)
    shares /= shares.sum()
    correlation = float(shares @ np.array([test.correlation for test in tests]))
    return correlation, shares @ np.stack([test.nulls for test in tests])


def _z(correlation: float, nulls: Vector) -> float | None:
    if len(nulls) < 2 or not nulls.std(ddof=1) > 0:
        return None
    return float((correlation - nulls.mean()) / nulls.std(ddof=1))


def _verdict(correlation: float, z: float | None, in_file_order: bool) -> tuple[Verdict, str]:
    if z is None:
        return CANNOT_SAY, "too few wrong alignments to compare with"
    alike = "unrelated weights may agree as much"
    if z < LEAST_Z:
        return "no evidence", f"{alike}: z is below {LEAST_Z:g}"
    if correlation < LEAST_CORRELATION and not in_file_order:
        reason = f"{alike}: units had to be searched for, and the correlation is below {LEAST_CORRELATION:g}"
        return "no evidence", reason
    return SAME_LINEAGE, "the weights agree far more than under wrong alignments"


def _by_role(tests: Sequence[HeldOut]) -> Iterator[RoleEvidence]:
    for role in Role:
        members = [test for test in tests if test.role is role]
        if members:
            correlation, nulls = _pooled(members)
            yield RoleEvidence(
                role=role.value,
                tensors=len(members),
                weights=sum(test.weights for test in members),
                correlation=correlation,
                z=_z(correlation, nulls),
            )
