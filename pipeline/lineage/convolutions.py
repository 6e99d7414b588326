"""Tests along the channels of a CNN: each axis of channels is aligned by its input channels, one after the other.

The image's channels and the kernel's positions anchor the stem. A convolution's input channels are a group that is
aligned already; its output channels are aligned on half of the input channels and tested on the other half, and become
a group themselves. Depthwise kernels are tested under the alignment of the group before them.

Under a batch norm a kernel and its gain may both change sign, so that kernels are multiplied with the sign of theirs.
N = output channels, C = input channels, K = kernel positions.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from pipeline.lineage.alignment import Alignment, Indices, align, balanced, centred, file_order
from pipeline.lineage.context import Context
from pipeline.lineage.evidence import HeldOut
from pipeline.lineage.pairing import Pair
from pipeline.lineage.records import Matrix, ModelWeights
from zoo.tensors import CONVOLUTIONS, Axis, Role, TensorKind, TensorSpec
from zoo.wiring import num_shared

__all__ = ["convolution_tests"]

KERNEL_SIZES = frozenset({1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 16, 25, 49, 121})
MAX_CANDIDATES = 6
"""Groups of one size that a convolution is tried on, the latest first."""
LEAST_CHANNELS = 4
"""With fewer input channels, half of them are too few."""
_CLIP = 4.0


def convolution_tests(pairs: Sequence[Pair], context: Context) -> Iterator[HeldOut]:
    """Tests of all convolutions of a model, each after those that it may read from."""
    kernels = [pair for pair in pairs if pair.a.role in CONVOLUTIONS and pair.a.role is pair.b.role]
    chain = _Chain(context, [])
    for _, stage in groupby(sorted(kernels, key=_stage), key=_stage):
        pending = list(stage)
        while pending:
            pair = pending.pop(chain.next_of(pending))
            test = chain.depthwise(pair) if pair.a.role is Role.DEPTHWISE_CONVOLUTION else chain.convolution(pair)
            if test is not None:
                yield test


def _stage(pair: Pair) -> float:
    """Sort key: what lies before the blocks, the blocks, what lies behind them."""
    if pair.a.block is not None:
        return pair.a.block
    return -1 if (pair.a.depth or 0) < 0.5 else math.inf


@dataclass(frozen=True, slots=True)
class _Channels:
    """A group of channels that is aligned."""

    num_a: int
    num_b: int
    alignment: Alignment


@dataclass(frozen=True, slots=True)
class _Stacks:
    """The kernels of both models by input channel, input channels aligned: `(C, N, K)`."""

    a: Matrix
    b: Matrix
    in_file_order: bool


@dataclass(frozen=True, slots=True)
class _Fit:
    """Output channels aligned on half of the input channels."""

    stacks: _Stacks
    rows: Alignment
    score: float
    """Correlation of what was aligned."""
    test: Indices
    """The other half."""


@dataclass(frozen=True, slots=True)
class _Chain:
    """The convolutions of both models, one after the other."""

    context: Context
    groups: list[_Channels]

    def next_of(self, pending: Sequence[Pair]) -> int:
        """Index of the next kernels: a stem, else those that read the latest group, depthwise ones first."""
        latest = self.groups[-1].num_a if self.groups else 0

        def place(pair: Pair) -> int:
            spec = pair.a
            is_depthwise = spec.role is Role.DEPTHWISE_CONVOLUTION
            if spec.col_axis is Axis.POSITION and not is_depthwise:
                return 0
            if is_depthwise:
                return 1 if spec.rows == latest else 4
            kernel, rest = divmod(spec.cols, latest) if latest else (0, 1)
            return 2 if not rest and kernel in KERNEL_SIZES else 3

        return min(range(len(pending)), key=lambda index: place(pending[index]))

    def convolution(self, pair: Pair) -> HeldOut | None:
        left, right = _load(self.context.a, pair.a), _load(self.context.b, pair.b)
        signed = pair.a.free_col_signs or pair.b.free_col_signs
        if pair.a.col_axis is Axis.POSITION:
            # The stem is not tested: its filters are smooth, so half of a filter predicts the other half in any model.
            if left.shape[1] == right.shape[1]:
                rows = align(centred(left), centred(right), signed=signed)
                self.groups.append(_Channels(len(left), len(right), rows))
            return None
        shifts = _shifts(self.context.a, pair.a), _shifts(self.context.b, pair.b)
        stacks = [_stacks(left, right, group) for group in self._readable(left, right)]
        fits = [_fit(stack, shifts, signed, self.context.seed) for stack in stacks]
        best = max(fits, key=_preference, default=None)
        if best is None:
            return None
        # The convolutions behind are tested on other weights, so these channels may be aligned on all their weights.
        whole = best.rows
        if not whole.in_file_order:
            one, two = _features(best.stacks.a, shifts[0]), _features(best.stacks.b, shifts[1])
            whole = align(one, two, signed=signed)
        self.groups.append(_Channels(len(left), len(right), whole))
        test_a, test_b = (_flat(side[best.test]) for side in (best.stacks.a, best.stacks.b))
        return self._test(pair, test_a, test_b, best.rows, best.rows.in_file_order and best.stacks.in_file_order)

    def _readable(self, left: Matrix, right: Matrix) -> list[_Channels]:
        """Groups that the columns may be: the latest of each size, and one of each size in file order."""
        found: dict[tuple[int, int], list[_Channels]] = {}
        for group in reversed(self.groups):
            kernel, rest = divmod(left.shape[1], group.num_a)
            is_readable = not rest and right.shape[1] == kernel * group.num_b and kernel in KERNEL_SIZES
            if is_readable and len(group.alignment) >= LEAST_CHANNELS:
                found.setdefault((group.num_a, group.num_b), []).append(group)
        latest = [group for groups in found.values() for group in groups[:MAX_CANDIDATES]]
        # Where the chain has been lost, file order may continue it.
        return latest + [_Channels(*sizes, file_order(*sizes)) for sizes in found]

    def depthwise(self, pair: Pair) -> HeldOut | None:
        left, right = _load(self.context.a, pair.a), _load(self.context.b, pair.b)
        sizes = len(left), len(right)
        group = next((group for group in reversed(self.groups) if (group.num_a, group.num_b) == sizes), None)
        if group is None or left.shape[1] != right.shape[1]:
            return None
        rows = Alignment(a=group.alignment.a, b=group.alignment.b)
        return self._test(pair, left, right, rows, group.alignment.in_file_order)

    def _test(self, pair: Pair, left: Matrix, right: Matrix, rows: Alignment, in_file_order: bool) -> HeldOut | None:
        one, two = (balanced(side) for side in rows.rows(left, right))
        return self.context.nulls.held_out(
            one @ two.T,
            float(np.linalg.norm(one) * np.linalg.norm(two)),
            axis=pair.a.name,
            role=pair.a.role,
            weights=one.size,
            in_file_order=in_file_order,
        )


def _load(model: ModelWeights, spec: TensorSpec) -> Matrix:
    """The kernels, each multiplied with the sign of its gain where both may change sign."""
    matrix = model.load(spec)
    gain = _norm_of(model, spec, is_shift=False)
    if not spec.free_row_signs or gain is None:
        return matrix
    signed: Matrix = matrix * np.where(model.load(gain).T < 0, np.float32(-1), np.float32(1))
    return signed


def _shifts(model: ModelWeights, spec: TensorSpec) -> Matrix:
    """The shifts of the norm behind the kernels, standardised, `(N, 1)`; zeros where there is none."""
    shift = _norm_of(model, spec, is_shift=True)
    if shift is None:
        return np.zeros((spec.rows, 1), dtype=np.float32)
    values: Matrix = model.load(shift).T
    values = (values - values.mean()) / np.float32(max(float(values.std()), 1e-12))
    return values.clip(-_CLIP, _CLIP)


def _norm_of(model: ModelWeights, spec: TensorSpec, *, is_shift: bool) -> TensorSpec | None:
    """The gain or shift whose name shares most leading components with the kernels'."""
    norms = (s for s in model.specs if s.role is Role.NORM and s.kind is TensorKind.WEIGHT)
    fitting = [n for n in norms if n.cols == spec.rows and n.name.endswith(("bias", "beta")) == is_shift]
    shared = [num_shared(norm.name.split("."), spec.name.split(".")) for norm in fitting]
    return fitting[shared.index(max(shared))] if any(shared) else None


