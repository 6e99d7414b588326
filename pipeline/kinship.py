"""Kinship: what a model's weights answer to fixed probes, through circuits that no permutation changes.

Two seeds of one architecture on the same data end up alike in every statistic; what they do not share is the accident
of their weights. It shows where two tensors meet along an axis: `W_out W_in` of a feed-forward pair, `W_q^T W_k`,
`W_o W_v`, the convolutions of a block. Between frames of the residual stream each of these is a K x K matrix that
depends neither on the order of units, heads, channels or the stream nor on signs, on rotations inside a head or on
units rescaled. The frames are what probes of tokens (of pixels, of kernel positions) become in the stream. In random
weights the entries of such a matrix are independent with mean 0, so unrelated models lie at a distance that is known
beforehand; a copy, whatever was done to it, keeps most of them.

N = length of an axis, K = `NUM_PROBES`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.circuits import Attention, Block, FeedForward, Stack, find_stacks
from pipeline.probes import NUM_PROBES, Frame, flatten, signs, unit_scale
from zoo.tensors import Axis, Role, TensorSpec

__all__ = ["NUM_KINSHIP", "Circuit", "find_circuits", "kinship"]

NUM_KINSHIP = 128
"""Dimensions of a group (the whole model, a third of its depth)."""
ROWS_AT_A_TIME = 8192
TOKENS, PIXELS, POSITIONS, KERNEL, MIXING, PROJECTION = range(1, 7)
"""Salts of the probes."""

Float32 = npt.NDArray[np.float32]
Loader = Callable[[TensorSpec], Float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """One invariant matrix: `kind` says of what, `values` are its entries, flat, root mean square 1."""

    kind: str
    depth: float | None
    values: Frame


def kinship(circuits: Sequence[Circuit]) -> Frame | None:
    """The circuits as one vector, (NUM_KINSHIP,), of unit variance for random weights; None without any.

    Circuits of a kind are projected by the same fixed signs, kinds by different ones, and summed; the sum is scaled
    to a root mean square of 1, so that kinship is a matter of direction alone.
    """
    circuits = [circuit for circuit in circuits if circuit.values.any()]
    if not circuits:
        return None
    total = np.zeros(NUM_KINSHIP)
    for circuit in circuits:
        size = len(circuit.values)
        total += circuit.values @ signs(0, size, NUM_KINSHIP, _salt(circuit.kind)) / np.sqrt(size)
    return unit_scale(total)


def _salt(kind: str) -> int:
    return PROJECTION + (int.from_bytes(kind.encode()[:6], "big") << 8)


def find_circuits(specs: Sequence[TensorSpec], load: Loader) -> list[Circuit]:
    """All circuits of a model, in the order of execution.

    - `load(spec)`: the matrix or vector in the order of the file, float32 (rows, cols); called at most once each.
    """
    stacks = find_stacks(specs)
    walk = _Walk(load=load, gains=_gains(specs), has_shortcuts=any(b.shortcut for s in stacks for b in s.blocks))
    return list(walk.through(stacks))


@dataclass(slots=True, kw_only=True)
class _Walk:
    """On the way through a model."""

    load: Loader
    gains: Mapping[str, TensorSpec]
    has_shortcuts: bool
    """Whether blocks that change the stream say so; the others then keep it."""
    ends: dict[tuple[str, ...], Frame | None] = field(default_factory=dict)

    def through(self, stacks: Sequence[Stack]) -> Iterator[Circuit]:
        before: Frame | None = None
        for stack in stacks:
            frame = self._front(stack, before)
            for block in stack.blocks:
                frame, found = self._block(block, frame, before)
                yield from found
            self.ends[stack.path] = before = frame

    # What feeds a stack.

    def _front(self, stack: Stack, before: Frame | None) -> Frame | None:
        front = stack.front
        if front.table is not None:
            frame: Frame | None = self._table(front.table)
        elif front.convolutions:
            frame = self._chain(front.convolutions, None, [])
        else:
            frame = before
        if frame is None or stack.width in (None, len(frame)):
            return frame
        for spec in front.maps:
            if spec.rows == stack.width and spec.cols % len(frame) == 0:
                return self._mapped(spec, frame)
        return None

    def _table(self, spec: TensorSpec) -> Frame:
        """Tokens or positions through their rows, pixels through their columns."""
        matrix = self.load(spec)
        if spec.role is Role.PATCH_EMBEDDING:
            return flatten(matrix.astype(np.float64) @ signs(0, spec.cols, NUM_PROBES, PIXELS))
        salt = TOKENS if spec.role is Role.TOKEN_EMBEDDING else POSITIONS
        total, asked, answer = np.zeros(spec.cols), np.zeros(NUM_PROBES), np.zeros((spec.cols, NUM_PROBES))
        for start in range(0, spec.rows, ROWS_AT_A_TIME):
            rows = matrix[start : start + ROWS_AT_A_TIME].astype(np.float64)
            probes = signs(start, len(rows), NUM_PROBES, salt)
            total, asked, answer = total + rows.sum(axis=0), asked + probes.sum(axis=0), answer + rows.T @ probes
        # The mean row is what all models of a kind share most.
        return flatten(answer - np.outer(total / spec.rows, asked))

    def _mapped(self, spec: TensorSpec, frame: Frame) -> Frame:
        """Through a map of the stream, of which the columns may be several places concatenated."""
        groups = spec.cols // len(frame)
        parts = np.split(self.load(spec).astype(np.float64), groups, axis=1)
        mixing = np.split(signs(0, groups * NUM_PROBES, NUM_PROBES, MIXING), groups)
        if groups == 1:
            return flatten(parts[0] @ frame)
        return flatten(sum((part @ frame @ mix for part, mix in zip(parts, mixing, strict=True)), np.zeros(1)))

    # Blocks.

    def _block(self, block: Block, frame: Frame | None, other: Frame | None) -> tuple[Frame | None, list[Circuit]]:
        """The frame behind the block, and its circuits."""
        found: list[tuple[str, Frame]] = []
        if block.convolutions or block.shortcut is not None:
            frame = self._convolutions(block, frame, found)
        for spec in block.merges:
            frame = self._mapped(spec, frame) if frame is not None and spec.cols % len(frame) == 0 else None
        local = {} if frame is None else self._local(block, frame)
        for attention in block.attentions:
            self._attention(attention, local, {len(other): other} if other is not None else {}, found)
        for pair in block.feed_forwards:
            self._feed_forward(pair, local, found)
        return frame, [Circuit(kind=k, depth=block.depth, values=unit_scale(v)) for k, v in found]

    def _local(self, block: Block, frame: Frame) -> dict[object, Frame]:
        """Width -> frame of what the block reads and writes: the stream, and what it narrows to."""
        local: dict[object, Frame] = {}
        for spec in block.narrows:
            if spec.cols == len(frame):
                key = (spec.rows, "attention") if "attention" in spec.name else spec.rows
                local[key] = flatten(self.load(spec).astype(np.float64) @ frame)
        local[len(frame)] = frame
        return local

    def _attention(
        self,
        attention: Attention,
        local: Mapping[object, Frame],
        other: Mapping[object, Frame],
        found: list[tuple[str, Frame]],
    ) -> None:
        source = other if attention.is_cross else local
        faces = [
            self._read(attention.query, local, "attention"),
            self._read(attention.key, source, "attention"),
            self._read(attention.value, source),
            self._written(attention.output, local),
        ]
        for kind, one, two in (("qk", faces[0], faces[1]), ("ov", faces[3], faces[2])):
            if one is not None and two is not None and len(one) == len(two):
                found.append((kind, one.T @ two))

    def _feed_forward(self, pair: FeedForward, local: Mapping[object, Frame], found: list[tuple[str, Frame]]) -> None:
        enter, leave = self._read(pair.enter, local), self._written(pair.leave, local)
        if enter is not None and leave is not None:
            found.append(("ff", leave.T @ enter))

    def _read(self, spec: TensorSpec | None, local: Mapping[object, Frame], use: str = "") -> Frame | None:
        """What a tensor makes of the stream: `W X`, along its rows."""
        if spec is None:
            return None
        frame = local.get((spec.cols, use), local.get(spec.cols))
        return None if frame is None else np.asarray(self.load(spec).astype(np.float64) @ frame)

    def _written(self, spec: TensorSpec | None, local: Mapping[object, Frame]) -> Frame | None:
        """What a tensor writes, seen from the stream: `W^T X`, along its columns."""
        frame = None if spec is None else local.get(spec.rows)
        return None if spec is None or frame is None else np.asarray(self.load(spec).astype(np.float64).T @ frame)

    # Convolutions.

    def _convolutions(self, block: Block, frame: Frame | None, found: list[tuple[str, Frame]]) -> Frame | None:
        """The frame behind a block of convolutions."""
        after = self._chain(block.convolutions, frame, found)
        if block.shortcut is not None:
            kept = None if frame is None else self._convolved(block.shortcut, frame)
            kept = None if kept is None else flatten(kept)
        else:
            kept = frame if self.has_shortcuts else None
        if kept is None or (after is not None and len(kept) != len(after)):
            return None if after is None else flatten(after)
        if after is not None:
            found.append(("conv", kept.T @ after))
        return kept

    def _chain(
        self, convolutions: Sequence[TensorSpec], frame: Frame | None, found: list[tuple[str, Frame]]
    ) -> Frame | None:
        """What the convolutions make of the frame, one after the other; a depthwise one starts it anew."""
        for spec in convolutions:
            if spec.role is Role.DEPTHWISE_CONVOLUTION:
                anchor = flatten(self._kernel(spec) @ signs(0, spec.cols, NUM_PROBES, KERNEL))
                if frame is not None and len(frame) == len(anchor):
                    found.append(("dw", anchor.T @ frame))
                frame = anchor
            elif frame is None and _is_stem(spec, convolutions):
                frame = flatten(self._kernel(spec) @ signs(0, spec.cols, NUM_PROBES, PIXELS))
            else:
                frame = None if frame is None else self._convolved(spec, frame)
        return frame

    def _convolved(self, spec: TensorSpec, frame: Frame) -> Frame | None:
        """`sum_p W_p X R_p` over the positions p of the kernel, R_p fixed; None where the widths do not fit."""
        width = len(frame)
        if spec.cols % width:
            return None
        places = spec.cols // width
        if places == 1:
            return np.asarray(self._kernel(spec) @ frame)
        mixing = signs(0, places * NUM_PROBES, NUM_PROBES, MIXING).reshape(places, NUM_PROBES, NUM_PROBES)
        spread = np.einsum("nk,pkl->npl", frame, mixing).reshape(width * places, NUM_PROBES)
        return np.asarray(self._kernel(spec) @ spread)

    def _kernel(self, spec: TensorSpec) -> Frame:
        """A kernel as it acts under its norm: rows of length one times the gains, so neither scale nor sign is free."""
        kernel = self.load(spec).astype(np.float64)
        gain = self.gains.get(spec.name)
        if gain is None or gain.cols != spec.rows:
            return kernel
        norms = np.linalg.norm(kernel, axis=1)
        return kernel * (self.load(gain).astype(np.float64).ravel() / np.where(norms > 0, norms, 1.0))[:, None]


def _is_stem(spec: TensorSpec, convolutions: Sequence[TensorSpec]) -> bool:
    """Whether a convolution reads what has a real order: pixels, or the bands of a sound."""
    return spec.col_axis is Axis.POSITION or (spec.block is None and spec is convolutions[0])


def _gains(specs: Sequence[TensorSpec]) -> dict[str, TensorSpec]:
    """Name of a kernel -> the gain of the norm right behind it."""
    norms = {spec.name: spec for spec in specs if spec.role is Role.NORM and spec.rows == 1}
    found = {}
    for spec in specs:
        if not spec.role.value.endswith("convolution"):
            continue
        for name in _norm_names(spec.name):
            if name in norms:
                found[spec.name] = norms[name]
                break
    return found


def _norm_names(kernel: str) -> Iterator[str]:
    """What the norm behind a convolution may be called."""
    *parents, module, parameter = kernel.split(".")
    if module.isdigit():
        names = [str(int(module) + 1)]
    else:
        names = [module.replace("convolution", "normalization"), module.replace("conv", "bn")]
        names += [module.replace("conv", "norm"), "normalization", "norm", "bn", "layer_norm"]
    for name in names:
        if name != module:
            yield ".".join([*parents, name, parameter])
