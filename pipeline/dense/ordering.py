"""The canonical form of each matrix of a stack, as `pipeline.order` makes that of one.

The tables of cosines are float64, as there: where no two neighbours are equally near, rounding does not decide, and the
order is the same. Where they are (equal rows, singular values that come in pairs), it may be another one of those that
are equally good. An axis longer than `LARGEST_CHAIN` is cut by what its values are, which is a decision of the host:
its features are read, and its order is taken there.

B = matrices, R = rows, C = columns, N = length of an axis, K = features.
"""

import numpy as np
import torch
from torch import Tensor

from pipeline.dense.spectrum import Spectra
from pipeline.order import LARGEST_CHAIN, RELATIVE_ZERO, chain_leaves
from zoo.tensors import Axis, TensorSpec

__all__ = ["in_order"]


def in_order(stack: Tensor, spec: TensorSpec, spectra: Spectra) -> Tensor:
    """Each matrix (B, R, C) of a stack in its canonical order and signs, under the symmetries that the spec names."""
    row_features, col_features = _features(stack, spectra)
    rows, row_signs = _axis(row_features, spec.row_axis, spec.row_axis.is_sign_free or spec.free_row_signs)
    cols, col_signs = _axis(col_features, spec.col_axis, spec.col_axis.is_sign_free or spec.free_col_signs)
    which = torch.arange(len(stack), device=stack.device)[:, None, None]
    canonical = stack[which, rows[:, :, None], cols[:, None]]
    if row_signs is None and col_signs is None:
        return canonical
    if row_signs is not None:
        canonical = canonical * row_signs[:, :, None]
    if col_signs is not None:
        canonical = canonical * col_signs[:, None]
    # One global sign is still free: the one with a sum of at least 0.
    sums = canonical.sum(dim=(1, 2), dtype=torch.float64)
    return canonical * torch.where(sums < 0, -1.0, 1.0).float()[:, None, None]


def _features(stack: Tensor, spectra: Spectra) -> tuple[Tensor, Tensor]:
    """Rows (B, R, K) and columns (B, C, K) in the leading singular directions, scaled by the singular values."""
    is_wide = stack.shape[1] < stack.shape[2]
    tall = stack.mT if is_wide else stack
    singular = spectra.singular[:, : spectra.directions.shape[2]]
    # Directions that are rounding are left out by zeros: matrices of a stack may have more of them or fewer.
    is_kept = singular > RELATIVE_ZERO * singular[:, :1]
    vectors = spectra.directions * is_kept[:, None]
    long, short = tall.double() @ vectors, vectors * singular[:, None]
    return (short, long) if is_wide else (long, short)


def _axis(features: Tensor, axis: Axis, is_sign_free: bool) -> tuple[Tensor, Tensor | None]:
    """Permutation (B, N) of one axis, and signs (B, N), float32, where they are free."""
    if not axis.is_permutable:
        return torch.arange(features.shape[1], device=features.device).expand(features.shape[:2]), None
    norms = features.square().sum(dim=2).sqrt()
    by_norm = torch.argsort(-norms, dim=1, stable=True)
    unit = _taken(features / norms.clamp(min=1e-300)[:, :, None], by_norm)
    chained = _chain(unit, is_sign_free) if unit.shape[1] <= LARGEST_CHAIN else _on_host(unit, is_sign_free)
    perm = by_norm.gather(1, chained)
    if not is_sign_free:
        return perm, None
    unit = _taken(unit, chained)
    steps = (unit[:, 1:] * unit[:, :-1]).sum(dim=2).sign()
    steps = torch.where(steps == 0, 1.0, steps)
    return perm, torch.cat([torch.ones_like(norms[:, :1]), steps.cumprod(dim=1)], dim=1).float()


def _taken(vectors: Tensor, places: Tensor) -> Tensor:
    """The vectors (B, N, K) in another order (B, N)."""
    return vectors.gather(1, places[:, :, None].expand_as(vectors))


def _chain(unit: Tensor, is_sign_free: bool) -> Tensor:
    """Greedy nearest-neighbour chains over unit vectors (B, N, K) from the first one on: permutations (B, N)."""
    cosines = unit @ unit.mT
    if is_sign_free:
        cosines = cosines.abs_()
    batch, size = unit.shape[:2]
    which = torch.arange(batch, device=unit.device)
    taken = torch.zeros((batch, size), dtype=torch.float64, device=unit.device)
    current = torch.zeros(batch, dtype=torch.int64, device=unit.device)
    chain = []
    for _ in range(size):
        chain.append(current)
        taken.scatter_(1, current[:, None], -torch.inf)
        current = (cosines[which, current] + taken).argmax(dim=1)
    return torch.stack(chain, dim=1)


def _on_host(unit: Tensor, is_sign_free: bool) -> Tensor:
    """The same of a longer axis, which is read."""
    chains = [chain_leaves(vectors, sign_free=is_sign_free) for vectors in unit.cpu().numpy()]
    return torch.from_numpy(np.stack(chains)).to(unit.device)
