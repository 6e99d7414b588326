"""Parts of the fingerprint in convolutions, where two kernels meet along an axis of channels.

The positions inside a kernel have a fixed order. The mean of a kernel over one axis of channels is a frame of the other
axis, so every axis of channels has one frame from the kernel that writes it and one from the kernel that reads it. Both
depend on one layer only: a change of one layer does not reach the parts of the next. Where the signs of channels are
arbitrary such means are not invariant; there a depthwise kernel is the frame, and the path from one depthwise kernel to
the next gives the part.

M, N = channels out and in, P = positions of a kernel, K = columns of a frame.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.fingerprint.random_projections import NUM_PROJECTIONS, Frame, random_signs, whiten
from pipeline.fingerprint.residual_frames import Loader
from zoo.tensors import Axis, Role, TensorSpec
from zoo.wiring import Block

__all__ = ["ConvolutionWalk", "Found", "Path"]

PIXELS, KERNEL, MIXING = 2, 4, 5
"""Salts of the random signs."""
MOST_POSITIONS = 9
"""Positions of larger kernels are projected on this number of columns."""
BALANCING_STEPS = 5

Found = tuple[str, Frame]
"""Kind of a part, and its matrix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """Where the walk through convolutions stands."""

    width: int | None = None
    """Channels here; None where that is not known."""
    through: Frame | None = None
    """The frame of the pixels, or of the last depthwise kernel, carried to these channels, (N, K)."""
    written: Frame | None = None
    """The frame of the kernel that writes these channels, (N, K)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvolutionWalk:
    """Collects the parts of the convolutions of a model, each kernel with the sign of its norm's gain."""

    load: Loader
    gains: Mapping[str, TensorSpec]
    """Name of a kernel -> the gain of the norm behind it."""
    are_signs_free: bool
    """Whether no activation fixes the signs of channels between blocks, as in MobileNetV2."""

    def along(self, block: Block, path: Path, found: list[Found]) -> Path:
        """The path behind a block of convolutions; its parts are added to `found`."""
        behind = self.chain(block.convolutions, path, found)
        if block.shortcut is not None:
            shortcut = self._step(block.shortcut, path, found)
            _add(found, "join", shortcut.written, behind.written)
        return behind if behind.through is None else replace(behind, through=whiten(behind.through))

    def chain(self, convolutions: Sequence[TensorSpec], path: Path, found: list[Found]) -> Path:
        """The path behind convolutions that follow each other."""
        for spec in convolutions:
            path = self._step(spec, path, found)
        return path

    def _step(self, spec: TensorSpec, path: Path, found: list[Found]) -> Path:
        if spec.role is Role.DEPTHWISE_CONVOLUTION:
            frame = whiten(_projected(self._kernel(spec), KERNEL))
            _add(found, "depthwise", frame, path.through)
            return Path(width=spec.rows, through=frame)
        if spec.col_axis is Axis.POSITION or (path.width is None and spec.block is None):
            frame = whiten(_projected(self._kernel(spec), PIXELS))
            return Path(width=spec.rows, through=frame, written=None if self.are_signs_free else frame)
        if path.width is None or spec.cols % path.width:
            return Path(width=spec.rows)
        return self._dense(spec, path, found)

    def _dense(self, spec: TensorSpec, path: Path, found: list[Found]) -> Path:
        kernel = self._balanced(spec, path)
        through = None if path.through is None else _spread(kernel, path.through)
        if self.are_signs_free:
            return Path(width=spec.rows, through=through)
        kernel = _few_positions(kernel)
        reads, writes = (_centred(kernel.mean(axis=axis)) for axis in (0, 1))
        _add(found, "junction", path.written, reads)
        if kernel.shape[2] > 1:
            found.append(("kernel", np.einsum("ma,mnp,nb->apb", writes, kernel, reads, optimize=True)))
        return Path(width=spec.rows, through=through, written=writes)

    def _kernel(self, spec: TensorSpec) -> Frame:
        """(M, N P): rows of length one, each with the sign of its gain: flipping both leaves the function."""
        kernel = self.load(spec).astype(np.float64)
        return kernel / _nonzero(np.linalg.norm(kernel, axis=1, keepdims=True)) * self._gain_signs(spec)[:, None]

    def _balanced(self, spec: TensorSpec, path: Path) -> Frame:
        """(M, N, P), scaled so that all channels in and all channels out have one norm.

        Norms and activations let channels be scaled. Alternates as Sinkhorn & Knopp (1967), on the squares.
        """
        assert path.width is not None
        kernel = self.load(spec).astype(np.float64).reshape(spec.rows, path.width, -1)
        for _ in range(BALANCING_STEPS):
            kernel = kernel / _nonzero(np.sqrt(np.mean(kernel**2, axis=(0, 2), keepdims=True)))
            kernel = kernel / _nonzero(np.sqrt(np.mean(kernel**2, axis=(1, 2), keepdims=True)))
        return np.asarray(kernel * self._gain_signs(spec)[:, None, None])

    def _gain_signs(self, spec: TensorSpec) -> Frame:
        gain = self.gains.get(spec.name)
        return np.ones(spec.rows) if gain is None else np.sign(self.load(gain).astype(np.float64)).ravel()


def _add(found: list[Found], kind: str, one: Frame | None, two: Frame | None) -> None:
    """Add the inner product of two frames of one axis, where both are known."""
    if one is not None and two is not None and len(one) == len(two):
        found.append((kind, one.T @ two))


def _projected(matrix: Frame, salt: int) -> Frame:
    """The columns of a matrix, projected on `NUM_PROJECTIONS` where there are more."""
    num_columns = matrix.shape[1]
    return matrix if num_columns <= NUM_PROJECTIONS else matrix @ random_signs(0, num_columns, NUM_PROJECTIONS, salt)


def _spread(kernel: Frame, frame: Frame) -> Frame:
    """`sum_p W_p X R_p` over the positions p of a kernel, R_p fixed: (M, K)."""
    places, width = kernel.shape[2], frame.shape[1]
    if places == 1:
        return np.asarray(kernel[:, :, 0] @ frame)
    mixing = random_signs(0, places * width, width, MIXING).reshape(places, width, width)
    return np.asarray(np.einsum("mnp,nk,pkl->ml", kernel, frame, mixing, optimize=True))


def _few_positions(kernel: Frame) -> Frame:
    """(M, N, at most `MOST_POSITIONS`): its positions, projected where there are more."""
    places = kernel.shape[2]
    return kernel if places <= MOST_POSITIONS else kernel @ random_signs(0, places, MOST_POSITIONS, KERNEL)


def _centred(frame: Frame) -> Frame:
    return np.asarray(frame - frame.mean(axis=0))


def _nonzero(norms: Frame) -> Frame:
    return np.where(norms > 0, norms, 1.0)
