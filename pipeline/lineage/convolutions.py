"""Tests along the channels of a CNN: each axis of channels is aligned by what it reads, group after group.

The image's channels and the kernel's positions anchor the stem. A convolution's input channels are some group already
aligned; its output channels are aligned on half of the input channels and tested on the other half, and become a group
themselves. Depthwise kernels take the group before them, and are fitted on nothing.

A batch norm lets a kernel turn with its gain: kernels count with the sign of theirs. N = output channels, C = input
channels, K = kernel positions.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.lineage.alignment import Alignment, align, balanced, centred
from pipeline.lineage.evidence import HeldOut, Nulls
from pipeline.lineage.pairing import Pair
from pipeline.lineage.records import Matrix, ModelWeights
from zoo.tensors import Axis, Role, TensorKind, TensorSpec

__all__ = ["test_convolutions"]

KERNEL_SIZES = frozenset({1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 16, 25, 49, 121})
LEAST_CHANNELS = 8
"""Input channels below which a half of them is too few."""
_CONVOLUTIONS = (Role.CONVOLUTION, Role.POINTWISE_CONVOLUTION)
_KERNELS = (*_CONVOLUTIONS, Role.DEPTHWISE_CONVOLUTION)


def test_convolutions(
    pairs: Sequence[Pair], a: ModelWeights, b: ModelWeights, nulls: Nulls, seed: int
) -> Iterator[HeldOut]:
    """Tests of all convolutions of a model, in the order of execution as far as blocks and names tell it."""
    kernels = [pair for pair in pairs if pair.a.role in _KERNELS and pair.a.role is pair.b.role]
    chain = _Chain(a, b, _gains(a.specs) if kernels else [], _gains(b.specs) if kernels else [], nulls, seed, [])
    for pair in kernels:
        test = chain.depthwise(pair) if pair.a.role is Role.DEPTHWISE_CONVOLUTION else chain.convolution(pair)
        if test is not None:
            yield test


@dataclass(frozen=True, slots=True)
class _Channels:
    """A group of channels that is aligned."""

    num_a: int
    num_b: int
    alignment: Alignment


@dataclass(frozen=True, slots=True)
class _Fit:
    """Output channels aligned on half of the input channels."""

    rows: Alignment
    score: float
    test_a: Matrix
    test_b: Matrix
    in_file_order: bool


@dataclass(frozen=True, slots=True)
class _Chain:
    """The convolutions of both models, one after the other."""

    a: ModelWeights
    b: ModelWeights
    gains_a: list[TensorSpec]
    gains_b: list[TensorSpec]
    nulls: Nulls
    seed: int
    groups: list[_Channels]

    def convolution(self, pair: Pair) -> HeldOut | None:
        left, right = _turned(pair.a, self.a, self.gains_a), _turned(pair.b, self.b, self.gains_b)
        signed = pair.a.free_col_signs or pair.b.free_col_signs
        if pair.a.col_axis is Axis.POSITION:
            # The stem: its filters are smooth, so half of a filter tells the other half in any model. It only anchors.
            if left.shape[1] == right.shape[1]:
                rows = align(centred(left), centred(right), signed=signed)
                self.groups.append(_Channels(len(left), len(right), rows))
            return None
        fits = [fit for group in self.groups if (fit := _fit(left, right, group, signed, self.seed)) is not None]
        if not fits:
            return None
        best = max(fits, key=lambda fit: fit.score)
        self.groups.append(_Channels(len(left), len(right), best.rows))
        return self._test(pair, best.test_a, best.test_b, best.rows, best.in_file_order)

    def depthwise(self, pair: Pair) -> HeldOut | None:
        left, right = _turned(pair.a, self.a, self.gains_a), _turned(pair.b, self.b, self.gains_b)
        sizes = len(left), len(right)
        group = next((group for group in reversed(self.groups) if (group.num_a, group.num_b) == sizes), None)
        if group is None or left.shape[1] != right.shape[1]:
            return None
        rows = Alignment(a=group.alignment.a, b=group.alignment.b)
        return self._test(pair, left, right, rows, group.alignment.in_file_order)

    def _test(self, pair: Pair, left: Matrix, right: Matrix, rows: Alignment, in_file_order: bool) -> HeldOut | None:
        one, two = (balanced(side) for side in rows.rows(left, right))
        return self.nulls.held_out(
            one @ two.T,
            float(np.linalg.norm(one) * np.linalg.norm(two)),
            axis=pair.a.name,
            role=pair.a.role,
            weights=one.size,
            in_file_order=in_file_order,
        )


def _fit(left: Matrix, right: Matrix, group: _Channels, signed: bool, seed: int) -> _Fit | None:
    """Align the rows given that the columns are those of the group; None if they cannot be."""
    kernel, rest = divmod(left.shape[1], group.num_a)
    if rest or right.shape[1] != kernel * group.num_b or kernel not in KERNEL_SIZES:
        return None
    if len(group.alignment) < LEAST_CHANNELS:
        return None
    stacks = (left.reshape(len(left), group.num_a, kernel), right.reshape(len(right), group.num_b, kernel))
    stack_a, stack_b = group.alignment.rows(*(stack.swapaxes(0, 1) for stack in stacks))
    fit, test = np.array_split(np.random.default_rng(seed).permutation(len(stack_a)), 2)
    fit_a, fit_b = balanced(_flat(stack_a[fit])), balanced(_flat(stack_b[fit]))
    rows = align(fit_a, fit_b, signed=signed)
    one, two = rows.rows(fit_a, fit_b)
    score = float((one * two).sum() / max(np.linalg.norm(one) * np.linalg.norm(two), 1e-30))
    in_file_order = rows.in_file_order and group.alignment.in_file_order
    return _Fit(rows, score, _flat(stack_a[test]), _flat(stack_b[test]), in_file_order)


def _flat(stack: Matrix) -> Matrix:
    """Channels first, `(C, N, K)`, to `(N, C * K)`."""
    return stack.swapaxes(0, 1).reshape(stack.shape[1], -1)


def _gains(specs: Iterable[TensorSpec]) -> list[TensorSpec]:
    """What norms multiply with."""
    return [s for s in specs if s.role is Role.NORM and s.kind is TensorKind.WEIGHT and not s.name.endswith("bias")]


def _turned(spec: TensorSpec, model: ModelWeights, gains: Sequence[TensorSpec]) -> Matrix:
    """The kernels, each with the sign of the gain of the norm behind it: the one whose name has most in common."""
    matrix = model.load(spec)
    fitting = [gain for gain in gains if gain.cols == spec.rows and _common(gain.name, spec.name)]
    if not spec.free_row_signs or not fitting:
        return matrix
    gain = max(fitting, key=lambda gain: _common(gain.name, spec.name))
    return matrix * np.where(model.load(gain).T < 0, np.float32(-1), np.float32(1))


def _common(a: str, b: str) -> int:
    """Components that two names begin with alike."""
    pairs = zip(a.split("."), b.split("."), strict=False)
    return next((count for count, (x, y) in enumerate(pairs) if x != y), 0)
