"""Tensors of equal name and shape, compared value by value in the order of the files, whatever their networks are.

Nothing is searched for, so that no role and no axis need be known. What unrelated models of a kind have in common is
the danger: means, the order of a vocabulary or of positions, a multiple of the identity, tensors that are constants of
the architecture. So the means and the diagonal are taken out, each tensor is held against the null that leaves it the
most, and one tensor alone decides nothing.

R, C = rows and columns of a tensor, of which at most `MAX_UNITS` each are used.
"""

from dataclasses import replace

import numpy as np

from pipeline.additive import additive_model
from pipeline.lineage.alignment import sample, without_identity
from pipeline.lineage.evidence import LEAST_Z, HeldOut, Nulls, decide
from pipeline.lineage.pairing import Pair, same_name_and_shape
from pipeline.lineage.records import SAME_LINEAGE, Lineage, Matrix, ModelWeights

__all__ = ["AGREES_Z", "LEAST_UNITS", "MAX_UNITS", "compare_by_name"]

LEAST_UNITS = 8
"""A tensor with fewer rows or columns has too few wrong orders."""
MAX_UNITS = 1024
"""Rows and columns taken of a tensor, the same of both models."""
AGREES_Z = 3.0
"""z from which a tensor agrees by itself; so must more than half of the tensors."""


def compare_by_name(a: ModelWeights, b: ModelWeights, *, num_nulls: int, seed: int) -> Lineage:
    """Whether the tensors of equal name and shape agree in file order; `cannot say` where there are too few."""
    nulls = Nulls(num_nulls, seed)
    found = (_test(pair, a, b, nulls, seed) for pair in same_name_and_shape(a.specs, b.specs))
    tests = [test for test in found if test is not None]
    lineage = decide(tests, num_nulls=num_nulls, nothing="no axis in common, nor a matrix of equal name and shape")
    if lineage.verdict != SAME_LINEAGE:
        return lineage
    agreeing = sum(test.z is not None and test.z >= AGREES_Z for test in tests)
    where = f"{agreeing} of {len(tests)} matrices of equal name and shape"
    if agreeing < 2 or 2 * agreeing <= len(tests):
        reason = f"only {where} agree in file order, which constants or common tables explain"
        return replace(lineage, verdict="no evidence", reason=reason)
    return replace(lineage, reason=f"{where} agree in file order far more than in wrong orders")


def _test(pair: Pair, a: ModelWeights, b: ModelWeights, nulls: Nulls, seed: int) -> HeldOut | None:
    """The test of one tensor; None where it is too small or does not vary.

    Wrong orders of its columns keep what its rows have in common in all models of a kind (tokens and their
    frequencies, positions), wrong orders of its rows what its columns have. Which axis means something is not known, so
    the null that reaches farther is taken: in that one, what is common without descent is in the draws too.
    """
    if min(pair.a.rows, pair.a.cols) < LEAST_UNITS:
        return None
    one, two = (_beyond_means(model.load(spec), seed) for model, spec in ((a, pair.a), (b, pair.b)))
    norm = float(np.linalg.norm(one)) * float(np.linalg.norm(two))
    tests = [
        # One name for all axes: those of one length may be the same units, and get the same wrong orders.
        nulls.held_out(similarity, norm, axis="any", role=pair.a.role, weights=one.size, in_file_order=True)
        for similarity in (one.T @ two, one @ two.T)
    ]
    return max((test for test in tests if test is not None), key=_reach, default=None)


def _reach(test: HeldOut) -> float:
    """The correlation that a pair would need against this null; does not look at the one it has."""
    return float(test.nulls.mean() + LEAST_Z * test.nulls.std())


def _beyond_means(matrix: Matrix, seed: int) -> Matrix:
    """The matrix, or a sample of its rows and columns, without what the additive model holds; a square one also without
    the multiple of the identity: networks that start from it share no weights."""
    matrix = matrix[sample(matrix.shape[0], MAX_UNITS, seed)][:, sample(matrix.shape[1], MAX_UNITS, seed)]
    return without_identity(additive_model(matrix).residual(matrix))
