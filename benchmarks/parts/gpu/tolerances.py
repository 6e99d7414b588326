"""How far statistics taken on a device may be from those of the CPU, and how far they are."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping

from pipeline.analyse.aggregation import BEYOND_MEANS, Measured, TensorAnalysis
from pipeline.analyse.measures.host import TOLERANCES

__all__ = ["SIGNATURE_TOLERANCE", "largest_differences", "tolerance_of"]

SIGNATURE_TOLERANCE = 1e-5
"""Of each dimension."""


def tolerance_of(name: str) -> float:
    """Of a statistic, by its name."""
    return TOLERANCES[BEYOND_MEANS if name.endswith(BEYOND_MEANS) else name.split(".")[0]]


def largest_differences(host: Mapping[str, TensorAnalysis], device: Mapping[str, TensorAnalysis]) -> dict[str, float]:
    """Statistic -> how far the two are apart at most, in its tolerances; draws of nulls and samples of rows count, too.

    Both by the names of the tensors. A number beside what is none is infinitely far from it.
    """
    found: dict[str, float] = defaultdict(float)
    for name, one in host.items():
        for left, right in zip(one.measured, device[name].measured, strict=True):
            apart = (_apart(*pair) for pair in zip(_numbers(left), _numbers(right), strict=True))
            found[left.name] = max(found[left.name], *apart)
    return {name: apart / tolerance_of(name) for name, apart in found.items() if name.split(".")[0] in TOLERANCES}


def _numbers(measured: Measured) -> Iterator[float]:
    yield measured.value
    yield from measured.draws
    yield from measured.samples


def _apart(one: float, other: float) -> float:
    if one == other or (math.isnan(one) and math.isnan(other)):
        return 0.0
    apart = abs(one - other) / max(abs(one), 1.0)
    return math.inf if math.isnan(apart) else apart
