"""Fingerprint: what a model's weights answer to fixed probes, through parts that no permutation changes.

Two seeds of one architecture on the same data end up alike in every statistic; what they do not share is the accident
of their weights. It shows where tensors meet along an axis of arbitrary order: `W_out W_in` of a feed-forward pair,
`W_q^T W_k`, `W_o W_v`, two convolutions. Seen between two frames of the residual stream each of these is a small matrix
that depends neither on the order of units, heads, channels or the stream nor on signs, on rotations inside a head or on
units rescaled. A stream has up to three frames: what probes of its tokens or pixels become in it, its positions, and
the gains of its norms. What tokens do to tokens is learned by all models of a kind, what they do to gains is not.

In random weights the entries of a part are independent with mean 0, so unrelated models do not correlate, whatever
they are; a copy, whatever was done to it, keeps most of its entries.

N = length of an axis, K = columns of a frame, D = `NUM_DIMENSIONS`.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from pipeline.fingerprint.convolutions import ConvolutionWalk, Path
from pipeline.fingerprint.random_projections import Frame, flatten, signs, unit_scale
from pipeline.fingerprint.residual_frames import gain_columns, mapped, table_frame, turning_with
from zoo.tensors import Role, TensorSpec
from zoo.wiring import Attention, Block, FeedForward, Stack, find_gains, find_stacks

__all__ = ["FAMILIES", "NUM_DIMENSIONS", "FingerprintPart", "fingerprint_vector", "measure_fingerprint"]

NUM_DIMENSIONS = 384
"""Dimensions of a group: one family of parts in a third of the depth, or in what has no depth."""
FAMILIES = ("inputs", "others")
"""Circuits that are seen from tokens or pixels, and those that are not. Another vocabulary, or a merge in which one
parent's embeddings drown the other's, takes the first and leaves the second."""
FEWEST_ENTRIES = 192
"""With fewer in all its parts a group proves nothing: chance correlations would pass for fingerprint."""
SMALL = 128
"""Entries of a part that is projected on its own."""
ROUNDING = 1e-9
"""Entries below this share of the largest are rounding of zeros."""
PROJECTION = 6
"""Salt of the projections."""

Float32 = npt.NDArray[np.float32]
Loader = Callable[[TensorSpec], Float32]
PieceLoader = Callable[[TensorSpec], Iterable[Float32]]
Found = tuple[str, Frame]
"""What met, and the matrix."""
Frames = Mapping[str, Frame]
"""Source -> a frame of one axis: `inputs` (tokens, pixels, what came before), `positions`, `gains`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FingerprintPart:
    """One invariant matrix: `values` are its entries, flat, root mean square 1."""

    kind: str
    """What met along which axis, and the shape: parts of one kind have entries that mean the same."""
    depth: float | None
    values: Frame

    @property
    def family(self) -> str:
        """One of `FAMILIES`."""
        return "inputs" if "inputs" in self.kind.split() else "others"


def fingerprint_vector(parts: Sequence[FingerprintPart]) -> Frame | None:
    """The parts as one vector (D,) of root mean square 1, whose direction alone means something.

    Circuits of a kind are projected by the same fixed signs, kinds by different ones, and summed; small parts each
    by their own, by their order, or there would be too little left to go by. A part with more entries is better
    evidence, but not in proportion: it counts by the square root of their number. Zeros are no entries: a model of one
    block has no gains of later thirds, and the few that are left must not count as many. None where the parts have
    fewer than `FEWEST_ENTRIES` entries.
    """
    sums: dict[str, Frame] = {}
    seen: Counter[str] = Counter()
    for part in parts:
        size = _num_entries(part.values)
        kind = part.kind if size > SMALL else f"{part.kind} {seen[part.kind]}"
        seen[part.kind] += 1
        weighed = part.values * size**0.25 / np.linalg.norm(part.values)
        sums[kind] = sums.get(kind, np.zeros(len(weighed))) + weighed
    if sum(_num_entries(total) for total in sums.values()) < FEWEST_ENTRIES:
        return None
    return unit_scale(np.sum([total @ _projection(kind, len(total)) for kind, total in sums.items()], axis=0))


