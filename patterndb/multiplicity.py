"""Many p-values at once: what share of those called findings would be false.

A q-value is the smallest false discovery rate at which a test of the family would be called a finding (Benjamini and
Hochberg 1995). It holds for tests that are independent or positively dependent, as statistics of one spectrum are
(Benjamini and Yekutieli 2001, section 3).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["q_values", "q_values_of"]


def q_values(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """The q-value of each test of one family, in the order given: min over j >= i of m p_(j) / j, at most 1.

    Where p is None or NaN nothing was tested: q is None, and the test does not count among the m.
    """
    found = q_values_of(np.array(p_values, dtype=np.float64)).tolist()
    return tuple(None if q != q else q for q in found)


def q_values_of(p_values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """`q_values` of an array (N,), NaN for None."""
    # Ours, since `scipy.stats` takes 0.8 s to import and `show` has 1.0 s in all; a test compares the two.
    found = np.full(len(p_values), np.nan)
    tested = np.flatnonzero(~np.isnan(p_values))
    falling = tested[np.argsort(-p_values[tested], kind="stable")]
    ranks = np.arange(len(falling), 0, -1)
    # The quotient first, so that rounding never puts the largest q below its p.
    found[falling] = np.minimum.accumulate(np.minimum(p_values[falling] * (len(falling) / ranks), 1.0))
    return found
