"""Sizes: how unequal the lengths of rows, and of columns, are.

A shuffled matrix has rows of nearly one length. Trained ones rarely have: unequal sizes alone make a spectrum steep and
values heavy-tailed, so they are the first thing to look at where those are. Rows more alike than chance are rows made
of the same values, as in a circulant matrix, whatever order hides it. The null is `shuffle`.
"""

import numpy as np

from pipeline.arrays import Float32

__all__ = ["measure_sizes"]


def measure_sizes(matrix: Float32) -> dict[str, float]:
    """Of a matrix (R, C): `rows` and `cols`, the standard deviation of their Euclidean lengths over its mean, >= 0.

    NaN for a matrix of zeros.
    """
    lengths = (np.sqrt(np.einsum(axes, matrix, matrix, dtype=np.float64)) for axes in ("ij,ij->i", "ij,ij->j"))
    spreads = (float(each.std() / each.mean()) if each.any() else float("nan") for each in lengths)
    return dict(zip(("sizes.rows", "sizes.cols"), spreads, strict=True))
