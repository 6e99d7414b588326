"""Which of two related models came first, where one holds less than the other.

A copy whose weights were rounded or set to 0 can be computed from the original, and the original not from the copy: so
such a copy is the younger one, and nothing else is needed to say so. What is said to grow or to fall while a model
learns (norms, outliers, kurtosis, stable rank) is not used: `benchmarks/direction.py` measures how often it is wrong.
"""

from dataclasses import replace

import numpy as np

from pipeline.lineage.pairing import same_name_and_shape
from pipeline.lineage.records import Lineage, Matrix, ModelWeights, Side

__all__ = ["HELD_OUT", "RUN", "WRONG_AT_MOST", "find_older", "might_be_made_from", "with_direction"]

RUN = 32
"""Values of a row or a column that are looked at together: common roundings have one step for so many at least."""
HELD_OUT = 36
"""Answers on the architectures that nothing was tuned on, none of them wrong: `benchmarks/results/direction.json`."""
WRONG_AT_MOST = 1 - 0.025 ** (1 / HELD_OUT)
"""Upper end of the exact 95 % interval of the share of wrong answers (Clopper and Pearson 1934): 0.097."""


def with_direction(lineage: Lineage, a: ModelWeights, b: ModelWeights) -> Lineage:
    """The evidence on related models, with what their weights tell of which came first."""
    older = find_older(a, b)
    if older is None:
        return replace(lineage, direction="the weights do not tell which came first")
    direction = "the other is a rounded or pruned copy of it"
    return replace(lineage, older=older, direction=direction, direction_error=WRONG_AT_MOST)


def find_older(a: ModelWeights, b: ModelWeights) -> Side | None:
    """The side of which the other is a rounded or pruned copy, in file order; None where the weights do not tell."""
    might_be: set[Side] = {"a", "b"}
    num_values = {"a": 0, "b": 0}
    for pair in same_name_and_shape(a.specs, b.specs):
        if not pair.a.is_matrix:
            continue
        left, right = a.load(pair.a), b.load(pair.b)
        if np.array_equal(left, right):
            continue
        if not might_be_made_from(left, right):
            might_be.discard("a")
        if not might_be_made_from(right, left):
            might_be.discard("b")
        if not might_be:
            return None
        num_values["a"] += len(np.unique(left))
        num_values["b"] += len(np.unique(right))
    if num_values["a"] == num_values["b"]:
        return None
    richer: Side = "a" if num_values["a"] > num_values["b"] else "b"
    return richer if richer in might_be else None


def might_be_made_from(original: Matrix, copy: Matrix) -> bool:
    """Whether a matrix of the same shape is the original with some values set to 0, or rounded.

    It is rounded if along every run of its rows, or of its columns, it never falls where the original rises, has one
    value where the original has one, and is nowhere farther from it than its own values are from each other.
    """
    changed = copy != original
    if not copy[changed].any():
        return True
    return _is_rounded(original, copy) or _is_rounded(original.T, copy.T)


def _is_rounded(original: Matrix, copy: Matrix) -> bool:
    size = min(RUN, copy.shape[1])
    runs = [matrix[:, : matrix.shape[1] // size * size].reshape(-1, size) for matrix in (original, copy)]
    order = np.argsort(runs[0], axis=1)
    rises, steps = (np.diff(np.take_along_axis(run, order, axis=1), axis=1) for run in runs)
    widest = steps.max(axis=1, initial=0)
    # Units scaled under an activation keep the order of their weights, but not the weights.
    is_near = (widest == 0) | (np.abs(runs[1] - runs[0]).max(axis=1) <= widest)
    return bool(is_near.all() and np.all(np.where(rises > 0, steps >= 0, steps == 0)))
