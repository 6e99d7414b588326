"""Singular values and directions of a stack of matrices, as `pipeline.decomposition` takes those of one.

B = matrices, R = rows, C = columns, L = min(R, C), K = directions. Everything is float64. PyTorch's eigenvalue solver
looks once a call, not once a matrix, whether it has succeeded; that is the only wait of the host in here.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.decomposition import RELATIVE_ZERO

__all__ = ["Spectra", "decompose", "gram", "singular_values"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spectra:
    """One decomposition of each matrix."""

    singular: Tensor
    """(B, L), descending."""
    directions: Tensor
    """(B, L, K): the leading singular vectors along the shorter axis, one a column."""


def gram(stack: Tensor) -> Tensor:
    """The products of all rows or of all columns of each matrix (B, R, C), whichever are fewer: float64 (B, L, L)."""
    values = stack.double()
    tall = values if stack.shape[1] >= stack.shape[2] else values.mT
    return tall.mT @ tall


def singular_values(stack: Tensor) -> Tensor:
    """All singular values of each matrix (B, R, C), descending, (B, L); rounding is set to 0."""
    return _squares(torch.linalg.eigvalsh(gram(stack))).sqrt()


def decompose(stack: Tensor, num_directions: int) -> Spectra:
    """All singular values of each matrix (B, R, C), and the leading directions."""
    squares, vectors = torch.linalg.eigh(gram(stack))
    leading = vectors.flip(2)[:, :, :num_directions]
    return Spectra(singular=_squares(squares).sqrt(), directions=leading.contiguous())


def _squares(eigenvalues: Tensor) -> Tensor:
    """Ascending eigenvalues (B, L) as squared singular values, descending."""
    squares = eigenvalues.flip(1).clamp(min=0.0)
    return torch.where(squares <= RELATIVE_ZERO**2 * squares[:, :1], 0.0, squares)
