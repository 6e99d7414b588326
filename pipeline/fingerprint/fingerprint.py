"""Fingerprint: fixed random projections of products of weights that no permutation or sign flip changes.

The order of hidden units, heads, channels and residual units is arbitrary: permuting them (and undoing it in the next
layer) gives the same function. Where two matrices meet along such an axis, their product no longer has that axis:
`W_out W_in` of a feed-forward pair, `W_q^T W_k`, `W_o W_v`, two consecutive convolutions. The outer axes are residual
units or channels, arbitrary too, so both sides are projected on *frames*: matrices (N, K) that move with their axis.
For two matrices A and B (N, .) that meet along an axis of length N, and frames X and Y of their other axes, a part is

    P = (A X)^T (B Y) / rms((A X)^T (B Y)),    (K, K)

It is the same whatever the order and the signs of the units, whatever rotation inside a head, and however a ReLU's
units are scaled. A residual stream has up to three frames: random projections of its tokens or pixels (`inputs`), of
its positions (`positions`), and the gains of its norms (`gains`). The fingerprint of some parts is one vector (D,),

    v = sum over kinds k of R_k^T s_k,    s_k = sum over parts P of kind k of n_P^(1/4) vec(P) / |vec(P)|,

scaled to root mean square 1; n_P counts the entries of P that are not 0, R_k is a fixed matrix of random signs.

Two trainings from different random weights have independent entries of mean 0, so that fingerprints of unrelated
models do not correlate, whatever the models are. A copy, whatever was done to it, keeps most of its entries.

N = length of an axis, K = columns of a frame, D = `NUM_DIMENSIONS`.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from pipeline.fingerprint.convolutions import ConvolutionWalk, Found, Path
from pipeline.fingerprint.random_projections import Frame, fold, random_signs, unit_scale, whiten
from pipeline.fingerprint.residual_frames import Float32, Loader, gain_columns, mapped, scaled_by_gains, table_frame
from zoo.tensors import Role, TensorSpec
from zoo.wiring import Attention, Block, FeedForward, Stack, find_gains, find_stacks

__all__ = ["FAMILIES", "NUM_DIMENSIONS", "FingerprintPart", "fingerprint_vector", "measure_fingerprint"]

NUM_DIMENSIONS = 384
"""Dimensions of a group: one family of parts in a third of the depth, or in what has no depth."""
FAMILIES = ("inputs", "others")
"""Parts with a frame of tokens or pixels, and parts without. Another vocabulary, or a merge in which one parent's
embeddings are far larger than the other's, changes the first and leaves the second."""
FEWEST_ENTRIES = 192
"""With fewer in all its parts a group proves nothing: unrelated models would correlate by chance."""
SMALL = 128
"""Entries up to which a part is projected on its own."""
ROUNDING = 1e-9
"""Entries below this share of the largest are rounding of zeros."""
PROJECTION = 6
"""Salt of the random signs."""

PieceLoader = Callable[[TensorSpec], Iterable[Float32]]
Frames = Mapping[str, Frame]
"""Source -> a frame of one axis: `inputs` (tokens, pixels, the stack before), `positions`, `gains`."""
StreamFrames = Mapping[tuple[int, str], Frames]
"""(width, use) -> frames of the residual stream, or of what a block narrows it to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FingerprintPart:
    """One invariant matrix: `values` are its entries, flat, root mean square 1."""

    kind: str
    """Which tensors meet, which frames, and the shape: entries of parts of one kind mean the same."""
    depth: float | None
    values: Frame

    @property
    def family(self) -> str:
        """One of `FAMILIES`."""
        return "inputs" if "inputs" in self.kind.split() else "others"


def fingerprint_vector(parts: Sequence[FingerprintPart]) -> Frame | None:
    """The parts as one vector (D,) of root mean square 1; only its direction means something.

    Parts of a kind are added up and projected by the same random signs, kinds by different ones. Small parts are not
    added up: each is projected by signs of its own, by its number, or too few entries would be left. A part with more
    entries is better evidence, but not in proportion: its weight is the square root of their number. Zeros do not
    count as entries: a model of one block has no gains in later thirds. None where the parts have fewer than
    `FEWEST_ENTRIES` entries.
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
    """Entries that are not zero up to rounding, which differs between a model and its permuted copy."""
    return int(np.count_nonzero(np.abs(values) > ROUNDING * np.abs(values).max()))