def _stacks(left: Matrix, right: Matrix, group: _Channels) -> _Stacks:
    """The kernels, given that their columns are the channels of the group."""
    one = left.reshape(len(left), group.num_a, -1).swapaxes(0, 1)
    two = right.reshape(len(right), group.num_b, -1).swapaxes(0, 1)
    return _Stacks(*group.alignment.rows(one, two), group.alignment.in_file_order)


def _fit(stacks: _Stacks, shifts: tuple[Matrix, Matrix], signed: bool, seed: int) -> _Fit:
    fit, test = np.array_split(np.random.default_rng(seed).permutation(len(stacks.a)), 2)
    one, two = _features(stacks.a[fit], shifts[0]), _features(stacks.b[fit], shifts[1])
    rows = align(one, two, signed=signed)
    one, two = rows.rows(one, two)
    score = float((one * two).sum() / max(np.linalg.norm(one) * np.linalg.norm(two), 1e-30))
    return _Fit(stacks, rows, score, test)


def _preference(fit: _Fit) -> tuple[bool, bool, float]:
    """Sort key: file order, which is not fitted, is preferred where the weights show it."""
    rows, cols = fit.rows.in_file_order, fit.stacks.in_file_order
    return rows and cols, rows, fit.score


def _features(stack: Matrix, shifts: Matrix) -> Matrix:
    """Features of output channels: their kernels, and the shift behind them with the weight of one entry."""
    kernels = _flat(stack)
    return np.concatenate([balanced(kernels), shifts / np.float32(math.sqrt(kernels.shape[1]))], axis=1)


def _flat(stack: Matrix) -> Matrix:
    """Channels first, `(C, N, K)`, to `(N, C * K)`."""
    return stack.swapaxes(0, 1).reshape(stack.shape[1], -1)
