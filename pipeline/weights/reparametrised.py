"""Weights that are stored as what they are computed from: weight norm, spectral norm, masks of pruning.

Names are those of `torch.nn.utils`: of the older hooks (`weight_g` and `weight_v`; `weight_orig` with `weight_u` or
`weight_mask`) and of `torch.nn.utils.parametrizations` (`parametrizations.weight.original0` and the like).
"""

from functools import partial
from math import prod

import numpy as np

from pipeline.arrays import Array
from pipeline.weights.assembly import Recipe, Tensor, Tensors, assemble

__all__ = ["multiply_out"]

WEIGHT_NORM = (("_g", "_v"), (".original0", ".original1"))
"""Ends of the names of lengths and directions."""
SPECTRAL_NORM = (("_orig", "_u", "_v"), (".original", ".0._u", ".0._v"))
"""Ends of the names of the weight and of the two vectors that training kept."""


def multiply_out(tensors: Tensors) -> Tensors:
    """The weights in place of what they are stored as, under the names they have in use; all else as it is."""
    return assemble(
        tensors, lambda name, known: _weight_norm(name, known) or _spectral_norm(name, known) or _mask(name, known)
    )


def _weight_norm(name: str, tensors: Tensors) -> Recipe | None:
    """g v / |v|, the norm over all axes along which g has one entry (Salimans & Kingma 2016)."""
    for lengths, directions in WEIGHT_NORM:
        if not name.endswith(lengths):
            continue
        stem = name.removesuffix(lengths)
        target, partner = _in_use(stem), tensors.get(stem + directions)
        # RWKV calls its mixing vectors `time_mix_g` and `time_mix_v`: a weight norm is of a weight.
        if target.endswith("weight") and partner and _is_length(tensors[name], partner):
            return Recipe(
                target=target,
                shape=partner.header.shape,
                parts=(name, stem + directions),
                make=_with_length,
                split=partial(_length_and_direction, shape=tensors[name].header.shape),
            )
    return None


def _is_length(gain: Tensor, direction: Tensor) -> bool:
    """Whether the one tensor can be lengths of the other: its shape with some axes reduced to 1, or a scalar."""
    own, other = gain.header.shape, direction.header.shape
    is_reduced = len(own) == len(other) and prod(own) < prod(other)
    return not own or (is_reduced and all(a in (1, b) for a, b in zip(own, other, strict=True)))


def _with_length(gain: Array, direction: Array) -> Array:
    norms = _lengths(direction, gain.shape)
    return np.asarray(gain * (direction / np.where(norms > 0, norms, 1.0)))


def _length_and_direction(weight: Array, *, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """What `_with_length` makes the weight of: its lengths in this shape, and the weight itself."""
    return _lengths(weight, shape).reshape(shape), weight


def _lengths(direction: Array, shape: tuple[int, ...]) -> Array:
    """Norms over all axes along which lengths of this shape have one entry; as many axes as the direction."""
    axes = tuple(axis for axis in range(direction.ndim) if not shape or shape[axis] == 1)
    return np.asarray(np.sqrt(np.square(direction, dtype=np.float64).sum(axis=axes, keepdims=True)))


def _spectral_norm(name: str, tensors: Tensors) -> Recipe | None:
    """W / sigma, sigma = u^T W v with the vectors that training kept (Miyato et al. 2018)."""
    for weight, left, right in SPECTRAL_NORM:
        if not name.endswith(weight):
            continue
        stem = name.removesuffix(weight)
        if stem + left in tensors:
            vectors = tuple(stem + end for end in (left, right) if stem + end in tensors)
            shape = tensors[name].header.shape
            return Recipe(target=_in_use(stem), shape=shape, parts=(name, *vectors), make=_over_sigma)
    return None


def _over_sigma(weight: Array, u: Array, v: Array | None = None) -> Array:
    # Outputs come second in the kernel of a transposed convolution.
    axis = 0 if len(weight) == len(u) and (v is None or weight[0].size == len(v)) else 1
    matrix = np.moveaxis(weight, axis, 0).reshape(len(u), -1).astype(np.float64)
    if v is None:  # Stored by early versions of torch without it: one step of their power iteration.
        v = matrix.T @ u
        v = v / np.linalg.norm(v)
    return np.asarray(weight / (u @ matrix @ v))


def _mask(name: str, tensors: Tensors) -> Recipe | None:
    """W times the mask of `torch.nn.utils.prune`."""
    stem = name.removesuffix("_orig")
    if not name.endswith("_orig") or f"{stem}_mask" not in tensors:
        return None
    shape = tensors[name].header.shape
    return Recipe(target=stem, shape=shape, parts=(name, f"{stem}_mask"), make=np.multiply)


def _in_use(stem: str) -> str:
    """`conv.parametrizations.weight` is called `conv.weight`."""
    return stem.replace("parametrizations.", "", 1)