@lru_cache(maxsize=256)
def _projection(kind: str, size: int) -> npt.NDArray[np.int8]:
    return random_signs(0, size, NUM_DIMENSIONS, PROJECTION + (fold(kind) << 8)).astype(np.int8)


def measure_fingerprint(specs: Sequence[TensorSpec], pieces: PieceLoader) -> list[FingerprintPart]:
    """All parts of a model, in the order of execution.

    - `pieces(spec)`: the matrix or vector in the order of the file, float32 (rows, cols), some rows at a time. Called
      for one tensor at a time, and once for each but gains. A table of tokens or positions is never held as a whole.
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
    """The state on the way through a model."""

    pieces: PieceLoader
    load: Loader
    kernels: ConvolutionWalk
    path: Path = field(default_factory=Path)
    """Through convolutions, and along the inputs of every residual stream."""
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
        """The frames of the residual stream where it enters the stack; their inner products are added to `found`."""
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
            frames["gains"] = whiten(gains)
        elif gains is not None and "inputs" in frames:
            frames["gains"] = scaled_by_gains(frames["inputs"], gains)
        for one, two in itertools.combinations(frames, 2):
            found.append((f"{one} {two}", frames[one].T @ frames[two]))
        return frames

    def _enter(self, stack: Stack, found: list[Found]) -> None:
        """Move the path to where the stack begins: behind its table, its convolutions or the stack before."""
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
        """The frame along the residual stream; narrower embeddings reach it through a map."""
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
        known = self._narrowed(block, frames)
        for attention in block.attentions:
            self._attention(attention, known, found)
        for pair in block.feed_forwards:
            self._feed_forward(pair, known, found)
        return frames

    def _narrowed(self, block: Block, frames: Frames) -> StreamFrames:
        """The frames of all that the block reads and writes: the residual stream, and what it is narrowed to."""
        width = _width(frames)
        known = {(width, ""): frames}
        for spec in block.narrows:
            if spec.cols == width:
                matrix = self.load(spec).astype(np.float64)
                use = "attention" if "attention" in spec.name else ""
                known[spec.rows, use] = {name: whiten(matrix @ frame) for name, frame in frames.items()}
        return known

    def _attention(self, attention: Attention, known: StreamFrames, found: list[Found]) -> None:
        source = {(_width(self.encoded), ""): self.encoded} if attention.is_cross else known
        query = self._projected(attention.query, known, use="attention")
        key = self._projected(attention.key, source, use="attention")
        value = self._projected(attention.value, source)
        output = self._projected(attention.output, known, is_writer=True)
        found.extend(_products("attend", query, key))
        found.extend(_products("carry", output, value))

    def _feed_forward(self, pair: FeedForward, known: StreamFrames, found: list[Found]) -> None:
        enter, leave = self._projected(pair.enter, known), self._projected(pair.leave, known, is_writer=True)
        found.extend(_products("feed", leave, enter))

    def _projected(
        self, spec: TensorSpec | None, known: StreamFrames, *, use: str = "", is_writer: bool = False
    ) -> Frames:
        """A tensor times each frame of what it reads, `W X`, or of what it writes, `W^T X`: along its other axis."""
        if spec is None:
            return {}
        width = spec.rows if is_writer else spec.cols
        frames = known.get((width, use), known.get((width, ""), {}))
        if not frames:
            return {}
        matrix = self.load(spec).astype(np.float64)
        return {name: (matrix.T if is_writer else matrix) @ frame for name, frame in frames.items()}


def _width(frames: Frames) -> int:
    return len(next(iter(frames.values()), ()))


def _products(kind: str, one: Frames, two: Frames) -> Iterator[Found]:
    """Inner products along the axis that two tensors share, for every pair of frames.

    Positions with positions are left out: all models show the same smooth pattern there.
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
