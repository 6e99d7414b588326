"""Many p-values at once: what share of those called findings would be false.

A q-value is the smallest false discovery rate at which a test of the family would be called a finding (Benjamini and
Hochberg 1995). It holds for tests that are independent or positively dependent, as statistics of one spectrum are
(Benjamini and Yekutieli 2001, section 3).
"""

import math
from collections.abc import Sequence

__all__ = ["q_values"]


def q_values(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """The q-value of each test of one family, in the order given: min over j >= i of m p_(j) / j, at most 1.

    Where p is None or NaN nothing was tested: q is None, and the test does not count among the m.
    """
    # Ours, since `scipy.stats` takes 0.8 s to import and `show` has 1.0 s in all; a test compares the two.
    tested = [(p, index) for index, p in enumerate(p_values) if p is not None and not math.isnan(p)]
    found: list[float | None] = [None] * len(p_values)
    q = 1.0
    for rank, (p, index) in zip(range(len(tested), 0, -1), sorted(tested, reverse=True), strict=True):
        # The quotient first, so that rounding never puts the largest q below its p.
        q = found[index] = min(q, p * (len(tested) / rank))
    return tuple(found)