def _num_entries(values: Frame) -> int:
    """Entries that are not zero, but for rounding, which differs between a model and its permuted copy."""
    return int(np.count_nonzero(np.abs(values) > ROUNDING * np.abs(values).max()))


@lru_cache(maxsize=256)
def _projection(kind: str, size: int) -> npt.NDArray[np.int8]:
    return signs(0, size, NUM_DIMENSIONS, _salt(kind)).astype(np.int8)


def _salt(kind: str) -> int:
    """A number for a name of up to 7 letters; longer ones are folded."""
    folded = 0
    for byte in kind.encode():
        folded = (folded * 257 + byte) % (1 << 48)
    return PROJECTION + (folded << 8)


def measure_fingerprint(specs: Sequence[TensorSpec], pieces: PieceLoader) -> list[FingerprintPart]:
    """All parts of a model, in the order of execution.

    - `pieces(spec)`: the matrix or vector in the order of the file, float32 (rows, cols), some rows at a time. Called a
      tensor at a time, once each but for gains. A table of tokens or positions is never here as a whole.
    """

    def load(spec: TensorSpec) -> Float32:
        return np.concatenate([*pieces(spec)])

    gains = find_gains(specs)
    are_signs_free = bool(gains) and any(spec.role is Role.DEPTHWISE_CONVOLUTION for spec in specs)
    walk = _Walk(
        pieces=pieces, load=load, kernels=ConvolutionWalk(load=load, gains=gains, are_signs_free=are_signs_free)
    )
    return list(walk.through(find_stacks(specs)))


