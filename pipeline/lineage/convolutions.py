"""Tests along the channels of a CNN: each axis of channels is aligned by what it reads, group after group.

The image's channels and the kernel's positions anchor the stem. A convolution's input channels are some group already
aligned; its output channels are aligned on half of the input channels and tested on the other half, and become a group
themselves. Depthwise kernels and nothing else are fitted on nothing: their channels are those of the group before.

N = output channels, C = input channels, K = kernel positions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.lineage.alignment import Alignment, align, centred, unit_rows
from pipeline.lineage.evidence import HeldOut, Nulls
from pipeline.lineage.pairing import Pair
from pipeline.lineage.records import Matrix, ModelWeights
from zoo.tensors import Axis, Role

__all__ = ["test_convolutions"]

KERNEL_SIZES = frozenset({1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 16, 25, 49, 121})
LEAST_CHANNELS = 8
"""Input channels below which a half of them is too few."""
_CONVOLUTIONS = (Role.CONVOLUTION, Role.POINTWISE_CONVOLUTION)


@dataclass(frozen=True, slots=True)
class _Channels:
    """A group of channels that is aligned."""

    num_a: int
    num_b: int
    alignment: Alignment


def test_convolutions(
    pairs: Sequence[Pair], a: ModelWeights, b: ModelWeights, nulls: Nulls, seed: int
) -> Iterator[HeldOut]:
    """Tests of all convolutions of a model, in the order of execution as far as blocks and names tell it."""
    groups: list[_Channels] = []
    for pair in pairs:
        if pair.a.role is not pair.b.role:
            continue
        if pair.a.role is Role.DEPTHWISE_CONVOLUTION:
            yield from _depthwise(pair, groups, a, b, nulls)
        elif pair.a.role in _CONVOLUTIONS:
            yield from _convolution(pair, groups, a, b, nulls, seed)


def _convolution(
    pair: Pair, groups: list[_Channels], a: ModelWeights, b: ModelWeights, nulls: Nulls, seed: int
) -> Iterator[HeldOut]:
    left, right = a.load(pair.a), b.load(pair.b)
    if pair.a.col_axis is Axis.POSITION:
        # The stem: its filters are smooth, so one half of a filter tells the other in any model. It only anchors.
        if left.shape[1] == right.shape[1]:
            groups.append(_Channels(len(left), len(right), align(centred(left), centred(right))))
        return
    fits = [fit for group in groups if (fit := _fit(left, right, group, seed)) is not None]
    if not fits:
        return
    best = max(fits, key=lambda fit: fit.score)
    groups.append(_Channels(len(left), len(right), best.rows))
    test_a, test_b = centred(best.test_a[best.rows.a]), centred(best.test_b[best.rows.b])
    test = nulls.held_out(
        test_a @ test_b.T,
        float(np.linalg.norm(test_a) * np.linalg.norm(test_b)),
        axis=pair.a.name,
        role=pair.a.role,
        weights=test_a.size,
        in_file_order=best.in_file_order,
    )
    if test is not None:
        yield test


@dataclass(frozen=True, slots=True)
class _Fit:
    """Output channels aligned on half of the input channels."""

    rows: Alignment
    score: float
    test_a: Matrix
    test_b: Matrix
    in_file_order: bool


def _fit(left: Matrix, right: Matrix, group: _Channels, seed: int) -> _Fit | None:
    """Align the rows given that the columns are those of the group; None if they cannot be."""
    kernel, rest = divmod(left.shape[1], group.num_a)
    if rest or right.shape[1] != kernel * group.num_b or kernel not in KERNEL_SIZES:
        return None
    if len(group.alignment.a) < LEAST_CHANNELS:
        return None
    stack_a = left.reshape(len(left), group.num_a, kernel)[:, group.alignment.a]
    stack_b = right.reshape(len(right), group.num_b, kernel)[:, group.alignment.b]
    order = np.random.default_rng(seed).permutation(stack_a.shape[1])
    fit, test = np.array_split(order, 2)
    fit_a, fit_b = _flat(stack_a[:, fit]), _flat(stack_b[:, fit])
    rows = align(centred(fit_a), centred(fit_b))
    one, two = unit_rows(centred(fit_a))[rows.a], unit_rows(centred(fit_b))[rows.b]
    score = float((one * two).sum() / len(one))
    in_file_order = rows.in_file_order and group.alignment.in_file_order
    return _Fit(rows, score, _flat(stack_a[:, test]), _flat(stack_b[:, test]), in_file_order)


def _flat(stack: Matrix) -> Matrix:
    return stack.reshape(len(stack), -1)


def _depthwise(
    pair: Pair, groups: Sequence[_Channels], a: ModelWeights, b: ModelWeights, nulls: Nulls
) -> Iterator[HeldOut]:
    left, right = a.load(pair.a), b.load(pair.b)
    sizes = len(left), len(right)
    group = next((group for group in reversed(groups) if (group.num_a, group.num_b) == sizes), None)
    if group is None or left.shape[1] != right.shape[1]:
        return
    one, two = centred(left[group.alignment.a]), centred(right[group.alignment.b])
    test = nulls.held_out(
        one @ two.T,
        float(np.linalg.norm(one) * np.linalg.norm(two)),
        axis=pair.a.name,
        role=pair.a.role,
        weights=one.size,
        in_file_order=group.alignment.in_file_order,
    )
    if test is not None:
        yield test
