"""Lipschitz bounds: how much a linear map can stretch, and a block of them in a row.

The bounds are of the linear maps alone: normalisation, softmax and activation (1-Lipschitz or nearly so) are left out,
and a convolution counts by its (out, in * kh * kw) view, whose norm is within sqrt(kh * kw) of the operator's.
"""

import math
from collections.abc import Mapping

from pipeline.arrays import Float64

__all__ = ["BRANCHES", "log_block_bound", "log_spectral_norm"]

BRANCHES: tuple[tuple[str, ...], ...] = (("attention_value", "attention_output"), ("ffn_in", "ffn_out"))
"""Residual branches of a transformer block, each x + B(A(x)); their roles are multiplied within."""


def log_spectral_norm(singular: Float64) -> float:
    """log10 of the largest singular value; -inf for a matrix of zeros. The null is `shuffle`."""
    largest = float(singular.max(initial=0.0))
    return math.log10(largest) if largest > 0 else -math.inf


def log_block_bound(norms: Mapping[str, float]) -> float:
    """log10 of the product bound of one block, from role -> product of the spectral norms of that role's matrices.

    A residual branch of norm L contributes 1 + L (1 for the identity), since ||x + f(x)|| <= (1 + L) ||x||; so do
    the two branches of `BRANCHES`, each complete or not. Convolutions are a plain product, as in Szegedy et al. 2014,
    section 4.3. Queries and keys set where attention looks, not how far it stretches, and are left out. NaN if nothing
    is left.
    """
    factors = [
        1 + math.prod(norms[role] for role in branch if role in norms)
        for branch in BRANCHES
        if norms.keys() & set(branch)
    ]
    factors += [norm for role, norm in sorted(norms.items()) if role.endswith("convolution")]
    if not factors:
        return math.nan
    return math.fsum(math.log10(factor) if factor > 0 else -math.inf for factor in factors)