@dataclass(slots=True, kw_only=True)
class _Walk:
    """On the way through a model."""

    pieces: PieceLoader
    load: Loader
    kernels: ConvolutionWalk
    path: Path = field(default_factory=Path)
    """Through convolutions, and along the inputs of every stream."""
    encoded: Frames = field(default_factory=dict)
    """Frames of the stack before, which cross-attention reads."""

    def through(self, stacks: Sequence[Stack]) -> Iterator[FingerprintPart]:
        for stack in stacks:
            found: list[Found] = []
            frames = self._front(stack, found)
            yield from _parts(None, found)
            for block in stack.blocks:
                found = []
                frames = self._block(block, frames, found)
                yield from _parts(block.depth, found)
            self.encoded = frames

    def _front(self, stack: Stack, found: list[Found]) -> Frames:
        """The frames of the stream as it enters the stack; how they lie to each other is added to `found`."""
        self._enter(stack, found)
        frames: dict[str, Frame] = {}
        if self.path.through is not None and stack.width is not None:
            frames["inputs"] = self.path.through
        if stack.front.positions is not None:
            table = table_frame(self.pieces(stack.front.positions), stack.front.positions)
            if (positions := self._widened(stack, table)) is not None:
                frames["positions"] = positions
        gains = gain_columns(stack, self.load)
        if gains is not None and not stack.is_sign_free:
            frames["gains"] = flatten(gains)
        elif gains is not None and "inputs" in frames:
            frames["gains"] = turning_with(frames["inputs"], gains)
        for one, two in itertools.combinations(frames, 2):
            found.append((f"{one} {two}", frames[one].T @ frames[two]))
        return frames

    def _enter(self, stack: Stack, found: list[Found]) -> None:
        """Take the path to where the stack begins: from its table, through convolutions, on from the stack before."""
        if stack.front.table is not None:
            frame = table_frame(self.pieces(stack.front.table), stack.front.table)
            self.path = Path(width=len(frame), through=frame)
        elif stack.front.convolutions:
            self.path = self.kernels.chain(stack.front.convolutions, Path(), found)
        elif not stack.goes_on:
            self.path = Path()
        if stack.width is not None and self.path.through is not None:
            self.path = Path(width=stack.width, through=self._widened(stack, self.path.through))

    def _widened(self, stack: Stack, frame: Frame) -> Frame | None:
        """The frame in the stream: itself, or behind the map that stands between narrower embeddings and the stream."""
        if len(frame) == stack.width:
            return frame
        spec = next((s for s in stack.front.maps if s.rows == stack.width and s.cols % len(frame) == 0), None)
        return None if spec is None else mapped(self.load(spec), frame)

    def _block(self, block: Block, frames: Frames, found: list[Found]) -> Frames:
        """The frames behind the block; its parts are added to `found`."""
        if block.convolutions or block.shortcut is not None:
            self.path = self.kernels.along(block, self.path, found)
            frames = {} if self.path.through is None else {"inputs": self.path.through}
        for spec in block.merges:
            fits = "inputs" in frames and spec.cols % len(frames["inputs"]) == 0
            frames = {"inputs": mapped(self.load(spec), frames["inputs"])} if fits else {}
            self.path = Path(width=spec.rows, through=frames.get("inputs"))
        if not frames:
            return frames
        streams = self._streams(block, frames)
        for attention in block.attentions:
            self._attention(attention, streams, found)
        for pair in block.feed_forwards:
            self._feed_forward(pair, streams, found)
        return frames

    def _streams(self, block: Block, frames: Frames) -> dict[tuple[int, str], Frames]:
        """(width, use) -> frames of what the block reads and writes: the stream, and what it narrows to."""
        width = _width(frames)
        streams = {(width, ""): frames}
        for spec in block.narrows:
            if spec.cols == width:
                matrix = self.load(spec).astype(np.float64)
                use = "attention" if "attention" in spec.name else ""
                streams[spec.rows, use] = {name: flatten(matrix @ frame) for name, frame in frames.items()}
        return streams

    def _attention(self, attention: Attention, streams: Mapping[tuple[int, str], Frames], found: list[Found]) -> None:
        source = {(_width(self.encoded), ""): self.encoded} if attention.is_cross else streams
        query = self._faces(attention.query, streams, use="attention")
        key = self._faces(attention.key, source, use="attention")
        value = self._faces(attention.value, source)
        output = self._faces(attention.output, streams, is_writer=True)
        found.extend(_products("attend", query, key))
        found.extend(_products("carry", output, value))

    def _feed_forward(self, pair: FeedForward, streams: Mapping[tuple[int, str], Frames], found: list[Found]) -> None:
        enter, leave = self._faces(pair.enter, streams), self._faces(pair.leave, streams, is_writer=True)
        found.extend(_products("feed", leave, enter))

    def _faces(
        self,
        spec: TensorSpec | None,
        streams: Mapping[tuple[int, str], Frames],
        *,
        use: str = "",
        is_writer: bool = False,
    ) -> Frames:
        """What a tensor makes of each frame of the stream, along its other axis: `W X`, or `W^T X` of a writer."""
        if spec is None:
            return {}
        width = spec.rows if is_writer else spec.cols
        frames = streams.get((width, use), streams.get((width, ""), {}))
        if not frames:
            return {}
        matrix = self.load(spec).astype(np.float64)
        return {name: (matrix.T if is_writer else matrix) @ frame for name, frame in frames.items()}


def _width(frames: Frames) -> int:
    return len(next(iter(frames.values()), ()))


def _products(kind: str, one: Frames, two: Frames) -> Iterator[Found]:
    """Inner products along the axis that two tensors share, for every pair of frames.

    Positions with positions are left out: that is one smooth pattern in all models.
    """
    for a, left in one.items():
        for b, right in two.items():
            if len(left) == len(right) and not a == b == "positions":
                yield f"{kind} {a} {b}", left.T @ right


def _parts(depth: float | None, found: Sequence[Found]) -> Iterator[FingerprintPart]:
    for kind, values in found:
        if values.any():
            shape = "x".join(map(str, values.shape))
            yield FingerprintPart(kind=f"{kind} {shape}", depth=depth, values=unit_scale(values))
